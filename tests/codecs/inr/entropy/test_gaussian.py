"""Gaussian models: the exact normal distribution, symbols at their entropy, damaged models."""

import math

import numpy as np
import pytest

from rdbench.codecs.inr.entropy.gaussian import Gaussian, decode, encode, model_of, normal, pack_models, unpack_models
from rdbench.errors import BitstreamError, RdbenchError


def test_the_normal_distribution_is_one() -> None:
    x = np.linspace(-9, 9, 2001)
    assert np.abs(normal(x) - np.array([0.5 * math.erfc(-v / math.sqrt(2)) for v in x])).max() < 3e-7
    assert (np.diff(normal(x)) >= 0).all()


@pytest.mark.parametrize(("mean", "deviation"), [(0.0, 1e-9), (-3.4, 0.2), (130.7, 40.0), (0.2, 900.0)])
def test_gaussian_symbols_return_at_their_entropy(mean: float, deviation: float) -> None:
    rng = np.random.default_rng(0)
    codes = rng.normal(mean, deviation, 5000)
    model = model_of(codes)
    (restored,) = unpack_models(*pack_models([model]), 1)
    assert restored == model
    symbols = np.rint(codes).astype(np.int32)
    few = symbols[:3]
    payload = encode([(symbols, model), (few, model)])
    first, second = decode(payload, [(5000, restored), (3, restored)])
    assert np.array_equal(first, symbols)
    assert np.array_equal(second, few)
    counts = model.counts()
    ideal = -np.log2(counts[symbols - model.lowest] / counts.sum()).sum()
    assert 8 * len(payload) == pytest.approx(ideal, rel=0.01, abs=80)


def test_damaged_models_are_refused() -> None:
    numbers, ranges = pack_models([Gaussian(np.float16(0.5), np.float16(1), -3, 4)])
    for bad in [(numbers[:-1], ranges, 1), (numbers, ranges, 2), (np.full(2, np.nan, "<f2").tobytes(), ranges, 1)]:
        with pytest.raises(BitstreamError):
            unpack_models(*bad)
    with pytest.raises(RdbenchError, match="--seed"):
        model_of(np.array([1e6]))
