"""Solving the widths of a network for a parameter budget."""

from collections.abc import Callable
from dataclasses import replace
from typing import Generic, TypeVar

import torch

from .network import Network, NetworkConfig, count_parameters

C = TypeVar("C", bound=NetworkConfig)
STEPS = 28
"""Bisection steps; they determine the share of the paper's widths to 1e-7."""


class _Search(Generic[C]):
    """Configurations and their numbers of parameters; networks are built without memory."""

    def __init__(self, size: int, build: Callable[[C], Network]) -> None:
        self.size, self._build = size, build
        self.counts: dict[C, int] = {}

    def below(self, config: C) -> bool:
        """Whether it has fewer parameters than the size."""
        if config not in self.counts:
            with torch.device("meta"):
                self.counts[config] = count_parameters(self._build(config))
        return self.counts[config] < self.size

    def miss(self, config: C) -> int:
        """By how many parameters it misses the size."""
        return abs(self.counts[config] - self.size)

    def nearest(self) -> C:
        """Of those seen."""
        return min(self.counts, key=self.miss)

    def scale(self, scaled: Callable[[float], C]) -> None:
        """Sees the configurations around the share that meets the size."""
        low, high = 1 / 1024, 64.0
        for _ in range(STEPS):
            middle = (low * high) ** 0.5
            low, high = (middle, high) if self.below(scaled(middle)) else (low, middle)

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
    size: int, scaled: Callable[[float], C], build: Callable[[C], Network], free_width: str, slack: float
) -> C:
    """The paper's network where one misses the size by at most the share `slack`.

    Else the largest below the size, whose width named by `free_width` takes up the rest (our choice).
    """
    search = _Search(size, build)
    search.scale(scaled)
    near, smaller = search.nearest(), [config for config, count in search.counts.items() if count < size]
    if search.miss(near) <= slack * size or not smaller:
        return near
    largest = max(smaller, key=lambda config: search.counts[config])
    value = int(getattr(largest, free_width))
    search.adjust(largest, free_width, value, 8 * value)
    return search.nearest()
