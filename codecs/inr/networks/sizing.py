"""Solving the widths of a network for a parameter budget."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Generic, TypeVar

import torch

from .network import Network, NetworkConfig, count_parameters

C = TypeVar("C", bound=NetworkConfig)
STEPS = 28
"""Bisection steps; they determine the share of the paper's widths to 1e-7."""
TOLERANCE = 0.01
"""Largest relative error of a size; a size without such a network is refused (our choice)."""
NEIGHBORS = 24
"""Shares on either side of the one that meets the size, which are tried where none of its networks does."""
SPACING = 1.0125
"""Ratio of one of these shares to the next; the outermost have 3/4 and 4/3 of the widths."""


class _Search(Generic[C]):
    """Configurations and their numbers of parameters; networks are built without memory."""

    def __init__(self, size: int, build: Callable[[C], Network], tolerance: float = TOLERANCE) -> None:
        self.size, self._build, self._tolerance = size, build, tolerance
        self.counts: dict[C, int] = {}

    def count(self, config: C) -> int:
        """Its number of parameters."""
        if config not in self.counts:
            with torch.device("meta"):
                self.counts[config] = count_parameters(self._build(config))
        return self.counts[config]

    def below(self, config: C) -> bool:
        """Whether it has fewer parameters than the size."""
        return self.count(config) < self.size

    def miss(self, config: C) -> int:
        """By how many parameters it misses the size."""
        return abs(self.counts[config] - self.size)

    def nearest(self) -> C:
        """Of those seen."""
        return min(self.counts, key=self.miss)

    def is_met(self) -> bool:
        """Whether one of those seen has the size within the tolerance."""
        return self.miss(self.nearest()) <= self._tolerance * self.size

    def scale(self, scaled: Callable[[float], C]) -> float:
        """Sees the configurations around the share that meets the size; returns the share."""
        low, high = 1 / 1024, 64.0
        for _ in range(STEPS):
            middle = (low * high) ** 0.5
            low, high = (middle, high) if self.below(scaled(middle)) else (low, middle)
        return low

    def adjust(self, near: C, free_width: str, first: int, last: int) -> None:
        """Sees the configurations around the value of one width, in this range, that meets the size."""
        while first < last:
            half = (first + last) // 2
            if self.below(replace(near, **{free_width: half})):
                first = half + 1
            else:
                last = half


def solve_width(size: int, scaled: Callable[[float], C], build: Callable[[C], Network], free_width: str) -> C:
    """The configuration with nearest to `size` parameters.

    First the share in which all widths of the paper's network shrink or grow, then the one width that is named by
    `free_width`, which takes up the rest (our choice; the papers name a few sizes).
    """
    search = _Search(size, build)
    search.scale(scaled)
    near = search.nearest()
    search.adjust(near, free_width, 1, 2 * int(getattr(near, free_width)) + 1)
    return search.nearest()


def grow_width(
    size: int, scaled: Callable[[float], C], build: Callable[[C], Network], free_width: str, tolerance: float
) -> C:
    """The paper's network where one meets the size within the tolerance.

    Else the largest below the size, whose width named by `free_width` takes up the rest (our choice).
    """
    search = _Search(size, build, tolerance)
    search.scale(scaled)
    near, smaller = search.nearest(), [config for config, count in search.counts.items() if count < size]
    if search.is_met() or not smaller:
        return near
    largest = max(smaller, key=lambda config: search.counts[config])
    value = int(getattr(largest, free_width))
    search.adjust(largest, free_width, value, 8 * value)
    return search.nearest()


def nearest_to_size(
    size: int,
    first: C,
    scaled: Callable[[float], C],
    build: Callable[[C], Network],
    widths: tuple[str, str],
    tolerance: float,
) -> tuple[C, int]:
    """A configuration with `size` parameters within the tolerance, else the nearest, and its number of parameters.

    That is `first` where it meets the size. Else the first of `widths` takes up the rest in the networks of
    neighboring shares, the nearest share first, where a second width is named also with one that differs by one or
    two (our choice).
    """
    search = _Search(size, build, tolerance)
    search.count(first)
    if not search.is_met():
        share, free_width = search.scale(scaled), widths[0]
        steps = sorted(range(-NEIGHBORS, NEIGHBORS + 1), key=abs)
        neighbors = dict.fromkeys(scaled(share * SPACING**step) for step in steps)
        for config in _with_others(neighbors, widths[1]):
            search.adjust(config, free_width, 1, 2 * int(getattr(config, free_width)) + 1)
            if search.is_met():
                break
    nearest = search.nearest()
    return nearest, search.counts[nearest]


def _with_others(configs: Iterable[C], width: str) -> Iterator[C]:
    """Each configuration, followed by those whose width of this name differs from its by one or two."""
    for config in configs:
        yield config
        for step in (-1, 1, -2, 2) if width else ():
            yield replace(config, **{width: max(1, int(getattr(config, width)) + step)})
