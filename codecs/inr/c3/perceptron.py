"""A perceptron for each pixel, on a CPU in parts that stay in its cache."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from .gelu import gelu, gelu_and_slope, gelu_in_place

PIXELS = 1 << 11
"""Pixels that are computed together on a CPU (our choice: of 2^10 to 2^13 the fastest)."""


def perceptron(x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor]) -> Tensor:
    """Linear layers with GELU between them: planes `[n, N]` -> `[N, m]`.

    On a CPU hidden values are not kept but computed again for the gradient.
    """
    if x.is_cuda:
        x = x.t()
        for number, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
            x = functional.linear(gelu(x) if number else x, weight, bias)
        return x
    result: Tensor = _InParts.apply(x, *weights, *biases)  # type: ignore[no-untyped-call]
    return result


Layers = Sequence[tuple[Tensor, Tensor]]


class _InParts(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, *parameters: Tensor) -> Tensor:
        ctx.save_for_backward(x, *parameters)
        layers = _layers(parameters)
        result = x.new_empty(x.shape[1], len(parameters[-1]))
        buffers = [_Buffer(x, layers) for _ in range(3)]
        for own, out in zip(x.split(PIXELS, dim=1), result.split(PIXELS), strict=True):
            hidden = own.t()
            for number, (weight, bias) in enumerate(layers):
                if number:
                    hidden = gelu_in_place(hidden, buffers[2].like(hidden))
                hidden = torch.addmm(bias, hidden, weight.t(), out=buffers[number % 2].of(len(hidden), len(bias)))
            out.copy_(hidden)
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        x, *parameters = ctx.saved_tensors
        parts, to_x = _Backward(x, _layers(parameters)), torch.empty_like(x)
        for own, given, out in zip(
            x.split(PIXELS, dim=1), gradients[0].split(PIXELS), to_x.split(PIXELS, dim=1), strict=True
        ):
            out.copy_(parts(own, given).t())
        return to_x, *(weight for weight, _ in parts.sums), *(bias for _, bias in parts.sums)


def _layers(parameters: Sequence[Tensor]) -> Layers:
    """The weight and the bias of each layer."""
    count = len(parameters) // 2
    return list(zip(parameters[:count], parameters[count:], strict=True))


class _Buffer:
    """Memory for the values of a part, used again and again, so that it stays in the cache."""

    def __init__(self, like: Tensor, layers: Layers) -> None:
        self._memory = like.new_empty(PIXELS * max(max(weight.shape) for weight, _ in layers))

    def of(self, length: int, width: int) -> Tensor:
        """The buffer as `[length, width]`."""
        return self._memory[: length * width].view(length, width)

    def like(self, x: Tensor) -> Tensor:
        """The buffer in the shape of another one."""
        return self._memory[: x.numel()].view(x.shape)


class _Backward:
    """The gradient, part by part."""

    def __init__(self, x: Tensor, layers: Layers) -> None:
        self._layers = layers
        self.sums = [(torch.zeros_like(weight), torch.zeros_like(bias)) for weight, bias in layers]
        """Gradients of the weights and biases so far."""
        self._kept = [(_Buffer(x, layers), _Buffer(x, layers)) for _ in layers[:-1]]
        self._free = [_Buffer(x, layers) for _ in range(2)]

    def __call__(self, x: Tensor, given: Tensor) -> Tensor:
        """The gradient to pixels `[n, P]`, as `[P, n]`."""
        inputs, slopes = [x.t()], list[Tensor]()
        for (weight, bias), kept in zip(self._layers, self._kept, strict=False):
            z, scratch, value, slope = (each.of(len(given), len(bias)) for each in (*self._free, *kept))
            gelu_and_slope(torch.addmm(bias, inputs[-1], weight.t(), out=z), value, slope, scratch)
            inputs.append(value)
            slopes.append(slope)
        for number in reversed(range(len(self._layers))):
            weight, (to_weight, to_bias) = self._layers[number][0], self.sums[number]
            if number:
                to_weight.addmm_(given.t(), inputs[number])
            else:
                to_weight += (x @ given).t()  # MKL is faster in this order
            to_bias += given.sum(0)
            given = torch.mm(given, weight, out=self._free[number % 2].of(len(given), weight.shape[1]))
            if number:
                given.mul_(slopes[number - 1])
        return given
