"""Parts of a feature map that small patches read, resampled to the rows and columns of another resolution."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Window:
    """One axis of a batch of windows: what patches read of a map of another resolution, and with which weights.

    Linear interpolation as in `interpolate(mode="bilinear", align_corners=False)`; windows have equal lengths, which
    depend on shapes alone.
    """

    start: Tensor
    """The first position of each window in the map, `[B]`; the last ones may lie outside it, and are not read."""
    length: int
    """Positions in each window."""
    earlier: Tensor
    """Positions in the window at or before each output, `[B, n]`."""
    later: Tensor | None
    """Positions in the window after each output, `[B, n]`, the map's last one where there is none; None where the
    resolutions are equal and nothing is interpolated."""
    weight: Tensor
    """Interpolation weights of `later`, `[B, n]`, float32."""

    @classmethod
    def of(cls, outputs: Tensor, total: int, side: int) -> "Window":
        """The window that the outputs `[B, n]`, ascending and out of `total`, read of a map of `side` positions."""
        if side == total:
            start = outputs[:, 0]
            return cls(start, outputs.shape[1], outputs - start[:, None], None, torch.zeros_like(outputs).float())
        position = ((outputs.double() + 0.5) * (side / total) - 0.5).clamp(min=0)
        earlier = position.floor().long()
        later, start = (earlier + 1).clamp(max=side - 1), earlier[:, 0]
        length = min(side, -(-(outputs.shape[1] - 1) * side // total) + 2)
        begin = start[:, None]
        return cls(start, length, earlier - begin, later - begin, (position - earlier).float())

    def indices(self, margin: int) -> Tensor:
        """The window's positions in the map with `margin` more on both sides, `[B, length + 2 margin]`."""
        return self.start[:, None] + torch.arange(-margin, self.length + margin, device=self.start.device)

    def resample(self, x: Tensor) -> Tensor:
        """Windows `[B, length, ...]` -> outputs `[B, n, ...]`."""
        first = torch.arange(len(x), device=x.device)[:, None] * x.shape[1]

        def values_at(positions: Tensor) -> Tensor:
            read: Tensor = x.flatten(0, 1).index_select(0, (first + positions).flatten()).unflatten(0, positions.shape)
            return read

        if self.later is None:
            return values_at(self.earlier)
        weight = self.weight.view(*self.weight.shape, *[1] * (x.dim() - 2)).to(x.dtype)
        return torch.lerp(values_at(self.earlier), values_at(self.later), weight)
