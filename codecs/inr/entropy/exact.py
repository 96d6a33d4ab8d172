"""Arithmetic with the same results on any machine, for the probabilities of an entropy coder.

Integers stored as float64 add and multiply exactly below 2^53, in any order of a matrix product. Other functions
consist of single additions, multiplications, divisions and roots of float64, which IEEE 754 rounds in one way; a fused
multiply-add rounds differently, so none of their steps is a matrix product.
"""

import math

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from .gaussian import normal

Floats = npt.NDArray[np.float64]
LOG2_E = 1.4426950408889634
LN2_HIGH, LN2_LOW = 0.693147180369123816490, 1.90821492927058770002e-10
"""ln 2 in two parts; the first has zeros at its end, so that its multiples by small integers are exact."""
TERMS = 14
"""Terms of the exponential's series."""
ACTIVATION_BITS = 15
"""Fractional bits of GELU's argument and result."""
FEATURE_BITS = 12
"""Fractional bits of a norm's result, which is a convolution's input."""
WEIGHT_BITS = 20
"""Fractional bits of a convolution's weight."""
LARGEST_FEATURE = 64.0
LARGEST_WEIGHT = 32.0
"""Magnitude at which weights and biases of the context model are clamped in fixed point."""
LARGEST_ACTIVATION = 64.0
GELU_REACH = 5
"""Magnitude from which GELU is 0 or its argument, within half a unit of ACTIVATION_BITS."""
EPSILON = 1e-5
"""Added to the variance in a norm."""


def exact_exp(x: Floats) -> Floats:
    """e^x, within some units of the last place."""
    whole = np.rint(x * LOG2_E)
    rest = (x - whole * LN2_HIGH) - whole * LN2_LOW
    total = np.ones_like(rest)
    for term in range(TERMS, 0, -1):
        total = 1.0 + total * rest / term
    return np.ldexp(total, whole.astype(np.int64))


def fixed(x: Tensor, bits: int, largest: float) -> Tensor:
    """Values in fixed point with `bits` fractional bits, as float64 integers, clamped to the largest magnitude.

    The values must be the same on any machine.
    """
    return x.double().clamp(-largest, largest).mul_(2.0**bits).round_()


def gelu_table() -> Tensor:
    """GELU at every fixed-point number from -GELU_REACH to LARGEST_ACTIVATION; beyond GELU_REACH it is its argument."""
    unit = 1 << ACTIVATION_BITS
    points = np.arange(-GELU_REACH * unit, GELU_REACH * unit + 1) / float(unit)
    large = np.arange(GELU_REACH * unit + 1, int(LARGEST_ACTIVATION) * unit + 1, dtype=np.float64)
    return torch.from_numpy(np.append(np.rint(points * normal(points) * unit), large))


def gelu_index(x: Tensor, scale: float, out: Tensor) -> None:
    """The place in `gelu_table` of each `x` times a power of two, before `exact_gelu` rounds it down, into `out`."""
    torch.add(x.new_full((), (GELU_REACH << ACTIVATION_BITS) + 0.5), x, alpha=scale, out=out)


def exact_gelu(index: Tensor, table: Tensor) -> Tensor:
    """GELU by `gelu_table` at the places of `gelu_index`, in ACTIVATION_BITS and clamped at LARGEST_ACTIVATION."""
    whole = index.clamp_(0, len(table) - 1).to(torch.int32)
    return table.index_select(0, whole.flatten()).view_as(index)


def norm_constants(gain: Tensor, shift: Tensor) -> Tensor:
    """What `exact_norm` needs of the gains and shifts of a layer norm over the last axis, `[2, ...]`."""
    unit = 2.0**FEATURE_BITS
    return torch.stack([gain.double() * math.sqrt(gain.shape[-1]) * unit, shift.double() * unit])


def exact_norm(x: Tensor, gain: Tensor, shift: Tensor, out: Tensor) -> None:
    """Layer norm over the first axis of fixed-point activations `[F, n]` into `out`, with FEATURE_BITS.

    Sums are exact in any order, since all integers stay below 2^53: activations have 21 bits, times a width of 8 they
    have 24, squared and summed 51.
    """
    width = len(x)
    centered = torch.sub(x * width, x.sum(0))
    power = (centered * centered).sum(0).add_(float(round(EPSILON * width * (width << ACTIVATION_BITS) ** 2)))
    largest = LARGEST_FEATURE * 2.0**FEATURE_BITS
    normed = centered.div_(power.sqrt_()).mul_(gain)
    torch.round(normed.add_(shift).clamp_(-largest, largest), out=out)
