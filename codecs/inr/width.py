"""The width of a network is solved from its parameter budget."""

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import torch

from .network import Network, NetworkConfig, count_parameters

C = TypeVar("C", bound=NetworkConfig)
STEPS = 28
"""Bisections; the share of the paper's widths is then known to 1e-7."""


def solve_width(size: int, scaled: Callable[[float], C], build: Callable[[C], Network], dial: str) -> C:
    """The configuration with nearest to `size` parameters.

    First the share in which all widths of the paper's network shrink or grow, then the one width that is named by
    `dial`, which takes up the rest (our choice; the papers name a few sizes). Networks are built without memory.
    """
    counts: dict[C, int] = {}

    def count(config: C) -> int:
        if config not in counts:
            with torch.device("meta"):
                counts[config] = count_parameters(build(config))
        return counts[config]

    low, high = 1 / 1024, 64.0
    for _ in range(STEPS):
        middle = (low * high) ** 0.5
        low, high = (middle, high) if count(scaled(middle)) < size else (low, middle)
    near = min(counts, key=lambda config: abs(counts[config] - size))
    first, last = 1, 2 * int(getattr(near, dial)) + 1
    while first < last:
        half = (first + last) // 2
        if count(replace(near, **{dial: half})) < size:  # type: ignore[arg-type]
            first = half + 1
        else:
            last = half
    return min(counts, key=lambda config: abs(counts[config] - size))
