"""What stands in for rounding while a network is fitted (NVRC, section 3.4; C3, section 3.2)."""

from dataclasses import dataclass

import torch
from torch import Tensor


def soft_round(x: Tensor, temperature: float) -> Tensor:
    """Between identity (high temperatures) and rounding (low ones)."""
    middle = x.floor() + 0.5
    reach = 2 * torch.tanh(torch.tensor(0.5 / temperature, device=x.device))
    return middle + torch.tanh((x - middle) / temperature) / reach


def expected_before(y: Tensor, temperature: float) -> Tensor:
    """The mean of what `soft_round` and uniform noise turned into this."""
    reach = 2 * torch.tanh(torch.tensor(0.5 / temperature, device=y.device))
    shifted = y - 0.5
    center = shifted.floor() + 0.5
    return center + torch.atanh((shifted - center) * reach) * temperature + 0.5


def kumaraswamy(like: Tensor, shape: float) -> Tensor:
    """Noise within a half, peaked at its middle for shapes above 1, uniform at 1."""
    other = (2**shape * (shape - 1) + 1) / shape
    return (1 - (1 - torch.rand_like(like)) ** (1 / other)) ** (1 / shape) - 0.5


@dataclass(frozen=True)
class SoftRounding:
    """Stage 1: soft rounding, noise, and the expectation of what was before."""

    temperature: float
    shape: float

    def __call__(self, codes: Tensor) -> Tensor:
        """Codes that the network and the rate see."""
        noisy = soft_round(codes, self.temperature) + kumaraswamy(codes, self.shape)
        return expected_before(noisy, self.temperature)

    @classmethod
    def at(cls, progress: float) -> "SoftRounding":
        """The paper's schedules over the stage."""
        return cls(0.5 - 0.2 * progress, 2.0 - progress)


@dataclass(frozen=True)
class MixedRounding:
    """Stage 2: a random share of the codes is rounded, without a gradient."""

    share: float

    def __call__(self, codes: Tensor) -> Tensor:
        """Codes that the network and the rate see."""
        return torch.where(torch.rand_like(codes) < self.share, codes.detach().round(), codes)

    @classmethod
    def at(cls, progress: float) -> "MixedRounding":
        """The paper's schedule over the stage."""
        return cls(0.5 + 0.5 * progress)
