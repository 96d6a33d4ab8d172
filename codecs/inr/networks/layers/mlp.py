"""Normalization and two pointwise layers with a GELU between, which on a CPU keep wide features in its cache."""

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
LARGE_MAP = 1 << 24
"""Values of an input from which on memory decides (our choice): parts then cost no more time at any expansion."""


def normalized_mlp(
    x: Tensor, gain: Tensor | None, offset: Tensor | None, epsilon: float, widen: nn.Linear, narrow: nn.Linear
) -> Tensor:
    """`narrow(gelu(widen(norm(x))))` for `[..., C]`; `gain` and `offset` `[C]` of the normalization, or neither.

    Large maps are computed in parts in a training on a CPU; normalized and wide features, most of a block's memory,
    are then not kept but computed again for the gradient.
    """
    if x.device.type == "cpu" and not torch.is_autocast_enabled("cpu") and _pays(x, widen):
        weights = (widen.weight, widen.bias, narrow.weight, narrow.bias)
        result: Tensor = _InParts.apply(x, gain, offset, epsilon, *weights)  # type: ignore[no-untyped-call]
        return result
    y: Tensor = narrow(functional.gelu(widen(functional.layer_norm(x, x.shape[-1:], gain, offset, epsilon))))
    return y


def _pays(x: Tensor, widen: nn.Linear) -> bool:
    """Whether parts are faster than the whole, or the map is large."""
    wide = x.numel() // x.shape[-1] * widen.out_features
    expands = widen.out_features >= LEAST_EXPANSION * widen.in_features
    return x.numel() >= LARGE_MAP or (expands and wide >= LEAST_VALUES)


class _InParts(torch.autograd.Function):
    """`normalized_mlp` in parts of ROWS pixels; biases may be None."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, gain: Tensor | None, offset: Tensor | None, epsilon: float, widen: Tensor,
        shift: Tensor | None, narrow: Tensor, last: Tensor | None,
    ) -> Tensor:  # fmt: skip
        pixels = x.flatten(0, -2)
        result = pixels.new_empty(len(pixels), len(narrow))
        for own, out in zip(pixels.split(ROWS), result.split(ROWS), strict=True):
            normal = functional.layer_norm(own, own.shape[-1:], gain, offset, epsilon)
            out.copy_(functional.linear(functional.gelu(functional.linear(normal, widen, shift)), narrow, last))
        ctx.save_for_backward(pixels, gain, offset, widen, shift, narrow, last)
        ctx.epsilon = epsilon
        return result.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        pixels, gain, offset, widen, shift, narrow, last = ctx.saved_tensors
        given = gradients[0].reshape(len(pixels), -1)
        to_pixels = torch.empty_like(pixels)
        to_widen, to_narrow = torch.zeros_like(widen), torch.zeros_like(narrow)
        to_gain, to_offset, to_shift = map(_zeros, (gain, offset, shift))
        asked = (True, gain is not None, offset is not None)
        for own, gradient, out in zip(*(each.split(ROWS) for each in (pixels, given, to_pixels)), strict=True):
            normal, mean, inverse = torch.native_layer_norm(own, own.shape[-1:], gain, offset, ctx.epsilon)
            wide = functional.linear(normal, widen, shift)
            to_narrow.addmm_(gradient.t(), functional.gelu(wide))
            to_wide = torch.ops.aten.gelu_backward(gradient @ narrow, wide)
            to_widen.addmm_(to_wide.t(), normal)
            if to_shift is not None:
                to_shift += to_wide.sum(0)
            own_gradient, own_gain, own_offset = torch.ops.aten.native_layer_norm_backward(
                to_wide @ widen, own, own.shape[-1:], mean, inverse, gain, offset, asked
            )
            out.copy_(own_gradient)
            if to_gain is not None:
                to_gain += own_gain
            if to_offset is not None:
                to_offset += own_offset
        to_last = None if last is None else given.sum(0)
        to_x = to_pixels.view(*gradients[0].shape[:-1], -1)
        return to_x, to_gain, to_offset, None, to_widen, to_shift, to_narrow, to_last


def _zeros(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else torch.zeros_like(tensor)
