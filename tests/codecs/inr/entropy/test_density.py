"""Learned densities and their tables: distributions, costs, damage, speed."""

import time

import numpy as np
import pytest
import torch

from rdbench.codecs.inr.entropy.density import (
    LARGEST_ENTRY,
    LARGEST_SYMBOL,
    Densities,
    model_of,
    pack_tables,
    table_of,
    unpack_tables,
)
from rdbench.codecs.inr.entropy.tensor_models import decode_under, encode_under
from rdbench.errors import BitstreamError

torch.set_num_threads(1)


@pytest.mark.parametrize("deviation", [0.05, 1.0, 20.0])
def test_densities_are_distributions_and_begin_near_the_data(deviation: float) -> None:
    with torch.no_grad():
        bits = Densities(torch.full((2,), deviation), 7.0).bits()
    shares = torch.exp2(-bits)
    assert shares.sum(1).tolist() == pytest.approx([1, 1], abs=1e-3)
    assert bits.isfinite().all()


def test_tables_return_and_cost_next_to_nothing() -> None:
    rng = np.random.default_rng(0)
    symbols = np.rint(rng.laplace(0, 3, 100_000)).astype(np.int32).clip(-LARGEST_SYMBOL, LARGEST_SYMBOL)
    counts = np.bincount(symbols + LARGEST_SYMBOL, minlength=2 * LARGEST_SYMBOL + 1)
    bits = -np.log2(np.maximum(counts, 0.5) / len(symbols))
    low, high = int(symbols.min()), int(symbols.max())
    table = table_of(bits, low, high)
    packed = pack_tables([(low, table), (3, np.zeros(1, np.int64))])
    models = list(unpack_tables(packed, 2))
    assert models[0].low == low
    assert np.array_equal(models[0].counts, model_of(low, table).counts)
    assert len(packed["tables"]) < len(table)
    entropy = (counts * bits).sum()
    assert models[0].bits(symbols) == pytest.approx(entropy, rel=0.002)
    (restored, alone) = decode_under(encode_under([symbols], models[:1]), [(len(symbols), models[0]), (5, models[1])])
    assert np.array_equal(restored, symbols)
    assert alone.tolist() == [3] * 5


def test_damaged_tables_are_refused() -> None:
    good = pack_tables([(-2, np.array([3, 1, 0, 2, 4]))])
    beyond = pack_tables([(LARGEST_SYMBOL - 1, np.array([0, 1, 2]))])
    deep = pack_tables([(0, np.array([0, LARGEST_ENTRY - 1, LARGEST_ENTRY + 1]))])
    for bad, count in ((good, 2), (beyond, 1), (deep, 1)):
        with pytest.raises(BitstreamError):
            list(unpack_tables(bad, count))


def test_ten_million_symbols_take_seconds() -> None:
    symbols = np.rint(np.random.default_rng(0).normal(0, 2, 10_000_000)).astype(np.int32)
    low, high = int(symbols.min()), int(symbols.max())
    model = model_of(low, table_of((np.arange(-LARGEST_SYMBOL, LARGEST_SYMBOL + 1) / 2.0) ** 2 / 1.4, low, high))
    started = time.process_time()
    coded = encode_under([symbols], [model])
    (restored,) = decode_under(coded, [(len(symbols), model)])
    assert time.process_time() - started < 10
    assert np.array_equal(restored, symbols)
