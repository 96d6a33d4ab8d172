"""Patches rendered exactly as a part of their frame (HiNeRV, section 3.4): margins, edges and masks.

A patch is rendered with a margin that the convolutions consume. Features outside the frame are held at zero, as the
zero padding of a whole frame is; for upsampling they repeat the frame's edge instead. Features are `[B, h, w, C]`.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from ..network import Patches, UpsamplingConfig

SMALLEST_PATCH = 80
"""Smallest side of a patch in pixels: HiNeRV's at 720p; five scales of MS-SSIM with a window of 5 need 65."""
PATCHES = 144
"""Patches in a frame in HiNeRV and NVRC."""


def patch_grid(config: UpsamplingConfig) -> tuple[int, int]:
    """Rows and columns of patches of at least SMALLEST_PATCH pixels a side that divide the base grid.

    Of these the nearest to PATCHES in all, and of equally many the squarest (our choice): at 1080p and 720p the papers'
    9x16 patches of 120 and 80 pixels.
    """

    def parts(cells: int, pixels: int) -> list[int]:
        return [n for n in range(1, cells + 1) if cells % n == 0 and (n == 1 or pixels // n >= SMALLEST_PATCH)]

    height, width = config.patch_size

    def misfit(grid: tuple[int, int]) -> tuple[int, float]:
        rows, columns = grid
        return abs(rows * columns - PATCHES), abs(math.log(height * columns / (width * rows)))

    return min(itertools.product(parts(config.rows, height), parts(config.columns, width)), key=misfit)


@dataclass(frozen=True)
class Margins:
    """Extra cells or pixels that a patch needs on every side, at each point of the network."""

    base: int
    """Cells of the base grid that the stem reads."""
    stem: int
    """Cells after the stem, the last of which the first upsampling consumes."""
    stages: tuple[int, ...]
    """Pixels after the upsampling of each stage."""

    def zero(self) -> "Margins":
        """No margin anywhere, for whole frames."""
        return Margins(0, 0, (0,) * len(self.stages))


def required_margins(strides: Sequence[int], depths: Sequence[int]) -> Margins:
    """Margins of stages that upsample bilinearly, then apply `depths` 3x3 convolutions; the stem is one of 3x3."""
    margin, stages = 0, []
    for stride, depth in zip(reversed(strides), reversed(depths), strict=True):
        margin += depth
        stages.append(margin)
        margin = round(margin / stride) + (stride > 1)
    return Margins(margin + 1, margin, tuple(reversed(stages)))


class PatchLayout:
    """Positions of a batch of patches in their frames; whole frames need no margins and no masks."""

    def __init__(self, at: Patches, cells: tuple[int, int], margins: Margins) -> None:
        """`cells`: rows and columns of base-grid cells in a patch; `margins`: those of patches."""
        self._at, self._cells = at, cells
        self.whole = at.grid == (1, 1)
        """Whether the patches are whole frames."""
        self.margins = margins.zero() if self.whole else margins
        """Margins of these patches, zero for whole frames."""

    def cell_positions(self, margin: int) -> tuple[Tensor, Tensor]:
        """Rows `[B, h]` and columns `[B, w]` of the base grid under the patches; outside the frame, the nearest."""
        rows, columns = (
            _positions(patch, cells, margin).clamp(0, patches * cells - 1) for patch, cells, patches in self._axes()
        )
        return rows, columns

    def cell_indices(self, margin: int) -> Tensor:
        """Base-grid cells that the patches cover, row by row, `[B, n]`; outside the frame, the nearest cell."""
        rows, columns = self.cell_positions(margin)
        return (rows[:, :, None] * (self._at.grid[1] * self._cells[1]) + columns[:, None, :]).flatten(1)

    def as_map(self, x: Tensor, margin: int) -> Tensor:
        """Features of the cells of `cell_indices(margin)`, `[B, n, C]` -> `[B, h, w, C]`."""
        features: Tensor = x.unflatten(1, [cells + 2 * margin for cells in self._cells])
        return features

    def mask(self, scale: int, margin: int) -> Tensor | None:
        """Which pixels are inside the frame, `[B, h, w, 1]`, at `scale` pixels per cell side; None where all are."""
        if self.whole:
            return None
        rows, columns = (
            (pixels := _positions(patch, cells * scale, margin)).ge(0) & (pixels < patches * cells * scale)
            for patch, cells, patches in self._axes()
        )
        return (rows[:, :, None] & columns[:, None, :])[..., None]

    def upsample(self, x: Tensor, stride: int, margin: int) -> Tensor:
        """Bilinear upsampling of features with this margin; equal to that of the whole frame."""
        if stride == 1:
            return x
        if margin:
            for dim, (patch, _, patches) in enumerate(self._axes(), start=1):
                # A margin wider than a patch is outside the frame for patches next to the outermost ones, too.
                for number, outside in enumerate(range(margin, 0, 2 * margin - x.shape[dim])):
                    x = _repeat_edges(x, dim, outside, patch == number, patch == patches - 1 - number)
        y: Tensor = functional.interpolate(
            x.permute(0, 3, 1, 2), scale_factor=stride, mode="bilinear", align_corners=False
        )
        return y.permute(0, 2, 3, 1)

    def _axes(self) -> tuple[tuple[Tensor, int, int], tuple[Tensor, int, int]]:
        """Vertically and horizontally: each patch's index, cells in a patch, and patches in a frame."""
        (rows, columns), (height, width) = self._at.grid, self._cells
        return (self._at.rows, height, rows), (self._at.columns, width, columns)


def _positions(patch: Tensor, size: int, margin: int) -> Tensor:
    """Positions in the frame, `[B, size + 2 margin]`, of patches `[B]` of this size; out of range outside."""
    return patch[:, None] * size + torch.arange(-margin, size + margin, device=patch.device)


def _repeat_edges(x: Tensor, dim: int, margin: int, first: Tensor, last: Tensor) -> Tensor:
    """Repeats the frame's edge in margins outside it; `first`, `last` `[B]`: whether either margin is outside."""
    y: Tensor = _RepeatEdges.apply(x, dim, margin, first.view(-1, 1, 1, 1), last.view(-1, 1, 1, 1))  # type: ignore[no-untyped-call]
    return y


class _RepeatEdges(torch.autograd.Function):
    """With the gradient written out: torch's fills and adds a whole tensor for each of five slices."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, dim: int, margin: int, first: Tensor, last: Tensor) -> Tensor:
        ctx.save_for_backward(first, last)
        ctx.dim, ctx.margin = dim, margin
        inner = x.shape[dim] - 2 * margin
        before, middle, after = x.split([margin, inner, margin], dim)
        before = torch.where(first, middle.narrow(dim, 0, 1), before)
        after = torch.where(last, middle.narrow(dim, inner - 1, 1), after)
        return torch.cat([before, middle, after], dim)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        first, last = ctx.saved_tensors
        dim, margin = ctx.dim, ctx.margin
        inner = gradients[0].shape[dim] - 2 * margin
        before, middle, after = gradients[0].split([margin, inner, margin], dim)
        zero = before.new_zeros(())
        to_x = torch.cat([before.where(~first, zero), middle, after.where(~last, zero)], dim)
        for number, part, outside in ((margin, before, first), (margin + inner - 1, after, last)):
            to_x.narrow(dim, number, 1).add_(part.sum(dim, keepdim=True).where(outside, zero))
        return to_x, None, None, None, None


def add_cells(x: Tensor, code: Tensor) -> Tensor:
    """Adds a code `[B, s, s, C]` to each cell of s x s pixels."""
    stride = code.shape[1]
    cells: Tensor = x.unflatten(2, (-1, stride)).unflatten(1, (-1, stride))
    return (cells + code[:, None, :, None]).flatten(3, 4).flatten(1, 2)


def crop(x: Tensor, pixels: int) -> Tensor:
    """Removes this many pixels on every side."""
    if not pixels:
        return x
    y: Tensor = _Crop.apply(x, pixels)  # type: ignore[no-untyped-call]
    return y


class _Crop(torch.autograd.Function):
    """With the gradient written out: torch's fills and copies the whole tensor for each of two slices."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, pixels: int) -> Tensor:
        ctx.pixels = pixels
        return x[:, pixels:-pixels, pixels:-pixels].contiguous()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (given,) = gradients
        n, (batch, height, width, channels) = ctx.pixels, given.shape
        to_x = given.new_empty(batch, height + 2 * n, width + 2 * n, channels)
        for edge in (to_x[:, :n], to_x[:, -n:], to_x[:, n:-n, :n], to_x[:, n:-n, -n:]):
            edge.zero_()
        to_x[:, n:-n, n:-n] = given
        return to_x, None


def add_masked(x: Tensor, y: Tensor, mask: Tensor | None) -> Tensor:
    """`x + y` with zeros in place of y outside the mask."""
    return x + y if mask is None else torch.addcmul(x, y, mask.to(y.dtype))


def masked(x: Tensor, mask: Tensor | None) -> Tensor:
    """The features with zeros outside the mask."""
    return x if mask is None else x * mask
