"""Differentiable substitutes for rounding in training (NVRC, section 3.4; C3, section 3.2)."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor


def soft_round(x: Tensor, temperature: float) -> Tensor:
    """A smooth function between identity (high temperatures) and rounding (low ones)."""
    middle = x.floor() + 0.5
    span = 2 * math.tanh(0.5 / temperature)
    return middle + torch.tanh((x - middle) / temperature) / span


def expected_before(y: Tensor, temperature: float) -> Tensor:
    """The expected input of `soft_round`, given its output plus uniform noise."""
    span = 2 * math.tanh(0.5 / temperature)
    shifted = y - 0.5
    center = shifted.floor() + 0.5
    return center + torch.atanh((shifted - center) * span) * temperature + 0.5


def kumaraswamy(like: Tensor, shape: float) -> Tensor:
    """Noise in -1/2..1/2 from a Kumaraswamy distribution: peaked at zero for a `shape` above 1, uniform at 1."""
    second_shape = (2**shape * (shape - 1) + 1) / shape
    return (1 - (1 - torch.rand_like(like)) ** (1 / second_shape)) ** (1 / shape) - 0.5


@dataclass(frozen=True)
class SoftRounding:
    """Proxy of stage 1: soft rounding, noise, and the expected input."""

    temperature: float
    shape: float
    """Shape of the Kumaraswamy noise."""

    def __call__(self, codes: Tensor) -> Tensor:
        """The codes that the network and the rate model use."""
        noisy = soft_round(codes, self.temperature) + kumaraswamy(codes, self.shape)
        return expected_before(noisy, self.temperature)

    @classmethod
    def at(cls, progress: float) -> "SoftRounding":
        """The proxy at this share of the stage: temperature 0.5 to 0.3, shape 2 to 1, as in the paper."""
        return cls(0.5 - 0.2 * progress, 2.0 - progress)


@dataclass(frozen=True)
class MixedRounding:
    """Proxy of stage 2: a random share of the codes is rounded, without a gradient."""

    share: float

    def __call__(self, codes: Tensor) -> Tensor:
        """The codes that the network and the rate model use."""
        return torch.where(torch.rand_like(codes) < self.share, codes.detach().round(), codes)

    @classmethod
    def at(cls, progress: float) -> "MixedRounding":
        """The proxy at this share of the stage: a share of codes of 0.5 to 1, as in the paper."""
        return cls(0.5 + 0.5 * progress)
