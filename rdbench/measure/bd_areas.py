"""Curves as Bjontegaard deltas use them, and their integrals, for many pairs of curves in one call.

Pairs whose curves have equal numbers of points are integrated together, which gives the same numbers, to the last bit,
as one by one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from .interpolation import akima_slopes, integrals, pchip_slopes

Array = npt.NDArray[np.float64]

RATE, QUALITY = "rate", "quality"
_MOST_AT_ONCE = 500
"""Pairs in one call, so that the arrays stay in the processor's cache."""


@dataclass(frozen=True, eq=False)
class Curve:
    """The points that count, in order of the rate; both values rise from each point to the next."""

    rate: Array
    """log10 of the rate."""
    quality: Array
    left_out: list[str]
    """The points that do not count, as text."""

    def along(self, axis: str) -> tuple[Array, Array]:
        """The values on the axis, and the others."""
        return (self.rate, self.quality) if axis == RATE else (self.quality, self.rate)

    @cached_property
    def ranges(self) -> dict[str, tuple[float, float]]:
        """The lowest and the highest value by axis; the curve has a point at least."""
        return {
            axis: (float(values[0]), float(values[-1])) for axis, values in ((RATE, self.rate), (QUALITY, self.quality))
        }


def areas(curves: Sequence[Curve], method: str, axis: str, low: Array, high: Array) -> Array:
    """The integral of each curve over the axis from its `low` to its `high`, both inside the curve's range.

    `method` is `pchip`, `akima` or `cubic`; the cubic needs curves of four points or more, the others of two.
    """
    if method == "cubic":
        return _cubic_areas(_stacked_cubics(curves, axis), low, high)
    found = np.empty(len(curves))
    sizes = np.array([curve.rate.size for curve in curves])
    for size in np.unique(sizes):
        places = np.flatnonzero(sizes == size)
        x, y = (np.stack([curves[place].along(axis)[side] for place in places.tolist()]) for side in (0, 1))
        # Through two points both are the straight line.
        slopes = pchip_slopes(x, y) if method == "pchip" or size == 2 else akima_slopes(x, y)
        found[places] = integrals(x, y, slopes, low[places], high[places])
    return found


def _stacked_cubics(curves: Sequence[Curve], axis: str) -> Array:
    """A row for each curve: center and scale of its values on the axis, and four coefficients (constant first).

    Centered and scaled, or the least squares lose digits.
    """
    each = {id(curve): curve for curve in curves}  # an anchor stands in many pairs
    known: dict[int, Array] = {}
    for size in {curve.rate.size for curve in each.values()}:
        alike = {key: curve for key, curve in each.items() if curve.rate.size == size}
        x, y = (np.stack([curve.along(axis)[side] for curve in alike.values()]) for side in (0, 1))
        center, scale = x.mean(axis=1, keepdims=True), np.ptp(x, axis=1, keepdims=True)
        orthogonal, triangular = np.linalg.qr(((x - center) / scale)[..., None] ** np.arange(4))
        # The sums are numpy's own, not those of a matrix product, whose order may depend on the number of curves.
        projected = (orthogonal * y[..., None]).sum(axis=1)
        coefficients = np.linalg.solve(triangular, projected[..., None])[..., 0]
        known |= zip(alike, np.concatenate([center, scale, coefficients], axis=1), strict=True)
    return np.array([known[id(curve)] for curve in curves]).reshape(len(curves), 6)


def _cubic_areas(cubics: Array, low: Array, high: Array) -> Array:
    center, scale = cubics[:, 0], cubics[:, 1]
    terms = [cubics[:, 2 + degree] / (degree + 1) for degree in range(4)]

    def antiderivative(x: Array) -> Array:
        total = terms[3]
        for term in (terms[2], terms[1], terms[0]):
            total = term + total * x
        return total * x

    found: Array = scale * (antiderivative((high - center) / scale) - antiderivative((low - center) / scale))
    return found


def cubic_rises(curves: Sequence[Curve], axis: str, low: Array, high: Array) -> npt.NDArray[np.bool_]:
    """Whether the cubic of each curve rises everywhere from `low` to `high`.

    Its slope is a parabola, lowest at an end or at the vertex.
    """
    cubics = _stacked_cubics(curves, axis)
    center, scale, _, first, second, third = cubics.T
    start, end = (low - center) / scale, (high - center) / scale
    curved = third != 0
    vertex = np.where(curved, -second / (3 * np.where(curved, third, 1.0)), start)
    places = (start, end, np.minimum(np.maximum(vertex, start), end))
    rises: npt.NDArray[np.bool_] = np.all([first + 2 * second * x + 3 * third * x * x > 0 for x in places], axis=0)
    return rises


def cut_differences(cut: Sequence[Curve], whole: Sequence[Curve]) -> list[list[float] | None]:
    """For each pair the mean differences in rate over quality, by `pchip`, of `cut` without one point minus `whole`.

    A value in log10 for each point of `cut`, which has three points or more; None where a cut curve does not overlap.
    """
    groups: dict[tuple[int, int], list[int]] = {}
    for place, (one, other) in enumerate(zip(cut, whole, strict=True)):
        groups.setdefault((one.rate.size, other.rate.size), []).append(place)
    found: list[list[float] | None] = [None] * len(cut)
    for places in groups.values():
        for start in range(0, len(places), _MOST_AT_ONCE):
            part = places[start : start + _MOST_AT_ONCE]
            results = _cut_differences([cut[place] for place in part], [whole[place] for place in part])
            for place, result in zip(part, results, strict=True):
                found[place] = result
    return found


def _cut_differences(cut: Sequence[Curve], whole: Sequence[Curve]) -> list[list[float] | None]:
    rates, qualities = _without_each(cut)
    x, y = (np.stack([curve.along(QUALITY)[side] for curve in whole])[:, None] for side in (0, 1))
    low = np.maximum(qualities[..., 0], x[..., 0])
    high = np.minimum(qualities[..., -1], x[..., -1])
    apart = (high <= low).any(axis=-1)
    together = np.flatnonzero(~apart)
    rates, qualities, x, y, low, high = (values[together] for values in (rates, qualities, x, y, low, high))
    own = integrals(qualities, rates, pchip_slopes(qualities, rates), low, high)
    differences = (own - integrals(x, y, pchip_slopes(x, y), low, high)) / (high - low)
    found: list[list[float] | None] = [None] * len(cut)
    for place, values in zip(together.tolist(), differences.tolist(), strict=True):
        found[place] = values
    return found


def _without_each(curves: Sequence[Curve]) -> tuple[Array, Array]:
    """Rates and qualities of the curves without one point each; axes are curves, left-out points, and points."""
    count = curves[0].rate.size
    places = np.arange(count - 1) + (np.arange(count - 1) >= np.arange(count)[:, None])
    rates, qualities = (np.stack([curve.along(axis)[0] for curve in curves]) for axis in (RATE, QUALITY))
    return rates[:, places], qualities[:, places]
