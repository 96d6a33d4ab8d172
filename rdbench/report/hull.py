"""The upper convex hull of rate points: the curve of a codec whose models have several sizes, each at several lambdas.

Each size gives a branch of its own, and no line joins them all. As in the papers, the curve is what the branches reach
together: of all points those that no other one, and no segment between two others, has above it. Bits are on a linear
axis there, since every lambda touches the hull by minimizing D + lambda R.
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from itertools import permutations
from typing import Any

import numpy as np
import pandas as pd

HULL = "convex hull"
"""What labels say of such a curve."""
Point = tuple[tuple[str, Hashable], ...]
"""The settings of a rate point: pairs of name and value."""


def upper_hull(rates: Sequence[float], qualities: Sequence[float]) -> list[int]:
    """The places of the points on the upper convex hull, from the lowest rate to the best quality.

    Points on a segment of the hull belong to it; of several at one rate only the best one does.
    """
    order = np.lexsort((-np.asarray(qualities, np.float64), np.asarray(rates, np.float64))).tolist()
    hull: list[int] = []
    for place in order:
        if hull and qualities[place] <= qualities[hull[-1]]:
            continue  # more bits for no more quality
        while len(hull) > 1 and _below(rates, qualities, hull[-2], hull[-1], place):
            hull.pop()
        hull.append(place)
    return hull


def _below(rates: Sequence[float], qualities: Sequence[float], left: int, middle: int, right: int) -> bool:
    """Whether the middle one of three points in order of their rates is below the segment between the others."""
    rise = (qualities[middle] - qualities[left]) * (rates[right] - rates[left])
    return rise < (qualities[right] - qualities[left]) * (rates[middle] - rates[left])


def crossed(frame: pd.DataFrame, series: "pd.Series[int]") -> set[int]:
    """The numbers of the series that have a curve with several sizes and, at one of them, several lambdas.

    More generally: several values of one setting of the rate points, and several of another at one of these. `series`
    holds the number of each row. Only records whose identity states their rate point are known to have any.
    """
    if "identity" not in frame:
        return set()
    curves: dict[tuple[int, Any, Any], set[Point]] = {}
    columns = (frame[name].tolist() for name in ("dataset", "sequence", "identity"))
    for number, dataset, sequence, identity in zip(series.tolist(), *columns, strict=True):
        point = identity.get("point") if isinstance(identity, Mapping) else None
        if isinstance(point, Mapping) and len(point) > 1:
            own = tuple(sorted((str(name), str(value)) for name, value in point.items()))
            curves.setdefault((int(number), dataset, sequence), set()).add(own)
    return {number for (number, _, _), points in curves.items() if _several_of_both(points)}


def _several_of_both(points: Iterable[Point]) -> bool:
    settings = [dict(point) for point in points]
    names = sorted({name for own in settings for name in own})
    for outer, inner in permutations(names, 2):
        values: dict[Hashable, set[Hashable]] = {}
        for own in settings:
            values.setdefault(own.get(outer), set()).add(own.get(inner))
        if len(values) > 1 and max(map(len, values.values())) > 1:
            return True
    return False


def on_hull(rows: pd.DataFrame, metric: str) -> pd.DataFrame:
    """The rows of labeled curves, those of a hull without the rate points below it; `metric` and `bpp` are numbers."""
    if "hull" not in rows or not rows["hull"].any():
        return rows
    keep = ~rows["hull"].astype(bool)
    for _, own in rows[~keep].groupby(["series", "dataset", "sequence", "seed"], sort=False):
        keep[own.index[upper_hull(own["bpp"].tolist(), own[metric].tolist())]] = True
    return rows[keep]
