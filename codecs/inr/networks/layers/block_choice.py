"""Which implementation computes a block: the fused kernels where a measurement finds them right and faster."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from .fused_block import Block, fused_block, obstacle, plain_block

FUSED, PLAIN = "fused", "plain"
ROUNDS = 3
"""Measurements of each implementation, one after the other in turn; the fastest counts."""
REPEATS = 5
"""Passes in a measurement."""
TOLERANCE = 0.05
"""Largest difference of output and gradients over their largest value, which bfloat16 reaches only by an error."""


@dataclass(frozen=True)
class Choice:
    """The implementation of a block for one shape of input, and why."""

    name: str
    """`fused` or `plain`."""
    reason: str
    """A phrase for the record."""
    milliseconds: Mapping[str, float] = field(default_factory=dict)
    """Forward and backward pass of each implementation; empty where nothing was measured."""


def block_implementation(x: Tensor, block: Block, mask: Tensor | None = None) -> Choice:
    """Measures forward and backward pass of a block for this input, once for each shape, inside the step's autocast.

    Plain where the kernels cannot run (a CPU, no Triton), where they fail or differ, and where they are not faster.
    """
    if (reason := obstacle(x, block)) is not None:
        return Choice(PLAIN, reason)
    own = block.apart()
    leaves = [x.detach().requires_grad_(), *own.parameters()]

    def run(implementation: Callable[[Tensor, Block, Tensor | None], Tensor]) -> list[Tensor]:
        with torch.enable_grad():
            y = implementation(leaves[0], own, mask)
            return [y.detach(), *torch.autograd.grad(y, leaves, torch.ones_like(y))]

    try:
        difference = largest_difference(run(fused_block), run(plain_block))
    except Exception as error:  # a kernel that this GPU cannot compile or launch; the plain layers do the same
        return Choice(PLAIN, f"the fused kernels fail here with {type(error).__name__}")
    if not difference < TOLERANCE:
        return Choice(PLAIN, f"the fused kernels differ from the plain layers by {difference:.2g}")
    return faster({FUSED: lambda: run(fused_block), PLAIN: lambda: run(plain_block)}, cuda_milliseconds)


def largest_difference(ours: list[Tensor], theirs: list[Tensor]) -> float:
    """The largest difference of two lists of tensors, each relative to the tensor's largest value."""
    pairs = zip(ours, theirs, strict=True)
    ratios = [float((own.float() - other.float()).abs().max() / other.float().abs().max()) for own, other in pairs]
    return max((math.inf if math.isnan(ratio) else ratio for ratio in ratios), default=0.0)


def cuda_milliseconds(work: Callable[[], object]) -> float:
    """The GPU's time for `work`, the mean of REPEATS."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    for _ in range(REPEATS):
        work()
    end.record()
    end.synchronize()
    return float(start.elapsed_time(end)) / REPEATS


def faster(
    implementations: Mapping[str, Callable[[], object]], measure: Callable[[Callable[[], object]], float]
) -> Choice:
    """The implementation with the lowest of ROUNDS measurements, `measure` in milliseconds."""
    best = dict.fromkeys(implementations, math.inf)
    for _ in range(ROUNDS):
        best = {name: min(best[name], measure(work)) for name, work in implementations.items()}
    name = min(best, key=lambda each: best[each])
    times = ", ".join(f"{each} {value:.3f} ms" for each, value in best.items())
    return Choice(name, times, best)
