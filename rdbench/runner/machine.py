"""The machine and the software behind a result: CPU, GPU, load, versions, commit."""

import os
import platform
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from .nvml import find_gpus, open_nvml, read_driver, read_name

CPUINFO = Path("/proc/cpuinfo")
BOARD = Path("/sys/firmware/devicetree/base/model")
"""Where Linux shows the name of an ARM board."""
PACKAGES = ("rdbench", "torch", "numpy", "pytorch-msssim", "imageio-ffmpeg")
"""Packages whose versions a record keeps."""


@dataclass(frozen=True)
class Machine:
    """What a result was made on."""

    cpu: str
    """The CPU's model, as its maker prints it."""
    cpu_cores: int
    """Logical cores that this process may use."""
    gpu: str | None
    """The GPU's model; None for work on the CPU, and where no driver names it."""
    gpu_driver: str | None
    host: str
    """Network name, architecture and operating system."""
    load: float | None
    """Average number of processes that ran or waited during the last minute; None where the system keeps none."""


def describe_machine(device: str, environment: Mapping[str, str] | None = None) -> Machine:
    """The machine now, for work on this device (`cpu`, `cuda`, `cuda:1`).

    `environment` has the variables of the process that uses the GPU (CUDA_VISIBLE_DEVICES; default: this process's).
    """
    gpu, driver = describe_gpu(device, environment)
    host = f"{platform.node()} {platform.machine()} {platform.system()}"
    return Machine(cpu_model(), usable_cores(), gpu, driver, host, load_average())


def describe_gpu(device: str, environment: Mapping[str, str] | None = None) -> tuple[str | None, str | None]:
    """Model and driver version of the GPU; the models joined by `or` where CUDA's choice is not known."""
    if device == "cpu":
        return None, None
    with open_nvml() as nvml:
        if nvml is None:
            return None, None
        try:
            names = dict.fromkeys(read_name(nvml, gpu) for gpu in find_gpus(nvml, device, environment))
            return " or ".join(names) or None, read_driver(nvml)
        except nvml.NVMLError:
            return None, None


def usable_cores() -> int:
    """Logical cores that this process may use, by its affinity where the system has one."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def load_average() -> float | None:
    """The load average of the last minute; None on Windows."""
    try:
        return round(os.getloadavg()[0], 2)
    except (AttributeError, OSError):
        return None


def cpu_model(system: str | None = None, cpuinfo: Path = CPUINFO, board: Path = BOARD) -> str:
    """The model of the CPU; the architecture where nothing names it."""
    system = system or platform.system()
    if system == "Linux":
        named = _linux_cpu(_read(cpuinfo), _read(board))
    elif system == "Darwin":
        named = _output(["sysctl", "-n", "machdep.cpu.brand_string"])
    else:
        named = platform.processor()
    return named or platform.machine() or "unknown"


def _linux_cpu(cpuinfo: str, board: str) -> str | None:
    """The first name in /proc/cpuinfo: `model name` on x86, others elsewhere; ARM often has only numbers."""
    pairs = (line.partition(":") for line in reversed(cpuinfo.splitlines()))  # the first core wins
    values = {key.strip(): value.strip() for key, _, value in pairs if value.strip()}
    for key in ("model name", "cpu model", "cpu", "Model", "Hardware"):
        if key in values:
            return re.sub(r"\s+", " ", values[key])
    if board.strip("\0\n "):
        return board.strip("\0\n ")
    if "CPU implementer" in values:
        return f"ARM implementer {values['CPU implementer']} part {values.get('CPU part', 'unknown')}"
    return None


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def _output(command: list[str], folder: Path | None = None, environment: dict[str, str] | None = None) -> str | None:
    """What a program prints, without white space around it; None where it fails."""
    try:
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode(errors="replace").strip()


def software_versions() -> dict[str, str]:
    """Versions of Python and of the packages behind a result, and `commit` where rdbench runs from a checkout."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    commit = checkout_commit(Path(__file__).parents[2])
    return versions if commit is None else {**versions, "commit": commit}


@lru_cache(maxsize=8)
def checkout_commit(folder: Path) -> str | None:
    """The commit of a checkout of rdbench, with `+changes` where tracked files differ from it; asked once.

    None where the folder is not the root of a repository that tracks `rdbench/__init__.py`: an environment inside
    somebody's own repository is not a checkout of rdbench.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment["GIT_OPTIONAL_LOCKS"] = "0"  # reading the state must not write the index

    def git(*arguments: str) -> str | None:
        return _output(["git", *arguments], folder, environment)

    root = git("rev-parse", "--show-toplevel")
    if not root or Path(root).resolve() != folder.resolve() or not git("ls-files", "rdbench/__init__.py"):
        return None
    commit = git("rev-parse", "--verify", "HEAD")
    changes = git("status", "--porcelain", "--untracked-files=no")
    if not commit or changes is None:
        return None
    return f"{commit}+changes" if changes else commit
