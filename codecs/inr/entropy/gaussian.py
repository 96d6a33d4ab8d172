"""Coding of integers under Gaussians whose mean and deviation are transmitted, with the same table on any machine.

The normal distribution comes from a rational approximation (Abramowitz and Stegun, 7.1.28, error below 3e-7) in
additions, multiplications and divisions of float64, which IEEE 754 rounds in one way; then from integers.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rdbench.errors import BitstreamError, RdbenchError

from ..bitstream import pack_integers, unpack_integers
from .ans import DAMAGED_SYMBOLS, AnsDecoder, AnsEncoder, CoderModel, Counts, Symbols
from .integers import unzigzag, zigzag

Floats = npt.NDArray[np.float64]
COEFFICIENTS = (0.0705230784, 0.0422820123, 0.0092705272, 0.0001520143, 0.0002765672, 0.0000430638)
"""Coefficients of the approximation, from the linear term on."""
HALF_ROOT = 0.7071067811865476
"""The square root of 1/2."""
GAUSSIAN_TOTAL = 1 << 20
"""The frequency that stands for probability 1; every symbol of a table has at least frequency 1."""
LEAST_DEVIATION = 1e-3
LARGEST_SYMBOL = 1 << 15
"""Largest magnitude of a symbol, and largest width of a range of symbols."""


def normal(x: Floats) -> Floats:
    """The cumulative distribution function of the standard normal distribution."""
    z = np.abs(x) * HALF_ROOT
    polynomial = np.zeros_like(z)
    for coefficient in reversed(COEFFICIENTS):
        polynomial = (polynomial + coefficient) * z
    power = 1.0 + polynomial
    for _ in range(4):
        power = power * power
    tail = 0.5 / power
    return np.where(x > 0, 1.0 - tail, tail)


def gaussian_counts(lowest: int, highest: int, mean: float, scale: float) -> Counts:
    """Frequencies of the integers lowest..highest: a Gaussian's mass over the unit around each, at least 1."""
    edges: Floats = (np.arange(lowest, highest + 2, dtype=np.float64) - 0.5 - mean) / scale
    return np.maximum(1, np.rint(np.diff(normal(edges)) * GAUSSIAN_TOTAL)).astype(np.int64)


@dataclass(frozen=True)
class Gaussian:
    """A model of the symbols lowest..highest; mean and deviation are transmitted as float16."""

    mean: np.float16
    deviation: np.float16
    lowest: int
    highest: int

    def counts(self) -> Counts:
        """The frequency of each symbol, in parts of GAUSSIAN_TOTAL."""
        scale = max(float(self.deviation), LEAST_DEVIATION)
        return gaussian_counts(self.lowest, self.highest, float(self.mean), scale)


def model_of(codes: Floats) -> Gaussian:
    """The model of symbols that are these codes, rounded. Raises RdbenchError for codes from LARGEST_SYMBOL / 2 on."""
    if not np.abs(codes).max() < LARGEST_SYMBOL / 2:
        raise RdbenchError("Training gave quantized weights beyond all bounds; try another --seed or a lower lr.")
    rounded = np.rint(codes)
    lowest, highest = int(rounded.min()), int(rounded.max())
    return Gaussian(np.float16(codes.mean()), np.float16(codes.std()), lowest, highest)


def pack_models(models: Sequence[Gaussian]) -> tuple[bytes, bytes]:
    """Means and deviations as float16, and the ranges of symbols as integers."""
    moments = np.array([(model.mean, model.deviation) for model in models], dtype="<f2").tobytes()
    ranges = [number for m in models for number in (zigzag(m.lowest), m.highest - m.lowest)]
    return moments, pack_integers(ranges)


def unpack_models(moments: bytes, ranges: bytes, count: int) -> list[Gaussian]:
    """The models that `pack_models` wrote. Raises BitstreamError."""
    numbers = unpack_integers(ranges)
    if len(moments) != 4 * count or len(numbers) != 2 * count or max(numbers, default=0) > 2 * LARGEST_SYMBOL:
        raise BitstreamError(DAMAGED_SYMBOLS)
    pairs = np.frombuffer(moments, "<f2").reshape(-1, 2)
    if not np.isfinite(pairs).all() or (pairs[:, 1] < 0).any():
        raise BitstreamError(DAMAGED_SYMBOLS)
    lowest = [unzigzag(number) for number in numbers[::2]]
    return [
        Gaussian(mean, deviation, low, low + span)
        for (mean, deviation), low, span in zip(pairs, lowest, numbers[1::2], strict=True)
    ]


def encode(parts: Sequence[tuple[Symbols, Gaussian]]) -> bytes:
    """All symbols, each part under its model, in one payload."""
    encoder = AnsEncoder()
    for symbols, model in reversed(parts):
        encoder.push((symbols - model.lowest).astype(np.int32), CoderModel(model.counts()))
    return encoder.finish()


def decode(payload: bytes, parts: Sequence[tuple[int, Gaussian]]) -> list[Symbols]:
    """As many symbols as given for each model. Raises BitstreamError."""
    decoder = AnsDecoder(payload)
    decoded = [decoder.pop(count, CoderModel(model.counts())) + np.int32(model.lowest) for count, model in parts]
    decoder.finish()
    return decoded
