"""Means with intervals: how often they hold the truth, by simulation with real BD-rates, and what they refuse."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pytest
from benchmarks.interval_coverage import coverage, noisy_bd_rates

from rdbench.errors import UsageError
from rdbench.measure.bdrate import bd_rate, compare_curves
from rdbench.measure.statistics import bootstrap_interval, pair_seeds, prediction_interval

Array = npt.NDArray[np.float64]

RATES, QUALITY = [0.05, 0.1, 0.2, 0.4], np.array([30.0, 32.0, 34.0, 36.0])
NOISE = 0.3

# Quantiles of Student's t at 97.5 %, from printed tables: 1, 2, 3 and 6 degrees of freedom.
T1, T2, T3, T6 = 12.7062, 4.3027, 3.1824, 2.4469


@pytest.fixture(scope="module")
def pool() -> Array:
    """BD-rates of equal codecs with noise of 0.3 dB on each point: 20 sequences, 200 pairs of seeds."""
    return noisy_bd_rates(np.random.default_rng(0), 20, 200)


@pytest.mark.parametrize(("sequences", "seeds", "deviation"), [(1, 3, 0.0), (3, 3, 5.0), (7, 3, 0.0), (7, 1, 10.0)])
def test_the_interval_holds_the_truth(pool: Array, sequences: int, seeds: int, deviation: float) -> None:
    held, _, _ = coverage(pool, sequences, seeds, deviation, 1000)
    assert 93 <= held <= 97


def test_plain_percentiles_do_not(pool: Array) -> None:
    """Too narrow with few units; too wide where all variance is the seeds', which both levels count."""
    assert coverage(pool, 1, 3, 0.0, 500)[1] < 80
    assert coverage(pool, 3, 3, 10.0, 500)[1] < 90
    assert coverage(pool, 7, 5, 0.0, 500)[1] > 97


def test_one_value_or_none_has_no_interval() -> None:
    assert bootstrap_interval({"Beauty": [-12.5]}) is None
    assert bootstrap_interval({}) is None
    assert prediction_interval([31.4]) is None
    assert prediction_interval([]) is None


@pytest.mark.parametrize(
    ("values", "mean", "half"),
    [
        ({"a": [-10.0], "b": [-20.0]}, -15.0, T1 * 5),  # standard error sqrt(50 / 2)
        ({"a": [1.0, 2.0, 3.0]}, 2.0, T2 / math.sqrt(3)),
        ({"a": [1.0, 3.0], "b": [4.0, 4.0], "c": [6.0, 6.0]}, 4.0, T2 * 2 / math.sqrt(3)),
        ({"a": [0.0], "b": [1.0], "c": [2.0], "d": [3.0]}, 1.5, T3 * math.sqrt(5 / 3) / 2),
        ({str(i): [float(i)] for i in range(7)}, 3.0, T6 * math.sqrt(28 / 6 / 7)),
    ],
)
def test_the_width_is_students(values: Mapping[str, Sequence[float]], mean: float, half: float) -> None:
    interval = bootstrap_interval(values)
    assert interval is not None
    assert interval.mean == pytest.approx(mean)
    assert interval.high - interval.low == pytest.approx(2 * half, rel=1e-4)
    assert interval.low < mean < interval.high
    assert interval.sequences == len(values)
    assert interval.seeds == min(map(len, values.values()))
    assert interval.confidence == 0.95


def test_a_higher_confidence_is_wider() -> None:
    values = {"a": [1.0, 2.5], "b": [4.0, 3.0], "c": [2.0, 2.2]}
    intervals = [bootstrap_interval(values, confidence) for confidence in (0.5, 0.9, 0.95, 0.99)]
    widths = [interval.high - interval.low for interval in intervals if interval is not None]
    assert widths == sorted(widths)
    assert len(set(widths)) == 4


def test_the_mean_is_over_sequences_not_over_values() -> None:
    """A sequence with many seeds counts as much as one with a single seed."""
    interval = bootstrap_interval({"a": [0.0] * 8 + [1.0, -1.0], "b": [10.0]})
    assert interval is not None
    assert interval.mean == pytest.approx(5.0)
    assert (interval.sequences, interval.seeds) == (2, 1)


def test_equal_values_give_equal_intervals_in_any_order() -> None:
    values = {"a": [1.0, 2.5, 0.3], "b": [4.0, 3.0, 3.5], "c": [2.0, 2.2, 7.0]}
    first = bootstrap_interval(values)
    assert first == bootstrap_interval(values)
    assert first == bootstrap_interval(dict(reversed(values.items())))


def test_a_skewed_sample_has_a_longer_side_where_its_tail_is() -> None:
    interval = bootstrap_interval({str(i): [math.exp(0.4 * i)] for i in range(10)})
    assert interval is not None
    assert interval.high - interval.mean > 1.1 * (interval.mean - interval.low)


def test_values_without_spread_have_an_interval_without_width() -> None:
    interval = bootstrap_interval({"a": [2.0, 2.0], "b": [2.0]})
    assert interval is not None
    assert (interval.low, interval.mean, interval.high) == (2.0, 2.0, 2.0)


def test_values_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(UsageError, match="sequence Beauty has no values"):
        bootstrap_interval({"Beauty": [], "Jockey": [1.0]})
    with pytest.raises(UsageError, match="sequence Beauty has a value that is not a finite number"):
        bootstrap_interval({"Beauty": [1.0, math.nan]})
    with pytest.raises(UsageError, match="not a finite number"):
        prediction_interval([1.0, math.inf])
    for confidence in (0.0, 1.0, 95.0):
        with pytest.raises(UsageError, match="between 0 and 1"):
            bootstrap_interval({"a": [1.0, 2.0]}, confidence)
        with pytest.raises(UsageError, match="between 0 and 1"):
            prediction_interval([1.0, 2.0], confidence)


def noisy(random: np.random.Generator, seeds: int) -> Array:
    """The qualities of one codec by seed."""
    return QUALITY + random.normal(0, NOISE, (seeds, 4))


def pooled(anchor: Array, test: Array) -> float:
    """The BD-rate of one curve through all seeds of each codec, without dominated points."""
    curves = [side for array in (anchor, test) for side in (RATES * len(array), array.ravel().tolist())]
    value = compare_curves(*curves).rate["pchip"]
    assert value is not None
    return value


def test_five_seeds_of_equal_codecs_average_zero() -> None:
    """The mean of 200 experiments lies within three standard errors of 0, and the pooled curve's far below.

    The anchor has no noise, as a conventional codec; its one curve is compared with each seed's.
    """
    random = np.random.default_rng(3)
    means, pools = [], []
    for _ in range(200):
        test = noisy(random, 5)
        interval = bootstrap_interval({"a": [bd_rate(RATES, QUALITY, RATES, one) for one in test]})
        assert interval is not None
        means.append(interval.mean)
        pools.append(pooled(QUALITY[None], test))
    error = np.std(means, ddof=1) / math.sqrt(len(means))
    assert error < 0.3
    assert abs(np.mean(means)) < 3 * error
    assert np.mean(pools) < -5


def test_five_paired_seeds_of_equal_codecs_average_zero() -> None:
    """Both codecs have noise of their own. Exchanging them turns the sign of the logarithm, so its mean is 0."""
    random = np.random.default_rng(4)
    values, pools = [], []
    for _ in range(200):
        anchor, test = noisy(random, 5), noisy(random, 5)
        pools.append(pooled(anchor[:1], test))
        pairs = pair_seeds(range(5), range(5))
        values.append(np.mean([bd_rate(RATES, anchor[a], RATES, test[b]) for a, b in pairs]))
    error = np.std(values, ddof=1) / math.sqrt(len(values))
    assert error < 0.4
    assert abs(np.mean(values)) < 3 * error
    assert np.mean(pools) < -5  # five seeds of one, and one of the other


@pytest.mark.parametrize(
    ("anchor", "test", "pairs"),
    [
        ([0, 1, 2], [2, 1, 0], [(0, 0), (1, 1), (2, 2)]),
        ([0], [0, 1, 2], [(0, 0)]),
        ([5, 3], [0], [(3, 0)]),
        ([0], [7], [(0, 7)]),
        ([0, 1, 2], [1, 2, 9], [(1, 1), (2, 2)]),
        ([0, 1], [9, 8, 7], [(0, 7), (1, 8)]),
        ([], [0, 1], []),
        ([0, 1], [], []),
        ([0], [], []),
    ],
)
def test_pairs_of_seeds(anchor: list[int], test: list[int], pairs: list[tuple[int, int]]) -> None:
    assert pair_seeds(anchor, test) == pairs
    assert pair_seeds(set(anchor), tuple(test)) == pairs
    assert sorted((a, b) for b, a in pair_seeds(test, anchor)) == pairs


def test_prediction_interval_of_three_values() -> None:
    low, high = prediction_interval([1.0, 2.0, 3.0]) or (0.0, 0.0)
    half = T2 * math.sqrt(4 / 3)
    assert (low, high) == pytest.approx((2 - half, 2 + half), rel=1e-4)


def test_a_new_value_falls_into_its_prediction_interval() -> None:
    random = np.random.default_rng(5)
    held = 0
    for _ in range(2000):
        *values, new = random.normal(31.4, NOISE, 4)
        low, high = prediction_interval(values) or (math.inf, -math.inf)
        held += low <= new <= high
    assert 0.94 <= held / 2000 <= 0.96
