"""Bjontegaard delta rate and quality, with measures of their reliability.

G. Bjontegaard, VCEG-M33 (2001): `cubic`, one polynomial of degree 3 through all points (least squares). `pchip`:
piecewise cubic Hermite, as in JCTVC-E137 and the JVET sheets. `akima`: C. Herglotz et al. (2022). Rates enter as log10;
every curve is integrated exactly over the overlap of the ranges. Points that cost no fewer bits than another and are no
better enter nothing: interpolation over quality needs qualities that rise with the rate.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ..errors import UsageError, did_you_mean
from .interpolation import akima_slopes, integrals, pchip_slopes

Array = npt.NDArray[np.float64]
Floats = Sequence[float] | Array

METHODS = ("pchip", "akima", "cubic")
FEWEST_POINTS = {"pchip": 2, "akima": 2, "cubic": 4}
USUAL_POINTS = 4
"""Curves with fewer points are flagged (VCEG-M33 uses four)."""
NOT_COMPARABLE = "Not comparable"
NOT_REPORTABLE = "Not reportable"
MIN_OVERLAP = 0.1
"""A BD number is not reportable where the overlap of the ranges it is integrated over is below this (our choice).

Below it, noise of 0.3 dB on each point decides whether a number exists at all. 204 pairs of published curves of 5
points or more were cut until their qualities overlapped by a given share. Such noise then leaves no number in 40 % of
the cases below 0.025, 23 % from there to 0.05, 13 % to 0.075, 4 % to 0.1, and under 2 % above 0.125; the numbers that
remain are a selection. The error grows without a step: half of the noisy numbers miss the rate that the uncut curves
give by more than 7 % where the overlap is above 0.75, 10 to 14 % at 0.3 to 0.5, 12 to 26 % below 0.1; so SMALL_OVERLAP
is a flag only.
"""
SMALL_OVERLAP = 0.75
"""A BD number is flagged where the overlap of the quality ranges is below this (our choice)."""
SPREAD_LIMIT = 1.0
"""A BD number is flagged where the methods differ by more percentage points than this (our choice)."""


@dataclass(frozen=True)
class Health:
    """The reliability of a BD number.

    `overlap` is the intersection of the two quality ranges divided by their union, 0 to 1; `spread` the difference
    between the highest and the lowest BD-rate of the methods, in percentage points.
    """

    overlap: float
    monotone: tuple[bool, bool]
    """Whether quality rises with the rate at every measured point of the anchor, and of the test."""
    spread: float | None
    points: tuple[int, int]
    """Number of points used of the anchor and of the test."""
    leave_one_out: float | None = None
    """Difference between the highest and the lowest BD-rate by `pchip`, in percentage points, of the whole curves and
    of those that lack one point of either; None where that leaves a curve of one point, or curves without overlap."""


@dataclass(frozen=True)
class BdResult:
    """BD-rate in percent and BD-quality in the metric's unit by method; None with a reason where there is none."""

    rate: dict[str, float | None]
    quality: dict[str, float | None]
    health: Health
    notes: list[str] = field(default_factory=list)
    """What a reader should know; what concerns BD-quality alone begins with "BD-quality"."""

    @property
    def comparable(self) -> bool:
        """Whether any method gave a BD-rate."""
        return any(value is not None for value in self.rate.values())

    @property
    def reportable(self) -> bool:
        """Whether the quality ranges overlap by MIN_OVERLAP or more; without that there is no BD-rate."""
        return self.health.overlap >= MIN_OVERLAP

    @property
    def reason(self) -> str | None:
        """Why there is no BD-rate at all ("Not comparable: ..", "Not reportable: .."); None where there is one."""
        if self.comparable:
            return None
        return next(note for note in self.notes if note.startswith((NOT_COMPARABLE, NOT_REPORTABLE)))


def bd_rate(
    rate_anchor: Floats, quality_anchor: Floats, rate_test: Floats, quality_test: Floats, method: str = "pchip"
) -> float:
    """Mean bitrate difference at equal quality in percent; negative: the test needs fewer bits.

    Raises UsageError where `compare_curves` has no value, with the same reason.
    """
    anchor, test = _usable(rate_anchor, quality_anchor, "anchor"), _usable(rate_test, quality_test, "test")
    return _bd_rate(anchor, test, method)


def bd_quality(
    rate_anchor: Floats, quality_anchor: Floats, rate_test: Floats, quality_test: Floats, method: str = "pchip"
) -> float:
    """Mean quality difference at equal bitrate, in the unit of the quality.

    Raises UsageError where `compare_curves` has no value, with the same reason.
    """
    anchor, test = _usable(rate_anchor, quality_anchor, "anchor"), _usable(rate_test, quality_test, "test")
    return _mean_difference(anchor, test, method, RATE)


RATE, QUALITY = "rate", "quality"


@dataclass(frozen=True)
class _Curve:
    """The points that count, in order of the rate; both values rise from each point to the next."""

    name: str
    rate: Array
    """log10 of the rate."""
    quality: Array
    left_out: list[str]
    """The points that do not count, as text."""

    def along(self, axis: str) -> tuple[Array, Array]:
        """The values on the axis, and the others."""
        return (self.rate, self.quality) if axis == RATE else (self.quality, self.rate)

    def without_each(self) -> tuple[Array, Array]:
        """Rates and qualities of the curves that lack one point each: a row for each of them."""
        count = self.rate.size
        places = np.arange(count - 1) + (np.arange(count - 1) >= np.arange(count)[:, None])
        return self.rate[places], self.quality[places]


def _usable(rate: Floats, quality: Floats, name: str) -> _Curve:
    """The points without the dominated ones: no cheaper than another point and no better.

    Nobody would run an encoder at a dominated point. Raises UsageError for values that are no curve.
    """
    r, q = np.asarray(rate, dtype=np.float64), np.asarray(quality, dtype=np.float64)
    if r.ndim != 1 or r.shape != q.shape:
        raise UsageError(f"A curve needs as many rates as qualities; there are {r.size} and {q.size}.")
    if not (np.isfinite(r).all() and np.isfinite(q).all()):
        raise UsageError("A curve holds a value that is not a finite number; leave that point out.")
    if (r <= 0).any():
        raise UsageError("A curve holds a rate that is not positive; correct that point.")
    logs = np.log10(r)
    order = np.lexsort((-q, logs))
    r, q, logs = r[order], q[order], logs[order]
    keep = np.r_[True, q[1:] > np.maximum.accumulate(q)[:-1]] if q.size else np.zeros(0, bool)
    left_out = [f"{x:g} at rate {y:g}" for x, y in zip(q[~keep], r[~keep], strict=True)]
    return _Curve(name, logs[keep], q[keep], left_out)


def _refuse(anchor: _Curve, test: _Curve, method: str, axis: str) -> None:
    """Raises UsageError where the integral over the axis has no meaning."""
    if method not in METHODS:
        raise UsageError(f"There is no BD method {method!r}{did_you_mean(method, METHODS)}")
    for curve in (anchor, test):
        points = curve.rate.size
        if points < FEWEST_POINTS[method]:
            why = ", since its quality does not rise with the rate" if curve.left_out else ""
            raise UsageError(
                f"The {curve.name} has {points} point{'' if points == 1 else 's'}{why}; "
                f"{method} needs at least {FEWEST_POINTS[method]}: measure more."
            )
    overlap = _overlap(anchor.along(axis)[0], test.along(axis)[0])
    if overlap == 0:
        raise UsageError(f"The curves do not overlap in {axis}; choose rate points that meet.")
    if overlap < MIN_OVERLAP:
        raise UsageError(
            f"{NOT_REPORTABLE}: the {axis} ranges overlap by {100 * overlap:.2g} % only, "
            f"less than {100 * MIN_OVERLAP:g} %; choose rate points that meet."
        )


def _bd_rate(anchor: _Curve, test: _Curve, method: str) -> float:
    return _percent(_mean_difference(anchor, test, method, QUALITY))


def _percent(log_ratio: float) -> float:
    """The difference in percent of a ratio given as log10. Raises UsageError where it is too large for a number."""
    try:
        return (10**log_ratio - 1) * 100
    except OverflowError as error:
        raise UsageError("The rates differ by more than a number holds; check the curves.") from error


def _mean_difference(anchor: _Curve, test: _Curve, method: str, axis: str) -> float:
    """Mean of test minus anchor over the common part of the axis. Raises UsageError where it has no meaning."""
    _refuse(anchor, test, method, axis)
    low, high = _common(anchor.along(axis)[0], test.along(axis)[0])
    areas = [_area(curve, method, axis, low, high) for curve in (anchor, test)]
    difference = (areas[1] - areas[0]) / (high - low)
    if not math.isfinite(difference):
        raise UsageError(f"The points are too close in {axis} for {method}; leave one of them out.")
    return difference


def _area(curve: _Curve, method: str, axis: str, low: float, high: float) -> float:
    """The integral over the axis from `low` to `high`. Raises UsageError for a saturated cubic."""
    x, y = curve.along(axis)
    if method == "pchip" or (method == "akima" and x.size == 2):  # through two points both are the straight line
        return float(integrals(x, y, pchip_slopes(x, y), np.asarray(low), np.asarray(high)))
    if method == "akima":
        return float(integrals(x, y, akima_slopes(x, y), np.asarray(low), np.asarray(high)))
    # Centered and scaled, or the normal equations lose digits.
    center, scale = x.mean(), float(np.ptp(x))
    coefficients = np.polynomial.polynomial.polyfit((x - center) / scale, y, 3)
    start, end = (low - center) / scale, (high - center) / scale
    if not _rises(coefficients, start, end):
        other = QUALITY if axis == RATE else RATE
        raise UsageError(
            f"The cubic of the {curve.name} is saturated (its {other} does not rise all along the common {axis} "
            "range); use pchip."
        )
    antiderivative = np.polynomial.Polynomial(coefficients).integ()
    return float(scale * (antiderivative(end) - antiderivative(start)))


def _rises(coefficients: Array, start: float, end: float) -> bool:
    """Whether the cubic (constant first) rises everywhere from `start` to `end`.

    Its slope is a parabola, lowest at an end or at the vertex.
    """
    _, first, second, third = (float(c) for c in coefficients)
    vertex = -second / (3 * third) if third else start
    places = (start, end, min(max(vertex, start), end))
    return all(first + 2 * second * x + 3 * third * x * x > 0 for x in places)


def compare_curves(rate_anchor: Floats, quality_anchor: Floats, rate_test: Floats, quality_test: Floats) -> BdResult:
    """BD-rate and BD-quality by all methods; what cannot be computed is None, with the reason in `notes`."""
    try:
        anchor, test = _usable(rate_anchor, quality_anchor, "anchor"), _usable(rate_test, quality_test, "test")
    except UsageError as error:
        nothing: dict[str, float | None] = dict.fromkeys(METHODS)
        health = Health(0.0, (False, False), None, (len(rate_anchor), len(rate_test)))
        return BdResult(nothing, dict(nothing), health, [f"{NOT_COMPARABLE}: {error}"])
    notes = [*_point_notes(anchor), *_point_notes(test)]
    rate = _all_methods(_bd_rate, anchor, test, notes, "")
    quality = _all_methods(_bd_quality, anchor, test, notes, "BD-quality: ")
    known = [value for value in rate.values() if value is not None]
    health = Health(
        _overlap(anchor.quality, test.quality),
        (not anchor.left_out, not test.left_out),
        max(known) - min(known) if len(known) > 1 else None,
        (anchor.rate.size, test.rate.size),
        _leave_one_out(anchor, test, rate["pchip"]),
    )
    if known and health.overlap < SMALL_OVERLAP:
        notes.append(f"The quality ranges overlap by {100 * health.overlap:.0f} % only.")
    if health.spread is not None and health.spread > SPREAD_LIMIT:
        notes.append(f"The methods differ by {health.spread:.1f} percentage points.")
    return BdResult(rate, quality, health, list(dict.fromkeys(notes)))


def _bd_quality(anchor: _Curve, test: _Curve, method: str) -> float:
    return _mean_difference(anchor, test, method, RATE)


def _point_notes(curve: _Curve) -> list[str]:
    """Notes on points left out, and on a curve with few points."""
    notes, points, dominated = [], curve.rate.size, len(curve.left_out)
    if dominated:
        notes.append(
            f"{dominated} of {points + dominated} points of the {curve.name} cost no fewer bits than another and are "
            f"no better; left out: {', '.join(curve.left_out)}."
        )
    if 2 <= points < USUAL_POINTS:
        notes.append(f"The {curve.name} has only {points} points; {USUAL_POINTS} or more are usual.")
    return notes


def _all_methods(
    function: Callable[[_Curve, _Curve, str], float], anchor: _Curve, test: _Curve, notes: list[str], prefix: str
) -> dict[str, float | None]:
    """The values by method; reasons of missing ones go to `notes`, with the prefix and without repetition.

    Where the first method, which needs least, has no value, no method has one: the curves are not comparable.
    """
    values: dict[str, float | None] = {}
    for method in METHODS:
        try:
            values[method] = function(anchor, test, method)
        except UsageError as error:
            values[method] = None
            if not any(str(error) in note for note in notes):
                all_fail = method == METHODS[0] and not str(error).startswith(NOT_REPORTABLE)
                notes.append(f"{prefix}{f'{NOT_COMPARABLE}: ' if all_fail else ''}{error}")
    return values


def _leave_one_out(anchor: _Curve, test: _Curve, full: float | None) -> float | None:
    """The spread of the BD-rate by `pchip` over `full` and the curves without one point; see Health."""
    if full is None or min(anchor.rate.size, test.rate.size) < 3:
        return None
    differences = []
    for cut, whole, sign in ((anchor, test, -1), (test, anchor, 1)):
        rates, qualities = cut.without_each()
        low = np.maximum(qualities[:, 0], whole.quality[0])
        high = np.minimum(qualities[:, -1], whole.quality[-1])
        if (high <= low).any():
            return None
        areas = _pchip_areas(qualities, rates, low, high), _pchip_areas(whole.quality, whole.rate, low, high)
        differences += (sign * (areas[0] - areas[1]) / (high - low)).tolist()
    if not all(map(math.isfinite, differences)):
        return None
    try:
        values = [full, *map(_percent, differences)]
    except UsageError:  # a difference too large for a number
        return None
    return max(values) - min(values)


def _pchip_areas(quality: Array, rate: Array, low: Array, high: Array) -> Array:
    """The integrals of rates over quality."""
    return integrals(quality, rate, pchip_slopes(quality, rate), low, high)


def _common(a: Array, b: Array) -> tuple[float, float]:
    """The limits of the part that two ranges have in common; the second is not above the first where there is none."""
    return max(float(a.min()), float(b.min())), min(float(a.max()), float(b.max()))


def _overlap(a: Array, b: Array) -> float:
    """The intersection of two ranges divided by their union, 0 to 1."""
    if not (a.size and b.size):
        return 0.0
    low, high = _common(a, b)
    union = max(a.max(), b.max()) - min(a.min(), b.min())
    return float(max(high - low, 0.0) / union) if union > 0 else 0.0
