"""Vectors (gains, offsets, biases) in 8 bits a value: even levels between a vector's least and largest value."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from rdbench.errors import BitstreamError

from .float16 import Array, float16_above, read_float16
from .limits import DAMAGED_SECTIONS

LEVELS = 256
"""Levels of a value."""
RANGE_BYTES = 4
"""Bytes of a vector's range: its ends as float16."""


def encode_vectors(vectors: Sequence[Array]) -> bytes:
    """The range of each vector, then the levels of all of them, a byte each."""
    ranges, levels = b"", b""
    for vector in vectors:
        low, high = -float16_above(-vector.min(keepdims=True)), float16_above(vector.max(keepdims=True))
        ranges += low.astype("<f2").tobytes() + high.tobytes()
        at = np.rint((vector - low.astype(np.float32)) / _step(low, high))
        levels += at.clip(0, LEVELS - 1).astype(np.uint8).tobytes()
    return ranges + levels


def decode_vectors(data: bytes, sizes: Sequence[int]) -> npt.NDArray[np.float32]:
    """The values of vectors of these sizes, one after the other. Raises BitstreamError."""
    first = RANGE_BYTES * len(sizes)
    if len(data) != first + sum(sizes):
        raise BitstreamError(DAMAGED_SECTIONS)
    low, high = read_float16(data[:first], 2 * len(sizes)).reshape(-1, 2).T
    if (low > high).any():
        raise BitstreamError(DAMAGED_SECTIONS)
    levels = np.frombuffer(data, np.uint8, offset=first).astype(np.float32)
    values: npt.NDArray[np.float32] = levels * np.repeat(_step(low, high), sizes)
    return values + np.repeat(low.astype(np.float32), sizes)


def _step(low: Array, high: Array) -> npt.NDArray[np.float32]:
    """The distance of two levels; of equal ends one that is not zero."""
    span = high.astype(np.float32) - low.astype(np.float32)
    step: npt.NDArray[np.float32] = np.where(span > 0, span / np.float32(LEVELS - 1), np.float32(1))
    return step
