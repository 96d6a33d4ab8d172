"""Integers under their own Laplace distributions."""

import numpy as np
import pytest

from rdbench.codecs.inr.entropy.laplace import LARGEST, LaplaceReader, LaplaceWriter
from rdbench.errors import BitstreamError, RdbenchError


def sample(count: int = 4000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Integers, locations and scales from 0.01 to 1000."""
    random = np.random.default_rng(5)
    scale = np.exp(random.uniform(-4.6, 6.9, count))
    location = random.normal(0, 20, count)
    return np.rint(random.laplace(location, scale)).astype(np.int64), location, scale


def ideal_bits(values: np.ndarray, location: np.ndarray, scale: np.ndarray) -> float:
    """Minus the sum of logarithms of the masses over the units around the values."""

    def below(x: np.ndarray) -> np.ndarray:
        return np.where(x < 0, 0.5 * np.exp(np.minimum(x, 0)), 1 - 0.5 * np.exp(-np.maximum(x, 0)))

    mass = below((values + 0.5 - location) / scale) - below((values - 0.5 - location) / scale)
    return float(-np.log2(np.maximum(mass, 2.0**-24)).sum())


def test_values_come_back_at_their_ideal_length() -> None:
    values, location, scale = sample()
    writer = LaplaceWriter()
    for part in np.array_split(np.arange(len(values)), 7):
        writer.add(values[part], location[part], scale[part])
    data = writer.finish()
    reader = LaplaceReader(data)
    decoded = [reader.read(location[part], scale[part]) for part in np.array_split(np.arange(len(values)), 7)]
    reader.finish()
    assert np.array_equal(np.concatenate(decoded), values)
    assert 8 * len(data) == pytest.approx(ideal_bits(values, location, scale), rel=2e-3)


def test_the_farthest_values_have_codes() -> None:
    values = np.array([LARGEST, -LARGEST, 0, LARGEST])
    location, scale = np.array([-1e9, 1e9, 0.5, LARGEST]), np.array([0.003, 0.003, 0.003, 500.0])
    writer = LaplaceWriter()
    writer.add(values, location, scale)
    reader = LaplaceReader(writer.finish())
    assert np.array_equal(reader.read(location, scale), values)
    reader.finish()
    with pytest.raises(RdbenchError, match="beyond all bounds"):
        writer.add(np.array([LARGEST + 1]), np.zeros(1), np.ones(1))


def test_certain_zeros_are_free() -> None:
    writer, count = LaplaceWriter(), 100_000
    writer.add(np.zeros(count, np.int64), np.zeros(count), np.full(count, 0.003))
    assert len(writer.finish()) <= 8


def test_trailing_data_is_refused() -> None:
    writer = LaplaceWriter()
    writer.add(np.arange(-20, 20), np.zeros(40), np.full(40, 5.0))
    reader = LaplaceReader(writer.finish())
    reader.read(np.zeros(10), np.full(10, 5.0))
    with pytest.raises(BitstreamError):
        reader.finish()
