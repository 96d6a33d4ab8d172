"""A block of plain layers that another implementation can compute from the same weights."""

from collections.abc import Callable

from torch import Tensor, nn

from .fused_block import Block

Implementation = Callable[[Tensor, Block, Tensor | None], Tensor]
"""`fused_block`, or what has its form: features `[B, h, w, C]`, the block's tensors and a mask -> `[B, h, w, C']`."""


class FusableBlock(nn.Module):
    """The block of HiNeRV, NVRC and TeNeRV; its weights and their names do not depend on the implementation."""

    implementation: Implementation | None = None
    """What computes the block; None: its plain layers, which define what a bitstream renders."""
