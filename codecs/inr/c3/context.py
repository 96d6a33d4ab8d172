"""C3's entropy networks: the location and scale of each latent from latents that are decoded before it."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, product

import torch
from torch import Tensor, nn
from torch.nn import functional

from .gelu import gelu
from .rate import fast_latent_bits
from .synthesis import truncated_normal
from .tiles import sum_in_tiles

OUTPUTS = 2
"""Location and the scale's number for each latent."""
Tap = tuple[int, int, int]
"""Frames, rows and columns from a latent to one of its context."""
Box = tuple[int, int]
"""Rows and columns from a latent to the first corner of its window in the frame before."""


@dataclass(frozen=True)
class Variant:
    """One of the three kinds of context that are trained for a patch."""

    name: str
    grids: int
    """Number of latent grids."""
    hidden: tuple[int, ...]
    """Widths of the hidden layers."""
    reach: int
    """Rows and columns of the causal context on either side of a latent, in its own frame."""
    per_grid: bool
    """Whether each grid has a network of its own."""
    window: int
    """Side of the window in the frame before; of odd size and centered, unless its place is learned."""
    learned_grids: int = 0
    """The first grids have a window in the frame before at a learned place, the others none; 0: all, centered."""

    @property
    def networks(self) -> int:
        """Number of entropy networks."""
        return self.grids if self.per_grid else 1


SHARED = Variant("a", 6, (16, 16), 4, False, 9)
PER_GRID = Variant("b", 5, (2, 2), 4, True, 9)
LEARNED = Variant("c", 6, (8, 8), 3, True, 4, 3)
VARIANTS = {variant.name: variant for variant in (SHARED, PER_GRID, LEARNED)}
"""The variants of the released sweep by the letters of our settings."""
START_WINDOW = 65
"""Side of the window with which the place of variant c's window is learned; the fan-in of its first layer too."""


def causal_taps(reach: int) -> list[Tap]:
    """The latents of the same frame up to `reach` rows and columns away that come before in raster order."""
    places = product(range(-reach, 1), range(-reach, reach + 1))
    return [(0, row, column) for row, column in places if (row, column) < (0, 0)]


def window_taps(box: Box, side: int) -> list[Tap]:
    """All latents of a square window in the frame before."""
    return [(-1, box[0] + row, box[1] + column) for row in range(side) for column in range(side)]


class ContextNetwork(nn.Module):
    """A perceptron on the context of each latent: `[t, h, w]` to locations and numbers of scales, `[t, 2, h, w]`."""

    def __init__(self, variant: Variant, box: Box | None, window: int) -> None:
        """`box` is the place of the window in the frame before and `window` its side; without a box there is none."""
        super().__init__()
        self.box, self.window, self.reach = box, window, variant.reach
        widths = (*variant.hidden, OUTPUTS)
        first, pairs = widths[0], list(pairwise(widths))
        self.current = nn.Parameter(torch.empty(first, len(causal_taps(self.reach))))
        """Weights of the taps in the latent's frame."""
        self.before = nn.Parameter(torch.empty(first, window * window)) if box is not None else None
        """Weights of the taps in the frame before."""
        taps = START_WINDOW**2 * 3 if variant.learned_grids else self.current.shape[1] + window * window
        for weight in (self.current, self.before):
            if weight is not None:
                truncated_normal(weight, taps**-0.5)
        self.bias = nn.Parameter(torch.zeros(first))
        own_bias = bool(variant.learned_grids) and box is not None
        self.bias_before = nn.Parameter(torch.zeros(first)) if own_bias else None
        """Variant c computes the two frames' parts by two convolutions, each with a bias (redundant, as released)."""
        self.weights = nn.ParameterList([torch.empty(after, before) for before, after in pairs])
        self.biases = nn.ParameterList([torch.zeros(after) for _, after in pairs])
        for weight in self.weights:
            truncated_normal(weight, weight.shape[1] ** -0.5)

    @property
    def taps(self) -> list[Tap]:
        """The context, in the order of `first_layer`'s columns."""
        return ([] if self.box is None else window_taps(self.box, self.window)) + causal_taps(self.reach)

    def first_layer(self) -> tuple[Tensor, Tensor]:
        """Weights `[F, taps]` and bias `[F]`."""
        weight = self.current if self.before is None else torch.cat([self.before, self.current], dim=1)
        return weight, self.bias if self.bias_before is None else self.bias + self.bias_before

    def forward(self, grid: Tensor) -> Tensor:
        """`[t, h, w]` -> `[t, 2, h, w]`."""
        outputs = later_layers(self._first(grid), *self.weights, *self.biases)
        return outputs.view(*grid.shape, OUTPUTS).permute(0, 3, 1, 2)

    def bits(self, grid: Tensor) -> Tensor:
        """The estimated bits of a quantized grid."""
        return sum_in_tiles(bits_of_rows, [grid.flatten(), self._first(grid)], [*self.weights, *self.biases])

    def _first(self, grid: Tensor) -> Tensor:
        """The first layer, `[latents, F]`; channels are side by side, with which CPUs convolve several times faster."""
        x = self._convolved(grid).permute(0, 2, 3, 1)
        return x.reshape(-1, x.shape[-1])

    def _convolved(self, grid: Tensor) -> Tensor:
        """The first layer, `[t, F, h, w]`."""
        bias = self.first_layer()[1]
        if self.before is None or self.box is None:
            return functional.conv2d(grid[:, None], self._kernel(), bias, padding=self.reach)
        earlier = functional.pad(grid[:-1], (0, 0, 0, 0, 1, 0))
        before = self.before.view(-1, 1, self.window, self.window)
        if self.window == 2 * self.reach + 1 and self.box == (-self.reach, -self.reach):
            both = torch.cat([before, self._kernel()], dim=1)  # one convolution is faster than two
            pairs = torch.stack([earlier, grid], dim=-1).permute(0, 3, 1, 2)
            return functional.conv2d(pairs, both, bias, padding=self.reach)
        (top, left), last = self.box, self.window - 1
        padded = functional.pad(earlier[:, None], (-left, left + last, -top, top + last))
        current = functional.conv2d(grid[:, None], self._kernel(), bias, padding=self.reach)
        return current + functional.conv2d(padded, before)

    def _kernel(self) -> Tensor:
        """The causal kernel of the current frame, with zeros in the other places."""
        side = 2 * self.reach + 1
        missing = side * side - self.current.shape[1]
        return functional.pad(self.current, (0, missing)).view(-1, 1, side, side)

    @property
    def macs(self) -> int:
        """Multiply-accumulates for each latent."""
        return len(self.taps) * len(self.bias) + sum(int(weight.numel()) for weight in self.weights)


def later_layers(x: Tensor, *parameters: Tensor) -> Tensor:
    """The layers after the first: `[latents, F]` -> `[latents, 2]`, given all weights, then all biases."""
    count = len(parameters) // 2
    for weight, bias in zip(parameters[:count], parameters[count:], strict=True):
        x = functional.linear(gelu(x), weight, bias)
    return x


def start_boxes(variant: Variant, window: int) -> list[Box | None]:
    """Each network's centered window of this side in the frame before; None for a network without one."""
    centered = (-(window // 2), -(window // 2))
    if not variant.learned_grids:
        return [centered] * variant.networks
    return [centered if grid < variant.learned_grids else None for grid in range(variant.networks)]


def best_box(network: ContextNetwork, side: int) -> Box:
    """The place of the square of this side in the network's window whose weights have the largest sum of magnitudes."""
    assert network.box is not None
    assert network.before is not None
    magnitudes = network.before.detach().abs().mean(0).view(1, 1, network.window, network.window)
    sums = functional.conv2d(magnitudes, magnitudes.new_ones(1, 1, side, side))[0, 0]
    row, column = divmod(int(sums.argmax()), sums.shape[1])
    return network.box[0] + row, network.box[1] + column


def networks_of(variant: Variant, boxes: Sequence[Box | None], window: int) -> nn.ModuleList:
    """The entropy networks, one for all grids or one for each."""
    return nn.ModuleList([ContextNetwork(variant, box, window) for box in boxes])


def bits_of_rows(latents: Tensor, first: Tensor, *parameters: Tensor) -> Tensor:
    """Bits of `[latents]` given the first layer `[latents, F]` and the parameters of the later layers."""
    return fast_latent_bits(latents, later_layers(first, *parameters))
