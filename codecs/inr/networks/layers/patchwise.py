"""Patches rendered exactly as a part of their frame (HiNeRV, section 3.4): margins, edges and masks.

A patch is rendered with a margin that the convolutions use up. What lies outside the frame is held at zero, as the
zero padding of a whole frame is, and for upsampling it repeats the frame's edge. Features are `[B, h, w, C]`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ..network import Patches, UpsamplingConfig

SMALLEST_PATCH = 80
"""Pixels of a side: HiNeRV's patches at 720p; five scales of MS-SSIM with a window of 5 need 65."""


def patch_grid(config: UpsamplingConfig) -> tuple[int, int]:
    """Rows and columns of patches: as many as divide the base grid and have SMALLEST_PATCH pixels (our choice).

    At 1080p and 720p these are HiNeRV's 9x16 patches of 120 and 80 pixels.
    """

    def parts(cells: int, pixels: int) -> int:
        fits = (n for n in range(1, cells + 1) if cells % n == 0 and pixels // n >= SMALLEST_PATCH)
        return max(fits, default=1)

    height, width = config.patch_size
    return parts(config.rows, height), parts(config.columns, width)


@dataclass(frozen=True)
class Margins:
    """How far a patch reaches beyond its own pixels on every side."""

    base: int
    """Cells of the base grid that the stem reads."""
    stem: int
    """Cells after the stem, of which the last is used up by the first upsampling."""
    stages: tuple[int, ...]
    """Pixels after the upsampling of each stage."""


def margins(strides: Sequence[int], depths: Sequence[int]) -> Margins:
    """For stages of so many convolutions 3x3 after a bilinear upsampling, and a stem of one."""
    reach, stages = 0, []
    for stride, depth in zip(reversed(strides), reversed(depths), strict=True):
        reach += depth
        stages.append(reach)
        reach = round(reach / stride) + (stride > 1)
    return Margins(reach + 1, reach, tuple(reversed(stages)))


class Place:
    """Where a batch of patches lies; whole frames need no margin and no mask."""

    def __init__(self, at: Patches, cells: tuple[int, int]) -> None:
        """`cells`: of the base grid, in a patch."""
        self._at, self._cells = at, cells
        self.whole = at.grid == (1, 1)

    def margin(self, pixels: int) -> int:
        """As much, or none for whole frames."""
        return 0 if self.whole else pixels

    def indices(self, margin: int) -> Tensor:
        """Which cells of the base grid the patches show, row by row, `[B, n]`; the nearest for those outside."""
        rows, columns = (
            _reached(place, cells, margin).clamp(0, grid * cells - 1) for place, cells, grid in self._sides()
        )
        return (rows[:, :, None] * (self._at.grid[1] * self._cells[1]) + columns[:, None, :]).flatten(1)

    def mask(self, scale: int, margin: int) -> Tensor | None:
        """Which pixels are inside the frame, `[B, h, w, 1]`, at so many pixels in a cell; None where all are."""
        if self.whole:
            return None
        rows, columns = (
            (pixels := _reached(place, cells * scale, margin)).ge(0) & (pixels < grid * cells * scale)
            for place, cells, grid in self._sides()
        )
        return (rows[:, :, None] & columns[:, None, :])[..., None]

    def upsample(self, x: Tensor, stride: int, margin: int) -> Tensor:
        """Bilinear, of features with this margin, as the whole frame's would be."""
        if stride == 1:
            return x
        if margin:
            for dim, (place, _, grid) in enumerate(self._sides(), start=1):
                # a margin wider than a patch is outside the frame for patches that are not the outermost, too
                for number, outside in enumerate(range(margin, 0, 2 * margin - x.shape[dim])):
                    x = _repeat_edges(x, dim, outside, place == number, place == grid - 1 - number)
        y: Tensor = functional.interpolate(
            x.permute(0, 3, 1, 2), scale_factor=stride, mode="bilinear", align_corners=False
        )
        return y.permute(0, 2, 3, 1)

    def _sides(self) -> tuple[tuple[Tensor, int, int], tuple[Tensor, int, int]]:
        (rows, columns), (height, width) = self._at.grid, self._cells
        return (self._at.rows, height, rows), (self._at.columns, width, columns)


def _reached(place: Tensor, size: int, margin: int) -> Tensor:
    """Indices in the frame, `[B, size + 2 margin]`, negative or too large outside, of patches of this size."""
    return place[:, None] * size + torch.arange(-margin, size + margin, device=place.device)


def _repeat_edges(x: Tensor, dim: int, margin: int, first: Tensor, last: Tensor) -> Tensor:
    """Margins that lie outside the frame repeat its edge; `first` and `last` say of which patches they do, `[B]`."""
    inner = x.shape[dim] - 2 * margin
    near, far = x.narrow(dim, 0, margin), x.narrow(dim, margin + inner, margin)
    near = torch.where(first.view(-1, 1, 1, 1), x.narrow(dim, margin, 1), near)
    far = torch.where(last.view(-1, 1, 1, 1), x.narrow(dim, margin + inner - 1, 1), far)
    return torch.cat([near, x.narrow(dim, margin, inner), far], dim)


def add_cells(x: Tensor, code: Tensor) -> Tensor:
    """Adds a code `[B, s, s, C]` to each cell of s x s pixels."""
    stride = code.shape[1]
    cells: Tensor = x.unflatten(2, (-1, stride)).unflatten(1, (-1, stride))
    return (cells + code[:, None, :, None]).flatten(3, 4).flatten(1, 2)


def crop(x: Tensor, pixels: int) -> Tensor:
    """Takes so many pixels away on every side."""
    return x[:, pixels : x.shape[1] - pixels, pixels : x.shape[2] - pixels] if pixels else x


def masked(x: Tensor, mask: Tensor | None) -> Tensor:
    """Zero outside the frame."""
    return x if mask is None else x * mask
