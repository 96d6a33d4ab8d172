"""Memory on the GPUs of a process's descendants, with a stand-in for NVML and real processes."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fake_nvml import FakeNvml, Gpu

from rdbench.runner.gpu_memory import peak_gpu_memory

MIB = 1 << 20
linux = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the system has no /proc")


@pytest.fixture
def chain() -> Iterator[tuple[int, int]]:
    """A child of this process and a child of the child, by their numbers."""
    script = (
        "import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', 'input()'], stdin=subprocess.PIPE); "
        "print(p.pid, flush=True); input(); p.kill(); p.wait()"
    )
    child = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    yield child.pid, int(child.stdout.readline())
    child.communicate("\n")


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


@linux
def test_the_peak_of_all_descendants_together(monkeypatch: pytest.MonkeyPatch, chain: tuple[int, int]) -> None:
    child, grandchild = chain
    first, second = Gpu(processes={1: 9000 * MIB, os.getpid(): 500 * MIB, child: 100 * MIB}), Gpu()
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(first, second))
    with peak_gpu_memory(interval=0.01) as peak:
        wait_for(lambda: peak.megabytes == 100)
        second.processes = {grandchild: 250 * MIB}
        wait_for(lambda: peak.megabytes == 350)
        first.processes, second.processes = {}, {grandchild: 30 * MIB}
        time.sleep(0.05)
    assert peak.megabytes == 350


@linux
def test_a_process_that_is_listed_twice_counts_once(monkeypatch: pytest.MonkeyPatch, chain: tuple[int, int]) -> None:
    gpu = Gpu(processes={chain[0]: 64 * MIB}, graphics={chain[0]: 64 * MIB, chain[1]: None})
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(gpu))
    with peak_gpu_memory(interval=0.01) as peak:
        wait_for(lambda: peak.megabytes is not None)
    assert peak.megabytes == 64


@linux
def test_empty_where_no_program_of_ours_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither this process nor a stranger counts, nor what the driver lists without a size."""
    gpu = Gpu(processes={1: MIB, os.getpid(): MIB, 4_000_000: MIB})
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(gpu))
    with peak_gpu_memory(interval=0.01) as peak:
        time.sleep(0.05)
    assert peak.megabytes is None


def test_empty_without_a_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(driver=None))
    with peak_gpu_memory() as peak:
        pass
    assert peak.megabytes is None


def test_a_name_with_brackets_does_not_hide_the_parent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for number, parent in ((70, 60), (60, 50)):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "stat").write_text(f"{number} (a ) 1 (b) S {parent} 1 1 0 -1\n")
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(Gpu(processes={70: 5 * MIB})))
    with peak_gpu_memory(interval=0.01, process=50, proc=tmp_path) as peak:
        wait_for(lambda: peak.megabytes is not None)
    assert peak.megabytes == 5
