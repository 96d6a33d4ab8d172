"""TeNeRV: Video Compression with Hierarchical Temporal Neural Representation (J. Zhu et al., arXiv 2601.17743).

Multi-resolution grids over time, fused over a window of frames with learned weights (inter-frame feature fusion, IFF);
groups of pictures by content, each with a grid and depthwise kernels of its own (GOP-adaptive modulation, GAM). The
clip is first trained as one group. All parameters and the group boundaries are transmitted. The paper gives no sizes:
the base grid, widths, depths, norms, upsampling, window, number of groups and quantization are our choice
(following HiNeRV).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from types import MappingProxyType
from typing import Annotated, Literal

import torch
from pydantic import BeforeValidator, Field
from torch import Tensor, nn

from rdbench.errors import BitstreamError

from .inr.codec import ClipHeader, InrCodec
from .inr.compression.quant_noise import MOST_BITS, QuantNoise
from .inr.networks.gops import (
    GROUPS,
    MIN_GROUP_FRAMES,
    divergence,
    equal_parts,
    fewest_group_frames,
    fixed_parts,
    group_count,
    group_of,
    partition,
)
from .inr.networks.layers.convnext import normalize_channels
from .inr.networks.layers.fusable import FusableBlock
from .inr.networks.layers.fused_block import Block as BlockTensors
from .inr.networks.layers.fused_grid import FusedGrid
from .inr.networks.layers.group_depthwise import GroupDepthwise
from .inr.networks.layers.mlp import normalized_mlp
from .inr.networks.layers.patchwise import PatchLayout, add_masked, crop, masked
from .inr.networks.layers.temporal_grids import level_lengths
from .inr.networks.layers.upsampling import pixel_shuffle
from .inr.networks.network import MOST_FRAMES, NetworkConfig, Patches, UpsamplingConfig
from .inr.networks.patch_network import (
    BASE_GRID_CELLS,
    PatchConfig,
    PatchNetwork,
    StageShape,
    choose_base_grid,
    fewest_channels,
    most_time_steps,
    step_counts,
    zero_biases,
)
from .inr.presets import presets_of
from .inr.recipes.losses import MIXES
from .inr.recipes.stage import Stage
from .inr.training.end_to_end import QUICK, TINY, EndToEndSettings

HOLISTIC, ADAPTIVE = "holistic", "adaptive"
"""Names of the two training stages of section III-C."""
GROUPINGS = ("content", "fixed", "length")
"""Ways to choose the groups, by the number that the configuration transmits."""
UPSAMPLINGS = ("bilinear", "shuffle", "wide")
"""How stages upsample, by the number that the configuration transmits: bilinear in all; pixel shuffle where the stride
is 2; bilinear, with a first layer at the width before, as in HiNeRV."""
MOST_GROUPS = 64
LEVELS = 3
"""Levels of the base grid (our choice)."""
STEP_FRAMES = 2
"""Fewest frames for each time step of its first level (our choice)."""
WINDOW = 5
"""l: frames that are fused."""
EXPANSION, LAST_EXPANSION = 4, 1
"""Hidden width of a refinement layer over its channels, and the same in the last stage."""
GRID_VALUES = 2 * (529 + LEVELS * GROUPS) * BASE_GRID_CELLS
"""Values of all base and group grids in our 3M at 600 frames: channels times time steps times cells of the levels."""
GROUP_PARAMETERS = r"features\.groups|.*\.depthwise\.kernels"
"""Names of the parameters whose first axis counts groups."""


@dataclass(frozen=True)
class TeNeRVConfig(PatchConfig):
    """The network's configuration; the defaults are those of our 3M at 1080p."""

    channels: int = 262
    hidden: int = 1048
    grid_channels: int = 2
    """Channels of each level of the base grid."""
    time_steps: int = 302
    """Time steps of its first level."""
    levels: int = LEVELS
    level_ratio: int = 2
    """Time steps of a level for each of the next level's."""
    window: int = WINDOW
    """Frames that are fused; 1: no fusion."""
    groups: int = GROUPS
    """Copies of the group grid and of the depthwise kernels."""
    group_grids: int = 1
    """Whether each group has a grid of its own."""
    group_kernels: int = 1
    """Whether each group has depthwise kernels of its own."""
    grouping: int = 0
    """How the groups are chosen, as an index of GROUPINGS."""
    lower: int = 16
    depth: int = 3
    """Refinement layers of every stage but the last."""
    last_depth: int = 2
    """Refinement layers of the last stage."""
    upsampling: int = 0
    """How stages upsample, as an index of UPSAMPLINGS."""
    boundaries: tuple[int, ...] = ()
    """Frames that begin a new group; determined during training."""

    choices = MappingProxyType(
        {"group_grids": 2, "group_kernels": 2, "grouping": len(GROUPINGS), "upsampling": len(UPSAMPLINGS)}
    )
    lists = MappingProxyType({**UpsamplingConfig.lists, "boundaries": (0, MOST_GROUPS - 1)})
    limits = MappingProxyType({"boundaries": MOST_FRAMES + 1, "time_steps": MOST_FRAMES + 1})

    @property
    def depths(self) -> tuple[int, ...]:
        """Refinement layers of each stage."""
        return self.per_stage(self.depth, self.last_depth)

    @property
    def grid_levels(self) -> list[tuple[int, int]]:
        """Time steps and channels of each level of the base grid."""
        return [
            (length, self.grid_channels) for length in level_lengths(self.time_steps, self.levels, self.level_ratio)
        ]

    @property
    def expansions(self) -> tuple[int, ...]:
        """Hidden width of each stage's refinement layers over its channels."""
        return self.per_stage(EXPANSION, LAST_EXPANSION)


class Refinement(FusableBlock):
    """pointwise(GELU(pointwise(norm(depthwise(x))))), residual if the width stays.

    Only the depthwise part depends on the group.

    Our choice: no layer has a bias, since biases take 2 % of a stream of 40K and give no quality, but the norm has a
    gain and an offset, without which 40K has 0.3 dB less (Bunny at 160x90).
    """

    def __init__(self, copies: int, before: int, after: int, hidden: int) -> None:
        super().__init__()
        self.depthwise = GroupDepthwise(copies, before)
        self.norm = nn.LayerNorm(before)
        self.widen, self.narrow = nn.Linear(before, hidden, bias=False), nn.Linear(hidden, after, bias=False)

    def forward(self, x: Tensor, groups: Tensor, mask: Tensor | None) -> Tensor:
        """`[B, h, w, C]` -> `[B, h, w, C']`."""
        if self.implementation is not None:
            return self.implementation(x, self.tensors(groups), mask)
        y, norm = self.depthwise(x, groups), self.norm
        y = normalized_mlp(y, norm.weight, norm.bias, norm.eps, self.widen, self.narrow)
        return add_masked(x, y, mask) if x.shape[-1] == y.shape[-1] else masked(y, mask)

    def tensors(self, groups: Tensor) -> BlockTensors:
        """What an implementation computes the block from, for samples of these groups `[B]`."""
        kernels, norm = self.depthwise.kernels[groups].unflatten(-1, (3, 3)), self.norm
        residual = self.widen.in_features == self.narrow.out_features
        return BlockTensors(kernels, None, norm.weight, norm.bias, self.widen, self.narrow, norm.eps, residual)


class UpStage(nn.Module):
    """The TeNeRV block: upsampling, refinement (section III-B); `upsampling` is one of UPSAMPLINGS.

    Our choice, of which the paper says nothing: a pointwise convolution to the stage's width before bilinear
    upsampling, with which it commutes and where it costs less, or before pixel shuffle, or none, and a first layer that
    narrows; features are normalized first, as before HiNeRV's upsampling.
    """

    def __init__(self, copies: int, shape: StageShape, upsampling: str) -> None:
        super().__init__()
        self.stride, self.shuffles = shape.stride, upsampling == "shuffle" and shape.stride == 2
        width = shape.after * shape.stride**2 if self.shuffles else shape.after
        self.project = None if upsampling == "wide" else nn.Linear(shape.before, width, bias=False)
        first = shape.before if upsampling == "wide" else shape.after
        widths = [first, *[shape.after] * (shape.depth - 1)]
        self.layers = nn.ModuleList(Refinement(copies, width, shape.after, shape.hidden) for width in widths)

    def forward(self, x: Tensor, groups: Tensor, layout: PatchLayout, scale: int, margins: tuple[int, int]) -> Tensor:
        """Features with the first margin `[B, h, w, C]` -> with the second `[B, h', w', C']`.

        `scale`: pixels per side of a base-grid cell after the upsampling.
        """
        before, after = margins
        x = normalize_channels(x)
        x = x if self.project is None else self.project(x)
        x = pixel_shuffle(x, self.stride) if self.shuffles else layout.upsample(x, self.stride, before)
        mask = layout.mask(scale, after)
        x = masked(crop(x, before * self.stride - after), mask)
        for layer in self.layers:
            x = layer(x, groups, mask)
        return x


class TeNeRV(PatchNetwork):
    """Fused base grid with group grids, stem, stages, head (figure 2)."""

    config: TeNeRVConfig

    def __init__(self, config: TeNeRVConfig, frames: int) -> None:
        super().__init__(config)
        self.frames, self.boundaries = frames, config.boundaries
        cells, group_grids = config.rows * config.columns, config.groups if config.group_grids else 0
        self.features = FusedGrid(config.grid_levels, cells, frames, config.window, group_grids)
        self.feature_grids = {
            f"features.{name}": (length, config.rows, config.columns)
            for name, length in self.features.lengths().items()
        }
        self.stem = nn.Conv2d(self.features.channels, config.channels, 3, padding=1)
        copies = config.groups if config.group_kernels else 1
        self.stages = nn.ModuleList(
            UpStage(copies, shape, UPSAMPLINGS[config.upsampling]) for shape in config.stage_shapes()
        )
        self.head = nn.Linear(config.widths()[-1], 3)
        zero_biases(self)

    def enter(self, stage: Stage) -> Sequence[str]:
        """At the second stage, chooses the groups and gives each a copy of the first group's grid and kernels."""
        if stage.name != ADAPTIVE:
            return ()
        self.boundaries = self._choose_boundaries()
        copied = [name for name, _ in self.named_parameters() if re.fullmatch(GROUP_PARAMETERS, name)]
        with torch.no_grad():
            for name in copied:
                parameter = self.get_parameter(name)
                parameter.copy_(parameter[:1].expand_as(parameter).clone())
        return copied

    @torch.no_grad()
    def _choose_boundaries(self) -> tuple[int, ...]:
        """Group boundaries by the trained fused features (equation 4, algorithm 1), or as in the ablations."""
        count, frames = self.config.groups, self.frames
        if self.config.grouping == GROUPINGS.index("fixed"):
            return fixed_parts(frames, -(-frames // count))
        if self.config.grouping == GROUPINGS.index("length"):
            return equal_parts(frames, count)
        device = self.head.weight.device
        cells = torch.arange(self.config.rows * self.config.columns, device=device).expand(1, -1)
        features = [self.features.fuse(frame[None], cells).flatten() for frame in torch.arange(frames, device=device)]
        return partition(divergence(torch.stack(features)), count, fewest_group_frames(frames, count))

    def final_config(self, config: NetworkConfig) -> NetworkConfig:
        """The configuration with the group boundaries."""
        assert isinstance(config, TeNeRVConfig)
        return replace(config, boundaries=self.boundaries)

    def get_extra_state(self) -> Tensor:
        """The group boundaries, for checkpoints."""
        return torch.tensor(self.boundaries, dtype=torch.long)

    def set_extra_state(self, state: Tensor) -> None:
        """Restores what `get_extra_state` returned."""
        self.boundaries = tuple(state.tolist())

    def forward(self, at: Patches) -> Tensor:
        """The patches, or whole frames."""
        layout, groups = self.layout(at), group_of(at.frames, self.boundaries)
        features = self.features(at.frames, groups, layout.cell_indices(layout.margins.base))
        kernels = groups if self.config.group_kernels else torch.zeros_like(groups)
        return self.decode(self.apply_stem(self.stem, features, layout), kernels, layout)


class GroupQuantNoise(QuantNoise):
    """Quant-Noise that codes the groups' parameters as differences from the first group's, and vectors in 8 bits.

    Both are our choice; with float16 the vectors take twice as many bytes and give no more quality.
    """

    copies = GROUP_PARAMETERS
    codes_vectors = True


class TeNeRVSettings(EndToEndSettings):
    """The recipe (section IV-A), and what the ablations of table III switch off."""

    epochs: int = Field(300, ge=1)
    """Epochs of both stages together."""
    holistic: float = Field(0.1, ge=0, lt=1)
    """The first stage's share of the epochs: the paper's 30 with the L1 loss alone (inferred)."""
    quantize_epochs: int = Field(30, ge=0)
    """Epochs of quantization-aware training."""
    lr: float = Field(2e-3, gt=0)
    """Learning rate of the training, which a schedule changes over its epochs."""
    batch: int = Field(1, ge=1)
    """Frames per training step; with `patches`, as many patches as these frames hold."""
    patches: bool = False
    """Trains on patches instead of whole frames, as HiNeRV does."""
    bits: int = Field(6, ge=2, le=MOST_BITS)
    """Bits of a quantized weight before entropy coding; 8 took 35% more bytes for 0.05 dB (Bunny at 160x90)."""
    noise: float = Field(0.9, ge=0, le=1)
    """Share of the weights that are quantized in each step of quantization-aware training."""
    gops: int = Field(0, ge=0, le=MOST_GROUPS)
    """K, the number of groups; 0: from the clip's length."""
    last_depth: int = Field(2, ge=1, le=8)
    """Refinement layers of the last stage; two instead of one give 0.7 dB more (Bunny at 160x90)."""
    upsampling: Literal["bilinear", "shuffle", "wide"] = "wide"
    """A first layer as wide as the stage before (`wide`) gives 1.0 dB more than `bilinear`, pixel shuffle in stages of
    stride 2 1.9 dB more (Bunny at 160x90, 40K); on 132 frames with cuts 0.4 more (three seeds) and 0.6 less."""
    step_frames: int = Field(0, ge=0)
    """Frames for each time step of the base grid's first level; 0: two, and more in small networks of long clips."""
    levels: int = Field(LEVELS, ge=1, le=8)
    """Levels of the base grid."""
    level_ratio: int = Field(2, ge=1, le=16)
    """Time steps of a level for each of the next level's."""
    ms_ssim_window: Annotated[Literal[5, 11], BeforeValidator(int)] = 5
    """Taps of MS-SSIM in the loss; maps of less than 161 pixels a side are too small for 11, which are then SSIM's."""
    no_iff: bool = False
    """V1: no inter-frame feature fusion."""
    no_gop_grids: bool = False
    """V2: no group grids."""
    shared_kernels: bool = False
    """V3: one set of depthwise kernels."""
    fixed_gops: bool = False
    """V4: groups of a fixed number of frames."""
    length_gops: bool = False
    """V5: groups from the clip's length alone, as equal parts."""


class TeNeRVCodec(InrCodec):
    """TeNeRV with quantization-aware training (Quant-Noise) and arithmetic coding."""

    name = "tenerv"
    reference = "Zhu et al., Video Compression with Hierarchical Temporal Neural Representation, arXiv 2601.17743"
    Settings = TeNeRVSettings
    config = TeNeRVConfig
    free_width = "hidden"
    revision = 7
    scheme = GroupQuantNoise
    presets = presets_of(
        quick={"epochs": 70, "quantize_epochs": 5, "lr": 1e-2, **QUICK},
        tiny={"epochs": 16, "quantize_epochs": 2, "lr": 5e-3, **TINY},
        best={"optimizer": "muon"},
    )

    def scaled(self, clip: ClipHeader, share: float) -> TeNeRVConfig:
        """Our 3M with all widths times `share`; the grids keep their share of the parameters.

        In the paper's symbols, `window` is l and `groups` K; it names no widths.
        """
        s = self.settings
        groups = min(s.gops or group_count(clip.frames), clip.frames)
        if s.fixed_gops:
            groups = min(MOST_GROUPS, max(groups, -(-clip.frames // (2 * MIN_GROUP_FRAMES))))
        values, span = share**2 * GRID_VALUES, clip.frames + WINDOW - 1

        def all_levels(first: int) -> int:
            """Without the settings of groups, so that all ablations have the same base grid."""
            steps: int = sum(level_lengths(first, s.levels, s.level_ratio)) + s.levels * group_count(clip.frames)
            return steps

        wanted = [-(-span // s.step_frames)] if s.step_frames else step_counts(span, STEP_FRAMES)
        first = most_time_steps(wanted, values, all_levels)
        geometry, channels = choose_base_grid(clip.width, clip.height, values / all_levels(first))
        width = max(1, round(262 * share))
        return TeNeRVConfig(
            geometry.rows, geometry.columns, geometry.strides,
            channels=width, hidden=4 * width, grid_channels=channels,
            time_steps=first, levels=s.levels, level_ratio=s.level_ratio,
            window=1 if s.no_iff else WINDOW,
            groups=groups, group_grids=int(not s.no_gop_grids),
            group_kernels=int(not s.shared_kernels), lower=fewest_channels(share), last_depth=s.last_depth,
            upsampling=UPSAMPLINGS.index(s.upsampling),
            grouping=GROUPINGS.index("fixed" if s.fixed_gops else "length" if s.length_gops else "content"),
        )  # fmt: skip

    @classmethod
    def build(cls, config: NetworkConfig, clip: ClipHeader) -> TeNeRV:
        """The network."""
        assert isinstance(config, TeNeRVConfig)
        edges = (0, *config.boundaries, clip.frames)
        if len(config.boundaries) >= config.groups or any(first >= second for first, second in pairwise(edges)):
            raise BitstreamError("The bitstream's groups of pictures are not those of its clip; encode it again.")
        return TeNeRV(config, clip.frames)

    def recipe(self) -> Sequence[Stage]:
        """One learning-rate schedule over both stages, then quantization-aware training at a tenth of the rate."""
        s = self.settings
        first = max(1, round(s.holistic * s.epochs)) if s.holistic else 0
        holistic = Stage(
            HOLISTIC, first, s.lr, warmup=0.05, floor=0.01, batch=s.batch, by_patches=s.patches, loss=MIXES["l1"],
            clip_norm=1.0, schedule_tail=s.epochs - first,
        )  # fmt: skip
        adaptive = replace(
            holistic, name=ADAPTIVE, epochs=s.epochs - first, schedule_offset=first, schedule_tail=0,
            loss=MIXES["l1_ms_ssim_5" if s.ms_ssim_window == 5 else "l1_ms_ssim"],
        )  # fmt: skip
        quantized = replace(
            adaptive, name="quantize", epochs=s.quantize_epochs, schedule_offset=0, lr=s.lr / 10, warmup=0.0,
            noise=s.noise,
        )  # fmt: skip
        return holistic, adaptive, quantized

    def compression(self) -> GroupQuantNoise:
        """Quant-Noise without pruning."""
        return GroupQuantNoise(self.settings.bits)
