"""InrCodec: fit, compress, write; read, rebuild, render."""

import math
import re
import time
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from rdbench.codec import Clip, Codec, Host, Kind, RatePoint, SettingsBase, Source, Timing, Workspace
from rdbench.errors import BitstreamError, UsageError
from rdbench.video import Video, VideoFormat

from . import bitstream as stream
from .compression.scheme import Scheme
from .networks.encoder import Encoder
from .networks.network import MOST_FRAMES, Network, NetworkConfig, count_macs, count_parameters, to_device
from .networks.sizing import solve_width
from .recipes.stage import Stage
from .rendering import RenderedVideo, synchronize
from .training.end_to_end import EndToEnd
from .training.rate_distortion import (
    InrSettings,
    LagrangianRate,
    RateObjective,
    lambda_label,
    share_pretraining,
    split_label,
)
from .training.timing import time_stages
from .training.trainer import Trainer

LARGEST_SIDE = 1 << 15
LARGEST_FRAME = 1 << 26
"""Pixels."""
MOST_PARAMETERS = 1 << 28
MOST_PADDING = 8
"""No frame is rendered to more than so many times its area; `choose_geometry` stays far below."""
MACS_PER_SECOND = 1e10
"""Of one CPU core, for `rdbench plan` (measured once: 0.8e10 to 1.3e10)."""
LOSS_MACS = 2000
"""What SSIM costs for each pixel of a step, forward and backward (measured once)."""
RATE_OBJECTIVES: Mapping[str, type[RateObjective]] = MappingProxyType(
    {"entropy-constrained": LagrangianRate, "nvrc": EndToEnd}
)
"""What `compression` may put in the place of a codec's own, which is no key here."""
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
    def pixels(self) -> int:
        """Of a frame."""
        return self.width * self.height

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
    revision: ClassVar[int] = 1
    """Counts up whenever the same settings give other bits."""
    config: ClassVar[type[NetworkConfig]]
    free_width: ClassVar[str] = "stem"
    """The width that takes up what is left of a size."""
    scheme: ClassVar[type[Scheme]]
    """What reads its bitstreams, unless a setting has put another in its place."""
    Settings: ClassVar[type[SettingsBase]] = InrSettings

    @classmethod
    def signatures(cls) -> tuple[bytes, ...]:
        """The container's, with the name."""
        return (stream.signature(cls.name),)

    @classmethod
    def missing(cls, host: Host) -> str | None:
        """Nothing: torch comes along."""
        return None

    @classmethod
    def version(cls, host: Host) -> str:
        """The codec and its scheme."""
        return f"{cls.name}-{cls.revision}"

    @abstractmethod
    def scaled(self, clip: ClipHeader, share: float) -> NetworkConfig:
        """The paper's network for a clip of this size, all its widths times `share`; the size solver turns it."""

    @classmethod
    @abstractmethod
    def build(cls, config: NetworkConfig, clip: ClipHeader) -> Network:
        """The network, in the memory of torch's current device."""

    def encoder(self, network: Network, clip: ClipHeader) -> Encoder | None:
        """The encoder network that is fitted along with a network and does not travel, where there is one."""
        return None

    @abstractmethod
    def recipe(self) -> Sequence[Stage]:
        """The stages of the fit."""

    @abstractmethod
    def compression(self) -> Scheme:
        """A fresh scheme of its own, as the settings want it."""

    @property
    def constraint(self) -> RateObjective | None:
        """What weighs the rate in the loss, where the settings want it."""
        kind = RATE_OBJECTIVES.get(self.settings.compression)
        return kind.of(self.settings) if kind is not None else None

    def _recipe_at_unit_lambda(self, constraint: RateObjective) -> Sequence[Stage]:
        """The recipe for a lambda of 1."""
        return self.recipe() if constraint.scheme is self.scheme else constraint.arrange(self.recipe())

    def stages(self, point: RatePoint) -> Sequence[Stage]:
        """The recipe for a rate point."""
        constraint = self.constraint
        if constraint is None:
            return self.recipe()
        weight = float(point.settings["lambda"])
        return [constraint.weigh(stage, weight) for stage in self._recipe_at_unit_lambda(constraint)]

    def chosen_compression(self) -> Scheme:
        """A fresh scheme: its own, or what the settings put in its place."""
        return self.constraint.compression() if self.constraint is not None else self.compression()

    def build_for(self, clip: ClipHeader, size: int) -> tuple[Network, NetworkConfig]:
        """The network of about `size` parameters."""
        config = self._solved(clip, size)
        return self.build(config, clip), config

    def _solved(self, clip: ClipHeader, size: int) -> NetworkConfig:
        return solve_width(size, lambda share: self.scaled(clip, share), lambda c: self.build(c, clip), self.free_width)

    @classmethod
    def rebuild(cls, clip: ClipHeader, numbers: Sequence[int]) -> Network:
        """The network on the meta device: no memory yet. Raises BitstreamError for numbers that describe none."""
        config = cls.config.from_numbers(numbers)
        with torch.device("meta"):
            network = cls.build(config, clip)
        sides = zip(network.patch_size, network.grid, (clip.height, clip.width), strict=True)
        covered = [(patch * cells, side, config.step * cells) for patch, cells, side in sides]
        area = math.prod(whole for whole, _, _ in covered)
        if not all(0 <= whole - side < step for whole, side, step in covered) or area > MOST_PADDING * clip.pixels:
            raise BitstreamError("The bitstream's network does not fit the size of its clip; encode it again.")
        if count_parameters(network) > MOST_PARAMETERS:
            raise BitstreamError(f"The bitstream describes more than {MOST_PARAMETERS} parameters; encode again.")
        return network

    def rate_points(self, clip: Clip) -> Sequence[RatePoint]:
        """The model sizes of the clip's manifest, or four that give about 0.02 to 0.2 bit a pixel (our choice).

        Where the loss weighs the rate, pairs of a size and lambda.
        """
        pixels = clip.frames * clip.format.width * clip.format.height
        derived = sorted({_two_digits(max(SMALLEST_SIZE, pixels * share // 1000)) for share in (3, 6, 12, 24)})
        sizes, constraint = sorted(clip.sizes) or derived, self.constraint
        if constraint is None:
            return [RatePoint(size_label(size), {"size": size}) for size in sizes]
        pairs = constraint.pairs(sizes, self._recipe_at_unit_lambda(constraint)[-1].loss)
        return [self.rate_point(lambda_label(size_label(size), weight), clip) for size, weight in pairs]

    def rate_point(self, label: str, clip: Clip) -> RatePoint:
        """Any size, as `100K` or `1.5M`; where the loss weighs the rate, `100K-lambda0.5`. Raises UsageError."""
        constraint = self.constraint
        if constraint is None:
            return RatePoint(size_label(self._size(label)), {"size": self._size(label)})
        text, given = split_label(label)
        size = self._size(text)
        weight = constraint.lambda_for(size, clip) if given is None else given
        if weight is None:
            raise UsageError(f"{label!r} is no rate point of {self.name}; write size and lambda, as 100K-lambda0.5.")
        return RatePoint(lambda_label(size_label(size), given), {"size": size, "lambda": weight})

    def _size(self, label: str) -> int:
        match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)([KM])", label)
        size = round(float(match[1]) * (1e6 if match[2] == "M" else 1e3)) if match else 0
        if not SMALLEST_SIZE <= size <= MOST_PARAMETERS:
            raise UsageError(f"{label!r} is no model size of {self.name}; write it as 100K or 1.5M (2K to 268M).")
        return size

    def estimate_seconds(self, clip: Clip, point: RatePoint, device: str) -> float | None:
        """From the multiply-accumulates of all steps, three passes each; None on a GPU, whose speed varies widely."""
        if device.startswith("cuda"):
            return None
        fmt = clip.format
        header = ClipHeader(fmt.width, fmt.height, clip.frames, fmt.frame_rate.numerator, fmt.frame_rate.denominator)
        with torch.device("meta"):
            network = self.build(self._solved(header, int(point.settings["size"])), header)
        frames = clip.frames * sum(stage.epochs for stage in self.stages(point))
        return frames * (3 * count_macs(network) + LOSS_MACS * header.pixels) / MACS_PER_SECOND

    def prepare(self, source: Source, point: RatePoint, workspace: Workspace) -> "Prepared":
        """What a fit begins with: the frames and the network on the device."""
        frames = _stacked(source.rgb).to(workspace.device)
        fmt = source.rgb.format
        rate = fmt.frame_rate
        clip = ClipHeader(fmt.width, fmt.height, len(frames), rate.numerator, rate.denominator).check()
        torch.manual_seed(workspace.seed)
        network, config = self.build_for(clip, int(point.settings["size"]))
        workspace.report["parameters"] = count_parameters(network)
        macs = count_macs(self.rebuild(clip, config.numbers()))
        workspace.report["kmacs_per_pixel"] = macs / (1000 * clip.pixels)
        to_device(network, workspace.device)
        encoder = self.encoder(network, clip)
        if encoder is not None:
            to_device(encoder, workspace.device)
        return Prepared(frames, clip, network, config, macs, encoder)

    def encode(self, source: Source, point: RatePoint, bitstream: Path, workspace: Workspace) -> None:
        """Fits a network of the rate point's size and writes it."""
        ready = self.prepare(source, point, workspace)
        scheme, stages = self.chosen_compression(), self.stages(point)

        def pretrain(own: Workspace, before: Sequence[Stage]) -> None:
            ready.fit(self.chosen_compression(), own, before).run()

        with workspace.stopwatch.part("fit"):
            started = time.perf_counter()
            if self.constraint is not None:
                share_pretraining(stages, point, workspace, pretrain)
            waited = time.perf_counter() - started
            fit = ready.fit(scheme, workspace, stages)
            fit.run()
            synchronize(ready.frames.device)
        workspace.stopwatch.borrow("fit", fit.inherited - waited if fit.inherited else 0.0)
        with workspace.stopwatch.part("compress"):
            self._write(ready, scheme, bitstream)

    def _write(self, ready: "Prepared", scheme: Scheme, bitstream: Path) -> None:
        clip, chosen = ready.clip, scheme.numbers()
        header = (clip.width, clip.height, clip.frames, clip.rate_up, clip.rate_down, len(chosen), *chosen)
        settled = ready.network.final_config(ready.config)
        config = stream.pack_integers([*header, *settled.numbers()])
        stream.write_stream(bitstream, self.name, {"config": config, **scheme.write(ready.network)})

    def time_fit(self, source: Source, point: RatePoint, steps: int, workspace: Workspace) -> Sequence[Timing]:
        """Steps of every stage, one after the other, from the first one's weights."""
        ready = self.prepare(source, point, workspace)
        return time_stages(ready.fit(self.chosen_compression(), workspace, self.stages(point)), steps, ready.macs)

    def write_sample(self, source: Source, point: RatePoint, bitstream: Path, workspace: Workspace) -> None:
        """The network before its fit, in the last stage's form."""
        ready, scheme = self.prepare(source, point, workspace), self.chosen_compression()
        for stage in self.stages(point):
            ready.network.enter(stage)
            scheme.enter(ready.network, stage)
        self._write(ready, scheme, bitstream)

    @classmethod
    def decode(cls, bitstream: Path, workspace: Workspace) -> Video:
        """Rebuilds the network from the file; the video renders it. Raises BitstreamError."""
        with workspace.stopwatch.part("entropy_decode"):
            sections = stream.read_stream(bitstream, cls.name)
            known = (cls.scheme, *(constraint.scheme for constraint in RATE_OBJECTIVES.values()))
            kinds = [kind for kind in known if set(sections) == {"config", *kind.sections}]
            if not kinds:
                raise BitstreamError("The bitstream lacks a section or has one too many; encode the clip again.")
            numbers = stream.unpack_integers(sections.pop("config"))
            if len(numbers) < 6 or len(numbers) < 6 + numbers[5]:
                raise BitstreamError("The bitstream's configuration is damaged; encode the clip again.")
            clip, end = ClipHeader(*numbers[:5]).check(), 6 + numbers[5]
            scheme = kinds[0].from_numbers(numbers[6:end])
            network = cls.rebuild(clip, numbers[end:])
            scheme.read(network, sections)
        workspace.report["parameters"] = count_parameters(network)
        to_device(network, workspace.device)
        return RenderedVideo(network.eval(), clip, workspace)

    @classmethod
    def ledger(cls, bitstream: Path) -> Mapping[str, int]:
        """Bytes of the sections and of the container."""
        return stream.ledger(bitstream, cls.name)


@dataclass(frozen=True)
class Prepared:
    """A fit before its first step."""

    frames: Tensor
    """`[N, 3, H, W]`, 8 bit, on the device."""
    clip: ClipHeader
    network: Network
    config: NetworkConfig
    macs: int
    """Multiply-accumulates of one frame."""
    encoder: Encoder | None

    def fit(self, scheme: Scheme, workspace: Workspace, stages: Sequence[Stage]) -> Trainer:
        """The fit."""
        return Trainer(self.network, scheme, self.frames, workspace, stages, self.encoder)


def _stacked(video: Video) -> Tensor:
    """All frames `[N, 3, H, W]`, 8 bit."""
    fmt = video.format
    if video.frames is None:
        return torch.cat([torch.from_numpy(np.stack(batch.planes, axis=1)) for batch in video.batches()])
    frames = torch.empty(video.frames, 3, fmt.height, fmt.width, dtype=torch.uint8)
    done = 0
    for batch in video.batches():
        frames[done : done + len(batch)] = torch.from_numpy(np.stack(batch.planes, axis=1))
        done += len(batch)
    return frames[:done]


def _two_digits(size: int) -> int:
    unit = 10 ** (len(str(size)) - 2)
    return int(round(size / unit) * unit)


def size_label(size: int) -> str:
    """`1.5M`, `100K`, `1.234K`."""
    value, unit = (size / 1e6, "M") if size >= 1_000_000 else (size / 1e3, "K")
    return f"{value:.6f}".rstrip("0").rstrip(".") + unit
