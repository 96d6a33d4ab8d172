"""The context model of feature grids (NVRC, section 3.3.1): three masked 3-D convolutions inside blocks of a grid.

A block is 16x8x8 voxels (time, rows, columns); the context never crosses its edge, so all blocks are decoded side by
side. Channels are independent of each other, as the paper says (in its code they are coupled): each has its own
convolutions of width 8 and its own norms over these 8, which does not change the number of parameters.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...entropy.exact import EPSILON

BLOCK = (16, 8, 8)
"""Time steps, rows and columns of a block."""
WIDTH = 8
"""Features of each channel."""
KERNEL = 5
TAPS = KERNEL**3
BEFORE = TAPS // 2
"""Taps of a kernel before its center, in raster order."""
OUTPUTS = 2
"""Outputs for each channel: mean and log scale."""
FIRST_SHARE = 0.03
"""Factor on the initial weights of the last convolution (our choice)."""


@dataclass(frozen=True)
class Blocks:
    """The split of a grid `[C, T, h, w]` into blocks `[n, C, 16, 8, 8]`, with zeros beyond its far ends."""

    shape: tuple[int, int, int, int]

    @property
    def counts(self) -> tuple[int, int, int]:
        """Numbers of blocks along each axis."""
        time, rows, columns = (-(-side // block) for side, block in zip(self.shape[1:], BLOCK, strict=True))
        return time, rows, columns

    @property
    def largest(self) -> tuple[int, int, int]:
        """Voxels of the fullest block along each axis."""
        time, rows, columns = (min(side, block) for side, block in zip(self.shape[1:], BLOCK, strict=True))
        return time, rows, columns

    @property
    def number(self) -> int:
        """The number of blocks."""
        time, rows, columns = self.counts
        return time * rows * columns

    def split(self, grid: Tensor) -> Tensor:
        """The grid's blocks."""
        (a, b, c), (t, h, w) = self.counts, BLOCK
        missing = c * w - self.shape[3], b * h - self.shape[2], a * t - self.shape[1]
        padded = functional.pad(grid, (0, missing[0], 0, missing[1], 0, missing[2]))
        parts = padded.reshape(-1, a, t, b, h, c, w).permute(1, 3, 5, 0, 2, 4, 6)
        return parts.reshape(self.number, -1, t, h, w)

    def join(self, blocks: Tensor) -> Tensor:
        """The grid of the blocks; the inverse of `split`."""
        (a, b, c), (t, h, w) = self.counts, BLOCK
        grid = blocks.reshape(a, b, c, -1, t, h, w).permute(3, 0, 4, 1, 5, 2, 6).reshape(-1, a * t, b * h, c * w)
        return grid[:, : self.shape[1], : self.shape[2], : self.shape[3]]

    def inside(self, device: torch.device | None = None) -> Tensor:
        """Mask of the voxels that lie inside the grid, `[n, 1, 16, 8, 8]`."""
        return self.split(torch.ones(1, *self.shape[1:], device=device)) > 0


class MaskedConv(nn.Module):
    """A convolution over the voxels before the current one in raster order, and over that one with `center`."""

    def __init__(self, channels: int, before: int, after: int, center: bool) -> None:
        super().__init__()
        self.channels, self.taps = channels, BEFORE + center
        bound = (before * self.taps) ** -0.5
        self.weight = nn.Parameter(torch.empty(channels * after, before, self.taps).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(channels * after))

    def forward(self, x: Tensor) -> Tensor:
        """`[n, C before, 16, 8, 8]` -> `[n, C after, 16, 8, 8]`."""
        kernel = functional.pad(self.weight, (0, TAPS - self.taps)).unflatten(2, (KERNEL,) * 3)
        out: Tensor = functional.conv3d(x, kernel, self.bias, padding=KERNEL // 2, groups=self.channels)
        return out


class GroupNorm(nn.Module):
    """Layer norm over the WIDTH features of each channel of the grid."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(channels * WIDTH))
        self.shift = nn.Parameter(torch.zeros(channels * WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        """`[n, C WIDTH, 16, 8, 8]`."""
        groups = x.unflatten(1, (-1, WIDTH))
        centered = groups - groups.mean(2, keepdim=True)
        normed = centered / (centered.square().mean(2, keepdim=True) + EPSILON).sqrt()
        shape = (1, -1, 1, 1, 1)
        scaled: Tensor = normed.flatten(1, 2) * self.gain.view(shape) + self.shift.view(shape)
        return scaled


class ContextModel(nn.Module):
    """Mean and log scale of every voxel, predicted from those before it.

    The paper lists layer norm, convolution and GELU as a block's parts. The order here is that of NVRC's code:
    convolution, GELU, norm, and a last convolution alone, so the grid's own values are not normalized.
    """

    def __init__(self, channels: int, log_scale: float = 0.0) -> None:
        """`log_scale`: the logarithm of the grid's deviation, near which predictions begin, with means near zero.

        Our choice: otherwise means would begin with a deviation of 0.4, and scales at 1, where grids have 0.1.
        """
        super().__init__()
        self.channels = channels
        self.first = MaskedConv(channels, 1, WIDTH, center=False)
        self.second = MaskedConv(channels, WIDTH, WIDTH, center=True)
        self.third = MaskedConv(channels, WIDTH, OUTPUTS, center=True)
        self.norms = nn.ModuleList(GroupNorm(channels) for _ in range(2))
        with torch.no_grad():
            self.third.weight.mul_(FIRST_SHARE)
            self.third.bias.view(channels, OUTPUTS)[:, 1] = log_scale

    @property
    def gains_and_shifts(self) -> list[tuple[Tensor, Tensor]]:
        """Gains and shifts of the norms, in their order."""
        return [(norm.gain, norm.shift) for norm in self.norms if isinstance(norm, GroupNorm)]

    def forward(self, blocks: Tensor, inside: Tensor) -> tuple[Tensor, Tensor]:
        """`[n, C, 16, 8, 8]` in the grid's units, and the mask of its voxels -> means and log scales of that shape."""
        x = self.norms[0](functional.gelu(self.first(blocks))) * inside
        x = self.norms[1](functional.gelu(self.second(x))) * inside
        mean, log_scale = self.third(x).unflatten(1, (-1, OUTPUTS)).unbind(2)
        return mean, log_scale
