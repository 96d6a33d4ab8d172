"""Learned grids over time, read at a frame between two of their rows."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..network import Geometry, choose_geometry

GRID_INIT = 1e-3
"""Grids begin uniform in plus and minus this (HiNeRV)."""


BASE_CELLS = 18 * 32
"""The base grid of HiNeRV at 16:9."""
LOCAL_LEVELS = 3


def grid_for(width: int, height: int, values: float) -> tuple[Geometry, int]:
    """A base grid for frames of this size, and its channels, for so many values in a row of time (our choice).

    HiNeRV's 18x32 cells; a quarter of them where there would be less than half a value for each, or a sixteenth where
    there would be less than a quarter of one for each of these, with half as many values: small networks need more
    of their parameters elsewhere (TeNeRV of 40K at 320x180: 0.3 dB).
    """
    density = values / BASE_CELLS
    coarser = 1 if density >= 1 / 2 else 4 if density >= 1 / 16 else 16
    geometry = choose_geometry(width, height, base=BASE_CELLS // coarser)
    share = 1.0 if coarser == 1 else 0.5
    return geometry, max(1, round(share * values / (geometry.rows * geometry.columns)))


def taps(frames: Tensor, length: int, total: int) -> tuple[Tensor, Tensor, Tensor]:
    """The two rows, of `length` that span `total` frames, next to each frame `[B]`, and the later one's share.

    Those of a linear resize whose samples are the centers of their cells (`align_corners=False`).
    """
    position = ((frames.double() + 0.5) * (length / total) - 0.5).clamp(0, length - 1)
    low = position.floor().long()
    return low, (low + 1).clamp(max=length - 1), (position - low).float()


def learned_rows(rows: int, width: int) -> nn.Parameter:
    """A grid `[rows, width]` to be fitted."""
    return nn.Parameter(torch.empty(rows, width).uniform_(-GRID_INIT, GRID_INIT))


class TemporalGrid(nn.Module):
    """Levels of feature maps, each with fewer rows of time and more channels, side by side (HiNeRV, section 3.2).

    `levels` are pairs of rows of time and channels. A level is stored `[rows cells, channels]`, and only the rows
    next to the frames asked for are read.
    """

    def __init__(self, levels: Sequence[tuple[int, int]], cells: int, frames: int) -> None:
        super().__init__()
        self.cells, self.frames = cells, frames
        self.levels = nn.ParameterList(learned_rows(rows * cells, width) for rows, width in levels)

    def forward(self, frames: Tensor, cells: Tensor) -> Tensor:
        """The features of these cells `[B, n]` of these frames `[B]`: `[B, n, C]`."""
        found = []
        for level in self.levels:
            low, high, share = taps(frames, len(level) // self.cells, self.frames)
            early, late = (
                level.index_select(0, (row[:, None] * self.cells + cells).flatten()).view(*cells.shape, -1)
                for row in (low, high)
            )
            found.append(torch.lerp(early, late, share[:, None, None].to(early.dtype)))
        return torch.cat(found, dim=-1)


class LocalEncoding(nn.Module):
    """What is added after an upsampling by `stride`: a code for each place in a cell, per frame (HiNeRV, section 3.2).

    A place has `channels` in every frame, twice as many in every second, four times in every fourth, mixed to `width`.
    """

    def __init__(self, channels: int, stride: int, width: int, frames: int) -> None:
        super().__init__()
        self.stride, self.frames = stride, frames
        levels = [(max(1, frames >> level), channels << level) for level in range(LOCAL_LEVELS)]
        self.levels = nn.ParameterList(learned_rows(rows, stride * stride * channels) for rows, channels in levels)
        self.line = nn.Linear(sum(channels for _, channels in levels), width)
        nn.init.zeros_(self.line.bias)

    def forward(self, frames: Tensor) -> Tensor:
        """Frames `[B]` -> `[B, s, s, C]`."""
        found = []
        for level in self.levels:
            low, high, share = taps(frames, len(level), self.frames)
            rows = torch.lerp(level[low], level[high], share[:, None].to(level.dtype))
            found.append(rows.view(len(frames), self.stride, self.stride, -1))
        mixed: Tensor = self.line(torch.cat(found, dim=-1))
        return mixed
