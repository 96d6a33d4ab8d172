"""What a record says of the machine and of the software."""

import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from fake_nvml import FakeNvml, Gpu

from rdbench.runner.machine import checkout_commit, cpu_model, describe_machine, software_versions, usable_cores


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository that tracks rdbench/__init__.py."""
    folder = tmp_path / "checkout"
    (folder / "rdbench").mkdir(parents=True)
    (folder / "rdbench" / "__init__.py").write_text("1\n")
    git(folder, "init", "-q")
    git(folder, "add", "rdbench")
    commit(folder)
    return folder


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=a", "-c", "user.email=a@b.c")
    return subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout


def commit(folder: Path) -> None:
    git(folder, "commit", "-q", "--allow-empty", "-m", "x")


@pytest.fixture(autouse=True)
def fresh() -> None:
    checkout_commit.cache_clear()


def test_the_commit_of_a_checkout_and_its_changes(checkout: Path) -> None:
    head = git(checkout, "rev-parse", "HEAD").strip()
    assert len(head) == 40
    assert checkout_commit(checkout) == head
    (checkout / "results").write_text("untracked")
    checkout_commit.cache_clear()
    assert checkout_commit(checkout) == head
    (checkout / "rdbench" / "__init__.py").write_text("2\n")
    assert checkout_commit(checkout) == head  # asked once
    checkout_commit.cache_clear()
    assert checkout_commit(checkout) == f"{head}+changes"


def test_asking_for_the_commit_does_not_write(checkout: Path) -> None:
    os.utime(checkout / "rdbench" / "__init__.py", (1, 1))  # git would renew its index here
    before = (checkout / ".git" / "index").read_bytes()
    assert checkout_commit(checkout)
    assert (checkout / ".git" / "index").read_bytes() == before


def test_a_worktree_is_a_checkout(checkout: Path) -> None:
    git(checkout, "worktree", "add", "-q", "../other")
    commit(checkout.parent / "other")
    assert checkout_commit(checkout.parent / "other") == git(checkout.parent / "other", "rev-parse", "HEAD").strip()
    assert checkout_commit(checkout.parent / "other") != git(checkout, "rev-parse", "HEAD").strip()


def test_a_repository_around_the_environment_is_not_ours(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody's project that contains a virtual environment, or tracks another file at the place."""
    site = checkout / ".venv" / "site-packages"
    (site / "rdbench").mkdir(parents=True)
    (site / "rdbench" / "__init__.py").write_text("1\n")
    assert checkout_commit(site) is None
    git(checkout, "add", "-f", ".venv")
    commit(checkout)
    checkout_commit.cache_clear()
    assert checkout_commit(site) is None
    git(checkout, "rm", "-q", "--cached", "rdbench/__init__.py")
    commit(checkout)
    assert checkout_commit(checkout) is None
    assert checkout_commit(checkout.parent) is None
    monkeypatch.setenv("PATH", "")
    checkout_commit.cache_clear()
    assert checkout_commit(checkout) is None


def test_a_repository_that_git_is_pointed_at_is_not_ours(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (checkout.parent / "rdbench").mkdir()
    (checkout.parent / "rdbench" / "__init__.py").write_text("1\n")
    monkeypatch.setenv("GIT_DIR", str(checkout / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(checkout.parent))
    assert checkout_commit(checkout.parent) is None


def test_versions() -> None:
    versions = software_versions()
    assert versions["python"] == platform.python_version()
    for package in ("rdbench", "torch", "numpy", "pytorch-msssim", "imageio-ffmpeg"):
        assert versions[package] == metadata.version(package)
    root = Path(__file__).parents[2]
    if (root / ".git").exists():
        assert versions["commit"].removesuffix("+changes") == git(root, "rev-parse", "HEAD").strip()


X86 = "processor\t: 0\nmodel\t\t: 207\nmodel name\t: Intel(R)  Xeon(R) 8481C\n\nprocessor\t: 1\nmodel name\t: other\n"
ARM_BOARD = "processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd08\n\nModel\t\t: Raspberry Pi 4\n"
ARM_SERVER = "processor\t: 0\nBogoMIPS\t: 243.75\nCPU implementer\t: 0x41\nCPU part\t: 0xd0c\n"
POWER = "processor\t: 0\ncpu\t\t: POWER9, altivec supported\n"


@pytest.mark.parametrize(
    ("cpuinfo", "board", "name"),
    [
        (X86, "", "Intel(R) Xeon(R) 8481C"),
        (ARM_BOARD, "", "Raspberry Pi 4"),
        (ARM_SERVER, "Jetson Orin\0", "Jetson Orin"),
        (ARM_SERVER, "", "ARM implementer 0x41 part 0xd0c"),
        (POWER, "", "POWER9, altivec supported"),
        ("", "", platform.machine()),
    ],
)
def test_the_cpu_on_linux(cpuinfo: str, board: str, name: str, tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text(cpuinfo)
    if board:
        (tmp_path / "board").write_text(board)
    assert cpu_model("Linux", tmp_path / "cpuinfo", tmp_path / "board") == name


def test_the_cpu_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sysctl = tmp_path / "sysctl"
    sysctl.write_text('#!/bin/sh\n[ "$*" = "-n machdep.cpu.brand_string" ] && echo Apple M9\n')
    sysctl.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert cpu_model("Darwin") == "Apple M9"
    monkeypatch.setattr(platform, "processor", lambda: "Intel64 Family 6, GenuineIntel")
    assert cpu_model("Windows") == "Intel64 Family 6, GenuineIntel"


def test_the_gpu_without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = Gpu("NVIDIA H100"), Gpu("NVIDIA T4")
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(one, other))
    by_slot = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    machine = describe_machine("cuda:1", by_slot)
    assert (machine.gpu, machine.gpu_driver) == ("NVIDIA T4", "570.86.15")
    assert describe_machine("cuda", {**by_slot, "CUDA_VISIBLE_DEVICES": "0"}).gpu == "NVIDIA H100"
    assert describe_machine("cuda", {}).gpu == "NVIDIA H100 or NVIDIA T4"
    machine = describe_machine("cpu", {})
    assert (machine.gpu, machine.gpu_driver) == (None, None)
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(driver=None))
    assert describe_machine("cuda", {}).gpu is None
    program = "import sys, rdbench.runner.machine as m; m.describe_machine('cuda'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_the_machine_now() -> None:
    machine = describe_machine("cpu")
    assert machine.cpu == cpu_model()
    assert machine.cpu_cores == usable_cores() >= 1
    assert platform.node() in machine.host
    if hasattr(os, "getloadavg"):
        assert machine.load is not None
        assert abs(machine.load - os.getloadavg()[0]) < 1


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system has no affinity")
def test_cores_that_the_process_may_not_use_do_not_count() -> None:
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert usable_cores() == 1
    finally:
        os.sched_setaffinity(0, allowed)
