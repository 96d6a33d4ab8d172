"""Bjontegaard delta rate and quality, with measures of their reliability.

G. Bjontegaard, VCEG-M33 (2001): `cubic`, one polynomial of degree 3 through all points (least squares). `pchip`:
piecewise cubic Hermite, as in JCTVC-E137 and the JVET sheets. `akima`: C. Herglotz et al. (2022). Rates enter as log10;
every curve is integrated exactly over the overlap of the ranges. Points that cost no fewer bits than another and are no
better enter nothing: interpolation over quality needs qualities that rise with the rate.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ..errors import UsageError, did_you_mean
from .bd_areas import QUALITY, RATE, Curve, areas, cubic_rises, cut_differences

Array = npt.NDArray[np.float64]
Floats = Sequence[float] | Array
Pair = tuple[Curve, Curve]
"""The anchor and the test."""

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
    found = _percent(_one_difference(rate_anchor, quality_anchor, rate_test, quality_test, method, QUALITY))
    return _number(found)


def bd_quality(
    rate_anchor: Floats, quality_anchor: Floats, rate_test: Floats, quality_test: Floats, method: str = "pchip"
) -> float:
    """Mean quality difference at equal bitrate, in the unit of the quality.

    Raises UsageError where `compare_curves` has no value, with the same reason.
    """
    return _number(_one_difference(rate_anchor, quality_anchor, rate_test, quality_test, method, RATE))


def _one_difference(
    rate_anchor: Floats, quality_anchor: Floats, rate_test: Floats, quality_test: Floats, method: str, axis: str
) -> float | str:
    pair = _usable(rate_anchor, quality_anchor), _usable(rate_test, quality_test)
    if method not in METHODS:
        raise UsageError(f"There is no BD method {method!r}{did_you_mean(method, METHODS)}")
    return _mean_differences([pair], method, axis)[0]


def _number(found: float | str) -> float:
    """The number. Raises UsageError with the reason where there is none."""
    if isinstance(found, str):
        raise UsageError(found)
    return found


def _usable(rate: Floats, quality: Floats) -> Curve:
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
    return Curve(logs[keep], q[keep], left_out)


def _refusal(anchor: Curve, test: Curve, method: str, axis: str) -> str:
    """Why the integral over the axis has no meaning; nothing where it has one."""
    for name, curve in (("anchor", anchor), ("test", test)):
        points = curve.rate.size
        if points < FEWEST_POINTS[method]:
            why = ", since its quality does not rise with the rate" if curve.left_out else ""
            return (
                f"The {name} has {points} point{'' if points == 1 else 's'}{why}; "
                f"{method} needs at least {FEWEST_POINTS[method]}: measure more."
            )
    overlap = _overlap(anchor, test, axis)
    if overlap == 0:
        return f"The curves do not overlap in {axis}; choose rate points that meet."
    if overlap < MIN_OVERLAP:
        return (
            f"{NOT_REPORTABLE}: the {axis} ranges overlap by {100 * overlap:.2g} % only, "
            f"less than {100 * MIN_OVERLAP:g} %; choose rate points that meet."
        )
    return ""


def _percent(log_ratio: float | str) -> float | str:
    """The difference in percent of a ratio given as log10; a reason where there is none or it is too large."""
    if isinstance(log_ratio, str):
        return log_ratio
    try:
        return (10**log_ratio - 1) * 100
    except OverflowError:
        return "The rates differ by more than a number holds; check the curves."


def _mean_differences(pairs: Sequence[Pair], method: str, axis: str) -> list[float | str]:
    """For each pair the mean of test minus anchor over the common part of the axis, or why it has no meaning."""
    found: list[float | str] = [_refusal(*pair, method, axis) for pair in pairs]
    places = [place for place, reason in enumerate(found) if not reason]
    if not places:
        return found
    anchors, tests = ([pairs[place][side] for place in places] for side in (0, 1))
    limits = np.array([_common(*pairs[place], axis) for place in places])
    low, high = limits[:, 0], limits[:, 1]
    differences = (areas(tests, method, axis, low, high) - areas(anchors, method, axis, low, high)) / (high - low)
    reasons = _saturated(anchors, tests, axis, low, high) if method == "cubic" else [""] * len(places)
    for place, difference, reason in zip(places, differences.tolist(), reasons, strict=True):
        if not reason and not math.isfinite(difference):
            reason = f"The points are too close in {axis} for {method}; leave one of them out."
        found[place] = reason or difference
    return found


def _saturated(anchors: Sequence[Curve], tests: Sequence[Curve], axis: str, low: Array, high: Array) -> list[str]:
    """For each pair which cubic does not rise all along from `low` to `high`; nothing where both do."""
    other = QUALITY if axis == RATE else RATE
    names = [
        np.where(cubic_rises(curves, axis, low, high), "", name)
        for name, curves in (("anchor", anchors), ("test", tests))
    ]
    return [
        f"The cubic of the {name} is saturated (its {other} does not rise all along the common {axis} range); "
        "use pchip." if (name := anchor or test) else ""
        for anchor, test in zip(*(own.tolist() for own in names), strict=True)
    ]  # fmt: skip


def compare_curves(rate_anchor: Floats, quality_anchor: Floats, rate_test: Floats, quality_test: Floats) -> BdResult:
    """BD-rate and BD-quality by all methods; what cannot be computed is None, with the reason in `notes`."""
    return compare_pairs([(rate_anchor, quality_anchor), (rate_test, quality_test)], [(0, 1)])[0]


def compare_pairs(curves: Sequence[tuple[Floats, Floats]], pairs: Sequence[tuple[int, int]]) -> list[BdResult]:
    """What `compare_curves` gives for each pair, anchor first, in one call, which is about ten times as fast.

    `curves` are rates and qualities, and `pairs` are places among them.
    """
    made = [_usable_or_reason(*points) for points in curves]
    whole: list[tuple[int, Pair]] = []
    found: list[BdResult | None] = [None] * len(pairs)
    for place, (first, second) in enumerate(pairs):
        anchor, test = made[first], made[second]
        if isinstance(anchor, Curve) and isinstance(test, Curve):
            whole.append((place, (anchor, test)))
        else:
            reason = anchor if isinstance(anchor, str) else str(test)
            found[place] = _nothing(reason, len(curves[first][0]), len(curves[second][0]))
    for (place, _), result in zip(whole, _compare([pair for _, pair in whole]), strict=True):
        found[place] = result
    return [result for result in found if result is not None]


def _usable_or_reason(rate: Floats, quality: Floats) -> Curve | str:
    try:
        return _usable(rate, quality)
    except UsageError as error:
        return str(error)


def _nothing(reason: str, *points: int) -> BdResult:
    """The result of values that are no curve."""
    nothing: dict[str, float | None] = dict.fromkeys(METHODS)
    health = Health(0.0, (False, False), None, (points[0], points[1]))
    return BdResult(nothing, dict(nothing), health, [f"{NOT_COMPARABLE}: {reason}"])


def _compare(pairs: Sequence[Pair]) -> list[BdResult]:
    differences = {
        axis: [_mean_differences(pairs, method, axis) for method in METHODS] for axis in (QUALITY, RATE)
    }  # fmt: skip
    rates = [[_percent(value) for value in values] for values in differences[QUALITY]]
    spreads = _leave_one_out(pairs, rates[METHODS.index("pchip")])
    return [
        _result(pair, own_rates, own_qualities, spread)
        for pair, own_rates, own_qualities, spread in zip(
            pairs, zip(*rates, strict=True), zip(*differences[RATE], strict=True), spreads, strict=True
        )
    ]


def _result(
    pair: Pair, rates: Sequence[float | str], qualities: Sequence[float | str], leave_one_out: float | None
) -> BdResult:
    """The result of one pair from its values, or the reasons why there are none, in the order of METHODS."""
    anchor, test = pair
    notes = [*_point_notes(anchor, "anchor"), *_point_notes(test, "test")]
    rate = _values(rates, notes, "")
    quality = _values(qualities, notes, "BD-quality: ")
    known = [value for value in rate.values() if value is not None]
    health = Health(
        _overlap(anchor, test, QUALITY),
        (not anchor.left_out, not test.left_out),
        max(known) - min(known) if len(known) > 1 else None,
        (anchor.rate.size, test.rate.size),
        leave_one_out,
    )
    if known and health.overlap < SMALL_OVERLAP:
        notes.append(f"The quality ranges overlap by {100 * health.overlap:.0f} % only.")
    if health.spread is not None and health.spread > SPREAD_LIMIT:
        notes.append(f"The methods differ by {health.spread:.1f} percentage points.")
    return BdResult(rate, quality, health, list(dict.fromkeys(notes)))


def _point_notes(curve: Curve, name: str) -> list[str]:
    """Notes on points left out, and on a curve with few points."""
    notes, points, dominated = [], curve.rate.size, len(curve.left_out)
    if dominated:
        notes.append(
            f"{dominated} of {points + dominated} points of the {name} cost no fewer bits than another and are "
            f"no better; left out: {', '.join(curve.left_out)}."
        )
    if 2 <= points < USUAL_POINTS:
        notes.append(f"The {name} has only {points} points; {USUAL_POINTS} or more are usual.")
    return notes


def _values(found: Sequence[float | str], notes: list[str], prefix: str) -> dict[str, float | None]:
    """The values by method; reasons of missing ones go to `notes`, with the prefix and without repetition.

    Where the first method, which needs least, has no value, no method has one: the curves are not comparable.
    """
    values: dict[str, float | None] = {}
    for method, value in zip(METHODS, found, strict=True):
        values[method] = None if isinstance(value, str) else value
        if isinstance(value, str) and not any(value in note for note in notes):
            all_fail = method == METHODS[0] and not value.startswith(NOT_REPORTABLE)
            notes.append(f"{prefix}{f'{NOT_COMPARABLE}: ' if all_fail else ''}{value}")
    return values


def _leave_one_out(pairs: Sequence[Pair], full: Sequence[float | str]) -> list[float | None]:
    """The spread of the BD-rate by `pchip` over `full` and the curves without one point; see Health."""
    used = [
        (place, pair, rate) for place, (pair, rate) in enumerate(zip(pairs, full, strict=True))
        if not isinstance(rate, str) and min(curve.rate.size for curve in pair) >= 3
    ]  # fmt: skip
    anchors, tests = ([pair[side] for _, pair, _ in used] for side in (0, 1))
    found: list[float | None] = [None] * len(pairs)
    cuts = zip(used, cut_differences(anchors, tests), cut_differences(tests, anchors), strict=True)
    for (place, _, rate), of_anchor, of_test in cuts:
        if of_anchor is not None and of_test is not None:
            found[place] = _spread(rate, [*(-value for value in of_anchor), *of_test])
    return found


def _spread(full: float, differences: Sequence[float]) -> float | None:
    """The largest minus the smallest percentage; None where one of them is no number, or too large for one."""
    percents = [_percent(value) if math.isfinite(value) else "" for value in differences]
    values = [full, *(value for value in percents if not isinstance(value, str))]
    return max(values) - min(values) if len(values) == 1 + len(percents) else None


def _common(a: Curve, b: Curve, axis: str) -> tuple[float, float]:
    """The limits of the part that two ranges have in common; the second is not above the first where there is none."""
    (a_low, a_high), (b_low, b_high) = a.ranges[axis], b.ranges[axis]
    return max(a_low, b_low), min(a_high, b_high)


def _overlap(a: Curve, b: Curve, axis: str) -> float:
    """The intersection of two ranges divided by their union, 0 to 1."""
    if not (a.rate.size and b.rate.size):
        return 0.0
    low, high = _common(a, b, axis)
    (a_low, a_high), (b_low, b_high) = a.ranges[axis], b.ranges[axis]
    union = max(a_high, b_high) - min(a_low, b_low)
    return max(high - low, 0.0) / union if union > 0 else 0.0
