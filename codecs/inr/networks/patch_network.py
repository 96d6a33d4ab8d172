"""Networks that render a patch exactly as a part of its frame: HiNeRV, and NVRC and TeNeRV, which follow it.

A feature map at the resolution of the base grid passes upsampling stages (bilinear upsampling, then blocks with one
3x3 convolution each) and a pointwise head. Features are `[B, h, w, C]`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .layers.blocks import halved_widths
from .layers.patchwise import PatchLayout, crop, masked, patch_grid, required_margins
from .layers.precision import in_float32
from .network import Geometry, Network, Patches, UpsamplingConfig, choose_geometry

BASE_GRID_CELLS = 18 * 32
"""Cells of HiNeRV's base grid at 16:9."""
FEWEST_STEP_VALUES = 40
"""Fewest values in a time step of a base grid that could have fewer time steps instead (our choice)."""


class StageShape(NamedTuple):
    """The numbers of one upsampling stage."""

    stride: int
    before: int
    """Channels of its input."""
    after: int
    """Channels of its output."""
    depth: int
    """Blocks, each with one 3x3 convolution."""
    hidden: int
    """Width between the two pointwise layers of a block."""


@dataclass(frozen=True)
class PatchConfig(UpsamplingConfig, ABC):
    """Configuration of a PatchNetwork; a subclass adds its grids and the numbers of its stages."""

    channels: int
    """Channels of the stem and of the first stage; each later stage has half."""
    hidden: int
    """Hidden width of the first stage's blocks: four times `channels`, adjusted to meet a parameter budget exactly."""

    @property
    @abstractmethod
    def lower(self) -> int:
        """Fewest channels of a stage."""

    @property
    @abstractmethod
    def depths(self) -> tuple[int, ...]:
        """Blocks of each stage."""

    @property
    @abstractmethod
    def expansions(self) -> tuple[int, ...]:
        """Hidden width of each stage's blocks over its channels; `hidden` replaces the first stage's."""

    def per_stage(self, value: int, last: int) -> tuple[int, ...]:
        """One number for each stage: `last` for the last stage, `value` for all others."""
        return (*[value] * (len(self.strides) - 1), last)

    def widths(self) -> list[int]:
        """Channels of the stem and of each stage."""
        return [self.channels, *halved_widths(self.channels, (2,) * len(self.strides), self.lower)]

    def stage_shapes(self) -> list[StageShape]:
        """The shape of each stage."""
        widths = self.widths()
        later = (ratio * width for ratio, width in zip(self.expansions[1:], widths[2:], strict=True))
        stages = zip(self.strides, pairwise(widths), self.depths, (self.hidden, *later), strict=True)
        return [StageShape(stride, before, after, depth, hidden) for stride, (before, after), depth, hidden in stages]


class PatchNetwork(Network):
    """A network whose patches are parts of its frames; it trains on patches or whole frames and renders whole frames.

    A subclass sets its modules and its `forward`, which computes the stem's output and passes it to `decode`.
    """

    frame_grid = (1, 1)
    config: PatchConfig
    stages: nn.ModuleList
    """Upsampling stages, called with features `[B, h, w, C]`, `indices` as in `decode`, the layout, pixels per side of
    a base-grid cell after the upsampling, and margins before and after it."""
    head: nn.Linear
    """Pointwise layer from the last stage's channels to RGB."""

    def __init__(self, config: PatchConfig) -> None:
        super().__init__(config.patch_size)
        self.config = config
        self.grid = patch_grid(config)
        self.patch_size = (config.patch_size[0] // self.grid[0], config.patch_size[1] // self.grid[1])
        self._margins = required_margins(config.strides, config.depths)

    def layout(self, at: Patches) -> PatchLayout:
        """Positions and margins of these patches."""
        cells = (self.config.rows // at.grid[0], self.config.columns // at.grid[1])
        return PatchLayout(at, cells, self._margins)

    def apply_stem(self, stem: nn.Conv2d, features: Tensor, layout: PatchLayout) -> Tensor:
        """Grid features of the patches' cells and margins `[B, n, C]`, through a 3x3 convolution: `[B, h, w, C_0]`."""
        margins = layout.margins
        x = masked(layout.as_map(features, margins.base), layout.mask(1, margins.base))
        y: Tensor = stem(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return crop(y, margins.base - margins.stem)

    def decode(self, x: Tensor, indices: Tensor, layout: PatchLayout) -> Tensor:
        """Stages and head: the stem's output `[B, h, w, C_0]`, with margins, -> the patches `[B, 3, h', w']`, in 0..1.

        `indices` `[B]` select the parameters that the stages hold for each frame or group of frames.
        """
        scale, margin = 1, layout.margins.stem
        x = masked(x, layout.mask(scale, margin))
        stages = zip(self.stages, self.config.strides, self.config.depths, layout.margins.stages, strict=True)
        for stage, stride, depth, margin_after in stages:
            scale *= stride
            x = stage(x, indices, layout, scale, (margin, margin_after))
            used = min(depth, margin_after)  # each block's convolution spoils a pixel of a margin
            x, margin = crop(x, used), margin_after - used
        return torch.sigmoid(in_float32(self.head, x)).permute(0, 3, 1, 2)


def zero_biases(network: nn.Module) -> None:
    """Sets the biases of linear and convolutional layers to zero.

    HiNeRV's initialization: grids start within +-GRID_INIT, and torch's default biases would outweigh them.
    """
    for layer in network.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d) and layer.bias is not None:
            nn.init.zeros_(layer.bias)


def most_time_steps(wanted: Iterable[int], values: float, counted: Callable[[int], int] = int) -> int:
    """The first of these numbers of time steps that leaves each FEWEST_STEP_VALUES of all `values`, or the last.

    `counted`: time steps of all levels for that number in the first. Our choice: small networks of long clips would
    have many time steps of hardly any cells, which cost 3.3 dB (TeNeRV) and 1.3 dB (HiNeRV; 40K, 300 frames of 160x90).
    """
    for steps in wanted:
        if values / counted(steps) >= FEWEST_STEP_VALUES:
            break
    return steps


def step_counts(frames: int, spacing: int) -> Iterable[int]:
    """Numbers of time steps for so many frames: one for `spacing` of them, for one more, and so on to a single one."""
    return (-(-frames // each) for each in range(spacing, spacing + frames))


def choose_base_grid(width: int, height: int, values: float) -> tuple[Geometry, int]:
    """The base grid for frames of this size, and its channels, for about `values` values in a time step (our choice).

    HiNeRV's 18x32 cells; a quarter of them where there would be less than half a value for each, or a sixteenth where
    there would be less than a quarter of one for each of these, with half as many values: small networks need more
    of their parameters elsewhere (TeNeRV of 40K at 320x180: 0.3 dB).
    """
    density = values / BASE_GRID_CELLS
    coarser = 1 if density >= 1 / 2 else 4 if density >= 1 / 16 else 16
    geometry = choose_geometry(width, height, base=BASE_GRID_CELLS // coarser)
    share = 1.0 if coarser == 1 else 0.5
    return geometry, max(1, round(share * values / (geometry.rows * geometry.columns)))


def fewest_channels(share: float) -> int:
    """Fewest channels of a stage of a network whose widths are `share` times the paper's (our choice).

    16, which the papers' networks never reach, and fewer only in the smallest networks; with 4 to 8 channels, whole
    stages stay unused.
    """
    return max(1, min(16, round(100 * share)))
