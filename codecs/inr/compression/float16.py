"""Numbers as float16, in which schemes store ranges, steps and vectors."""

from typing import Any

import numpy as np
import numpy.typing as npt

from rdbench.errors import BitstreamError

from .limits import DAMAGED_SECTIONS

Array = npt.NDArray[Any]
Halves = npt.NDArray[np.float16]


def float16_above(values: Array) -> Halves:
    """The smallest float16 numbers that are no smaller than the values."""
    rounded = values.astype("<f2")
    above: Halves = np.where(rounded < values, np.nextafter(rounded, np.float16(np.inf)), rounded).astype("<f2")
    return above


def read_float16(data: bytes, count: int) -> Halves:
    """`count` finite numbers stored as float16. Raises BitstreamError."""
    if len(data) != 2 * count:
        raise BitstreamError(DAMAGED_SECTIONS)
    values: Halves = np.frombuffer(data, "<f2")
    if not np.isfinite(values).all():
        raise BitstreamError(DAMAGED_SECTIONS)
    return values
