"""C3's synthesis network: a perceptron for each pixel, then two residual convolutions."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from .gelu import gelu
from .perceptron import perceptron

COLORS = 3
KERNEL = 3
"""Taps of a residual convolution along each of its axes."""
RESIDUALS = 2


def truncated_normal(tensor: Tensor, deviation: float) -> None:
    """Fills a tensor with a Gaussian that is cut at two deviations (Haiku's default for weights)."""
    nn.init.trunc_normal_(tensor, 0.0, deviation, -2 * deviation, 2 * deviation)


class Synthesis(nn.Module):
    """Upsampled latents `[T, n, H, W]` to RGB frames `[T, 3, H, W]` in 0..1."""

    def __init__(self, grids: int, hidden: tuple[int, ...], per_frame: bool) -> None:
        super().__init__()
        self.per_frame = per_frame
        """Whether the residual convolutions are two-dimensional; else they have three taps in time too."""
        widths = (grids, *hidden, COLORS)
        pairs = list(pairwise(widths))
        self.weights = nn.ParameterList([torch.empty(after, before) for before, after in pairs])
        self.biases = nn.ParameterList([torch.zeros(after) for _, after in pairs])
        for weight in self.weights:
            truncated_normal(weight, weight.shape[1] ** -0.5)
        kernel = (KERNEL, KERNEL) if per_frame else (KERNEL, KERNEL, KERNEL)
        self.residual_weights = nn.ParameterList([torch.zeros(COLORS, COLORS, *kernel) for _ in range(RESIDUALS)])
        self.residual_biases = nn.ParameterList([torch.zeros(COLORS) for _ in range(RESIDUALS)])

    def start_at(self, mean: Tensor) -> None:
        """Sets the last bias to the mean color of the patch, `[3]`."""
        with torch.no_grad():
            self.residual_biases[-1].copy_(mean)

    def forward(self, x: Tensor) -> Tensor:
        """`[T, n, H, W]`, best as planes `[n, T, H, W]` in memory, -> `[T, 3, H, W]`, with colors side by side."""
        planes = x.transpose(0, 1).flatten(1)
        colors = perceptron(planes, [*self.weights], [*self.biases])
        colors = colors.view(len(x), *x.shape[2:], COLORS).permute(0, 3, 1, 2)
        for number, (weight, bias) in enumerate(zip(self.residual_weights, self.residual_biases, strict=True)):
            colors = colors + self._residual(colors, weight, bias)
            colors = gelu(colors) if number < RESIDUALS - 1 else colors
        return colors.clamp(0, 1)

    def _residual(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """A convolution whose input is extended by its edge values."""
        if self.per_frame:
            return functional.conv2d(functional.pad(x, (1, 1, 1, 1), "replicate"), weight, bias)
        volume = functional.pad(x.transpose(0, 1)[None], (1, 1, 1, 1, 1, 1), "replicate")
        return functional.conv3d(volume, weight, bias)[0].transpose(0, 1)

    @property
    def macs_per_pixel(self) -> int:
        """Multiply-accumulates for each pixel."""
        return sum(parameter.numel() for parameter in (*self.weights, *self.residual_weights))
