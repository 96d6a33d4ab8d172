"""A trained network as a video: rendered in batches, rounded to 8 bit, copied while the next batch is rendered."""

import time
from collections.abc import Iterator
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from rdbench.codec import Workspace
from rdbench.video import BATCH, Frames, Video, VideoFormat

from .networks.network import Network, render, to_samples
from .networks.render_batches import calls_on


class ClipSize(Protocol):
    """The number of frames and the format of a clip."""

    @property
    def frames(self) -> int:
        """The number of frames."""
        ...

    @property
    def format(self) -> VideoFormat:
        """The format of a rendered frame: 8-bit RGB."""
        ...


class RenderedVideo(Video):
    """The frames that a network renders, cropped to the clip's size and rounded to 8 bit.

    The workspace's precision is that of most operations; float32 defines the frames.
    """

    def __init__(self, network: Network, clip: ClipSize, workspace: Workspace) -> None:
        self.format, self.frames = clip.format, clip.frames
        self._network, self._workspace = network, workspace
        self._device = torch.device(workspace.device)
        self._precision = workspace.precision

    def batches(self, size: int = BATCH) -> Iterator[Frames]:
        """All frames, rendered as by `span`."""
        assert self.frames is not None
        return self.span(0, self.frames, size)

    def span(self, first: int, end: int, size: int = BATCH) -> Iterator[Frames]:
        """The frames from `first` up to `end`, in batches of `size`.

        The network renders a bounded number of pixels in a call, so that memory does not grow with `size`; while it
        renders, the frames of the call before are copied to the host. Reports `render_fps`, the speed of the network
        alone without its first (cold) call, unless there is only one call.
        """
        assert self.frames is not None
        clock = _Clock(self._device)
        pending: list[_Copy] = []
        ready: list[np.typing.NDArray[np.uint8]] = []
        calls = calls_on(self._device, self.frames, self.format.width * self.format.height, size)
        at, end = first, min(end, self.frames)
        while at < end:
            with self._workspace.stopwatch.part("render"):
                stop = min(at + calls.frames, end)
                with calls.around(self._network):
                    pending.append(_Copy(self._render(at, stop, clock)))
                at = stop
                if len(pending) > 1:
                    ready.append(pending.pop(0).numpy())
            yield from _cut(ready, size)
        with self._workspace.stopwatch.part("render"):
            ready += [copy.numpy() for copy in pending]
        if (rate := clock.frames_per_second()) is not None:
            self._workspace.report["render_fps"] = rate
        yield from _cut(ready, size, last=True)

    def _autocast(self) -> torch.autocast:
        """The context in which the network computes: float32, or where the user asks for it a faster number format."""
        dtype = torch.float16 if self._precision == "float16" else torch.bfloat16
        return torch.autocast(self._device.type, dtype, enabled=self._precision != "float32")

    @torch.inference_mode()
    def _render(self, start: int, stop: int, clock: "_Clock") -> Tensor:
        indices = torch.arange(start, stop, device=self._device)
        clock.begin(stop - start)
        with self._autocast():
            output = render(self._network, indices, self._network.frame_grid, self.format.height, self.format.width)
        clock.end()
        return to_samples(output.float())


class _Copy:
    """A copy of frames to the host; from a GPU through pinned memory, without waiting for it."""

    def __init__(self, frames: Tensor) -> None:
        self._event = None
        if frames.device.type == "cuda":
            self._host = torch.empty(frames.shape, dtype=frames.dtype, pin_memory=True)
            self._host.copy_(frames, non_blocking=True)
            self._event = torch.cuda.Event()
            self._event.record()
        else:
            self._host = frames

    def numpy(self) -> np.typing.NDArray[np.uint8]:
        """The frames, once the copy is complete."""
        if self._event is not None:
            self._event.synchronize()
        frames: np.typing.NDArray[np.uint8] = self._host.numpy()
        return frames


def _cut(ready: list[np.typing.NDArray[np.uint8]], size: int, last: bool = False) -> Iterator[Frames]:
    """Removes batches of exactly `size` frames from `ready` and yields them; with `last` also a smaller one."""
    while (count := sum(len(part) for part in ready)) >= size or (last and count):
        joined = ready[0] if len(ready) == 1 else np.concatenate(ready)
        ready[:] = [joined[size:]] if count > size else []
        yield Frames(tuple(joined[:size, channel] for channel in range(3)))


class _Clock:
    """Frames and seconds of all calls but the first; on a GPU measured by its events, without waiting for it."""

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == "cuda"
        self._counts: list[int] = []
        self._spans: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []
        self._seconds: list[float] = []
        self._began = 0.0

    def begin(self, frames: int) -> None:
        """Starts the clock of a call that renders `frames` frames."""
        self._counts.append(frames)
        if self._cuda:
            self._spans.append((torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)))
            self._spans[-1][0].record()
        else:
            self._began = time.perf_counter()

    def end(self) -> None:
        """Stops the clock of the call, which may still be in progress on a GPU."""
        if self._cuda:
            self._spans[-1][1].record()
        else:
            self._seconds.append(time.perf_counter() - self._began)

    def frames_per_second(self) -> float | None:
        """The speed of the calls after the first; None with fewer than two calls."""
        if len(self._counts) < 2:
            return None
        if self._cuda:
            torch.cuda.synchronize()
            self._seconds = [first.elapsed_time(last) / 1000 for first, last in self._spans]
        return sum(self._counts[1:]) / sum(self._seconds[1:])


def synchronize(device: torch.device) -> None:
    """Waits until the device has finished all its work; to be called before a clock is read."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
