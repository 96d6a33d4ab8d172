"""What a piece of work costs besides time: energy and memory."""

import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from .energy import measure_energy
from .gpu_memory import peak_gpu_memory


class Usage:
    """The result of `measure_usage`, complete after the block."""

    def __init__(self) -> None:
        self.joules: float | None = None
        """Energy of the block; None where no counter can be read."""
        self.peak_memory_mb: float | None = None
        """Largest memory so far, in MiB; None for programs on a GPU whose memory cannot be read."""


@contextmanager
def measure_usage(device: str, outside: bool) -> Iterator[Usage]:
    """Measures until the end of the block; `outside`: programs other than this process do the work.

    Memory on a CPU is the larger of this process's and of the largest program's that it ran. On a GPU it is what
    torch allocated, or for programs outside what the driver says of them.
    """
    usage, on_gpu = Usage(), device.startswith("cuda")
    with measure_energy(device) as energy:
        if on_gpu and outside:
            with peak_gpu_memory() as memory:
                yield usage
            usage.peak_memory_mb = memory.megabytes
        else:
            yield usage
    usage.joules = energy.joules
    if not on_gpu:
        usage.peak_memory_mb = _peak_host_memory()
    elif not outside:
        usage.peak_memory_mb = _peak_torch_memory()


def _peak_torch_memory() -> float:
    import torch

    return torch.cuda.max_memory_allocated() / 2**20


def _peak_host_memory() -> float:
    process = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    scale = 2**20 if sys.platform == "darwin" else 2**10
    return max(process, children) / scale
