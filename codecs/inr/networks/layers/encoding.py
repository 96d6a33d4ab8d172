"""Positional encodings of indices and coordinates."""

import math

import torch
from torch import Tensor

NERV_BASE = 1.25
"""b of the positional encoding of NeRV (section 3.1) and its descendants."""


def sinusoids(x: Tensor, levels: int, base: float = NERV_BASE) -> Tensor:
    """sin and cos of base^l pi x for l = 0..levels-1, interleaved: `[B]` -> `[B, 2 levels]`, float32.

    The angles are computed in float64: at 80 levels they reach 1e8, where float32 no longer resolves fractions of a
    period.
    """
    exponents = torch.arange(levels, dtype=torch.float64, device=x.device)
    angles = x.double()[:, None] * (math.pi * base**exponents)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1).float()
