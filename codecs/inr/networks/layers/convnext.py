"""ConvNeXt (Z. Liu et al., CVPR 2022), of which the encoder networks of hybrid codecs are made."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

INITIAL_SCALE = 1e-6
"""Of a block's residual branch."""


class ChannelNorm(nn.LayerNorm):
    """Normalizes the channels of each pixel of `[B, C, h, w]`."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, h, w]`."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ConvNeXtBlock(nn.Module):
    """Depthwise 7x7, normalization, two pointwise layers with a GELU between, scaled and added to the input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.pointwise = nn.Sequential(nn.Linear(channels, 4 * channels), nn.GELU(), nn.Linear(4 * channels, channels))
        self.scale = nn.Parameter(torch.full((channels,), INITIAL_SCALE))

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, h, w]`."""
        pixels = self.pointwise(self.norm(self.depthwise(x).permute(0, 2, 3, 1)))
        refined: Tensor = x + (self.scale * pixels).permute(0, 3, 1, 2)
        return refined


def convnext(
    before: int, widths: Sequence[int], strides: Sequence[int], depths: Sequence[int] | None = None
) -> nn.Sequential:
    """Stages of a convolution of kernel = stride and blocks, one each unless `depths` says otherwise.

    `[B, before, s h, s w]` -> `[B, widths[-1], h, w]`. The first stage normalizes after its convolution, the others
    before it.
    """
    depths = depths or [1] * len(widths)
    stages: list[nn.Module] = []
    for number, (after, stride, depth) in enumerate(zip(widths, strides, depths, strict=True)):
        down = nn.Conv2d(before, after, stride, stride)
        stages += [ChannelNorm(before), down] if number else [down, ChannelNorm(after)]
        stages += [ConvNeXtBlock(after) for _ in range(depth)]
        before = after
    network = nn.Sequential(*stages)
    network.apply(start_small)
    return network


def start_small(module: nn.Module) -> None:
    """Weights of convolutions and linear layers from a truncated normal of deviation 0.02, biases zero (ConvNeXt)."""
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
