"""Coding of integers, each under its own Gaussian: a fixed set of tables, by deviation and fraction of the mean.

A symbol is coded as its distance from the integer nearest to the mean; a distance that the table does not span is an
escape, stored apart. The tables come from `gaussian.normal`, which is the same on any machine.
"""

import struct
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from rdbench.errors import BitstreamError

from ..bitstream import pack_integers, unpack_integers
from .ans import DAMAGED_SYMBOLS, AnsDecoder, AnsEncoder, CoderModel
from .exact import Floats, exact_exp
from .gaussian import LARGEST_SYMBOL, gaussian_counts
from .integers import unzigzag, zigzag

Integers = npt.NDArray[np.int64]
SCALES = 64
"""Number of deviations."""
SMALLEST_SCALE, LARGEST_SCALE = 0.11, 256.0
"""Range of CompressAI's table of deviations, spaced evenly in their logarithms."""
FRACTIONS = 8
"""Positions of a mean between two integers; NVRC's code rounds means, as 1 would."""
LENGTH_BYTES = 4
REACH = 6.0
"""Deviations that a table spans on either side."""


class ScaleTables:
    """The tables; each is built when it is first needed."""

    def __init__(self) -> None:
        self._models: dict[int, tuple[int, CoderModel]] = {}

    @cached_property
    def deviations(self) -> Floats:
        """The deviations of the tables, `[SCALES]`."""
        low, high = -2.2072749131897207, 5.545177444479562  # logarithms of SMALLEST_SCALE and LARGEST_SCALE
        return exact_exp(low + (high - low) * np.arange(SCALES) / (SCALES - 1))

    def choose(self, mean: Floats, scale: Floats) -> tuple[Integers, Integers]:
        """The integer nearest to each mean, and the index of its table."""
        bounds = np.sqrt(self.deviations[:-1] * self.deviations[1:])
        positions = np.rint(np.clip(mean, -LARGEST_SYMBOL, LARGEST_SYMBOL) * FRACTIONS).astype(np.int64)
        centers = (positions + FRACTIONS // 2) // FRACTIONS
        fractions = positions - centers * FRACTIONS + FRACTIONS // 2
        return centers, np.searchsorted(bounds, scale).astype(np.int64) * FRACTIONS + fractions

    def model(self, table: int) -> tuple[int, CoderModel]:
        """The distance that a table spans on either side, and its model, whose last symbol is the escape."""
        if table not in self._models:
            scale = float(self.deviations[table // FRACTIONS])
            fraction = (table % FRACTIONS - FRACTIONS // 2) / FRACTIONS
            reach = int(np.ceil(REACH * scale)) + 1
            counts = np.append(gaussian_counts(-reach, reach, fraction, scale), 1)
            self._models[table] = reach, CoderModel(counts)
        return self._models[table]


@dataclass(frozen=True)
class TableGroups:
    """Symbols in the order of their tables, so that each table is coded with one call."""

    order: npt.NDArray[np.intp]
    """Positions of the symbols, sorted by table."""
    used: list[int]
    """The tables in use."""
    counts: list[int]
    """Numbers of symbols of the tables in use."""

    @classmethod
    def by_table(cls, tables: Integers) -> "TableGroups":
        """The groups of symbols with these tables."""
        order = np.argsort(tables.astype(np.int16), kind="stable")  # numpy sorts 16 bits by their digits
        ordered = tables[order]
        starts = np.flatnonzero(np.diff(ordered, prepend=-1))
        return cls(order, ordered[starts].tolist(), np.diff(starts, append=len(ordered)).tolist())

    def per_symbol(self, numbers: list[int]) -> Integers:
        """The number of each symbol's table, from one for each table in use, in the groups' order."""
        return np.repeat(np.array(numbers, np.int64), self.counts)


class SymbolWriter:
    """Collects symbols in the order in which they are read, and encodes them at the end."""

    def __init__(self, tables: ScaleTables) -> None:
        self._tables = tables
        self._parts: list[tuple[Integers, Integers]] = []

    def add(self, symbols: Integers, mean: Floats, scale: Floats) -> None:
        """Adds symbols with the means and deviations of their Gaussians."""
        centers, tables = self._tables.choose(mean, scale)
        self._parts.append((symbols - centers, tables))

    def finish(self) -> bytes:
        """The length of the payload as u32, the payload, and the escapes as integers."""
        encoder = AnsEncoder()
        escapes: list[Integers] = []
        for distances, tables in reversed(self._parts):
            group = TableGroups.by_table(tables)
            models = [self._tables.model(table) for table in group.used]
            ordered, reach = distances[group.order], group.per_symbol([reach for reach, _ in models])
            beyond = np.abs(ordered) > reach
            escapes.append(ordered[beyond])
            shifted = np.where(beyond, 2 * reach + 1, ordered + reach).astype(np.int32)
            end = len(shifted)
            for (_, model), count in zip(reversed(models), reversed(group.counts), strict=True):
                encoder.push(shifted[end - count : end], model)
                end -= count
        numbers = [zigzag(value) for part in reversed(escapes) for value in part.tolist()]
        payload = encoder.finish()
        return struct.pack("<I", len(payload)) + payload + pack_integers(numbers)


class SymbolReader:
    """Reads what `SymbolWriter` wrote. Raises BitstreamError."""

    def __init__(self, tables: ScaleTables, data: bytes) -> None:
        size = struct.unpack_from("<I", data)[0] if len(data) >= LENGTH_BYTES else 1
        payload, escapes = data[LENGTH_BYTES : LENGTH_BYTES + size], data[LENGTH_BYTES + size :]
        if len(payload) != size:
            raise BitstreamError(DAMAGED_SYMBOLS)
        self._tables, self._decoder = tables, AnsDecoder(payload)
        self._escapes = unpack_integers(escapes)[::-1]
        if max(self._escapes, default=0) > 4 * LARGEST_SYMBOL:
            raise BitstreamError(DAMAGED_SYMBOLS)

    def read(self, mean: Floats, scale: Floats) -> Integers:
        """The next symbols, given the means and deviations of their Gaussians."""
        centers, tables = self._tables.choose(mean, scale)
        group = TableGroups.by_table(tables)
        models = [self._tables.model(table) for table in group.used]
        parts = [self._decoder.pop(count, model) for (_, model), count in zip(models, group.counts, strict=True)]
        reach = group.per_symbol([reach for reach, _ in models])
        distances = np.concatenate([np.zeros(0, np.int64), *parts]) - reach
        for escaped in np.flatnonzero(distances > reach):
            if not self._escapes:
                raise BitstreamError(DAMAGED_SYMBOLS)
            distances[escaped] = unzigzag(self._escapes.pop())
        centers[group.order] += distances
        return centers

    def finish(self) -> None:
        """Raises BitstreamError unless all that was written has been read."""
        if self._escapes:
            raise BitstreamError(DAMAGED_SYMBOLS)
        self._decoder.finish()
