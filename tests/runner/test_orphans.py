"""A run that is ended, by whatever signal, leaves no process behind: workers, programs, and what those start."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

PROGRAM = """
import os, subprocess, sys, time
own = open(sys.argv[1], "a")
nap = [sys.executable, "-c", "import signal, time; signal.signal(signal.SIGHUP, signal.SIG_IGN); time.sleep(300)"]
inside, outside = subprocess.Popen(nap), subprocess.Popen(nap, start_new_session=True)
print(os.getppid(), os.getpid(), inside.pid, outside.pid, file=own, flush=True)
time.sleep(300)
"""
SLEEPERS = '''
"""Codecs of a third party that never end: one while it encodes, one while it decodes."""
import os, subprocess, sys
from rdbench.codec import Codec, RatePoint, Settings

PROGRAM, PIDS = os.environ["PROGRAM"], os.environ["PIDS"]


class Slow(Codec):
    """Sleeps while it encodes."""

    reference = "none"
    Settings = Settings

    @classmethod
    def missing(cls, host):
        return None

    @classmethod
    def version(cls, host):
        return "1"

    def rate_points(self, clip):
        return [RatePoint("all", {})]

    def encode(self, source, point, bitstream, workspace):
        subprocess.run([sys.executable, PROGRAM, PIDS])

    @classmethod
    def decode(cls, bitstream, workspace):
        subprocess.run([sys.executable, PROGRAM, PIDS])


class SlowDecoder(Slow):
    """Sleeps while it decodes."""

    def encode(self, source, point, bitstream, workspace):
        bitstream.write_bytes(b"stream")
'''
DECLARED = """
summary = "Sleeps"

[version]
command = ["{{python}}", "-c", "print('sleeper 1')"]
pattern = 'sleeper (\\d)'

[rate]
label = "q{{rate}}"
points = [1]

[input]
format = "yuv"

[encode]
command = ["{{python}}", "{program}", "{pids}"]

[decode]
command = ["{{python}}", "-c", "pass"]

[output]
format = "yuv"
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder with the codecs, and the program that all of them run."""
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "sleepers.py").write_text(SLEEPERS)
    text = DECLARED.format(program=tmp_path / "program.py", pids=tmp_path / "pids")
    (tmp_path / "sleeper.toml").write_text(text)
    info = tmp_path / "sleepers-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: sleepers\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[rdbench.codecs]\nslow = sleepers:Slow\nslowdecoder = sleepers:SlowDecoder\n"
    )
    return tmp_path


def heed_signals() -> None:
    """Undoes what is inherited from nohup (SIGHUP) and from a shell that runs a job in the background (SIGINT)."""
    for sign in (signal.SIGHUP, signal.SIGINT):
        signal.signal(sign, signal.SIG_DFL)


def start(site: Path, clip: Path, codec: str, *before: str) -> "subprocess.Popen[str]":
    """`rdbench run` in a process group of its own."""
    environment = {**os.environ, "PYTHONPATH": str(site), "PROGRAM": str(site / "program.py"),
                   "PIDS": str(site / "pids")}  # fmt: skip
    command = [*before, sys.executable, "-m", "rdbench.cli", "run", "--codecs", codec, "--dataset", str(clip),
               "--rate-points", "1", "--out", "out"]  # fmt: skip
    return subprocess.Popen(
        command, cwd=site, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        process_group=0, preexec_fn=heed_signals,
    )  # fmt: skip


def wait_for_programs(run: "subprocess.Popen[str]", site: Path) -> list[int]:
    """The worker, the program, and its two children, as soon as they run."""
    pids, deadline = site / "pids", time.monotonic() + 60
    while not (pids.exists() and pids.read_text().endswith("\n")):
        if run.poll() is not None or time.monotonic() > deadline:
            run.kill()
            pytest.fail(f"no program was started: {run.communicate()}")
        time.sleep(0.05)
    return [int(word) for word in pids.read_text().split()]


def running(process: int) -> bool:
    """Whether there is such a process; one that has ended and that nobody collects does not count."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def left_over(processes: list[int], seconds: float) -> list[int]:
    """Those that still run after so many seconds."""
    deadline = time.monotonic() + seconds
    while (left := [process for process in processes if running(process)]) and time.monotonic() < deadline:
        time.sleep(0.05)
    for process in left:
        os.kill(process, signal.SIGKILL)
    return left


needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are found in /proc")


@needs_proc
@pytest.mark.parametrize(
    ("codec", "sign"),
    [
        ("slow", signal.SIGKILL),
        ("slowdecoder", signal.SIGKILL),
        ("./sleeper.toml", signal.SIGKILL),
        ("slowdecoder", signal.SIGTERM),
        ("./sleeper.toml", signal.SIGHUP),
        ("slow", signal.SIGINT),
    ],
)
def test_nothing_is_left_running(site: Path, small_clip: Path, codec: str, sign: signal.Signals) -> None:
    run = start(site, small_clip, codec)
    processes = wait_for_programs(run, site)
    assert len(processes) == 4
    assert all(running(process) for process in processes)
    run.send_signal(sign)
    assert left_over(processes, 5) == []
    _, printed = run.communicate(timeout=10)
    if sign == signal.SIGKILL:
        assert run.returncode == -sign
    else:
        assert run.returncode == 128 + sign
        assert "what is done is kept, and the same command continues" in printed


@needs_proc
def test_a_hangup_that_the_user_ignores_ends_nothing(site: Path, small_clip: Path) -> None:
    run = start(site, small_clip, "slow", "nohup")
    processes = wait_for_programs(run, site)
    run.send_signal(signal.SIGHUP)
    time.sleep(1.5)
    assert all(running(process) for process in processes)
    run.send_signal(signal.SIGTERM)
    assert left_over(processes, 5) == []
    run.communicate(timeout=10)
    assert run.returncode == 128 + signal.SIGTERM
