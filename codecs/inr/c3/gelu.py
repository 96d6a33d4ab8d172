"""GELU by its approximation with tanh, JAX's default; on a CPU from few passes over the values."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

LINEAR = 2 * math.sqrt(2 / math.pi)
CUBIC = LINEAR * 0.044715
"""GELU(x) = x sigmoid(x (LINEAR + CUBIC x^2))."""


def gelu(x: Tensor) -> Tensor:
    """GELU; on a CPU it takes half of the time of torch's, and equals it but for rounding."""
    if x.is_cuda:
        return functional.gelu(x, approximate="tanh")
    result: Tensor = _Gelu.apply(x)  # type: ignore[no-untyped-call]
    return result


def gelu_in_place(x: Tensor, scratch: Tensor) -> Tensor:
    """GELU of a part whose buffers stay in the cache; `scratch` is overwritten."""
    torch.addcmul(x.new_tensor(LINEAR), x, x, value=CUBIC, out=scratch)
    return x.mul_(scratch.mul_(x).sigmoid_())


def gelu_and_slope(x: Tensor, value: Tensor, slope: Tensor, scratch: Tensor) -> None:
    """Sets `value` to GELU and `slope` to its derivative; `x` and `scratch` are overwritten."""
    linear = x.new_tensor(LINEAR)
    torch.addcmul(linear, x, x, value=CUBIC, out=scratch)
    torch.mul(scratch, x, out=slope).sigmoid_()
    torch.mul(x, slope, out=value)
    torch.addcmul(linear, x, x, value=3 * CUBIC, out=scratch)
    torch.addcmul(value, value, slope, value=-1, out=x)
    slope.addcmul_(x, scratch)


class _Gelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        value, scratch = x.clone(), torch.empty_like(x)
        if not ctx.needs_input_grad[0]:
            return gelu_in_place(value, scratch)
        slope, own = torch.empty_like(x), value.clone()
        gelu_and_slope(own, value, slope, scratch)
        ctx.save_for_backward(slope)
        return value

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (slope,) = ctx.saved_tensors
        product: Tensor = gradients[0] * slope
        return product
