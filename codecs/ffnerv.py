"""FFNeRV: Flow-Guided Frame-Wise Neural Representations for Videos (J. C. Lee et al., ACM Multimedia 2023).

Time reads features from learned grids; a decoder draws an independent frame and, at a quarter of its size, flows to
the frames around it, whose independent frames are bent along them, blended, and blended with its own. Trained with
quantized weights from the first step. `ffnerv[blocks=conv]` is the paper's larger network without grouped
convolutions, `ffnerv[flow=false]` has no flows. Our choice: one convention of warping, where the code mixes two;
fewer groups where 8 do not divide small widths; how the widths shrink; rows of the grids in proportion to the frames.
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

from rdbench.errors import UsageError

from .inr.codec import ClipHeader, InrCodec
from .inr.compression.scheme import Scheme
from .inr.compression.tanh_quantization import MOST_BITS, TanhQuantization
from .inr.networks.flow_guided import REFERENCES, FlowNetwork
from .inr.networks.layers.blocks import UpBlock, halved_widths
from .inr.networks.layers.grids import TemporalGrid, grid_lengths
from .inr.networks.layers.warping import aggregate
from .inr.networks.network import MOST_FRAMES, NetworkConfig, UpsamplingConfig, choose_geometry
from .inr.recipes.losses import MIXES
from .inr.recipes.stage import Stage
from .inr.training.rate_distortion import InrSettings

GROUPS = 8
MISS = 0.01
"""A network that misses a size by no more is taken (our choice)."""


@dataclass(frozen=True)
class FFNeRVConfig(UpsamplingConfig):
    """The network in numbers."""

    channels: int
    """C_g: of all grids together."""
    first: int
    """Channels after the first block."""
    lower: int
    finest: int
    """Rows of the finest grid."""
    levels: int
    compact: int = 1
    flow: int = 1

    choices = MappingProxyType({"compact": 2, "flow": 2})
    limits = MappingProxyType({"finest": MOST_FRAMES + 1})

    @property
    def each(self) -> int:
        """Channels of a grid."""
        return max(1, self.channels // self.levels)

    def widths(self) -> list[int]:
        """Channels before the first block and after each."""
        return [self.each * self.levels, *halved_widths(self.first, self.strides, self.lower)]

    def flow_after(self) -> int:
        """The block whose output the flows are read from: the third from the end."""
        return max(0, len(self.strides) - 3)

    def count(self) -> int:
        """Parameters, without building the network."""
        widths = self.widths()
        total = sum(grid_lengths(self.finest, self.levels)) * self.each * self.rows * self.columns
        for number, ((a, b), stride) in enumerate(zip(pairwise(widths), self.strides, strict=True)):
            wide = b * stride * stride
            grouped = bool(self.compact and number)
            total += 9 * a * wide // (groups(a, wide) if grouped else 1) + wide + grouped * (wide + 1) * wide
        head = (widths[-1] + 1) * (5 if self.flow else 3)
        return total + head + self.flow * (widths[self.flow_after() + 1] + 1) * 3 * len(REFERENCES)


def groups(before: int, after: int) -> int:
    """8, or as many of them as both widths allow."""
    return math.gcd(GROUPS, before, after)


def varied(config: FFNeRVConfig, size: int) -> Iterator[tuple[float, int, FFNeRVConfig]]:
    """Networks like this one with other widths: how far they are from its shape and the size, the miss, themselves."""
    step = 8 * max(1, config.first // 192) if config.compact and config.first >= 96 else max(1, config.first // 24)
    down, up = (8, 4) if config.channels == config.levels else (2, 2)
    for first in range(step * max(1, config.first // down // step), 2 * config.first + 1, step):
        for lower in range(max(1, config.lower // 2), up * config.lower + 1, max(1, config.lower // 12)):
            other = replace(config, first=first, lower=lower)
            miss = abs(other.count() - size)
            shape = abs(math.log(first / config.first)) + abs(math.log(lower / config.lower))
            yield shape + (0 if miss <= MISS * size else 10 + miss), miss, other


class CompactBlock(nn.Sequential):
    """Grouped convolution 3x3, then a pointwise one, pixel shuffle, GELU (section 3.4)."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        wide = after * stride * stride
        grouped = nn.Conv2d(before, wide, 3, padding=1, groups=groups(before, wide))
        super().__init__(grouped, nn.Conv2d(wide, wide, 1), nn.PixelShuffle(stride), nn.GELU())


class FFNeRV(FlowNetwork):
    """Grids, blocks, two heads, aggregation (sections 3.1 to 3.3)."""

    def __init__(self, config: FFNeRVConfig, frames: int) -> None:
        super().__init__(config.patch_size, frames)
        self.config, self.flow = config, bool(config.flow)
        lengths = grid_lengths(config.finest, config.levels)
        self.grids = nn.ModuleList(TemporalGrid(n, config.each, config.rows, config.columns, frames) for n in lengths)
        self.latents = frozenset(f"grids.{number}.rows" for number in range(config.levels))
        widths = config.widths()
        stages = list(zip(pairwise(widths), config.strides, strict=True))
        # the first block stays dense
        self.blocks = nn.ModuleList(
            CompactBlock(a, b, s) if config.compact and number else UpBlock(a, b, s, nn.GELU)
            for number, ((a, b), s) in enumerate(stages)
        )
        self._flow_after = config.flow_after()
        self._flow_scale = math.prod(config.strides[self._flow_after + 1 :])
        self.motion = nn.Conv2d(widths[self._flow_after + 1], 3 * len(REFERENCES), 1) if config.flow else None
        self.head = nn.Conv2d(widths[-1], 5 if config.flow else 3, 1)

    def independent_frames(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Of these frames the image head's output `[B, 5, H, W]`, and flows and logits at a quarter of the size.

        The first three channels are the independent frame in 0..1, the others the logits of the last blend.
        """
        x, motion = torch.cat([grid(frames) for grid in self.grids], dim=1), torch.empty(0)
        for number, block in enumerate(self.blocks):
            x = block(x)
            if self.motion is not None and number == self._flow_after:
                motion = self.motion(x)
        image = self.head(x)
        return torch.cat([(torch.tanh(image[:, :3]) + 1) / 2, image[:, 3:]], dim=1), motion

    def aggregate(self, references: Tensor, motion: Tensor) -> Tensor:
        """Shares of the references are brought to full size after their softmax."""
        return aggregate(references, motion, self._flow_scale)

    def inside(self, frames: Tensor) -> Tensor:
        """Beyond the clip they are black (the paper's commands and code)."""
        return frames.where((frames >= 0) & (frames < self.frames), -1)


class FFNeRVSettings(InrSettings):
    """The recipe of the paper's compression (section 4.2); without quantization it fits for 300 epochs."""

    epochs: int = Field(600, ge=1)
    lr: float = Field(5e-4, gt=0)
    batch: int = Field(1, ge=1)
    loss: Literal["l1_ssim", "l1_ms_ssim", "l2"] = "l1_ssim"
    bits: int = Field(8, ge=2, le=MOST_BITS)
    entropy: Literal["arithmetic", "huffman"] = "arithmetic"
    """Huffman is what the paper uses."""
    blocks: Literal["compact", "conv"] = "compact"
    flow: bool = True


class FFNeRVCodec(InrCodec):
    """FFNeRV with its quantization-aware training (section 3.4)."""

    name = "ffnerv"
    reference = "Lee et al., FFNeRV: Flow-Guided Frame-Wise Neural Representations for Videos, ACM Multimedia 2023"
    Settings = FFNeRVSettings
    config = FFNeRVConfig
    scheme = TanhQuantization
    presets = MappingProxyType(
        {
            "paper": {},
            "quick": {"epochs": 70, "lr": 4e-3},
            "tiny": {"epochs": 16, "lr": 5e-3},
        }
    )

    @property
    def _widest(self) -> int:
        """C_g of the paper's largest networks."""
        return 48 if self.settings.blocks == "compact" else 156

    def scaled(self, clip: ClipHeader, share: float) -> FFNeRVConfig:
        """Grids of N and N / 2 rows, 48 channels at share 1; or four up to 512 rows of 600 frames, 156 channels."""
        geometry, compact = choose_geometry(clip.width, clip.height), self.settings.blocks == "compact"
        levels, finest = (2, clip.frames) if compact else (4, clip.frames * 512 // 600)
        channels = levels * max(1, round(self._widest * share / levels))
        share = channels / self._widest
        return FFNeRVConfig(
            geometry.rows, geometry.columns, geometry.strides, channels=channels,
            first=max(2, round((8 * 48 if compact else 156) * share)),
            lower=max(2, round(min(24 if compact else 96, (72 if compact else 156) * share))),
            finest=max(1, finest), levels=levels, compact=int(compact), flow=int(self.settings.flow),
        )  # fmt: skip

    def _solved(self, clip: ClipHeader, size: int) -> NetworkConfig:
        """The network closest to the paper's shape that meets the size; groups make its count no steady function."""
        one = self.scaled(clip, 0.0).channels
        most = one
        while self.scaled(clip, most / self._widest).count() < 1.5 * size:
            most += one
        found = [c for n in range(one, most + one, one) for c in varied(self.scaled(clip, n / self._widest), size)]
        miss, config = min(found, key=lambda each: each[0])[1:]
        if miss > 0.1 * size:
            raise UsageError(
                f"{self.name} cannot hold {clip.frames} frames of {clip.width}x{clip.height} in {size} parameters; "
                f"ask for at least {config.count()}."
            )
        return config

    @classmethod
    def build(cls, config: NetworkConfig, clip: ClipHeader) -> FFNeRV:
        """The network."""
        assert isinstance(config, FFNeRVConfig)
        return FFNeRV(config, clip.frames)

    def recipe(self) -> Sequence[Stage]:
        """One stage, quantized from its first step."""
        s = self.settings
        return (Stage("fit", s.epochs, s.lr, batch=s.batch, loss=MIXES[s.loss], betas=(0.5, 0.999)),)

    def compression(self) -> Scheme:
        """The paper's own."""
        return TanhQuantization(self.settings.bits, self.settings.entropy)
