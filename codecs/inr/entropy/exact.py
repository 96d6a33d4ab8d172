"""Arithmetic that gives the same numbers on any machine, for what steers an entropy coder.

Integers carried in float64 add and multiply exactly below 2^53, in whatever order a matrix product takes them. Other
functions are made of single additions, multiplications, divisions and roots of float64, which IEEE 754 rounds in one
way; a fused multiply-add would not, so no step of them is a matrix product.
"""

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
ACTIVATION_BITS = 15
"""Behind the point of what GELU gets and gives."""
FEATURE_BITS = 12
"""Behind the point of what a norm gives and a convolution gets."""
WEIGHT_BITS = 20
"""Behind the point of a weight."""
LARGEST_FEATURE = 64.0
LARGEST_WEIGHT = 32.0
LARGEST_ACTIVATION = 64.0
GELU_REACH = 5
"""Beyond this GELU is 0 or its argument, within half a unit of ACTIVATION_BITS."""
EPSILON = 1e-5


def exact_exp(x: Floats) -> Floats:
    """e^x, within some units of the last place."""
    whole = np.rint(x * LOG2_E)
    rest = (x - whole * LN2_HIGH) - whole * LN2_LOW
    total = np.ones_like(rest)
    for term in range(TERMS, 0, -1):
        total = 1.0 + total * rest / term
    return np.ldexp(total, whole.astype(np.int64))


def fixed(x: Tensor, bits: int, largest: float) -> Tensor:
    """float64 integers x 2^bits of values that are the same everywhere, held within plus and minus the largest."""
    return x.double().clamp(-largest, largest).mul_(2.0**bits).round_()


def gelu_table() -> Tensor:
    """GELU at every fixed-point activation from -GELU_REACH to GELU_REACH."""
    unit = 1 << ACTIVATION_BITS
    points = np.arange(-GELU_REACH * unit, GELU_REACH * unit + 1) / float(unit)
    return torch.from_numpy(np.rint(points * normal(points) * unit))


def exact_gelu(x: Tensor, table: Tensor) -> Tensor:
    """Of fixed-point activations, held below LARGEST_ACTIVATION; where the table ends GELU is its argument."""
    reach, largest = GELU_REACH << ACTIVATION_BITS, int(LARGEST_ACTIVATION) << ACTIVATION_BITS
    at = x.clamp(-reach, reach).add_(reach).to(torch.int32)
    return table.index_select(0, at.flatten()).view_as(x).add_((x - reach).clamp_(0, largest - reach))


def exact_norm(x: Tensor, gain: Tensor, bias: Tensor) -> Tensor:
    """Layer norm over the last axis of fixed-point activations; gain and bias in float64.

    Sums of integers below 2^53 are exact: activations have 21 bits, times a width of 8 24, squared and summed 51.
    """
    width = x.shape[-1]
    centered = (x * width).sub_(x.sum(-1, keepdim=True))
    power = (centered * centered).sum(-1, keepdim=True).div_(width)
    scale = power.add_(EPSILON * float((width << ACTIVATION_BITS) ** 2)).sqrt_()
    normed = centered.div_(scale)
    scaled = normed.mul_(gain)
    return fixed(scaled.add_(bias), FEATURE_BITS, LARGEST_FEATURE)
