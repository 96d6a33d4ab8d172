"""What networks of the frame index share: NeRV's stem and head, and blocks modulated by a code of time (E-NeRV)."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn

from .layers.blocks import Activation, FirstBlock, UpBlock, mlp
from .layers.encoding import sinusoids
from .layers.modulation import modulate
from .layers.precision import in_float32
from .network import Network, Patches, UpsamplingConfig


class IndexNetwork(Network):
    """NeRV's outline (section 3.1): encoded time t = i / N -> MLP -> base grid -> blocks -> head -> tanh.

    A subclass builds `blocks` and `head`.
    """

    blocks: nn.Sequential
    head: nn.Conv2d

    def __init__(
        self, config: UpsamplingConfig, frames: int, frequencies: int, hidden: int, channels: int, act: Activation
    ) -> None:
        """`hidden`: width of the MLP's hidden layer; `channels`: those of the base grid."""
        super().__init__(config.patch_size)
        self._base, self._frames, self._frequencies = (channels, config.rows, config.columns), frames, frequencies
        self.stem = mlp((2 * frequencies, hidden, math.prod(self._base)), act)

    def forward(self, at: Patches) -> Tensor:
        """The frames, `[B, 3, H, W]`."""
        base = self.stem(sinusoids(at.frames.double() / self._frames, self._frequencies)).view(-1, *self._base)
        return (torch.tanh(in_float32(self.head, self.blocks(base))) + 1) / 2


class ModulatedNetwork(Network):
    """Blocks whose inputs are normalized, then scaled and shifted by functions of a code (AdaIN; E-NeRV), in float32.

    A subclass builds `blocks` and, for each of them, a module in `modulations` that maps the code `[B, code]` to scale
    and shift, `[B, 2 C]`.
    """

    blocks: nn.ModuleList
    modulations: nn.ModuleList
    scales_around_one: ClassVar[bool] = True
    """Whether the scale is 1 + the output of the modulation, instead of that output itself."""

    def upsample(self, x: Tensor, code: Tensor) -> Tensor:
        """The output of the last block for a base grid `[B, C, h, w]` and a code `[B, code]`."""
        for modulation, block in zip(self.modulations, self.blocks, strict=True):
            scale, shift = in_float32(modulation, code).chunk(2, dim=1)
            x = block(modulate(x.float(), 1 + scale if self.scales_around_one else scale, shift))
        return x


def factorized_blocks(widths: Sequence[int], strides: Sequence[int]) -> nn.ModuleList:
    """E-NeRV's blocks, between channels `widths`: the first factorized, then NeRV blocks, all with GELU."""
    (first, *later) = zip(pairwise(widths), strides, strict=True)
    (before, after), stride = first
    return nn.ModuleList([FirstBlock(before, after, stride), *(UpBlock(a, b, s, nn.GELU) for (a, b), s in later)])
