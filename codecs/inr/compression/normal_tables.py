"""Coding integers, each under a Gaussian of its own: a few tables of deviations and fractions of means serve for all.

A symbol is coded as its distance from the mean's nearest integer; what lies beyond a table is an escape, and travels
apart. The tables come from `gaussian.normal`, which is the same on any machine.
"""

from functools import cached_property

import constriction
import numpy as np
import numpy.typing as npt

from rdbench.errors import BitstreamError

from ..stream import pack_integers, unpack_integers
from .entropy import DAMAGED
from .exact import Floats, exact_exp
from .gaussian import FURTHEST, PRECISION, normal

Integers = npt.NDArray[np.int64]
SCALES = 64
SMALLEST_SCALE, LARGEST_SCALE = 0.11, 256.0
"""CompressAI's table of deviations, spaced evenly in their logarithms."""
FRACTIONS = 8
"""Places of a mean between two integers; the original rounds means, as 1 would."""
REACH = 6.0
"""Deviations that a table spans on either side."""


class NormalTables:
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


def _groups(tables: Integers) -> list[tuple[int, npt.NDArray[np.intp]]]:
    """The tables in use, and where."""
    order = np.argsort(tables, kind="stable")
    used, starts = np.unique(tables[order], return_index=True)
    return list(zip(used.tolist(), np.split(order, starts[1:]), strict=True)) if len(used) else []


class SymbolWriter:
    """Collects symbols in the order in which they are read, and encodes them in the end."""

    def __init__(self, tables: NormalTables) -> None:
        self._tables = tables
        self._parts: list[tuple[Integers, Integers]] = []

    def add(self, symbols: Integers, mean: Floats, scale: Floats) -> None:
        """Symbols and their Gaussians."""
        centers, tables = self._tables.choose(mean, scale)
        self._parts.append((symbols - centers, tables))

    def finish(self) -> tuple[bytes, bytes]:
        """The payload and the escapes."""
        coder = constriction.stream.stack.AnsCoder()
        escapes: list[list[int]] = []
        for distances, tables in reversed(self._parts):
            for table, places in reversed(_groups(tables)):
                reach, model = self._tables.model(table)
                own = distances[places]
                beyond = np.abs(own) > reach
                escapes.append([_zigzag(int(value)) for value in own[beyond]])
                coder.encode_reverse(np.where(beyond, 2 * reach + 1, own + reach).astype(np.int32), model)
        numbers = [value for own in reversed(escapes) for value in own]
        return coder.get_compressed().astype("<u4").tobytes(), pack_integers(numbers)


class SymbolReader:
    """Reads what `SymbolWriter` wrote. Raises BitstreamError."""

    def __init__(self, tables: NormalTables, payload: bytes, escapes: bytes) -> None:
        words = np.frombuffer(payload, "<u4").astype(np.uint32) if len(payload) % 4 == 0 else np.zeros(1, np.uint32)
        if words.size and words[-1] == 0:  # a zero at the end is never written
            raise BitstreamError(DAMAGED)
        self._tables, self._coder = tables, constriction.stream.stack.AnsCoder(words)
        self._escapes = unpack_integers(escapes)[::-1]
        if max(self._escapes, default=0) > 4 * FURTHEST:
            raise BitstreamError(DAMAGED)

    def read(self, mean: Floats, scale: Floats) -> Integers:
        """The next symbols under these Gaussians."""
        centers, tables = self._tables.choose(mean, scale)
        symbols = np.empty(len(centers), np.int64)
        for table, places in _groups(tables):
            reach, model = self._tables.model(table)
            own = self._coder.decode(model, len(places)).astype(np.int64) - reach
            for place in np.flatnonzero(own > reach):
                if not self._escapes:
                    raise BitstreamError(DAMAGED)
                own[place] = _unzigzag(self._escapes.pop())
            symbols[places] = own
        return symbols + centers

    def finish(self) -> None:
        """Nothing is left."""
        if self._escapes or not self._coder.is_empty():
            raise BitstreamError(DAMAGED)


def _zigzag(value: int) -> int:
    return 2 * value if value >= 0 else -2 * value - 1


def _unzigzag(value: int) -> int:
    return value // 2 if value % 2 == 0 else -(value + 1) // 2
