"""Which implementation computes each block of a network in a training: measured before the first step of a stage."""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn

from ..networks.layers.block_choice import FUSED, PLAIN, Choice, block_implementation
from ..networks.layers.fusable import FusableBlock, Implementation
from ..networks.layers.fused_block import Block, fused_block, obstacle, plain_block
from .execution import Choice as ExecutionChoice
from .execution import Log


class Measure(Protocol):
    """Chooses an implementation for this input of a block, as `block_implementation`."""

    def __call__(self, x: Tensor, block: Block, mask: Tensor | None, /) -> Choice:
        """The choice."""
        ...


class Obstacle(Protocol):
    """Says why the fused kernels cannot compute this block here, None where they can, as `fused_block.obstacle`."""

    def __call__(self, x: Tensor, block: Block, /) -> str | None:
        """A clause, or None."""
        ...


def chooses_blocks(network: nn.Module, device_type: str, execution: ExecutionChoice) -> bool:
    """Whether a training measures its blocks: on CUDA, unless its steps are to be executed as they are written."""
    return device_type == "cuda" and execution != "false" and bool(_blocks(network))


@torch.no_grad()
def choose_blocks(
    network: nn.Module, forward: Callable[[], object], log: Log, measure: Measure = block_implementation,
    hindered: Obstacle = obstacle,
) -> None:  # fmt: skip
    """Sets the implementation of all blocks by measuring each with the input that it has in `forward`.

    `forward` is a pass of the network as in a step, autocast included. Blocks of equal shape share a measurement, and
    those that the log knows, also from a checkpoint, have none. Where a checkpoint chose the fused kernels and they
    cannot run here, as without Triton, the plain layers are chosen, and the log says why.
    """
    blocks = _blocks(network)
    chosen: dict[FusableBlock, str] = {}

    def measured(own: FusableBlock) -> Implementation:
        def implementation(x: Tensor, block: Block, mask: Tensor | None) -> Tensor:
            shape = describe(x, block, mask)
            known = log.blocks.get(shape)
            if known is None:
                log.blocks[shape] = measure(x, block, mask)
            elif known.name == FUSED and (reason := hindered(x, block)) is not None:
                log.blocks[shape] = Choice(PLAIN, f"{reason}; before this training was resumed here they were used")
            chosen[own] = log.blocks[shape].name
            return plain_block(x, block, mask)

        return implementation

    for own in blocks:
        own.implementation = measured(own)
    try:
        forward()
    finally:
        for own in blocks:
            own.implementation = fused_block if chosen.get(own) == FUSED else None


def _blocks(network: nn.Module) -> list[FusableBlock]:
    return [module for module in network.modules() if isinstance(module, FusableBlock)]


def describe(x: Tensor, block: Block, mask: Tensor | None) -> str:
    """The shape of a block and its input: `1x270x480x70 to 280 to 70, masked`."""
    sides = "x".join(map(str, x.shape))
    widths = f"{block.widen.out_features} to {block.narrow.out_features}"
    return f"{sides} to {widths}{'' if mask is None else ', masked'}"
