"""Times of two runs: how large a change is, and when it is more than noise."""

import numpy as np
import pytest

from rdbench.report.timings import FEWEST, slowdown


def test_the_ratio_is_the_median_over_pairs_of_samples() -> None:
    found = slowdown([((1.0,), (2.0, 3.0, 4.0))])
    assert found is not None
    assert (found.ratio, found.samples) == (3.0, 3)
    assert found.noise == pytest.approx(3.5 / 2.5)
    assert slowdown([((0.0,), (1.0,)), ((1.0,), ())]) is None


def test_verdicts_take_three_samples() -> None:
    few, enough = slowdown([((1.0,), (9.0,) * (FEWEST - 1))]), slowdown([((1.0,), (9.0,) * FEWEST)])
    assert few is not None and enough is not None  # noqa: PT018
    assert not few.exceeds(2.0)
    assert enough.exceeds(2.0)
    assert not enough.exceeds(9.0)


def test_a_partly_busy_machine_raises_no_alarm_and_a_slower_codec_does() -> None:
    """1000 runs of four rate points with five samples, 5 % of noise: none alarms though one record in four is delayed
    fivefold; three times the time alarms in every run."""
    rng = np.random.default_rng(0)

    def samples(factor: float) -> tuple[float, ...]:
        return tuple(factor * rng.lognormal(0, 0.05, 5))

    alarms = [
        [slowdown([(samples(1), samples(factor * (5 if point == busy else 1))) for point in range(4)])
         for busy, factor in ((rng.integers(4), 1.0), (None, 3.0))]
        for _ in range(1000)
    ]  # fmt: skip
    verdicts = np.array([[one is not None and one.exceeds(2.0) for one in pair] for pair in alarms])
    assert verdicts.mean(axis=0).tolist() == [0.0, 1.0]
