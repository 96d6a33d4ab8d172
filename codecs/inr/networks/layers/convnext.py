"""ConvNeXt (Z. Liu et al., CVPR 2022): the encoder networks of hybrid codecs, and its normalization for HiNeRV."""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from .depthwise import Depthwise
from .mlp import normalized_mlp

INITIAL_SCALE = 1e-6
"""Initial value of the layer scale, which multiplies a block's residual branch."""
NORM_EPSILON = 1e-6
"""Epsilon of layer normalization in ConvNeXt, and in HiNeRV, whose blocks derive from it."""


def normalize_channels(x: Tensor) -> Tensor:
    """Layer normalization of the channels of each pixel of `[B, h, w, C]`, without affine parameters (HiNeRV)."""
    return functional.layer_norm(x, x.shape[-1:], eps=NORM_EPSILON)


class ChannelNorm(nn.LayerNorm):
    """Layer normalization of the channels of each pixel of `[B, C, h, w]`."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=NORM_EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, h, w]` -> the same shape."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ConvNeXtBlock(nn.Module):
    """Depthwise 7x7, normalization, two pointwise layers with a GELU between, scaled and added to the input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = Depthwise(channels, 7)
        self.norm = nn.LayerNorm(channels, eps=NORM_EPSILON)
        self.pointwise = nn.Sequential(nn.Linear(channels, 4 * channels), nn.GELU(), nn.Linear(4 * channels, channels))
        self.scale = nn.Parameter(torch.full((channels,), INITIAL_SCALE))

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, h, w]` -> the same shape."""
        widen, _, narrow = cast("tuple[nn.Linear, nn.GELU, nn.Linear]", tuple(self.pointwise))
        pixels = self.depthwise(x).permute(0, 2, 3, 1)
        pixels = normalized_mlp(pixels, self.norm.weight, self.norm.bias, NORM_EPSILON, widen, narrow)
        refined: Tensor = x + (self.scale * pixels).permute(0, 3, 1, 2)
        return refined


def convnext(
    before: int, widths: Sequence[int], strides: Sequence[int], depths: Sequence[int] | None = None
) -> nn.Sequential:
    """Stages that downsample by a convolution with kernel = stride, then apply blocks, `depths` of them or one each.

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
    network.apply(init_truncated_normal)
    return network


def init_truncated_normal(module: nn.Module) -> None:
    """Weights of convolutions and linear layers from a truncated normal of deviation 0.02, biases zero (ConvNeXt)."""
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
