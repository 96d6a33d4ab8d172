"""Learned grids over time: a feature map for each row, interpolated between rows."""

import torch
from torch import Tensor, nn


def grid_lengths(finest: int, levels: int) -> list[int]:
    """Rows of each level, coarsest first: halved from level to level, one at least."""
    return [max(1, finest >> level) for level in reversed(range(levels))]


class TemporalGrid(nn.Module):
    """Rows `[T, C, h, w]`, read at time i / N by linear interpolation; the last row is not left (FFNeRV)."""

    def __init__(self, rows: int, channels: int, height: int, width: int, frames: int) -> None:
        super().__init__()
        self._frames = frames
        self.rows = nn.Parameter(torch.empty(rows, channels, height, width))
        nn.init.xavier_uniform_(self.rows)

    def forward(self, frames: Tensor) -> Tensor:
        """The features of these frames, `[B, C, h, w]`."""
        place = frames * len(self.rows)  # in integers, so that a row is met exactly
        first = torch.div(place, self._frames, rounding_mode="floor")
        share = ((place % self._frames) / self._frames).to(self.rows.dtype)[:, None, None, None]
        second = (first + 1).clamp(max=len(self.rows) - 1)
        return torch.lerp(self.rows[first], self.rows[second], share)
