"""Coding integers under Gaussians whose mean and deviation travel, with the same table on any machine.

The normal distribution comes from a rational approximation (Abramowitz and Stegun, 7.1.28, error below 3e-7) in
additions, multiplications and divisions of float64, which IEEE 754 rounds in one way; then from integers.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import constriction
import numpy as np
import numpy.typing as npt

from rdbench.errors import BitstreamError, RdbenchError

from ..bitstream import pack_integers, unpack_integers
from .ans import DAMAGED, Counts, Symbols

Floats = npt.NDArray[np.float64]
COEFFICIENTS = (0.0705230784, 0.0422820123, 0.0092705272, 0.0001520143, 0.0002765672, 0.0000430638)
HALF_ROOT = 0.7071067811865476
PRECISION = 1 << 20
"""Of the probabilities in a table; no symbol in its range has less than one part."""
LEAST_DEVIATION = 1e-3
FURTHEST = 1 << 15
"""No symbol is larger, nor is a range wider."""


def normal(x: Floats) -> Floats:
    """The standard normal distribution's cumulative distribution."""
    z = np.abs(x) * HALF_ROOT
    polynomial = np.zeros_like(z)
    for coefficient in reversed(COEFFICIENTS):
        polynomial = (polynomial + coefficient) * z
    power = 1.0 + polynomial
    for _ in range(4):
        power = power * power
    tail = 0.5 / power
    return np.where(x > 0, 1.0 - tail, tail)


@dataclass(frozen=True)
class Gaussian:
    """A model of symbols lowest..highest; mean and deviation as float16, in which they travel."""

    mean: np.float16
    deviation: np.float16
    lowest: int
    highest: int

    def counts(self) -> Counts:
        """The parts of PRECISION for each symbol."""
        scale = max(float(self.deviation), LEAST_DEVIATION)
        edges: Floats = (np.arange(self.lowest, self.highest + 2, dtype=np.float64) - 0.5 - float(self.mean)) / scale
        return np.maximum(1, np.rint(np.diff(normal(edges)) * PRECISION)).astype(np.int64)

    def categorical(self) -> constriction.stream.model.Categorical:
        """The same for the coder."""
        counts = self.counts()
        return constriction.stream.model.Categorical(counts / float(counts.sum()), perfect=False)


def model_of(codes: Floats) -> Gaussian:
    """The model of symbols that are these codes, rounded. Raises RdbenchError for codes beyond FURTHEST."""
    if not np.abs(codes).max() < FURTHEST / 2:
        raise RdbenchError("The fit gave quantized weights beyond all bounds; try another --seed or a lower lr.")
    rounded = np.rint(codes)
    lowest, highest = int(rounded.min()), int(rounded.max())
    return Gaussian(np.float16(codes.mean()), np.float16(codes.std()), lowest, highest)


def pack_models(models: Sequence[Gaussian]) -> tuple[bytes, bytes]:
    """Means and deviations, and the ranges."""
    numbers = np.array([(model.mean, model.deviation) for model in models], dtype="<f2").tobytes()
    spans = [number for m in models for number in (_zigzag(m.lowest), m.highest - m.lowest)]
    return numbers, pack_integers(spans)


def unpack_models(numbers: bytes, ranges: bytes, count: int) -> list[Gaussian]:
    """What `pack_models` wrote. Raises BitstreamError."""
    spans = unpack_integers(ranges)
    if len(numbers) != 4 * count or len(spans) != 2 * count or max(spans, default=0) > 2 * FURTHEST:
        raise BitstreamError(DAMAGED)
    pairs = np.frombuffer(numbers, "<f2").reshape(-1, 2)
    if not np.isfinite(pairs).all() or (pairs[:, 1] < 0).any():
        raise BitstreamError(DAMAGED)
    lowest = [number // 2 if number % 2 == 0 else -(number + 1) // 2 for number in spans[::2]]
    return [
        Gaussian(mean, deviation, low, low + span)
        for (mean, deviation), low, span in zip(pairs, lowest, spans[1::2], strict=True)
    ]


def encode(parts: Sequence[tuple[Symbols, Gaussian]]) -> bytes:
    """All symbols in one stream."""
    coder = constriction.stream.stack.AnsCoder()
    for symbols, model in reversed(parts):
        if model.highest > model.lowest:  # else there is nothing to tell apart
            coder.encode_reverse((symbols - model.lowest).astype(np.int32), model.categorical())
    return bytes(coder.get_compressed().astype("<u4").tobytes())


def decode(payload: bytes, parts: Sequence[tuple[int, Gaussian]]) -> list[Symbols]:
    """So many symbols under each model. Raises BitstreamError."""
    words = np.frombuffer(payload, "<u4").astype(np.uint32) if len(payload) % 4 == 0 else np.zeros(1, np.uint32)
    if words.size and words[-1] == 0:  # a zero at the end is never written
        raise BitstreamError(DAMAGED)
    coder = constriction.stream.stack.AnsCoder(words)
    decoded: list[Symbols] = []
    for count, model in parts:
        if model.highest > model.lowest:
            decoded.append(coder.decode(model.categorical(), count) + np.int32(model.lowest))
        else:
            decoded.append(np.full(count, model.lowest, np.int32))
    if not coder.is_empty():
        raise BitstreamError(DAMAGED)
    return decoded


def _zigzag(value: int) -> int:
    return 2 * value if value >= 0 else -2 * value - 1
