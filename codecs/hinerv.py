"""HiNeRV: Video Compression with Hierarchical Encoding-based Neural Representation (H. M. Kwan et al., NeurIPS 2023).

Learned grids over time, bilinear upsampling with local encodings, ConvNeXt blocks; fitted in patches, rendered in
whole frames, pruned, and fitted again for its quantization. What we decided: how grids and widths follow from size,
length and resolution (`scaled`), patches where 80 pixels do not divide the frame (`inr/networks/layers/patchwise.py`),
and the models of the entropy coder (`inr/compression/quant_noise.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from types import MappingProxyType

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from .inr.codec import ClipHeader, InrCodec
from .inr.compression.quant_noise import MOST_BITS, QuantNoise
from .inr.networks.layers.blocks import halved_widths, least_width
from .inr.networks.layers.patchwise import Margins, Place, add_cells, crop, margins, masked, patch_grid
from .inr.networks.layers.temporal_grids import BASE_CELLS, LocalEncoding, TemporalGrid, grid_for
from .inr.networks.network import Network, NetworkConfig, Patches, UpsamplingConfig
from .inr.recipes.losses import MIXES
from .inr.recipes.stage import Stage
from .inr.training.end_to_end import QUICK, TINY, EndToEndSettings

NORM_EPSILON = 1e-6
GRID_VALUES = 2 * 150 * BASE_CELLS
"""Rows of time times cells times channels of the first level of the base grid, in the paper's S."""
PRUNABLE = r"(stem|head|stages\.\d+\.blocks\.\d+\.\w+)\.weight"


@dataclass(frozen=True)
class HiNeRVConfig(UpsamplingConfig):
    """The network in numbers; those of the paper's S at 1080p where a default is given."""

    channels: int = 280
    """Of the stem and the first stage; each later stage has half."""
    hidden: int = 1120
    """Width inside the blocks of the first stage: four times `channels`, and what meets a size exactly."""
    lower: int = 1
    """No stage has fewer channels."""
    grid_frames: int = 150
    """Rows of time of the base grid."""
    grid_channels: int = 2
    """Of its first level; the second has half the rows and twice the channels."""
    local_channels: int = 4
    """Of a local encoding in the first stage; half as many in each later one."""
    depth: int = 3
    """Blocks of the first stage."""
    later_depth: int = 3
    """Blocks of the stages between the first and the last."""
    last_depth: int = 1
    expansion: int = 4
    last_expansion: int = 1

    @property
    def depths(self) -> tuple[int, ...]:
        """Blocks of each stage; a single stage is the last."""
        all_but_last = [self.depth, *[self.later_depth] * len(self.strides)][: len(self.strides) - 1]
        return (*all_but_last, self.last_depth)


class Block(nn.Module):
    """ConvNeXt block without biases, scale or affine norm; the residual where the width stays (section 3.3)."""

    def __init__(self, before: int, after: int, hidden: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(before, before, 3, padding=1, groups=before, bias=False)
        self.widen = nn.Linear(before, hidden, bias=False)
        self.narrow = nn.Linear(hidden, after, bias=False)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """`[B, h, w, C]` -> `[B, h, w, C']`."""
        y = self.depthwise(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        y = functional.layer_norm(y, y.shape[-1:], eps=NORM_EPSILON)
        y = masked(self.narrow(functional.gelu(self.widen(y))), mask)
        return x + y if x.shape[-1] == y.shape[-1] else y


class UpStage(nn.Module):
    """Norm, bilinear upsampling, local encoding, blocks (section 3.3)."""

    def __init__(self, encoding: LocalEncoding, before: int, after: int, depth: int, hidden: int) -> None:
        super().__init__()
        self.encoding = encoding
        self.blocks = nn.ModuleList(Block(before if i == 0 else after, after, hidden) for i in range(depth))

    def forward(self, x: Tensor, at: Patches, place: Place, scale: int, inner: int, outer: int) -> Tensor:
        """From a margin of `inner` pixels to one of `outer`, after which a cell has `scale` pixels a side."""
        stride = self.encoding.stride
        x = place.upsample(functional.layer_norm(x, x.shape[-1:], eps=NORM_EPSILON), stride, inner)
        mask = place.mask(scale, outer)
        x = masked(crop(add_cells(x, self.encoding(at.frames)), inner * stride - outer), mask)
        for block in self.blocks:
            x = block(x, mask)
        return x


class Stages(nn.ModuleList):
    """Stages one after the other, each local encoding with half the channels of the one before."""

    def __init__(
        self, strides: Sequence[int], widths: Sequence[int], depths: Sequence[int], hidden: Sequence[int],
        local_channels: int, frames: int,
    ) -> None:  # fmt: skip
        shapes = enumerate(zip(strides, pairwise(widths), depths, hidden, strict=True))
        super().__init__(
            UpStage(LocalEncoding(max(1, local_channels >> n), stride, before, frames), before, after, depth, inside)
            for n, (stride, (before, after), depth, inside) in shapes
        )
        self.strides = tuple(strides)

    def forward(self, x: Tensor, at: Patches, place: Place, reach: Margins) -> Tensor:
        """From cells with the margin of the stem, `[B, rows, columns, C]`, to pixels without one."""
        scale, inner = 1, place.margin(reach.stem)
        for stage, stride, pixels in zip(self, self.strides, reach.stages, strict=True):
            outer, scale = place.margin(pixels), scale * stride
            x = stage(x, at, place, scale, inner, outer)
            inner = outer
        return crop(x, inner)


class HiNeRV(Network):
    """Base grid, stem, stages, head (section 3, figure 2)."""

    frame_grid = (1, 1)

    def __init__(self, config: HiNeRVConfig, frames: int) -> None:
        super().__init__(config.patch_size)
        self.config = config
        self.grid = patch_grid(config)
        self.patch_size = (config.patch_size[0] // self.grid[0], config.patch_size[1] // self.grid[1])
        self.margins = margins(config.strides, config.depths)
        levels = [(max(1, config.grid_frames >> level), config.grid_channels << level) for level in (0, 1)]
        self.base = TemporalGrid(levels, config.rows * config.columns, frames)
        sides = (config.rows, config.columns)
        self.feature_grids = {f"base.levels.{n}": (time, *sides) for n, (time, _) in enumerate(levels)}
        self.stem = nn.Conv2d(3 * config.grid_channels, config.channels, 3, padding=1)
        widths = [config.channels, *halved_widths(config.channels, (2,) * len(config.strides), config.lower)]
        hidden = [config.hidden, *(config.expansion * width for width in widths[2:])]
        hidden[-1] = config.last_expansion * widths[-1] if len(widths) > 2 else config.hidden
        self.stages = Stages(config.strides, widths, config.depths, hidden, config.local_channels, frames)
        self.head = nn.Linear(widths[-1], 3)
        for layer in (self.stem, self.head):
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)

    def forward(self, at: Patches) -> Tensor:
        """The patches, or whole frames."""
        cells = (self.config.rows // at.grid[0], self.config.columns // at.grid[1])
        place, reach = Place(at, cells), self.margins
        first, inner = place.margin(reach.base), place.margin(reach.stem)
        sides = [cell + 2 * first for cell in cells]
        x = masked(self.base(at.frames, place.indices(first)).unflatten(1, sides), place.mask(1, first))
        x = crop(self.stem(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1), first - inner)
        x = self.stages(masked(x, place.mask(1, inner)), at, place, reach)
        return torch.sigmoid(self.head(x)).permute(0, 3, 1, 2)


class HiNeRVSettings(EndToEndSettings):
    """The recipe of the paper's compression models (section 4.1)."""

    epochs: int = Field(300, ge=1)
    prune_epochs: int = Field(60, ge=0)
    """Of fine-tuning after pruning."""
    quantize_epochs: int = Field(30, ge=0)
    """Of quantization-aware training."""
    lr: float = Field(2e-3, gt=0)
    batch: int = Field(1, ge=1)
    """Frames in a step; as many patches, of all frames, as these hold where `patches` is set."""
    patches: bool = True
    """Steps take patches, in the paper of 1/144 of the frame; whole frames need no margins: a third faster."""
    prune: float = Field(0.15, ge=0, lt=1)
    """The share of all parameters that is pruned."""
    bits: int = Field(6, ge=2, le=MOST_BITS)
    noise: float = Field(0.9, ge=0, le=1)
    """The share of weights that a step of quantization-aware training sees quantized."""
    depth: int = Field(3, ge=1, le=8)
    """Blocks of a stage but the last: 4 in the paper's XL, 5 in XXL."""


class HiNeRVCodec(InrCodec):
    """HiNeRV with its pruning, Quant-Noise and arithmetic coding."""

    name = "hinerv"
    reference = "Kwan et al., HiNeRV: Video Compression with Hierarchical Encoding-based Neural Representation, 2023"
    Settings = HiNeRVSettings
    config = HiNeRVConfig
    free_width = "hidden"
    scheme = QuantNoise
    presets = MappingProxyType(
        {
            "paper": {},
            "quick": {"epochs": 60, "prune_epochs": 10, "quantize_epochs": 5, "lr": 1e-2, "patches": False} | QUICK,
            "tiny": {"epochs": 14, "prune_epochs": 2, "quantize_epochs": 2, "lr": 5e-3, "patches": False} | TINY,
        }
    )

    def scaled(self, clip: ClipHeader, share: float) -> HiNeRVConfig:
        """From the paper's S: all widths times `share`; grids keep their part of the parameters (our choice)."""
        rows_of_time = max(1, min(150, round(0.3 * clip.frames)))
        geometry, channels = grid_for(clip.width, clip.height, share**2 * GRID_VALUES / rows_of_time)
        width = max(1, round(280 * share))
        return HiNeRVConfig(
            geometry.rows, geometry.columns, geometry.strides,
            channels=width, hidden=4 * width, grid_frames=rows_of_time, grid_channels=channels,
            local_channels=2 * channels, depth=self.settings.depth, later_depth=self.settings.depth,
            lower=least_width(share),
        )  # fmt: skip

    @classmethod
    def build(cls, config: NetworkConfig, clip: ClipHeader) -> HiNeRV:
        """The network."""
        assert isinstance(config, HiNeRVConfig)
        return HiNeRV(config, clip.frames)

    def recipe(self) -> Sequence[Stage]:
        """Fit; pruning at the full rate again, without warm-up; quantization at a tenth of it (section 3.5)."""
        s = self.settings
        fit = Stage(
            "fit", s.epochs, s.lr, warmup=0.1, warmup_start=0.01, floor=0.01, cosine_over="all",
            batch=s.batch, by_patches=s.patches, loss=MIXES["l1_ms_ssim_5"], clip_norm=1.0,
        )  # fmt: skip
        pruned = replace(fit, name="prune", epochs=s.prune_epochs, warmup=0.0, sparsity=s.prune)
        return fit, pruned, replace(pruned, name="quantize", epochs=s.quantize_epochs, lr=s.lr / 10, noise=s.noise)

    def compression(self) -> QuantNoise:
        """The paper's (section 3.5); grids and local encodings are never pruned."""
        return QuantNoise(self.settings.bits, PRUNABLE)
