"""C3's latent grids: shapes, gains, quantization and its differentiable stand-ins."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

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
    """Grids `[t, h, w]` by trilinear interpolation, pixel centers aligned at halves, as `[T, n, H, W]`."""
    frames, height, width = volume
    planes = []
    for grid in grids:
        wide = functional.interpolate(grid[:, None], (height, width), mode="bilinear")
        planes.append(_in_time(wide[:, 0], frames))
    return torch.stack(planes, dim=1)


def _in_time(grid: Tensor, frames: int) -> Tensor:
    """`[t, H, W]` -> `[T, H, W]`, linear."""
    known = len(grid)
    if known == frames:
        return grid
    at = ((torch.arange(frames, dtype=torch.float64) + 0.5) * (known / frames) - 0.5).clamp(0, known - 1)
    first = at.floor().long().clamp(max=max(0, known - 2))
    share = (at - first).to(grid).view(-1, 1, 1)
    first = first.to(grid.device)
    return torch.lerp(grid[first], grid[(first + 1).clamp(max=known - 1)], share)
