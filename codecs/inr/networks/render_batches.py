"""How many frames a network renders in a call: on a CPU what its cache holds, on a GPU what fills it and its memory."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

RENDER_PIXELS = 1 << 18
"""Most pixels that are rendered at once on a CPU; at least one frame (our choice; 4 frames of 320x180)."""
RENDER_PIXELS_GPU = 1 << 24
"""Most pixels that are rendered at once on a GPU; at least one frame (our choice, not measured; 8 frames of 1080p)."""
SHARE_OF_MEMORY = 0.25
"""Share of a GPU's memory that a call may take (our choice)."""
LIVE_COPIES = 3
"""Bytes that a call needs at once over what its largest layer reads and writes: activation, skip, workspace (ours)."""
FEWEST_CALLS = 4
"""Calls for a clip with so many frames: frames are copied while others are rendered, and warm calls are timed."""


@dataclass(frozen=True)
class Memory:
    """Bytes of a device's memory."""

    total: int
    free: int
    """What this process can allocate now, the reserve of its allocator included."""

    @classmethod
    def of(cls, device: torch.device) -> "Memory":
        """The memory of a GPU."""
        free, total = torch.cuda.mem_get_info(device)
        return cls(total, free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device))


def frames_on_cpu(pixels: int, size: int) -> int:
    """Frames of so many pixels in a call on a CPU, for batches of `size` frames."""
    return max(1, min(size, RENDER_PIXELS // pixels))


def frames_on_gpu(frames: int, pixels: int, layer_bytes: int, memory: Memory) -> int:
    """Frames of so many pixels in a call on a GPU, for a clip of `frames` frames.

    `layer_bytes`: what the network's largest layer reads and writes for one frame. All the memory decides, not what is
    free, so that each process on a machine has the same calls: another number of frames gives other last bits, and two
    decodings have to give the same frames. Only where so much is not free, there are fewer, by halves.
    """
    needed = LIVE_COPIES * max(1, layer_bytes)
    by_memory = int(SHARE_OF_MEMORY * memory.total / needed)
    count = max(1, min(RENDER_PIXELS_GPU // pixels, by_memory, frames // FEWEST_CALLS))
    while count > 1 and count * needed > memory.free:
        count //= 2
    return count


class Calls(ABC):
    """The number of frames in each call for a video."""

    frames: int
    """Frames in the next call."""

    @abstractmethod
    def around(self, network: nn.Module) -> AbstractContextManager[None]:
        """The context of the next call."""


class CallsOnCpu(Calls):
    """The same number in all calls."""

    def __init__(self, pixels: int, size: int) -> None:
        self.frames = frames_on_cpu(pixels, size)

    def around(self, network: nn.Module) -> AbstractContextManager[None]:
        """Nothing."""
        return nullcontext()


class CallsOnGpu(Calls):
    """One frame in the first call, which says how much memory a frame takes, then `frames_on_gpu`."""

    def __init__(self, frames: int, pixels: int, memory: Callable[[], Memory]) -> None:
        self.frames, self._clip, self._memory = 1, (frames, pixels), memory
        self._is_first = True

    @contextmanager
    def around(self, network: nn.Module) -> Iterator[None]:
        """Measures the first call."""
        if not self._is_first:
            yield
            return
        self._is_first = False
        with largest_layer(network) as found:
            yield
        self.frames = frames_on_gpu(*self._clip, found.bytes, self._memory())


def calls_on(device: torch.device, frames: int, pixels: int, size: int) -> Calls:
    """The calls on this device for a clip of `frames` frames of `pixels` pixels, read in batches of `size`."""
    if device.type == "cuda":
        return CallsOnGpu(frames, pixels, lambda: Memory.of(device))
    return CallsOnCpu(pixels, size)


@dataclass
class Largest:
    """What `largest_layer` found."""

    bytes: int = 0


@contextmanager
def largest_layer(network: nn.Module) -> Iterator[Largest]:
    """Counts the bytes that the largest layer of a call inside the block reads and writes."""
    found = Largest()

    def note(layer: nn.Module, given: Any, result: Any) -> None:
        storages = {tensor.data_ptr(): tensor.nbytes for tensor in _tensors((given, result))}
        found.bytes = max(found.bytes, sum(storages.values()))

    layers = [module for module in network.modules() if not any(True for _ in module.children())]
    handles = [layer.register_forward_hook(note) for layer in layers]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def _tensors(value: Any) -> Iterable[Tensor]:
    """The tensors in a value, also inside lists and tuples."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _tensors(each)
