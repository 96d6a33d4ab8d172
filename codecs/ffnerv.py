"""FFNeRV: Flow-Guided Frame-Wise Neural Representations for Videos (J. C. Lee et al., ACM Multimedia 2023).

Learned temporal grids give the features of a frame. A decoder renders from them an independent frame and, at a quarter
of its resolution, optical flows to the frames around it. Their independent frames are warped by the flows and blended,
and the result is blended with the frame's own independent frame. Grids and weights are transmitted; they are quantized
from the first training step. `ffnerv[blocks=conv]` is the paper's larger network without grouped convolutions,
`ffnerv[flow=false]` has no flows. Our choice: one convention of warping, where the code mixes two; fewer groups where
8 do not divide small widths; how the widths shrink; time steps of the grids in proportion to the number of frames.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from types import MappingProxyType
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from .inr.codec import ClipHeader, InrCodec
from .inr.compression.scheme import Scheme
from .inr.compression.tanh_quantization import MOST_BITS, TanhQuantization
from .inr.networks.flow_guided import REFERENCES, FlowNetwork, flow_stage
from .inr.networks.layers.blocks import UpBlock, halved_widths
from .inr.networks.layers.pointwise import Pointwise
from .inr.networks.layers.temporal_grids import TemporalGrid, grid_lengths
from .inr.networks.layers.upsampling import UpConvolution
from .inr.networks.layers.warping import aggregate
from .inr.networks.network import MOST_FRAMES, NetworkConfig, UpsamplingConfig, choose_geometry
from .inr.networks.sizing import TOLERANCE
from .inr.presets import presets_of
from .inr.recipes.losses import MIXES
from .inr.recipes.stage import Stage
from .inr.training.rate_distortion import InrSettings

GROUPS = 8
"""Groups of a grouped convolution."""


@dataclass(frozen=True)
class FFNeRVConfig(UpsamplingConfig):
    """The network's configuration."""

    channels: int
    """Channels of all grids together (C_g)."""
    first: int
    """Channels after the first block (C_1)."""
    lower: int
    """Smallest number of channels after a block but the first."""
    finest: int
    """Time steps of the finest grid (the largest T_l)."""
    levels: int
    """Number of grids (L)."""
    compact: int = 1
    """1 for grouped and pointwise convolutions in all blocks but the first."""
    flow: int = 1
    """1 for a network with flows."""

    choices = MappingProxyType({"compact": 2, "flow": 2})
    limits = MappingProxyType({"finest": MOST_FRAMES + 1})

    @property
    def grid_channels(self) -> int:
        """Channels of one grid (C_g / L)."""
        return max(1, self.channels // self.levels)

    def widths(self) -> list[int]:
        """Channels before the first block and after each."""
        return [self.grid_channels * self.levels, *halved_widths(self.first, self.strides, self.lower)]

    def count(self) -> int:
        """The number of parameters, without building the network."""
        widths = self.widths()
        total = sum(grid_lengths(self.finest, self.levels)) * self.grid_channels * self.rows * self.columns
        for number, ((a, b), stride) in enumerate(zip(pairwise(widths), self.strides, strict=True)):
            wide = b * stride * stride
            grouped = bool(self.compact and number)
            total += 9 * a * wide // (groups(a, wide) if grouped else 1) + wide + grouped * (wide + 1) * wide
        head = (widths[-1] + 1) * (5 if self.flow else 3)
        return total + head + self.flow * (widths[flow_stage(self.strides) + 1] + 1) * 3 * len(REFERENCES)


def groups(before: int, after: int) -> int:
    """The number of groups of a convolution between these widths: 8, or the largest divisor of 8 that divides both."""
    return math.gcd(GROUPS, before, after)


def candidates(config: FFNeRVConfig, size: int, wide: bool) -> Iterator[tuple[float, int, FFNeRVConfig]]:
    """Configurations like `config` with other widths, each after its cost and its error.

    The error is the difference from `size` in parameters. The cost measures how far the widths are from those of
    `config`; with an error above the tolerance, it is larger than any without, and grows with the error. `wide`
    ranges of widths have all widths in them.
    """
    # in large compact networks only widths that the groups divide; wide ranges where the grids cannot shrink further
    step = 8 * max(1, config.first // 192) if config.compact and config.first >= 96 else max(1, config.first // 24)
    step, finer = (1, 1) if wide else (step, max(1, config.lower // 12))
    down, up = (8, 4) if wide or config.channels == config.levels else (2, 2)
    most = (4 if wide else 2) * config.first
    for first in range(step * max(1, config.first // down // step), most + 1, step):
        for lower in range(max(1, config.lower // 2), up * config.lower + 1, finer):
            other = replace(config, first=first, lower=lower)
            error = abs(other.count() - size)
            shape = abs(math.log(first / config.first)) + abs(math.log(lower / config.lower))
            yield shape + (0 if error <= TOLERANCE * size else 10 + error), error, other


class CompactBlock(nn.Sequential):
    """A grouped 3x3 convolution, a pointwise one, pixel shuffle, GELU (section 3.4)."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        wide = after * stride * stride
        grouped = nn.Conv2d(before, wide, 3, padding=1, groups=groups(before, wide))
        super().__init__(grouped, UpConvolution(wide, after, stride, kernel=1), nn.GELU())


class FFNeRV(FlowNetwork):
    """Temporal grids, blocks, flow head and image head, aggregation (sections 3.1 to 3.3)."""

    def __init__(self, config: FFNeRVConfig, frames: int) -> None:
        super().__init__(config.patch_size, frames, config.strides)
        self.config = config
        lengths = grid_lengths(config.finest, config.levels)
        shape = (config.grid_channels, config.rows, config.columns)
        self.grids = nn.ModuleList(TemporalGrid(length, *shape, frames) for length in lengths)
        self.latents = frozenset(f"grids.{number}.rows" for number in range(config.levels))
        widths = config.widths()
        stages = list(zip(pairwise(widths), config.strides, strict=True))
        # the first block has no grouped convolution
        self.blocks = nn.ModuleList(
            CompactBlock(a, b, s) if config.compact and number else UpBlock(a, b, s, nn.GELU)
            for number, ((a, b), s) in enumerate(stages)
        )
        self.motion = Pointwise(widths[self._flow_stage + 1], 3 * len(REFERENCES)) if config.flow else None
        self.head = Pointwise(widths[-1], 5 if config.flow else 3)

    def independent_frames(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Independent frames from the features of the grids; motion is at a quarter of their resolution."""
        return self.decode(torch.cat([grid(frames) for grid in self.grids], dim=1))

    def aggregate(self, references: Tensor, motion: Tensor) -> Tensor:
        """The warped and blended references; their weights are upsampled after the softmax."""
        return aggregate(references, motion, self._flow_scale)

    def resolve_border(self, indices: Tensor) -> Tensor:
        """The indices, with -1 for a black frame in place of those beyond the clip (FFNeRV's commands and code)."""
        return indices.where((indices >= 0) & (indices < self.frames), -1)


class FFNeRVSettings(InrSettings):
    """The recipe of the paper's compression (section 4.2); without quantization it trains for 300 epochs."""

    epochs: int = Field(600, ge=1)
    """Epochs of training, before the other stages."""
    lr: float = Field(5e-4, gt=0)
    """Learning rate of the training, which a schedule changes over its epochs."""
    batch: int = Field(1, ge=1)
    """Frames per training step."""
    loss: Literal["l1_ssim", "l1_ms_ssim", "l2"] = "l1_ssim"
    """The training loss; of two terms the first has the weight 0.7, the second 0.3."""
    bits: int = Field(8, ge=2, le=MOST_BITS)
    """Bits of a quantized weight before entropy coding."""
    entropy: Literal["arithmetic", "huffman"] = "arithmetic"
    """Entropy coder; the paper uses Huffman coding."""
    blocks: Literal["compact", "conv"] = "compact"
    """Blocks: grouped and pointwise convolutions, or the paper's larger network with dense ones."""
    flow: bool = True
    """Whether neighboring frames are warped by optical flow and blended in."""


class FFNeRVCodec(InrCodec):
    """FFNeRV with its quantization-aware training (section 3.4)."""

    name = "ffnerv"
    reference = "Lee et al., FFNeRV: Flow-Guided Frame-Wise Neural Representations for Videos, ACM Multimedia 2023"
    Settings = FFNeRVSettings
    config = FFNeRVConfig
    free_width = "first"
    revision = 4
    scheme = TanhQuantization
    presets = presets_of(
        quick={"epochs": 70, "lr": 4e-3},
        tiny={"epochs": 16, "lr": 5e-3},
        best={"optimizer": "muon", "lr": 1.6e-2},
    )

    @property
    def _largest_channels(self) -> int:
        """C_g of the paper's largest network with these blocks."""
        return 48 if self.settings.blocks == "compact" else 156

    def scaled(self, clip: ClipHeader, share: float) -> FFNeRVConfig:
        """The paper's network with widths times `share`: `channels` is C_g, `first` C_1, `finest` the largest T_l.

        Compact blocks: grids of N and N / 2 time steps, C_g = 48 at share 1. Dense ones: four grids, the finest with
        512 time steps for 600 frames, C_g = 156.
        """
        geometry, compact = choose_geometry(clip.width, clip.height), self.settings.blocks == "compact"
        levels, finest = (2, clip.frames) if compact else (4, clip.frames * 512 // 600)
        channels = levels * max(1, round(self._largest_channels * share / levels))
        share = channels / self._largest_channels
        return FFNeRVConfig(
            geometry.rows, geometry.columns, geometry.strides, channels=channels,
            first=max(2, round((8 * 48 if compact else 156) * share)),
            lower=max(2, round(min(24 if compact else 96, (72 if compact else 156) * share))),
            finest=max(1, finest), levels=levels, compact=int(compact), flow=int(self.settings.flow),
        )  # fmt: skip

    def _solved(self, clip: ClipHeader, size: int) -> NetworkConfig:
        """The configuration closest to the paper's shape that meets the size.

        All are counted: because of the groups, the number of parameters does not grow steadily with the widths.
        """
        step = self.scaled(clip, 0.0).channels
        most = step
        while self.scaled(clip, most / self._largest_channels).count() < 1.5 * size:
            most += step
        shapes = [self.scaled(clip, channels / self._largest_channels) for channels in range(step, most + step, step)]

        def best(wide: bool) -> tuple[float, int, FFNeRVConfig]:
            tried = (candidate for shape in shapes for candidate in candidates(shape, size, wide))
            return min(tried, key=lambda candidate: candidate[0])

        _, error, config = best(wide=False)
        return config if error <= TOLERANCE * size else best(wide=True)[2]

    @classmethod
    def build(cls, config: NetworkConfig, clip: ClipHeader) -> FFNeRV:
        """The network."""
        assert isinstance(config, FFNeRVConfig)
        return FFNeRV(config, clip.frames)

    def recipe(self) -> Sequence[Stage]:
        """One training stage, quantized from its first step."""
        s = self.settings
        return (Stage("fit", s.epochs, s.lr, batch=s.batch, loss=MIXES[s.loss], betas=(0.5, 0.999)),)

    def compression(self) -> Scheme:
        """The paper's quantization-aware training, with `tanh` of the weights."""
        return TanhQuantization(self.settings.bits, self.settings.entropy)
