"""Coding of integers, each under its own Gaussian: a fixed set of tables, by deviation and fraction of the mean.

A symbol is coded as its distance from the integer nearest to the mean; a distance that the table does not span is an
escape, stored apart. The tables come from `gaussian.normal`, which is the same on any machine.
"""

import struct
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from rdbench.errors import BitstreamError

from ..bitstream import pack_integers, unpack_integers
from .ans import (
    DAMAGED_SYMBOLS,
    AnsDecoder,
    AnsEncoder,
    CoderModel,
    Counts,
    Probabilities,
    Symbols,
    coder_frequencies,
    exact_rows,
)
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
CELL_BITS = 45
"""Bits of a positive float64 without which it says in which cell it lies: cells are 2^-7 wide, relative to 2^n."""
CELLS = tuple(int(np.float64(bound).view(np.int64)) >> CELL_BITS for bound in (2.0**-4, 2.0**9))
"""The cells of 2^-4, which lies below all bounds between deviations, and of 2^9 above them."""
LENGTH_BYTES = 4
REACH = 6.0
"""Least deviations that a table spans on either side."""
ROW_REACH, ROW_SYMBOLS = 31, 1 << 14
"""Largest size of tables, and most symbols, that are coded with a row of probabilities for each symbol."""


class ScaleTables:
    """The tables; those of a size are built when one of them is first needed.

    A size is the distance that tables span on either side, one less than a power of two. Their last symbol is the
    escape.
    """

    def __init__(self) -> None:
        self._sizes: dict[int, tuple[int, Probabilities]] = {}
        self._models: dict[int, CoderModel] = {}
        low, high = -2.2072749131897207, 5.545177444479562  # logarithms of SMALLEST_SCALE and LARGEST_SCALE
        self.deviations = exact_exp(low + (high - low) * np.arange(SCALES) / (SCALES - 1))
        """The deviations of the tables, `[SCALES]`."""
        self._bounds = np.append(np.sqrt(self.deviations[:-1] * self.deviations[1:]), np.inf)
        self._bounds_below = np.searchsorted(self._bounds, (np.arange(*CELLS) << CELL_BITS).view(np.float64))
        needed = np.ceil(REACH * self.deviations).astype(np.int64) + 1
        self.reaches = np.repeat([(1 << int(reach).bit_length()) - 1 for reach in needed], FRACTIONS)
        """The size of each table."""

    def choose(self, mean: Floats, scale: Floats) -> tuple[Integers, Integers]:
        """The integer nearest to each mean, and the index of its table."""
        positions = np.rint(np.clip(mean, -LARGEST_SYMBOL, LARGEST_SYMBOL) * FRACTIONS).astype(np.int64)
        centers = (positions + FRACTIONS // 2) // FRACTIONS
        fractions = positions - centers * FRACTIONS + FRACTIONS // 2
        return centers, self._nearest(scale) * FRACTIONS + fractions

    def _nearest(self, scale: Floats) -> Integers:
        """The index of the deviation nearest to each scale, in logarithms; a cell has at most one bound between two."""
        low, end = CELLS
        cells = np.clip(np.ascontiguousarray(scale).view(np.int64) >> CELL_BITS, low, end - 1) - low
        below = self._bounds_below[cells]
        nearest: Integers = below + (self._bounds[below] < scale)
        return nearest

    def rows(self, tables: Integers) -> Probabilities:
        """The probabilities of the symbols of each of these tables, all of one size, `[n, alphabet]`."""
        first, rows = self._of_size(int(self.reaches[tables[0]]))
        chosen: Probabilities = rows[tables - first]
        return chosen

    def model(self, table: int) -> CoderModel:
        """A table as a model of many symbols, with the same probabilities."""
        if table not in self._models:
            self._models[table] = CoderModel.of_row(self.rows(np.array([table]))[0])
        return self._models[table]

    def _of_size(self, reach: int) -> tuple[int, Probabilities]:
        """The first of the tables of a size, and the rows of them all."""
        if reach not in self._sizes:
            tables = np.flatnonzero(self.reaches == reach)
            counts = [np.append(self._counts(int(table)), 1) for table in tables]
            self._sizes[reach] = int(tables[0]), exact_rows(coder_frequencies(np.stack(counts)))
        return self._sizes[reach]

    def _counts(self, table: int) -> Counts:
        fraction = (table % FRACTIONS - FRACTIONS // 2) / FRACTIONS
        reach = int(self.reaches[table])
        return gaussian_counts(-reach, reach, fraction, float(self.deviations[table // FRACTIONS]))


class Run(NamedTuple):
    """Symbols for one call of the coder, which all have one table, or several small tables of one size."""

    symbols: slice
    single: bool


def sort_by_table(tables: Integers) -> npt.NDArray[np.intp]:
    """The order in which symbols with these tables are coded."""
    return np.argsort(tables.astype(np.int16), kind="stable")  # numpy sorts 16 bits by their digits


def runs(reaches: Integers, ordered: Integers) -> list[Run]:
    """The runs of symbols that are sorted by their tables; how they are divided does not change the bits.

    A call for each table takes some microseconds, rows of probabilities a time that grows with symbols and alphabet.
    """
    found, own = [], reaches[ordered]
    for start, end in _equal(own, 0):
        if own[start] <= ROW_REACH and end - start <= ROW_SYMBOLS:
            found.append(Run(slice(start, end), single=False))
        else:
            found += [Run(slice(*ends), single=True) for ends in _equal(ordered[start:end], start)]
    return found


def _equal(numbers: Integers, offset: int) -> Iterator[tuple[int, int]]:
    """Starts and ends of the runs of equal numbers, plus an offset."""
    starts = np.flatnonzero(np.diff(numbers, prepend=-1)) + offset
    return pairwise([*starts.tolist(), len(numbers) + offset] if len(numbers) else [])


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
            order = sort_by_table(tables)
            ordered, tables = distances[order], tables[order]
            reach = self._tables.reaches[tables]
            beyond = np.abs(ordered) > reach
            escapes.append(ordered[beyond])
            shifted = np.where(beyond, 2 * reach + 1, ordered + reach).astype(np.int32)
            for run in reversed(runs(self._tables.reaches, tables)):
                symbols, own = shifted[run.symbols], tables[run.symbols]
                if run.single:
                    encoder.push(symbols, self._tables.model(int(own[0])))
                else:
                    encoder.push_rows(symbols, self._tables.rows(own))
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
        order = sort_by_table(tables)
        tables = tables[order]
        reach = self._tables.reaches[tables]
        parts = [self._pop(run, tables[run.symbols]) for run in runs(self._tables.reaches, tables)]
        distances = np.concatenate([np.zeros(0, np.int64), *parts]) - reach
        for escaped in np.flatnonzero(distances > reach):
            if not self._escapes:
                raise BitstreamError(DAMAGED_SYMBOLS)
            distances[escaped] = unzigzag(self._escapes.pop())
        centers[order] += distances
        return centers

    def _pop(self, run: Run, tables: Integers) -> Symbols:
        """The next symbols, which have these tables."""
        if run.single:
            return self._decoder.pop(len(tables), self._tables.model(int(tables[0])))
        return self._decoder.pop_rows(self._tables.rows(tables))

    def finish(self) -> None:
        """Raises BitstreamError unless all that was written has been read."""
        if self._escapes:
            raise BitstreamError(DAMAGED_SYMBOLS)
        self._decoder.finish()
