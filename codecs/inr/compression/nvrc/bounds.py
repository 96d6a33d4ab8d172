"""Bounds of learned logarithms, deviations and probabilities, through which inward gradients pass."""

import math
from typing import Any

import torch
from torch import Tensor


class _Bounded(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, low: float, high: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.low, ctx.high = low, high
        return x.clamp(low, high)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        ((x,), (gradient,)) = ctx.saved_tensors, gradients
        outward = ((x < ctx.low) & (gradient > 0)) | ((x > ctx.high) & (gradient < 0))
        return gradient.masked_fill(outward, 0.0), None, None


def bounded(x: Tensor, low: float = -math.inf, high: float = math.inf) -> Tensor:
    """`x` clamped; a gradient whose descent leads back inside passes, as in NVRC's and CompressAI's code.

    A clamp passes none from beyond its bounds, where a value would stay for the rest of the training.
    """
    y: Tensor = _Bounded.apply(x, low, high)  # type: ignore[no-untyped-call]
    return y
