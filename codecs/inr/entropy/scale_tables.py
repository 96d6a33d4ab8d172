"""Coding integers, each under a Gaussian of its own: a few tables of deviations and fractions of means serve for all.

A symbol is coded as its distance from the mean's nearest integer; what lies beyond a table is an escape, and travels
apart. The tables come from `gaussian.normal`, which is the same on any machine.
"""

import struct
from dataclasses import dataclass
from functools import cached_property

import constriction
import numpy as np
import numpy.typing as npt

from rdbench.errors import BitstreamError

from ..bitstream import pack_integers, unpack_integers
from .ans import DAMAGED
from .exact import Floats, exact_exp
from .gaussian import FURTHEST, PRECISION, normal

Integers = npt.NDArray[np.int64]
SCALES = 64
SMALLEST_SCALE, LARGEST_SCALE = 0.11, 256.0
"""CompressAI's table of deviations, spaced evenly in their logarithms."""
FRACTIONS = 8
"""Places of a mean between two integers; the original rounds means, as 1 would."""
LENGTH_BYTES = 4
REACH = 6.0
"""Deviations that a table spans on either side."""


class ScaleTables:
    """The tables; each is built when it is first needed."""

    def __init__(self) -> None:
        self._models: dict[int, tuple[int, constriction.stream.model.Categorical]] = {}

    @cached_property
    def deviations(self) -> Floats:
        """Of the tables."""
        low, high = -2.2072749131897207, 5.545177444479562  # their logarithms
        return exact_exp(low + (high - low) * np.arange(SCALES) / (SCALES - 1))

    def choose(self, mean: Floats, scale: Floats) -> tuple[Integers, Integers]:
        """The integer nearest to each mean, and its table."""
        bounds = np.sqrt(self.deviations[:-1] * self.deviations[1:])
        places = np.rint(np.clip(mean, -FURTHEST, FURTHEST) * FRACTIONS).astype(np.int64)
        centers = (places + FRACTIONS // 2) // FRACTIONS
        fractions = places - centers * FRACTIONS + FRACTIONS // 2
        return centers, np.searchsorted(bounds, scale).astype(np.int64) * FRACTIONS + fractions

    def model(self, table: int) -> tuple[int, constriction.stream.model.Categorical]:
        """How far a table reaches on either side, and the model; its last symbol is the escape."""
        if table not in self._models:
            scale = float(self.deviations[table // FRACTIONS])
            fraction = (table % FRACTIONS - FRACTIONS // 2) / FRACTIONS
            reach = int(np.ceil(REACH * scale)) + 1
            edges: Floats = (np.arange(-reach, reach + 2, dtype=np.float64) - 0.5 - fraction) / scale
            counts = np.append(np.maximum(1, np.rint(np.diff(normal(edges)) * PRECISION)), 1.0)
            self._models[table] = reach, constriction.stream.model.Categorical(counts / counts.sum(), perfect=False)
        return self._models[table]


@dataclass(frozen=True)
class Sorted:
    """Symbols that are coded together, in the order of their tables, so that the coder sees each table once."""

    order: npt.NDArray[np.intp]
    used: list[int]
    """The tables in use."""
    counts: list[int]
    """Symbols of each."""

    @classmethod
    def by(cls, tables: Integers) -> "Sorted":
        """By their tables."""
        order = np.argsort(tables.astype(np.int16), kind="stable")  # numpy sorts 16 bits by their digits
        marks = tables[order]
        starts = np.flatnonzero(np.diff(marks, prepend=-1))
        return cls(order, marks[starts].tolist(), np.diff(starts, append=len(marks)).tolist())


class SymbolWriter:
    """Collects symbols in the order in which they are read, and encodes them in the end."""

    def __init__(self, tables: ScaleTables) -> None:
        self._tables = tables
        self._parts: list[tuple[Integers, Integers]] = []

    def add(self, symbols: Integers, mean: Floats, scale: Floats) -> None:
        """Symbols and their Gaussians."""
        centers, tables = self._tables.choose(mean, scale)
        self._parts.append((symbols - centers, tables))

    def finish(self) -> bytes:
        """The length of the payload, the payload, and the escapes."""
        coder = constriction.stream.stack.AnsCoder()
        escapes: list[Integers] = []
        for distances, tables in reversed(self._parts):
            group = Sorted.by(tables)
            models = [self._tables.model(table) for table in group.used]
            own, reach = distances[group.order], _spread([reach for reach, _ in models], group)
            beyond = np.abs(own) > reach
            escapes.append(own[beyond])
            shifted = np.where(beyond, 2 * reach + 1, own + reach).astype(np.int32)
            end = len(shifted)
            for (_, model), count in zip(reversed(models), reversed(group.counts), strict=True):
                coder.encode_reverse(shifted[end - count : end], model)
                end -= count
        numbers = [_zigzag(value) for own in reversed(escapes) for value in own.tolist()]
        payload: bytes = coder.get_compressed().astype("<u4").tobytes()
        return struct.pack("<I", len(payload)) + payload + pack_integers(numbers)


class SymbolReader:
    """Reads what `SymbolWriter` wrote. Raises BitstreamError."""

    def __init__(self, tables: ScaleTables, data: bytes) -> None:
        size = struct.unpack_from("<I", data)[0] if len(data) >= LENGTH_BYTES else 1
        payload, escapes = data[LENGTH_BYTES : LENGTH_BYTES + size], data[LENGTH_BYTES + size :]
        if size % 4 or len(payload) != size:
            raise BitstreamError(DAMAGED)
        words = np.frombuffer(payload, "<u4").astype(np.uint32)
        if words.size and words[-1] == 0:  # a zero at the end is never written
            raise BitstreamError(DAMAGED)
        self._tables, self._coder = tables, constriction.stream.stack.AnsCoder(words)
        self._escapes = unpack_integers(escapes)[::-1]
        if max(self._escapes, default=0) > 4 * FURTHEST:
            raise BitstreamError(DAMAGED)

    def read(self, mean: Floats, scale: Floats) -> Integers:
        """The next symbols under these Gaussians."""
        centers, tables = self._tables.choose(mean, scale)
        group = Sorted.by(tables)
        models = [self._tables.model(table) for table in group.used]
        parts = [self._coder.decode(model, count) for (_, model), count in zip(models, group.counts, strict=True)]
        reach = _spread([reach for reach, _ in models], group)
        own = np.concatenate([np.zeros(0, np.int64), *parts]) - reach
        for place in np.flatnonzero(own > reach):
            if not self._escapes:
                raise BitstreamError(DAMAGED)
            own[place] = _unzigzag(self._escapes.pop())
        centers[group.order] += own
        return centers

    def finish(self) -> None:
        """Nothing is left."""
        if self._escapes or not self._coder.is_empty():
            raise BitstreamError(DAMAGED)


def _spread(numbers: list[int], group: Sorted) -> Integers:
    """A number of each table in use, for all of its symbols."""
    return np.repeat(np.array(numbers, np.int64), group.counts)


def _zigzag(value: int) -> int:
    return 2 * value if value >= 0 else -2 * value - 1


def _unzigzag(value: int) -> int:
    return value // 2 if value % 2 == 0 else -(value + 1) // 2
