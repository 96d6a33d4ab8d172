"""Two pointwise layers with a GELU between them, which on a CPU keep their wide features in its cache."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

ROWS = 1024
"""Pixels that are computed together (our choice: of 512 to 4096 the fastest)."""
LEAST_EXPANSION = 2
LEAST_VALUES = 1 << 21
"""Wide features from which on the gain of the cache exceeds the cost of computing them again (measured: 14400 pixels,
47 to 188 channels, forward and backward 22 instead of 34 ms; 3600 pixels, 93 to 372, 18 instead of 16)."""


def pointwise_mlp(x: Tensor, widen: nn.Linear, narrow: nn.Linear) -> Tensor:
    """`narrow(gelu(widen(x)))` for `[..., C]`.

    Large maps are computed in parts in a training on a CPU; the wide features, most of a block's memory, are then not
    kept but computed again for the gradient.
    """
    wide = x.numel() // x.shape[-1] * widen.out_features
    expands = widen.out_features >= LEAST_EXPANSION * widen.in_features
    if x.device.type == "cpu" and expands and wide >= LEAST_VALUES and not torch.is_autocast_enabled("cpu"):
        result: Tensor = _InParts.apply(x, widen.weight, widen.bias, narrow.weight, narrow.bias)  # type: ignore[no-untyped-call]
        return result
    y: Tensor = narrow(functional.gelu(widen(x)))
    return y


class _InParts(torch.autograd.Function):
    """`pointwise_mlp` in parts of ROWS pixels; biases may be None."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, widen: Tensor, shift: Tensor | None, narrow: Tensor, last: Tensor | None
    ) -> Tensor:
        pixels = x.flatten(0, -2)
        result = pixels.new_empty(len(pixels), len(narrow))
        for own, out in zip(pixels.split(ROWS), result.split(ROWS), strict=True):
            out.copy_(functional.linear(functional.gelu(functional.linear(own, widen, shift)), narrow, last))
        ctx.save_for_backward(pixels, widen, shift, narrow, last)
        return result.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        pixels, widen, shift, narrow, last = ctx.saved_tensors
        given = gradients[0].reshape(len(pixels), -1)
        to_pixels = torch.empty_like(pixels)
        to_widen, to_narrow = torch.zeros_like(widen), torch.zeros_like(narrow)
        to_shift = None if shift is None else torch.zeros_like(shift)
        parts = (tensor.split(ROWS) for tensor in (pixels, given, to_pixels))
        for own, gradient, out in zip(*parts, strict=True):
            wide = functional.linear(own, widen, shift)
            to_narrow.addmm_(gradient.t(), functional.gelu(wide))
            to_wide = torch.ops.aten.gelu_backward(gradient @ narrow, wide)
            to_widen.addmm_(to_wide.t(), own)
            if to_shift is not None:
                to_shift += to_wide.sum(0)
            torch.mm(to_wide, widen, out=out)
        to_last = None if last is None else given.sum(0)
        return to_pixels.view(*gradients[0].shape[:-1], -1), to_widen, to_shift, to_narrow, to_last
