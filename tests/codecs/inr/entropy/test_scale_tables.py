"""Symbols under Gaussians of their own: they return, and damage is refused."""

import numpy as np
import pytest

from rdbench.codecs.inr.entropy.scale_tables import ScaleTables, SymbolReader, SymbolWriter
from rdbench.errors import BitstreamError


def test_symbols_return_escapes_too() -> None:
    rng = np.random.default_rng(0)
    writer, tables = SymbolWriter(ScaleTables()), ScaleTables()
    parts = []
    for count in (1, 5000, 300):
        mean, scale = rng.normal(0, 5, count), np.exp(rng.normal(0, 2, count))
        symbols = np.rint(mean + scale * rng.normal(size=count)).astype(np.int64)
        symbols[::97] += 3000
        writer.add(symbols, mean, scale)
        parts.append((symbols, mean, scale))
    reader = SymbolReader(tables, writer.finish())
    for symbols, mean, scale in parts:
        assert np.array_equal(reader.read(mean, scale), symbols)
    reader.finish()


def test_damaged_streams_are_refused() -> None:
    writer, mean, scale = SymbolWriter(ScaleTables()), np.zeros(50), np.ones(50)
    writer.add(np.full(50, 2), mean, scale)
    data = writer.finish()
    for bad in (b"", data[:3], data[:-1]):
        with pytest.raises(BitstreamError):
            SymbolReader(ScaleTables(), bad)
    for bad, count in ((data + b"\1", 50), (data, 49)):  # an escape, or symbols, that nobody reads
        reader = SymbolReader(ScaleTables(), bad)
        reader.read(mean[:count], scale[:count])
        with pytest.raises(BitstreamError):
            reader.finish()
