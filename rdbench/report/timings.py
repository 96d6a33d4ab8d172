"""Whether a codec became slower: times of two machines' runs, judged by all samples of a curve together.

A wall time is only ever lengthened by what else a machine does, so a single sample decides nothing. The samples of a
curve are the ratios of every new to every old sample of the same rate point; their median is held against the limit,
and the limit is widened by their own spread. A machine that is busy for a part of a run widens the spread; one that is
busy throughout, or another processor, cannot be told from a slower codec by these numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

FEWEST = 3
"""Fewest new samples of a curve that are judged; of two, the median is no safer than either (our choice)."""

Samples = Sequence[float]
"""Seconds of repetitions of the same work."""


@dataclass(frozen=True)
class Slowdown:
    """How the new times of a curve compare with the old ones."""

    ratio: float
    """Median of the ratios of new to old samples."""
    noise: float
    """Upper over lower quartile of these ratios, at least 1."""
    samples: int
    """Number of new samples."""

    @property
    def judged(self) -> bool:
        """Whether there are enough samples for a verdict."""
        return self.samples >= FEWEST

    def exceeds(self, limit: float) -> bool:
        """Whether the median is above the limit by more than the noise."""
        return self.judged and self.ratio > limit * self.noise

    def __str__(self) -> str:
        return f"{self.ratio:.2f} times the baseline's (median of {self.samples} samples, noise {self.noise:.2f})"


def slowdown(pairs: Sequence[tuple[Samples, Samples]]) -> Slowdown | None:
    """The comparison over pairs of old and new samples, one for each rate point; None where no time is above zero."""
    ratios: list[float] = []
    count = 0
    for before, after in pairs:
        old, new = ([seconds for seconds in samples if seconds > 0] for samples in (before, after))
        if old:
            ratios += [late / early for late in new for early in old]
            count += len(new)
    if not ratios:
        return None
    lower, median, upper = np.quantile(ratios, (0.25, 0.5, 0.75))
    return Slowdown(float(median), float(upper / lower), count)
