"""Blocks of NeRV's family: `[B, C, h, w]` -> `[B, C', s h, s w]`."""

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from .upsampling import UpConvolution

Activation = Callable[[], nn.Module]
ACTIVATIONS: tuple[Activation, ...] = (nn.GELU, nn.SiLU)
"""Activations, by the number that a bitstream stores."""


class Sine(nn.Module):
    """The sine as an activation, without a frequency factor."""

    def forward(self, x: Tensor) -> Tensor:
        """A tensor of any shape -> the same shape."""
        return torch.sin(x)


def mlp(widths: Sequence[int], act: Activation) -> nn.Sequential:
    """Linear layers between these widths, each followed by the activation, including the last (NeRV, section 3.1)."""
    layers = [(nn.Linear(a, b), act()) for a, b in pairwise(widths)]
    return nn.Sequential(*(layer for pair in layers for layer in pair))


class UpBlock(nn.Sequential):
    """The NeRV block: convolution, 3x3 by default, pixel shuffle, activation (NeRV, figure 2)."""

    def __init__(self, before: int, after: int, stride: int, act: Activation, kernel: int = 3) -> None:
        super().__init__(UpConvolution(before, after, stride, kernel), act())


class FirstBlock(nn.Sequential):
    """E-NeRV's first up-block: the large convolution factorized into two, without an activation between them."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        narrow = max(1, before // 4)
        if before <= after:
            up = nn.Conv2d(before, narrow * stride**2, 3, padding=1)
            super().__init__(up, nn.PixelShuffle(stride), nn.Conv2d(narrow, after, 3, padding=1), nn.GELU())
        else:
            up = nn.Conv2d(after, after * stride**2, 3, padding=1)
            super().__init__(nn.Conv2d(before, after, 3, padding=1), up, nn.PixelShuffle(stride), nn.GELU())


def halved_widths(first: int, strides: Sequence[int], lower: int) -> list[int]:
    """Channels after each stage: halved at each upsampling stage after the first, never below `lower` (NeRV)."""
    widths = [first]
    for stride in strides[1:]:
        widths.append(max(widths[-1] // (1 if stride == 1 else 2), lower))
    return widths


def tapered_widths(first: int, stages: int, reduction: float, lower: int) -> list[int]:
    """Channels after each stage, divided by `reduction` at each, never below `lower` (HNeRV, section 3.2)."""
    widths = [first]
    for _ in range(stages):
        widths.append(max(round(widths[-1] / reduction), lower))
    return widths[1:]
