"""MS-SSIM and squared errors of planes on the CPU, with NumPy alone.

MS-SSIM is that of Wang, Simoncelli and Bovik (Asilomar 2003) as `pytorch-msssim` 1.0 defines it, which the INR papers
report: five scales, a Gaussian window of 11 taps without padding, means of 2x2 samples between the scales.

With s = x + y and d = x - y, and V the variance under the window, contrast and structure of a sample are

    cs = (2 cov(x, y) + C2) / (V(x) + V(y) + C2) = 1 - 2 V(d) / (V(s) + V(d) + 2 C2),

so that four blurred planes are enough: s, d, d * d and s * s + d * d. They are blurred as products with a banded matrix
that holds the window in each row, block by block, so that what is between a block's samples and its sum stays in the
cache. That is a few times as many multiplications as the window has taps, but at the speed of a matrix product.

All of it is in float64. A variance is a difference of two blurred planes of up to 4 * 255 * 255 = 2.6e5, and it is
compared with 2 C2 = 117. In float32 (unit roundoff 6e-8) each of them is wrong by up to 1.6e-2, which is 1e-4 of 2 C2
and of the same sign all over a flat part of a frame; in float64 (1.1e-16) it is 3e-13.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from ..video import Plane

Doubles = npt.NDArray[np.float64]

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents of the scales, the finest first (Wang et al.)."""
K1, K2 = 0.01, 0.03
"""C1 = (K1 peak)^2 and C2 = (K2 peak)^2."""
HALF_WINDOW = (
    0.0010283803567290306, 0.0075987582094967365, 0.036000773310661316, 0.10936068743467331, 0.21300552785396576,
    0.26601171493530273,
)  # fmt: skip
"""The first six of the 11 taps (standard deviation 1.5), rounded to float32 as `pytorch-msssim` has them.

Their sum misses 1 by 3e-8. Where a black frame meets a white one that changes the result by 2e-5, so all taps are kept
to the bit.
"""
WINDOW: Doubles = np.array([*HALF_WINDOW, *HALF_WINDOW[-2::-1]])
REACH = len(WINDOW) - 1
"""By how many samples a blurred plane is smaller in each direction."""
ROWS, COLUMNS, ACROSS = 30, 40, 3
"""Blurred samples of a block: its rows, and side by side ACROSS matrix products of so many columns (our choice).

A block takes 0.5 MB. No product exceeds 64^3 multiplications (120 x 50 x 40 is the largest), up to which OpenBLAS, the
library of NumPy's wheels, keeps to the thread that calls it: frames are measured in parallel, not their products.
"""
STRIP = 1 << 18
"""Samples whose squared errors are added up in float64 at once; any such sum is an integer below 2^53, so exact."""

Measure = Callable[[Doubles], float]
"""The sum of something over a block, of its blurred planes `[n, 4, samples]`, which it may overwrite."""
Samples = npt.NDArray[np.int16] | npt.NDArray[np.int32] | Doubles


def squared_error(x: Plane, y: Plane) -> int:
    """The sum of squared errors of two planes `[h, w]` of one size and at most 16 bits; exact."""
    kind = np.int16 if x.dtype == np.uint8 and y.dtype == np.uint8 else np.int32
    rows = max(1, STRIP // x.shape[1])
    total = 0
    for top in range(0, len(x), rows):
        difference = np.subtract(x[top : top + rows], y[top : top + rows], dtype=kind).astype(np.float64).ravel()
        total += int(np.dot(difference, difference))
    return total


def ms_ssim(x: Plane, y: Plane, peak: int) -> float:
    """MS-SSIM of two planes `[h, w]` of one size, both sides over 160, of samples from 0 to `peak`."""
    kind = np.int16 if peak < 1 << 12 else np.int32  # `_halved` adds up eight samples
    s: Samples = np.add(x, y, dtype=kind)
    d: Samples = np.subtract(x, y, dtype=kind)
    blocks = _Blocks()
    value = 1.0
    for weight in WEIGHTS[:-1]:
        value *= max(_mean(s, d, partial(_structure, c2=2 * (K2 * peak) ** 2), blocks), 0.0) ** weight
        s, d = _halved(s), _halved(d)
    similarity = partial(_similarity, c1=2 * (K1 * peak) ** 2, c2=2 * (K2 * peak) ** 2)
    return float(value * max(_mean(s, d, similarity, blocks), 0.0) ** WEIGHTS[-1])


def _halved(plane: Samples) -> Doubles:
    """The means of 2x2 samples. An odd side begins with a pair of which the first is a zero outside of the plane."""
    height, width = plane.shape
    whole: npt.NDArray[Any] = plane
    if height % 2 or width % 2:
        whole = np.pad(plane, ((height % 2, 0), (width % 2, 0)))
    pairs = whole[0::2] + whole[1::2]
    means: Doubles = (pairs[:, 0::2] + pairs[:, 1::2]) * 0.25
    return means


def _mean(s: Samples, d: Samples, measure: Measure, blocks: "_Blocks") -> float:
    """The mean of a measure over all positions of the window."""
    height, width = len(s) - REACH, s.shape[1] - REACH
    total = 0.0
    for top in range(0, height, ROWS):
        rows = min(ROWS, height - top)
        for left, columns, count in _blocks(width):
            part = slice(top, top + rows + REACH), slice(left, left + columns * count + REACH)
            total += measure(blocks.of(rows, columns, count).blur(s[part], d[part]))
    return float(total / (height * width))


def _blocks(width: int) -> Iterator[tuple[int, int, int]]:
    """First column, columns of a product, and number of products of each block of a strip."""
    products, rest = divmod(width, COLUMNS)
    for first in range(0, products, ACROSS):
        yield first * COLUMNS, COLUMNS, min(ACROSS, products - first)
    if rest:
        yield products * COLUMNS, rest, 1


def _band(size: int) -> Doubles:
    """`[size, size + REACH]`: the window in each row, one column further to the right each time."""
    rows = [np.pad(WINDOW, (row, size - 1 - row)) for row in range(size)]
    return np.stack(rows)


DOWN = _band(ROWS)
RIGHT = np.ascontiguousarray(_band(COLUMNS).T)
MEMORY = 4 * ((ROWS + REACH + ROWS) * (COLUMNS * ACROSS + REACH) + ROWS * COLUMNS * ACROSS)
"""Numbers in float64 that the largest block takes."""


@dataclass(frozen=True)
class _Block:
    """The samples of a block, blurred in no, one and both directions, all in memory that other blocks use as well."""

    samples: Doubles
    half: Doubles
    windows: Doubles
    blurred: Doubles

    @classmethod
    def of(cls, shape: tuple[int, int, int], memory: Doubles) -> "_Block":
        """A block of so many rows, columns of each product, and products."""
        rows, columns, count = shape
        down, across = rows + REACH, columns * count + REACH
        ends = np.cumsum([4 * down * across, 4 * rows * across, 4 * rows * columns * count])
        first, second, third = np.split(memory[: ends[-1]], ends[:-1])
        half = second.reshape(4, rows, across)
        windows = sliding_window_view(half.reshape(4 * rows, across), columns + REACH, axis=1)[:, ::columns]
        blurred = third.reshape(count, 4 * rows, columns)
        return cls(first.reshape(4, down, across), half, windows.transpose(1, 0, 2), blurred)

    def blur(self, s: Samples, d: Samples) -> Doubles:
        """`[products, 4, samples]`: the blurred s, d, s * s + d * d and d * d of a block."""
        samples, rows, columns = self.samples, self.half.shape[1], self.blurred.shape[2]
        samples[0], samples[1] = s, d
        np.multiply(samples[:2], samples[:2], out=samples[2:])
        samples[2] += samples[3]
        np.matmul(DOWN[:rows, : rows + REACH], samples, out=self.half)
        np.matmul(self.windows, RIGHT[: columns + REACH, :columns], out=self.blurred)
        return self.blurred.reshape(len(self.blurred), 4, -1)


class _Blocks:
    """The blocks of a plane, of each shape one, all in the same memory."""

    def __init__(self) -> None:
        self._memory = np.empty(MEMORY)
        self._made: dict[tuple[int, int, int], _Block] = {}

    def of(self, rows: int, columns: int, count: int) -> _Block:
        """The block of this shape."""
        shape = rows, columns, count
        if shape not in self._made:
            self._made[shape] = _Block.of(shape, self._memory)
        return self._made[shape]


def _structure(blurred: Doubles, c2: float) -> float:
    """The sum of contrast and structure over a block, which it overwrites."""
    shares = _error_shares(blurred, c2)
    return shares.size - 2 * float(shares.sum())


def _similarity(blurred: Doubles, c1: float, c2: float) -> float:
    """The sum of luminance times contrast and structure over a block, which it overwrites."""
    s, d = blurred[:, 0] ** 2, blurred[:, 1] ** 2  # their difference is 4 times the product of the means of x and y
    luminance = (s - d + c1) / (s + d + c1)
    return float((luminance * (1 - 2 * _error_shares(blurred, c2))).sum())


def _error_shares(blurred: Doubles, c2: float) -> Doubles:
    """V(d) / (V(s) + V(d) + c2), in place."""
    means, squares = blurred[:, :2], blurred[:, 2:]
    means *= means
    means[:, 0] += means[:, 1]
    squares -= means
    squares[:, 0] += c2
    return np.divide(squares[:, 1], squares[:, 0], out=squares[:, 1])
