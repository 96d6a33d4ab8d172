"""C3's latent grids: shapes, gains, quantization and its differentiable stand-ins."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Q_STEP = 0.3
"""Step of the latents (`latents.q_step` in the sweep of the released configuration)."""
Shape = tuple[int, int, int]
"""Frames, rows and columns of a volume."""
Quantizer = Callable[[Tensor], Tensor]
"""Maps latents in units of Q_STEP to (nearly) integers."""


def grid_shapes(volume: Shape, grids: int) -> list[Shape]:
    """The grids of a volume; grid i is smaller by 2^i along each axis."""
    frames, height, width = volume
    return [(-(-frames // (1 << i)), -(-height // (1 << i)), -(-width // (1 << i))) for i in range(grids)]


def soft_round(x: Tensor, temperature: float) -> Tensor:
    """A differentiable approximation of rounding (Agustsson & Theis 2020, section 4.1); exact at temperature 0."""
    middle = x.detach().floor() + 0.5
    return middle + torch.tanh((x - middle) / temperature) / (2 * math.tanh(0.5 / temperature))


def soft_round_mean(z: Tensor, temperature: float) -> Tensor:
    """The mean of `x`, uniform a priori, given `z`, which is `soft_round(x)` plus uniform noise."""
    shifted = z - 0.5
    middle = shifted.detach().floor() + 0.5
    return middle + torch.atanh((shifted - middle) * (2 * math.tanh(0.5 / temperature))) * temperature + 0.5


def kumaraswamy(uniform: Tensor, a: float) -> Tensor:
    """Samples of Kumaraswamy's distribution with its mode at 1/2, from uniform ones; `a` = 1 leaves them uniform."""
    b = (2**a * (a - 1) + 1) / a
    return (1 - (1 - uniform) ** (1 / b)) ** (1 / a)


def noisy(temperature: float, a: float) -> Quantizer:
    """Soft rounding around Kumaraswamy noise from torch's generator: the first phase of training."""

    def quantize(x: Tensor) -> Tensor:
        uniform = torch.rand(x.shape, device=x.device)
        return soft_round_mean(soft_round(x, temperature) + kumaraswamy(uniform, a) - 0.5, temperature)

    return quantize


def straight_through(temperature: float) -> Quantizer:
    """Rounding whose gradient is that of soft rounding: the second phase of training."""

    def quantize(x: Tensor) -> Tensor:
        soft = soft_round(x, temperature)
        return soft + (x.round() - soft).detach()

    return quantize


def upsample(grids: Sequence[Tensor], volume: Shape) -> Tensor:
    """Grids `[t, h, w]` by trilinear interpolation, pixel centers aligned at halves, as `[T, n, H, W]`.

    They are planes `[n, T, H, W]` in memory.
    """
    return torch.stack([_wide(grid, volume) for grid in grids]).transpose(0, 1)


def _wide(grid: Tensor, volume: Shape) -> Tensor:
    """One grid, as products with matrices along each axis: their gradients are products too."""
    frames, height, width = volume
    if grid.shape[2] != width:
        grid = grid @ _interpolation(grid.shape[2], width, grid).t()
    if grid.shape[1] != height:
        grid = torch.bmm(_interpolation(grid.shape[1], height, grid).expand(len(grid), -1, -1), grid)
    if grid.shape[0] != frames:
        grid = (_interpolation(len(grid), frames, grid) @ grid.flatten(1)).view(frames, height, width)
    return grid


def _interpolation(known: int, wanted: int, like: Tensor) -> Tensor:
    """The matrix `[wanted, known]` of linear interpolation along one axis."""
    at = ((torch.arange(wanted, dtype=torch.float64) + 0.5) * (known / wanted) - 0.5).clamp(0, known - 1)
    distance = (at[:, None] - torch.arange(known)).abs()
    return (1 - distance).clamp(min=0).to(like)
