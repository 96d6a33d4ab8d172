"""Depthwise convolution whose kernels get their gradient fast on a CPU."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

FAST_COLUMNS = 3
"""Columns of a kernel up to which torch's gradient of depthwise kernels is fast on a CPU, whatever the rows (measured:
64 channels of 160x80, one thread, torch 2.13: 0.8 ms for 7x3, but 18 for 7x7, in bfloat16 1.2 and 57)."""


class Depthwise(nn.Conv2d):
    """A depthwise convolution with odd, square kernels, padded with zeros to keep the size."""

    def __init__(self, channels: int, kernel: int, bias: bool = True) -> None:
        super().__init__(channels, channels, kernel, padding=kernel // 2, groups=channels, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, h, w]` -> the same shape."""
        return convolve_depthwise(x, self.weight, self.bias)


def convolve_depthwise(x: Tensor, kernels: Tensor, bias: Tensor | None) -> Tensor:
    """`[B, C, h, w]` with kernels `[C, 1, k, k]` and a bias `[C]` -> the same shape; k is odd.

    On a CPU the gradients of wide kernels, and of all in low precision, are the same sums in another order.
    """
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
    side = kernels.shape[-1]
    is_fast = dtype == torch.float32 and side <= FAST_COLUMNS
    if x.device.type != "cpu" or is_fast or not kernels.requires_grad:
        return functional.conv2d(x, kernels, bias, padding=side // 2, groups=len(kernels))
    x, kernels, bias = x.to(dtype), kernels.to(dtype), None if bias is None else bias.to(dtype)
    y: Tensor = _InColumns.apply(x, kernels, bias)  # type: ignore[no-untyped-call]
    return y


class _InColumns(torch.autograd.Function):
    """torch's convolution, with a gradient for the kernels that is computed for a few of their columns at a time.

    That of the input is a convolution with the mirrored kernels, in bfloat16 twice as fast as torch's (measured).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, kernels: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, kernels)
        return functional.conv2d(x, kernels, bias, padding=kernels.shape[-1] // 2, groups=len(kernels))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, kernels = ctx.saved_tensors
        given = gradients[0].contiguous(memory_format=torch.channels_last)
        to_x = to_kernels = to_bias = None
        if ctx.needs_input_grad[0]:
            mirrored = kernels.flip(2, 3)
            to_x = functional.conv2d(given, mirrored, padding=kernels.shape[-1] // 2, groups=len(kernels))
        if ctx.needs_input_grad[1]:
            to_kernels = _kernel_gradient(x, given, kernels)
        if ctx.needs_input_grad[2]:
            to_bias = given.sum((0, 2, 3))
        return to_x, to_kernels, to_bias


def _kernel_gradient(x: Tensor, given: Tensor, kernels: Tensor) -> Tensor:
    """The gradient `[C, 1, k, k]` of the kernels, from the input and the gradient of the output."""
    side, width = kernels.shape[-1], x.shape[-1]
    padding = side // 2
    if side <= FAST_COLUMNS:
        return _torchs_gradient(x, given, kernels, [padding, padding])
    padded = functional.pad(x, (padding, padding))
    parts: list[Tensor] = []
    for own in kernels.split(FAST_COLUMNS, dim=3):
        first = sum(part.shape[3] for part in parts)
        seen = padded[..., first : first + width + own.shape[3] - 1].contiguous(memory_format=torch.channels_last)
        parts.append(_torchs_gradient(seen, given, own.contiguous(), [padding, 0]))
    return torch.cat(parts, dim=3)


def _torchs_gradient(x: Tensor, given: Tensor, kernels: Tensor, padding: list[int]) -> Tensor:
    gradient: Tensor = torch.ops.aten.convolution_backward(
        given, x, kernels, None, [1, 1], padding, [1, 1], False, [0, 0], len(kernels), [False, True, False]
    )[1]
    return gradient
