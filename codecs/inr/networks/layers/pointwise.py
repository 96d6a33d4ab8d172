"""Pointwise convolutions as matrix products."""

from torch import Tensor, nn
from torch.nn import functional


class Pointwise(nn.Conv2d):
    """A pointwise convolution, `[B, C, h, w]` -> `[B, C', h, w]`."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__(before, after, 1)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, h, w]` -> `[B, C', h, w]`."""
        return convolve_pointwise(x, self.weight, self.bias)


def convolve_pointwise(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """`[B, C, h, w]` with a kernel `[C', C, 1, 1]` and a bias `[C']`, `[B, C', h, w]`.

    In float32 on a CPU a step takes half of the time of torch's convolution (measured: 96 channels of 160x90, 5.5
    instead of 9.7 ms; 16 to 3 of 640x320, 4.2 instead of 11).
    """
    return functional.linear(x.permute(0, 2, 3, 1), weight.flatten(1), bias).permute(0, 3, 1, 2)
