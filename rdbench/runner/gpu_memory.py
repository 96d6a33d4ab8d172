"""Peak memory on the GPUs of the programs that this process starts, from NVML."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .nvml import open_nvml

PROC = Path("/proc")
POLL_SECONDS = 0.1
"""Distance of the readings (our choice); a shorter peak can go unseen."""


class PeakMemory:
    """The result of `peak_gpu_memory`, complete after the block."""

    def __init__(self) -> None:
        self.megabytes: float | None = None
        """Largest sum over the programs and GPUs, in MiB; None where NVML is missing or lists none of them."""


@contextmanager
def peak_gpu_memory(
    interval: float = POLL_SECONDS, process: int | None = None, proc: Path = PROC
) -> Iterator[PeakMemory]:
    """Watches the GPU memory of all descendants of `process` (default: this one) until the end of the block.

    The process itself does not count. On systems without /proc, and in containers that hide the process numbers
    which the driver lists, there is no result. Never raises an error of its own.
    """
    peak = PeakMemory()
    ancestor = os.getpid() if process is None else process
    with open_nvml() as nvml:
        if nvml is None:
            yield peak
            return
        stop = threading.Event()
        thread = threading.Thread(target=_poll, args=(nvml, ancestor, proc, peak, stop, interval), daemon=True)
        thread.start()
        try:
            yield peak
        finally:
            stop.set()
            thread.join()


def _poll(nvml: Any, ancestor: int, proc: Path, peak: PeakMemory, stop: threading.Event, interval: float) -> None:
    while True:
        used = [size for pid, size in _used_memory(nvml) if _descends(pid, ancestor, proc)]
        if used:
            peak.megabytes = max(peak.megabytes or 0.0, sum(used) / 2**20)
        if stop.wait(interval):
            return


def _used_memory(nvml: Any) -> list[tuple[int, int]]:
    """Process numbers and bytes of everything that runs on a GPU, for each GPU."""
    found = []
    for gpu in _all_gpus(nvml):
        sizes: dict[int, int] = {}
        for query in (nvml.nvmlDeviceGetComputeRunningProcesses, nvml.nvmlDeviceGetGraphicsRunningProcesses):
            try:
                entries = query(gpu)
            except nvml.NVMLError:
                continue
            sizes |= {entry.pid: entry.usedGpuMemory for entry in entries if entry.usedGpuMemory is not None}
        found += list(sizes.items())
    return found


def _all_gpus(nvml: Any) -> list[Any]:
    try:
        return [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())]
    except nvml.NVMLError:
        return []


def _descends(pid: int, ancestor: int, proc: Path) -> bool:
    """Whether a process was started by the ancestor, or by one that descends from it."""
    parent = _parent(pid, proc)
    while parent is not None and parent > 1:
        if parent == ancestor:
            return True
        parent = _parent(parent, proc)
    return parent == ancestor


def _parent(pid: int, proc: Path) -> int | None:
    """The parent's number, the second field after the name, which may contain spaces and brackets (man 5 proc)."""
    try:
        return int((proc / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        return None
