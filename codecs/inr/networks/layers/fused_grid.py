"""TeNeRV's features: grids over time, fused over a window of frames (IFF), and a grid for each group (GAM)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .temporal_grids import MultiLevelGrid


class FusedGrid(nn.Module):
    """The base grid, fused over a window of frames (IFF), plus a grid for each group of pictures (GAM).

    The base grid spans window - 1 frames more than the clip, so that every window is complete.
    """

    def __init__(self, levels: Sequence[tuple[int, int]], cells: int, frames: int, window: int, groups: int) -> None:
        """`levels`: time steps and channels of each level; `groups`: how many have a grid of their own, or 0."""
        super().__init__()
        self.base = MultiLevelGrid(levels, cells, frames + window - 1)
        weights = torch.full((frames, window), 1 / window)
        self.weights = nn.Parameter(weights) if window > 1 else None
        self.channels = sum(channels for _, channels in levels)
        self.groups = nn.Parameter(torch.zeros(groups, cells, self.channels)) if groups else None

    def lengths(self) -> dict[str, int]:
        """Time steps of each grid, by its name in this module; for the group grids, the number of groups."""
        lengths = {f"base.levels.{number}": length for number, length in enumerate(self.base.lengths())}
        return lengths if self.groups is None else {**lengths, "groups": len(self.groups)}

    def fuse(self, frames: Tensor, cells: Tensor) -> Tensor:
        """X_tem (equation 2): `[B, n, C]` for cells `[B, n]` of frames `[B]`."""
        window = 1 if self.weights is None else self.weights.shape[1]
        windows = (frames[:, None] + torch.arange(window, device=frames.device)).flatten()
        base: Tensor = self.base(windows, cells.repeat_interleave(window, 0))
        if self.weights is None:
            return base
        parts = base.view(len(frames), window, *base.shape[1:])
        return (parts * self.weights[frames][:, :, None, None]).sum(1)

    def forward(self, frames: Tensor, groups: Tensor, cells: Tensor) -> Tensor:
        """X_fused (equation 5): `[B, n, C]` for cells `[B, n]` of frames `[B]` in groups `[B]`."""
        fused = self.fuse(frames, cells)
        if self.groups is None:
            return fused
        indices = (groups[:, None] * self.groups.shape[1] + cells).flatten()
        return fused + self.groups.flatten(0, 1).index_select(0, indices).view_as(fused)
