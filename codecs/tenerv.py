"""TeNeRV: Video Compression with Hierarchical Temporal Neural Representation (J. Zhu et al., arXiv 2601.17743).

Multi-resolution grids over time, fused over a window of frames with learned weights (IFF); groups of pictures by
content, each with a grid and depthwise kernels of its own (GAM); fitted as one group first. The paper gives no sizes:
the base grid, widths, depths, window, number of groups and quantization are our choice (in the spirit of HiNeRV).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from types import MappingProxyType

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from rdbench.errors import BitstreamError

from .inr.codec import ClipHeader, InrCodec
from .inr.compression.quant_noise import MOST_BITS, QuantNoise
from .inr.networks.gops import divergence, equal_parts, fixed_parts, group_of, partition
from .inr.networks.layers.blocks import halved_widths, least_width
from .inr.networks.layers.patchwise import Place, crop, margins, masked, patch_grid
from .inr.networks.layers.temporal_grids import BASE_CELLS, TemporalGrid, grid_for
from .inr.networks.network import MOST_FRAMES, Network, NetworkConfig, Patches, UpsamplingConfig
from .inr.recipes.losses import MIXES
from .inr.recipes.stage import Stage
from .inr.training.end_to_end import QUICK, TINY, EndToEndSettings

HOLISTIC, ADAPTIVE = "holistic", "adaptive"
"""The two stages of section III-C."""
GROUPS = 5
MEAN = 48
"""Frames that a group has on average at least: those of the paper's shortest clips, 240, in five groups."""
SHORTEST = 16
"""Frames of any group, in long clips."""
GROUPINGS = ("content", "fixed", "length")
MOST_GROUPS = 64
WINDOW = 5
NORM_EPSILON = 1e-6
GRID_VALUES = 2 * (529 + 3 * GROUPS) * BASE_CELLS
"""Rows of time times cells times channels of a level, of all base and group grids in our 3M at 600 frames."""
COPIES = r"features\.groups|.*\.depthwise\.(kernels|biases)"
"""The parameters whose first axis counts groups."""


@dataclass(frozen=True)
class TeNeRVConfig(UpsamplingConfig):
    """The network in numbers; those of our 3M at 1080p where a default is given."""

    channels: int = 262
    """Of the stem and the first stage; each later stage has half."""
    hidden: int = 1048
    """Width inside the layers of the first stage: four times `channels`, and what meets a size exactly."""
    grid_channels: int = 2
    """Of each level of the base grid."""
    window: int = 5
    """Frames that are fused; 1: none."""
    groups: int = GROUPS
    """Copies of the group grid and of the depthwise kernels."""
    group_grids: int = 1
    group_kernels: int = 1
    """Whether groups have grids and kernels of their own."""
    grouping: int = 0
    """How the clip is cut: a number of GROUPINGS."""
    lower: int = 16
    depth: int = 3
    last_depth: int = 1
    boundaries: tuple[int, ...] = ()
    """Frames that begin a new group; learned."""

    choices = MappingProxyType({"group_grids": 2, "group_kernels": 2, "grouping": 3})
    lists = MappingProxyType({**UpsamplingConfig.lists, "boundaries": (0, MOST_GROUPS - 1)})
    limits = MappingProxyType({"boundaries": MOST_FRAMES + 1})

    @property
    def depths(self) -> tuple[int, ...]:
        """Refinement layers of each stage."""
        return (*[self.depth] * (len(self.strides) - 1), self.last_depth)


class GroupDepthwise(nn.Module):
    """A depthwise convolution 3x3 with kernels and biases for each group of pictures."""

    def __init__(self, copies: int, channels: int) -> None:
        super().__init__()
        first = nn.Conv2d(channels, channels, 3, groups=channels)
        assert first.bias is not None
        self.kernels = nn.Parameter(first.weight.detach().view(channels, 9).expand(copies, -1, -1).clone())
        self.biases = nn.Parameter(first.bias.detach().expand(copies, -1).clone())

    def forward(self, x: Tensor, groups: Tensor) -> Tensor:
        """`[B, h, w, C]`, each sample with the kernels of its group `[B]`.

        One convolution for the whole batch, whose samples lie side by side as channels; a single one is not moved.
        """
        batch, height, width, channels = x.shape
        flat = x.permute(1, 2, 0, 3).reshape(1, height, width, batch * channels).permute(0, 3, 1, 2)
        kernels, biases = self.kernels[groups].view(batch * channels, 1, 3, 3), self.biases[groups].flatten()
        y = functional.conv2d(flat, kernels, biases, padding=1, groups=batch * channels)
        return y.permute(0, 2, 3, 1).view(height, width, batch, channels).permute(2, 0, 1, 3)


class Refinement(nn.Module):
    """x + pointwise(GELU(pointwise(norm(depthwise(x))))); only the depthwise part depends on the group."""

    def __init__(self, copies: int, channels: int, hidden: int) -> None:
        super().__init__()
        self.depthwise = GroupDepthwise(copies, channels)
        self.norm = nn.LayerNorm(channels)
        self.widen, self.narrow = nn.Linear(channels, hidden), nn.Linear(hidden, channels)

    def forward(self, x: Tensor, groups: Tensor, mask: Tensor | None) -> Tensor:
        """`[B, h, w, C]` -> the same shape."""
        y = self.norm(self.depthwise(x, groups))
        return x + masked(self.narrow(functional.gelu(self.widen(y))), mask)


class UpStage(nn.Module):
    """The TeNeRV block: pointwise convolution, bilinear upsampling (the two commute), refinement (section III-B)."""

    def __init__(self, copies: int, before: int, after: int, depth: int, hidden: int) -> None:
        super().__init__()
        self.project = nn.Linear(before, after)
        self.layers = nn.ModuleList(Refinement(copies, after, hidden) for _ in range(depth))

    def forward(
        self, x: Tensor, groups: Tensor, place: Place, scale: tuple[int, int], margin: tuple[int, int]
    ) -> Tensor:
        """Between these numbers of pixels in a cell, and these margins."""
        stride = scale[1] // scale[0]
        x = functional.layer_norm(x, x.shape[-1:], eps=NORM_EPSILON)
        x = place.upsample(self.project(x), stride, margin[0])
        mask = place.mask(scale[1], margin[1])
        x = masked(crop(x, margin[0] * stride - margin[1]), mask)
        for layer in self.layers:
            x = layer(x, groups, mask)
        return x


class FusedGrid(nn.Module):
    """Base grids of a few more frames than the clip has, fused over a window (IFF), plus the group's grid (GAM)."""

    def __init__(self, config: TeNeRVConfig, frames: int) -> None:
        super().__init__()
        extended = frames + config.window - 1
        levels = [(-(-extended // (2 << level)), config.grid_channels) for level in range(3)]
        cells = config.rows * config.columns
        self.base = TemporalGrid(levels, cells, extended)
        weights = torch.full((frames, config.window), 1 / config.window)
        self.weights = nn.Parameter(weights) if config.window > 1 else None
        groups = torch.zeros(config.groups, cells, 3 * config.grid_channels)
        self.groups = nn.Parameter(groups) if config.group_grids else None

    def sides(self, rows: int, columns: int) -> dict[str, tuple[int, int, int]]:
        """Of the grids, by their names in the network; groups stand in the place of rows of time."""
        found = {f"base.levels.{n}": len(level) // self.base.cells for n, level in enumerate(self.base.levels)}
        found |= {} if self.groups is None else {"groups": len(self.groups)}
        return {f"features.{name}": (length, rows, columns) for name, length in found.items()}

    def fused(self, frames: Tensor, cells: Tensor) -> Tensor:
        """Equation 2: `[B, n, C]` for cells `[B, n]` of frames `[B]`."""
        window = 1 if self.weights is None else self.weights.shape[1]
        reached = (frames[:, None] + torch.arange(window, device=frames.device)).flatten()
        base: Tensor = self.base(reached, cells.repeat_interleave(window, 0))
        if self.weights is None:
            return base
        parts = base.view(len(frames), window, *base.shape[1:])
        return (parts * self.weights[frames][:, :, None, None]).sum(1)

    def forward(self, frames: Tensor, groups: Tensor, cells: Tensor) -> Tensor:
        """Equation 5."""
        fused = self.fused(frames, cells)
        if self.groups is None:
            return fused
        own = self.groups.flatten(0, 1).index_select(0, (groups[:, None] * self.groups.shape[1] + cells).flatten())
        return fused + own.view_as(fused)


class TeNeRV(Network):
    """Base grids, fusion, group grids, stages (figure 2)."""

    frame_grid = (1, 1)

    def __init__(self, config: TeNeRVConfig, frames: int) -> None:
        super().__init__(config.patch_size)
        self.config, self.frames, self.boundaries = config, frames, config.boundaries
        self.grid = patch_grid(config)
        self.patch_size = (config.patch_size[0] // self.grid[0], config.patch_size[1] // self.grid[1])
        self.margins = margins(config.strides, config.depths)
        self.features = FusedGrid(config, frames)
        self.feature_grids = self.features.sides(config.rows, config.columns)
        self.stem = nn.Conv2d(3 * config.grid_channels, config.channels, 3, padding=1)
        widths = [config.channels, *halved_widths(config.channels, (2,) * len(config.strides), config.lower)]
        hidden = [config.hidden, *(4 * width for width in widths[2:])]
        hidden[-1] = widths[-1] if len(widths) > 2 else config.hidden
        copies = config.groups if config.group_kernels else 1
        stages = zip(pairwise(widths), config.depths, hidden, strict=True)
        self.stages = nn.ModuleList(
            UpStage(copies, before, after, depth, inside) for (before, after), depth, inside in stages
        )
        self.head = nn.Linear(widths[-1], 3)
        for layer in self.modules():  # the grids begin small; biases would drown them
            if isinstance(layer, nn.Linear | nn.Conv2d) and layer.bias is not None:
                nn.init.zeros_(layer.bias)

    def enter(self, stage: Stage) -> Sequence[str]:
        """The second stage begins: groups by content, and the first group's grid and kernels become everyone's."""
        if stage.name != ADAPTIVE:
            return ()
        self.boundaries = self._partition()
        copied = [name for name, _ in self.named_parameters() if re.fullmatch(COPIES, name)]
        with torch.no_grad():
            for name in copied:
                parameter = self.get_parameter(name)
                parameter.copy_(parameter[:1].expand_as(parameter).clone())
        return copied

    @torch.no_grad()
    def _partition(self) -> tuple[int, ...]:
        """Of the clip, by what the fused grids have learned (equation 4, algorithm 1), or as the ablations do."""
        count, frames = self.config.groups, self.frames
        if self.config.grouping == GROUPINGS.index("fixed"):
            return fixed_parts(frames, -(-frames // count))
        if self.config.grouping == GROUPINGS.index("length"):
            return equal_parts(frames, count)
        device = self.head.weight.device
        cells = torch.arange(self.config.rows * self.config.columns, device=device).expand(1, -1)
        features = [self.features.fused(frame[None], cells).flatten() for frame in torch.arange(frames, device=device)]
        return partition(divergence(torch.stack(features)), count, shortest(frames, count))

    def final_config(self, config: NetworkConfig) -> NetworkConfig:
        """With the boundaries."""
        assert isinstance(config, TeNeRVConfig)
        return replace(config, boundaries=self.boundaries)

    def get_extra_state(self) -> Tensor:
        """The boundaries, for checkpoints."""
        return torch.tensor(self.boundaries, dtype=torch.long)

    def set_extra_state(self, state: Tensor) -> None:
        """What `get_extra_state` gave."""
        self.boundaries = tuple(state.tolist())

    def forward(self, at: Patches) -> Tensor:
        """The patches, or whole frames."""
        cells = (self.config.rows // at.grid[0], self.config.columns // at.grid[1])
        place, reach, groups = Place(at, cells), self.margins, group_of(at.frames, self.boundaries)
        first, inner = place.margin(reach.base), place.margin(reach.stem)
        sides = [cell + 2 * first for cell in cells]
        x = self.features(at.frames, groups, place.indices(first)).unflatten(1, sides)
        x = self.stem(masked(x, place.mask(1, first)).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        x, scale = masked(crop(x, first - inner), place.mask(1, inner)), 1
        kernels = groups if self.config.group_kernels else torch.zeros_like(groups)
        for stage, stride, pixels in zip(self.stages, self.config.strides, reach.stages, strict=True):
            outer = place.margin(pixels)
            x = stage(x, kernels, place, (scale, scale * stride), (inner, outer))
            inner, scale = outer, scale * stride
        return torch.sigmoid(self.head(crop(x, inner))).permute(0, 3, 1, 2)


def group_count(frames: int) -> int:
    """Groups of a clip: GROUPS, fewer where they would have less than MEAN frames each (our choice)."""
    return max(1, min(GROUPS, frames // MEAN))


def shortest(frames: int, groups: int) -> int:
    """Frames that a group has at least: half of what equal groups would have, or SHORTEST (our choice)."""
    return max(1, min(SHORTEST, frames // (2 * groups)))


class GroupQuantNoise(QuantNoise):
    """Copies of the groups' parameters are coded as differences from the first group's."""

    copies = COPIES


class TeNeRVSettings(EndToEndSettings):
    """The recipe (section IV-A), and what the ablations of table III switch off."""

    epochs: int = Field(300, ge=1)
    """Of both stages together."""
    holistic: float = Field(0.1, ge=0, lt=1)
    """The first stage's share of them: the 30 with the L1 loss alone (inferred)."""
    quantize_epochs: int = Field(30, ge=0)
    lr: float = Field(2e-3, gt=0)
    batch: int = Field(1, ge=1)
    patches: bool = False
    """Steps take patches instead of whole frames, as HiNeRV's do."""
    bits: int = Field(6, ge=2, le=MOST_BITS)
    """8 took 35% more bytes for 0.05 dB (Bunny at 160x90)."""
    noise: float = Field(0.9, ge=0, le=1)
    """The share of weights that a step of quantization-aware training sees quantized."""
    gops: int = Field(0, ge=0, le=MOST_GROUPS)
    """K, the number of groups; 0: by the clip's length."""
    last_depth: int = Field(2, ge=1, le=8)
    """Refinement layers of the last stage: with two in place of one 0.7 dB more (Bunny at 160x90)."""
    no_iff: bool = False
    """V1: base grids alone."""
    no_gop_grids: bool = False
    """V2."""
    shared_kernels: bool = False
    """V3: one set of depthwise kernels."""
    fixed_gops: bool = False
    """V4: groups of a fixed length."""
    length_gops: bool = False
    """V5: groups from the clip's length alone, equal parts."""


class TeNeRVCodec(InrCodec):
    """TeNeRV with quantization-aware training (Quant-Noise) and arithmetic coding."""

    name = "tenerv"
    reference = "Zhu et al., Video Compression with Hierarchical Temporal Neural Representation, arXiv 2601.17743"
    Settings = TeNeRVSettings
    config = TeNeRVConfig
    free_width = "hidden"
    scheme = GroupQuantNoise
    presets = MappingProxyType(
        {
            "paper": {},
            "quick": {"epochs": 70, "quantize_epochs": 5, "lr": 1e-2, **QUICK},
            "tiny": {"epochs": 16, "quantize_epochs": 2, "lr": 5e-3, **TINY},
        }
    )

    def scaled(self, clip: ClipHeader, share: float) -> TeNeRVConfig:
        """From our 3M: all widths times `share`; the grids keep their part of the parameters."""
        s = self.settings
        rows_of_time = sum(-(-(clip.frames + WINDOW - 1) // (2 << level)) for level in range(3))
        groups = min(s.gops or group_count(clip.frames), clip.frames)
        if s.fixed_gops:
            groups = min(MOST_GROUPS, max(groups, -(-clip.frames // (2 * SHORTEST))))
        rows_of_time += 0 if s.no_gop_grids else 3 * groups
        geometry, channels = grid_for(clip.width, clip.height, share**2 * GRID_VALUES / rows_of_time)
        width = max(1, round(262 * share))
        return TeNeRVConfig(
            geometry.rows, geometry.columns, geometry.strides,
            channels=width, hidden=4 * width, grid_channels=channels,
            window=1 if s.no_iff else WINDOW,
            groups=groups, group_grids=int(not s.no_gop_grids),
            group_kernels=int(not s.shared_kernels), lower=least_width(share), last_depth=s.last_depth,
            grouping=1 if s.fixed_gops else 2 if s.length_gops else 0,
        )  # fmt: skip

    @classmethod
    def build(cls, config: NetworkConfig, clip: ClipHeader) -> TeNeRV:
        """The network."""
        assert isinstance(config, TeNeRVConfig)
        marks = (0, *config.boundaries, clip.frames)
        if len(config.boundaries) >= config.groups or any(first >= second for first, second in pairwise(marks)):
            raise BitstreamError("The bitstream's groups of pictures are not those of its clip; encode it again.")
        return TeNeRV(config, clip.frames)

    def recipe(self) -> Sequence[Stage]:
        """One schedule over both stages, then quantization at a tenth of the rate."""
        s = self.settings
        first = max(1, round(s.holistic * s.epochs)) if s.holistic else 0
        holistic = Stage(
            HOLISTIC, first, s.lr, warmup=0.05, floor=0.01, batch=s.batch, by_patches=s.patches, loss=MIXES["l1"],
            clip_norm=1.0, schedule_tail=s.epochs - first,
        )  # fmt: skip
        adaptive = replace(
            holistic,
            name=ADAPTIVE,
            epochs=s.epochs - first,
            schedule_offset=first,
            schedule_tail=0,
            loss=MIXES["l1_ms_ssim_5"],
        )
        last = replace(
            adaptive,
            name="quantize",
            epochs=s.quantize_epochs,
            schedule_offset=0,
            lr=s.lr / 10,
            warmup=0.0,
            noise=s.noise,
        )
        return holistic, adaptive, last

    def compression(self) -> GroupQuantNoise:
        """Nothing is pruned."""
        return GroupQuantNoise(self.settings.bits)
