"""NVRC: Neural Video Representation Compression (H. M. Kwan et al., NeurIPS 2024).

HiNeRV's stages behind large feature grids of four resolutions, each with a stem of its own, compressed end to end
(`inr/compression/nvrc/scheme.py`). What we decided: how widths and grids follow from size, length and resolution
(`scaled`), and lambda where the rate point does not give it (`inr/training/end_to_end.py`).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from .hinerv import Stages
from .inr.codec import ClipHeader, InrCodec
from .inr.compression.nvrc.scheme import HierarchicalScheme
from .inr.networks.layers.blocks import halved_widths, least_width
from .inr.networks.layers.patchwise import Place, margins, masked, patch_grid
from .inr.networks.layers.temporal_grids import GRID_INIT, taps
from .inr.networks.network import Network, NetworkConfig, Patches, UpsamplingConfig, choose_geometry
from .inr.recipes.losses import MIXES
from .inr.recipes.stage import Stage
from .inr.training.end_to_end import QUICK, TINY, EndToEnd, EndToEndSettings

LEVELS = 4
COARSEST_ROWS = 5
"""No grid but the finest has fewer, which gives the paper's four levels at 45 rows (our choice for others)."""
KERNEL = 3
STRIDES = MappingProxyType({
    2: (2,), 4: (2, 2), 6: (3, 2), 8: (2, 2, 2), 12: (3, 2, 2), 16: (2, 2, 2, 2), 24: (3, 2, 2, 2),
    48: (3, 2, 2, 2, 2), 96: (3, 2, 2, 2, 2, 2),
})  # fmt: skip
"""The paper's (24), with fewer twos for smaller frames."""
BASE_CELLS = 45 * 80
FEWEST_VALUES = 2 / 3
"""Of a cell of the finest grid in a row of time; below, cells become fewer."""


@dataclass(frozen=True)
class NVRCConfig(UpsamplingConfig):
    """The network in numbers; those of the paper's S2 at 1080p where a default is given."""

    channels: int = 336
    """Of the stems and the first stage; each later stage has half."""
    hidden: int = 1344
    """Width inside the blocks of the first stage: four times `channels`, and what meets a size exactly."""
    lower: int = 1
    """No stage has fewer channels."""
    grid_frames: int = 200
    """Rows of time of the finest grid."""
    grid_channels: int = 2
    """Of the finest grid; each coarser one has twice as many and half of everything else."""
    local_channels: int = 8
    """Of a local encoding in the first stage; half as many in each later one."""
    depth: int = 3
    """Blocks of a stage but the last, which has one."""
    expansion: int = 4
    coarser: int = LEVELS - 1
    """Grids besides the finest."""

    choices = MappingProxyType({"coarser": LEVELS})

    @property
    def depths(self) -> tuple[int, ...]:
        """Blocks of each stage."""
        return (*[self.depth] * (len(self.strides) - 1), 1)


class GridLevel(nn.Module):
    """A feature grid `[C, T, h, w]` behind a 3x3x3 convolution, read at frames and cells by linear interpolation.

    Interpolation in time and convolution are linear: the rows of time that the convolution reads are interpolated
    first, and what is left is a 3x3 convolution of one frame, with three times the channels, for the whole grid's.
    """

    def __init__(self, shape: tuple[int, int, int, int], width: int, frames: int) -> None:
        super().__init__()
        self.frames, self.sides = frames, shape[1:]
        self.values = nn.Parameter(torch.empty(shape).uniform_(-GRID_INIT, GRID_INIT))
        self.stem = nn.Conv2d(KERNEL * shape[0], width, KERNEL, padding=KERNEL // 2)
        assert self.stem.bias is not None
        nn.init.zeros_(self.stem.bias)

    def forward(self, frames: Tensor, rows: int, columns: int) -> Tensor:
        """The features of frames `[B]`, `[B, C0, rows, columns]`."""
        length = self.values.shape[1]
        low, high, share = taps(frames, length, self.frames)
        grid = functional.pad(self.values, (0, 0, 0, 0, 1, 1))
        around = torch.arange(KERNEL, device=frames.device)
        early, late = (grid.index_select(1, (row[:, None] + around).flatten()) for row in (low, high))
        weights = share.repeat_interleave(KERNEL)[None, :, None, None].to(grid.dtype)
        read = torch.lerp(early, late, weights).unflatten(1, (-1, KERNEL)).permute(1, 0, 2, 3, 4).flatten(1, 2)
        x = self.stem(read).float()
        return functional.interpolate(x, size=(rows, columns), mode="bilinear", align_corners=False)


class NVRC(Network):
    """Grids, their stems, stages, head (section 3.2, figure 2)."""

    frame_grid = (1, 1)

    def __init__(self, config: NVRCConfig, frames: int) -> None:
        super().__init__(config.patch_size)
        self.config = config
        self.grid = patch_grid(config)
        self.patch_size = (config.patch_size[0] // self.grid[0], config.patch_size[1] // self.grid[1])
        self.margins = margins(config.strides, config.depths)
        levels = [self._level(level, frames) for level in range(config.coarser + 1)]
        self.levels = nn.ModuleList(levels)
        self.feature_grids = {f"levels.{n}.values": level.sides for n, level in enumerate(levels)}
        widths = [config.channels, *halved_widths(config.channels, (2,) * len(config.strides), config.lower)]
        hidden = [config.hidden, *(config.expansion * width for width in widths[2:])]
        self.stages = Stages(config.strides, widths, config.depths, hidden, config.local_channels, frames)
        self.head = nn.Linear(widths[-1], 3)
        nn.init.zeros_(self.head.bias)

    def _level(self, level: int, frames: int) -> GridLevel:
        config = self.config
        sides = (max(1, side >> level) for side in (config.grid_frames, config.rows, config.columns))
        time, height, width = sides
        return GridLevel((config.grid_channels << level, time, height, width), config.channels, frames)

    def features(self, frames: Tensor) -> Tensor:
        """What the stages begin with, of frames `[B]`: `[B, cells, C0]`."""
        found = [level(frames, self.config.rows, self.config.columns) for level in self.levels]
        return torch.stack(found).sum(0).flatten(2).transpose(1, 2)

    def forward(self, at: Patches) -> Tensor:
        """The patches, or whole frames."""
        cells = (self.config.rows // at.grid[0], self.config.columns // at.grid[1])
        place, reach = Place(at, cells), self.margins
        inner = place.margin(reach.stem)
        features = self.features(at.frames)
        shown = place.indices(inner)[..., None].expand(-1, -1, features.shape[-1])
        x = features.gather(1, shown).unflatten(1, [cell + 2 * inner for cell in cells])
        x = self.stages(masked(x, place.mask(1, inner)), at, place, reach)
        return torch.sigmoid(self.head(x)).permute(0, 3, 1, 2)


class NVRCSettings(EndToEndSettings):
    """The recipe (section 3.4 and 4.1)."""

    compression: Literal["nvrc"] = "nvrc"
    epochs: int = Field(360, ge=1)
    finetune_epochs: int = Field(30, ge=0)
    """Of stage 2, with rounded weights."""
    lr: float = Field(2e-3, gt=0)
    batch: int = Field(1, ge=1)
    patches: bool = True
    """Steps take patches, in the paper of 1/144 of the frame."""


class NVRCCodec(InrCodec):
    """NVRC: network and compression fitted together."""

    name = "nvrc"
    reference = "Kwan et al., NVRC: Neural Video Representation Compression, NeurIPS 2024"
    Settings = NVRCSettings
    config = NVRCConfig
    free_width = "hidden"
    scheme = HierarchicalScheme
    presets = MappingProxyType(
        {
            "paper": {},
            "quick": {"epochs": 70, "finetune_epochs": 6, "lr": 2e-2, "patches": False, **QUICK},
            "tiny": {"epochs": 16, "finetune_epochs": 2, "lr": 5e-3, "patches": False, **TINY},
        }
    )

    def scaled(self, clip: ClipHeader, share: float) -> NVRCConfig:
        """From the paper's S2: all widths times `share`; grids keep their part of the parameters (our choice).

        Channels of grids are powers of two, as in S1 to S4. Behind a coarser grid a stride of four replaces the first
        two, so that stages have the pixels that they have behind the paper's; local encodings then have half as many
        channels.
        """
        rows_of_time = max(1, min(200, round(clip.frames / 3)))
        values = 2 * 200 * BASE_CELLS * share**2 / rows_of_time
        cells = BASE_CELLS
        while values / cells < FEWEST_VALUES and cells > BASE_CELLS // 64:
            cells //= 4
        geometry, local_ratio = choose_geometry(clip.width, clip.height, STRIDES, cells), 4
        strides = geometry.strides
        if cells < BASE_CELLS and len(strides) > 2 and strides[0] == 2:
            strides, local_ratio = (4, *strides[2:]), 2
        fitting = max(1.0, values / (geometry.rows * geometry.columns))
        channels = 1 << int(math.log2(fitting) + 0.01)
        coarser = sum(geometry.rows >> level >= COARSEST_ROWS for level in range(1, LEVELS))
        width = max(1, round(336 * share))
        return NVRCConfig(
            geometry.rows, geometry.columns, strides,
            channels=width, hidden=4 * width, grid_frames=rows_of_time, grid_channels=channels,
            local_channels=local_ratio * channels, lower=least_width(share), coarser=coarser,
        )  # fmt: skip

    @classmethod
    def build(cls, config: NetworkConfig, clip: ClipHeader) -> NVRC:
        """The network."""
        assert isinstance(config, NVRCConfig)
        return NVRC(config, clip.frames)

    def recipe(self) -> Sequence[Stage]:
        """Stage 1 with soft rounding and noise, stage 2 with ever more weights rounded."""
        s = self.settings
        first = Stage(
            "fit", s.epochs, s.lr, warmup=30 / 360, warmup_start=0.005, floor=0.05, batch=s.batch, by_patches=s.patches,
            loss=MIXES["l1_ms_ssim_5"],
        )  # fmt: skip
        return EndToEnd.of(s).stages([first], s.finetune_epochs)

    def compression(self) -> HierarchicalScheme:
        """The scheme of the paper."""
        return EndToEnd.of(self.settings).compression()
