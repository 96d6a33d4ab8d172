"""NVRC: Neural Video Representation Compression (H. M. Kwan et al., NeurIPS 2024).

HiNeRV's stages behind large feature grids of four resolutions, each with a stem of its own, compressed end to end
(`inr/compression/hierarchical.py`). What we decided: how widths and grids follow from size, length and resolution
(`scaled`), and lambda where the rate point does not give it (`lambda_of`).
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from .hinerv import UpStage
from .inr.layers.blocks import halved_widths
from .inr.layers.patchwise import Place, crop, margins, masked, patch_grid
from .inr.layers.temporal_grids import GRID_INIT, LocalEncoding, taps
from .inr.network import Counted, Network, NetworkConfig, Patches

LEVELS = 4
KERNEL = 3
STEM_TAPS = KERNEL**3


@dataclass(frozen=True)
class NVRCConfig(NetworkConfig):
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

    @property
    def depths(self) -> tuple[int, ...]:
        """Blocks of each stage."""
        return (*[self.depth] * (len(self.strides) - 1), 1)


class GridLevel(Counted):
    """A feature grid `[C, T, h, w]` behind a 3x3x3 convolution, read at frames and cells by linear interpolation."""

    def __init__(self, shape: tuple[int, int, int, int], width: int, frames: int) -> None:
        super().__init__()
        self.frames = frames
        self.values = nn.Parameter(torch.empty(shape).uniform_(-GRID_INIT, GRID_INIT))
        self.stem = nn.Conv3d(shape[0], width, KERNEL)
        assert self.stem.bias is not None
        nn.init.zeros_(self.stem.bias)

    def forward(self, frames: Tensor, rows: int, columns: int) -> Tensor:
        """The features of frames `[B]`, `[B, C0, rows, columns]`.

        Interpolation in time and convolution are linear: the rows of time that the convolution reads are
        interpolated first, and the rest is a convolution of one frame instead of the whole grid.
        """
        length = self.values.shape[1]
        low, high, share = taps(frames, length, self.frames)
        grid = functional.pad(self.values, (0, 0, 0, 0, 1, 1))
        around = torch.arange(KERNEL, device=frames.device)
        early, late = (grid.index_select(1, (row[:, None] + around).flatten()) for row in (low, high))
        weights = share.repeat_interleave(KERNEL)[None, :, None, None].to(grid.dtype)
        read = torch.lerp(early, late, weights).unflatten(1, (-1, KERNEL)).permute(1, 0, 2, 3, 4).flatten(1, 2)
        x = functional.conv2d(read, self.stem.weight.flatten(1, 2), self.stem.bias, padding=KERNEL // 2)
        return functional.interpolate(x.float(), size=(rows, columns), mode="bilinear", align_corners=False)

    def macs(self, output: Tensor) -> int:
        """Of the convolution, at the grid's own resolution."""
        channels, _, height, width = self.values.shape
        return STEM_TAPS * channels * height * width * output.shape[0] * output.shape[1]


class NVRC(Network):
    """Grids, their stems, stages, head (section 3.2, figure 2)."""

    frame_grid = (1, 1)

    def __init__(self, config: NVRCConfig, frames: int) -> None:
        super().__init__(config)
        self.config = config
        self.grid = patch_grid(config)
        self.patch_size = (config.patch_size[0] // self.grid[0], config.patch_size[1] // self.grid[1])
        self.margins = margins(config.strides, config.depths)
        self.levels = nn.ModuleList(self._level(level, frames) for level in range(LEVELS))
        self.latents = frozenset(f"levels.{level}.values" for level in range(LEVELS))
        widths = [config.channels, *halved_widths(config.channels, (2,) * len(config.strides), config.lower)]
        hidden = [config.hidden, *(config.expansion * width for width in widths[2:])]
        stages = zip(config.strides, pairwise(widths), config.depths, hidden, strict=True)
        self.stages = nn.ModuleList(
            UpStage(self._encoding(number, stride, before, frames), before, after, depth, inside)
            for number, (stride, (before, after), depth, inside) in enumerate(stages)
        )
        self.head = nn.Linear(widths[-1], 3)
        nn.init.zeros_(self.head.bias)

    def _level(self, level: int, frames: int) -> GridLevel:
        config = self.config
        sides = (max(1, side >> level) for side in (config.grid_frames, config.rows, config.columns))
        time, height, width = sides
        return GridLevel((config.grid_channels << level, time, height, width), config.channels, frames)

    def _encoding(self, number: int, stride: int, width: int, frames: int) -> LocalEncoding:
        channels = max(1, self.config.local_channels >> number)
        levels = [(max(1, frames >> level), channels << level) for level in range(3)]
        return LocalEncoding(levels, stride, width, frames)

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
        x, scale = masked(x, place.mask(1, inner)), 1
        for stage, stride, pixels in zip(self.stages, self.config.strides, reach.stages, strict=True):
            outer, scale = place.margin(pixels), scale * stride
            x = stage(x, at, place, scale, inner, outer)
            inner = outer
        return torch.sigmoid(self.head(crop(x, inner))).permute(0, 3, 1, 2)
