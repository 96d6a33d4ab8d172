"""Symbols under Gaussians of their own: they return, and damage is refused."""

import numpy as np
import pytest

from rdbench.codecs.inr.entropy import scale_tables
from rdbench.codecs.inr.entropy.scale_tables import FRACTIONS, ScaleTables, SymbolReader, SymbolWriter
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


def test_bits_do_not_depend_on_how_the_coder_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    mean, scale = rng.normal(0, 5, 400), np.exp(rng.normal(0, 1, 400))
    symbols = np.rint(mean + scale * rng.normal(size=400)).astype(np.int64)

    def written() -> bytes:
        writer = SymbolWriter(ScaleTables())
        writer.add(symbols, mean, scale)
        return writer.finish()

    by_rows = written()
    monkeypatch.setattr(scale_tables, "ROW_SYMBOLS", 0)
    assert written() == by_rows
    assert np.array_equal(SymbolReader(ScaleTables(), by_rows).read(mean, scale), symbols)


def test_symbols_take_the_bits_of_their_gaussians() -> None:
    """Log2(s sqrt(2 pi e)), where s^2 is the variance with that of rounding, 1/12, within a percent and a half."""
    rng = np.random.default_rng(2)
    for deviation in (1.0, 4.0, 40.0):
        writer, mean, scale = SymbolWriter(ScaleTables()), rng.uniform(-9, 9, 20_000), np.full(20_000, deviation)
        writer.add(np.rint(mean + deviation * rng.normal(size=20_000)).astype(np.int64), mean, scale)
        entropy = np.log2(np.sqrt((deviation**2 + 1 / 12) * 2 * np.pi * np.e)) * 20_000 / 8
        assert len(writer.finish()) == pytest.approx(entropy, rel=0.015)


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


def test_a_scale_has_the_table_of_the_deviation_nearest_in_logarithms() -> None:
    tables = ScaleTables()
    bounds = np.sqrt(tables.deviations[:-1] * tables.deviations[1:])
    beside = [np.nextafter(bounds, 0), bounds, np.nextafter(bounds, np.inf)]
    scales = np.concatenate([*beside, np.exp(np.linspace(-30, 30, 9999)), [0.0, 5e-324, 2.0**-4, 2.0**9, np.inf]])
    _, chosen = tables.choose(np.zeros_like(scales), scales)
    assert np.array_equal(chosen // FRACTIONS, (scales[:, None] > bounds).sum(1))
