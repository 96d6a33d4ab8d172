"""InrCodec: fit, compress, write; read, rebuild, render."""

import re
import time
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from rdbench.codec import Clip, Codec, Host, Kind, RatePoint, Source, Workspace
from rdbench.errors import BitstreamError, UsageError
from rdbench.video import BATCH, Frames, Video, VideoFormat

from . import stream
from .compression import post_training
from .network import count_macs, count_parameters

LARGEST_SIDE = 1 << 15
LARGEST_FRAME = 1 << 26
"""Pixels."""
MOST_FRAMES = 1 << 20
MOST_PARAMETERS = 1 << 28
RENDER_PIXELS = 1 << 18
"""The network renders so many pixels at once, or one frame (our choice; 4 frames of 320x180)."""
SMALLEST_SIZE = 2_000
"""Below so many parameters nothing of a clip is left (our choice)."""


@dataclass(frozen=True)
class ClipHeader:
    """What every INR bitstream says of its clip, as integers."""

    width: int
    height: int
    frames: int
    rate_up: int
    rate_down: int

    @property
    def format(self) -> VideoFormat:
        """8-bit RGB, full range."""
        rate = Fraction(self.rate_up, self.rate_down)
        return VideoFormat(self.width, self.height, "rgb", 8, rate, full_range=True)

    def check(self) -> Self:
        """Itself. Raises BitstreamError for what no clip is."""
        sizes = (self.width, self.height, self.frames, self.rate_up, self.rate_down)
        too_large = max(self.width, self.height) > LARGEST_SIDE or self.width * self.height > LARGEST_FRAME
        if min(sizes) < 1 or too_large or self.frames > MOST_FRAMES:
            raise BitstreamError("The bitstream's header describes no possible clip; encode it again.")
        return self


class InrCodec(Codec):
    """A codec whose bitstream is a network. A subclass says which network, and how it is fitted and compressed."""

    name: ClassVar[str]
    kind: ClassVar[Kind] = "INR"
    scheme: ClassVar[int] = 1
    """Counts up whenever the same settings give other bits."""

    @classmethod
    def missing(cls, host: Host) -> str | None:
        """Nothing: torch comes along."""
        return None

    @classmethod
    def version(cls, host: Host) -> str:
        """The codec and its scheme."""
        return f"{cls.name}-{cls.scheme}"

    @abstractmethod
    def build_for(self, clip: ClipHeader, size: int) -> tuple[nn.Module, Sequence[int]]:
        """A network of about `size` parameters, and the integers that `rebuild` makes it from."""

    @classmethod
    @abstractmethod
    def rebuild(cls, clip: ClipHeader, numbers: Sequence[int]) -> nn.Module:
        """The network, on the meta device: no memory yet. Raises BitstreamError for numbers that describe none."""

    @abstractmethod
    def fit(self, network: nn.Module, frames: Tensor, workspace: Workspace) -> None:
        """Fits the network to the frames `[N, 3, H, W]` in 8 bit, in stages that a restart takes up."""

    def rate_points(self, clip: Clip) -> Sequence[RatePoint]:
        """The model sizes of the clip's manifest, or four that give about 0.02 to 0.2 bit a pixel (our choice)."""
        pixels = clip.frames * clip.format.width * clip.format.height
        derived = sorted({_two_digits(max(SMALLEST_SIZE, pixels * share // 1000)) for share in (3, 6, 12, 24)})
        return [RatePoint(size_label(size), {"size": size}) for size in sorted(clip.sizes) or derived]

    def rate_point(self, label: str, clip: Clip) -> RatePoint:
        """Any size, as `100K` or `1.5M`. Raises UsageError."""
        match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)([KM])", label)
        size = round(float(match[1]) * (1e6 if match[2] == "M" else 1e3)) if match else 0
        if not SMALLEST_SIZE <= size <= MOST_PARAMETERS:
            raise UsageError(f"{label!r} is no model size of {self.name}; write it as 100K or 1.5M (2K to 268M).")
        return RatePoint(size_label(size), {"size": size})

    def encode(self, source: Source, point: RatePoint, bitstream: Path, workspace: Workspace) -> None:
        """Fits a network of the rate point's size and writes it."""
        frames = torch.cat([_stack(batch) for batch in source.rgb.batches()]).to(workspace.device)
        fmt = source.rgb.format
        rate = fmt.frame_rate
        clip = ClipHeader(fmt.width, fmt.height, len(frames), rate.numerator, rate.denominator).check()
        torch.manual_seed(workspace.seed)
        network, numbers = self.build_for(clip, int(point.settings["size"]))
        network.to(workspace.device)
        workspace.report["parameters"] = count_parameters(network)
        macs = count_macs(self.rebuild(clip, numbers), torch.zeros(1, dtype=torch.long, device="meta"))
        workspace.report["kmacs_per_pixel"] = macs / (1000 * fmt.width * fmt.height)
        with workspace.stopwatch.part("fit"):
            self.fit(network, frames, workspace)
            _synchronize(frames.device)
        with workspace.stopwatch.part("compress"):
            header = (clip.width, clip.height, clip.frames, clip.rate_up, clip.rate_down, self.settings.bits)
            sections = {"config": stream.pack_integers([*header, *numbers])}
            sections |= post_training.compress(network, self.settings.bits)
            stream.write_stream(bitstream, self.name, sections)

    @classmethod
    def decode(cls, bitstream: Path, workspace: Workspace) -> Video:
        """Rebuilds the network from the file; the video renders it. Raises BitstreamError."""
        with workspace.stopwatch.part("entropy_decode"):
            sections = stream.read_stream(bitstream, cls.name)
            if set(sections) != {"config", "ranges", "table", "weights"}:
                raise BitstreamError("The bitstream lacks a section or has one too many; encode the clip again.")
            numbers = stream.unpack_integers(sections["config"])
            if len(numbers) < 6 or not 2 <= numbers[5] <= 12:
                raise BitstreamError("The bitstream's configuration is damaged; encode the clip again.")
            clip, bits = ClipHeader(*numbers[:5]).check(), numbers[5]
            network = cls.rebuild(clip, numbers[6:])
            post_training.restore(network, sections, bits)
        workspace.report["parameters"] = count_parameters(network)
        return RenderedVideo(network.to(workspace.device).eval(), clip, workspace)

    @classmethod
    def ledger(cls, bitstream: Path) -> Mapping[str, int]:
        """Bytes of the sections and of the container."""
        return stream.ledger(bitstream, cls.name)


class RenderedVideo(Video):
    """What the network renders, cropped to the clip's size and rounded to 8 bit."""

    def __init__(self, network: nn.Module, clip: ClipHeader, workspace: Workspace) -> None:
        self.format, self.frames = clip.format, clip.frames
        self._network, self._workspace = network, workspace

    def batches(self, size: int = BATCH) -> Iterator[Frames]:
        """Frames in order; reports `render_fps`, the network alone, the first (cold) call left out.

        The network renders at most RENDER_PIXELS at once, so that memory does not grow with `size`. A clip that is
        rendered in one call has no `render_fps`.
        """
        assert self.frames is not None
        at_once = min(size, max(1, RENDER_PIXELS // (self.format.width * self.format.height)))
        clock = _Clock()
        for start in range(0, self.frames, size):
            stop = min(start + size, self.frames)
            with self._workspace.stopwatch.part("render"):
                parts = [self._render(at, min(at + at_once, stop), clock) for at in range(start, stop, at_once)]
                rgb = np.concatenate(parts)
            if clock.seconds > 0:
                self._workspace.report["render_fps"] = clock.frames / clock.seconds
            yield Frames(tuple(rgb[:, channel] for channel in range(3)))

    def _render(self, start: int, stop: int, clock: "_Clock") -> npt.NDArray[np.uint8]:
        device = torch.device(self._workspace.device)
        with torch.inference_mode():
            indices = torch.arange(start, stop, device=device)
            _synchronize(device)
            began = time.perf_counter()
            output = self._network(indices)
            _synchronize(device)
            clock.tick(stop - start, time.perf_counter() - began)
            rounded: npt.NDArray[np.uint8] = (output * 255).round_().clamp_(0, 255).to(torch.uint8).cpu().numpy()
        return rounded


@dataclass
class _Clock:
    """Frames and seconds of all calls but the first."""

    frames: int = 0
    seconds: float = 0.0
    warm: bool = False

    def tick(self, frames: int, seconds: float) -> None:
        if self.warm:
            self.frames, self.seconds = self.frames + frames, self.seconds + seconds
        self.warm = True


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _stack(batch: Frames) -> Tensor:
    return torch.from_numpy(np.stack(batch.planes, axis=1))


def _two_digits(size: int) -> int:
    unit = 10 ** (len(str(size)) - 2)
    return int(round(size / unit) * unit)


def size_label(size: int) -> str:
    """`1.5M`, `100K`, `1.234K`."""
    value, unit = (size / 1e6, "M") if size >= 1_000_000 else (size / 1e3, "K")
    return f"{value:.6f}".rstrip("0").rstrip(".") + unit
