"""How often the 95 % interval of `rdbench/measure/statistics.py` holds the truth, by simulation.

    OMP_NUM_THREADS=1 PYTHONPATH=. python tests/benchmarks/interval_coverage.py [experiments]

Each value is a real BD-rate (`pchip`) between two curves of four points, about 2 dB apart where the rate doubles, with
independent noise of 0.3 dB on each PSNR for each seed of anchor and test. Every sequence has a curve of its own. A true
BD-rate multiplies the rates, so it enters exactly: the ratio of the rates is (1 + truth) times that of the noise. True
BD-rates are -20 % for all sequences, or come from a normal population with that mean, which is the truth to be held.
Prints the percentage of experiments whose interval holds it, that of the plain percentiles, and the mean width.
"""

import sys
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from rdbench.measure.bdrate import bd_rate
from rdbench.measure.statistics import bootstrap_interval, resampled_means

Array = npt.NDArray[np.float64]

LAYOUTS = ((1, 3), (1, 5), (2, 3), (3, 3), (4, 2), (7, 1), (7, 3), (7, 5), (20, 1), (20, 3))
"""Sequences and seeds."""
DEVIATIONS = (0.0, 5.0, 10.0)
"""Standard deviations of the true BD-rates over sequences, in percentage points."""
NOISE = 0.3
"""Standard deviation of the noise of each point's PSNR in dB."""
POPULATION_MEAN = -20.0
"""The true BD-rate in percent."""


def noisy_bd_rates(random: np.random.Generator, sequences: int, seeds: int) -> Array:
    """BD-rates of equal codecs in percent, as (sequences, seeds), with independent noise for each seed."""
    rows = []
    for _ in range(sequences):
        rates: Array = 0.05 * np.array([1.0, 2.0, 4.0, 8.0])
        quality: Array = 30 + random.uniform(-4, 4) + np.cumsum(random.uniform(1.6, 2.4, 4))
        noise = random.normal(0, NOISE, (seeds, 2, 4))
        rows.append([bd_rate(rates, quality + anchor, rates, quality + test) for anchor, test in noise])
    return np.array(rows)


def coverage(pool: Array, sequences: int, seeds: int, deviation: float, experiments: int) -> tuple[float, float, float]:
    """Coverage of the interval and of the plain percentiles in percent, and the interval's mean width.

    `pool`: BD-rates of equal codecs, a row for each sequence. Each experiment takes rows and values in them at random.
    """
    random = np.random.default_rng([sequences, seeds, int(deviation)])
    held, plain, width = 0, 0, 0.0
    for _ in range(experiments):
        values = experiment(random, pool, sequences, seeds, deviation)
        interval = bootstrap_interval({str(i): row for i, row in enumerate(values.tolist())})
        assert interval is not None
        held += interval.low <= POPULATION_MEAN <= interval.high
        low, high = np.quantile(resampled_means(list(values), 500), [0.025, 0.975])
        plain += low <= POPULATION_MEAN <= high
        width += interval.high - interval.low
    return 100 * held / experiments, 100 * plain / experiments, width / experiments


def experiment(random: np.random.Generator, pool: Array, sequences: int, seeds: int, deviation: float) -> Array:
    """The BD-rates of one experiment, as (sequences, seeds), in percent."""
    truth = POPULATION_MEAN + random.normal(0, deviation, (sequences, 1))
    rows = random.choice(len(pool), sequences, replace=False)
    noise = np.stack([random.choice(pool[row], seeds, replace=False) for row in rows])
    return 100 * ((1 + truth / 100) * (1 + noise / 100) - 1)


def main(arguments: Sequence[str]) -> None:
    """Prints the table."""
    experiments = int(arguments[0]) if arguments else 1000
    pool = noisy_bd_rates(np.random.default_rng(1), 60, 1000)
    print(f"BD-rates of equal codecs: mean {pool.mean():.2f} %, standard deviation {pool.std():.2f} % ({pool.size})")
    print("sequences  seeds  true deviation  coverage  plain percentiles  mean width")
    for sequences, seeds in LAYOUTS:
        for deviation in DEVIATIONS if sequences > 1 else DEVIATIONS[:1]:
            held, plain, width = coverage(pool, sequences, seeds, deviation, experiments)
            print(f"{sequences:9} {seeds:6} {deviation:15.0f} {held:8.1f} % {plain:16.1f} % {width:11.1f}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
