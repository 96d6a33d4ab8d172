"""Bjontegaard delta rate and quality, with measures of their reliability.

G. Bjontegaard, VCEG-M33 (2001): `cubic`, one polynomial of degree 3 through all points (least squares). `pchip`:
piecewise cubic Hermite, as in JCTVC-E137 and the JVET sheets. `akima`: C. Herglotz et al. (2022). Rates enter as log10;
every curve is integrated exactly over the overlap of the ranges.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy.interpolate import Akima1DInterpolator, PchipInterpolator

from ..errors import UsageError, did_you_mean

Array = npt.NDArray[np.float64]
Floats = Sequence[float] | Array

METHODS = ("pchip", "akima", "cubic")
FEWEST_POINTS = {"pchip": 2, "akima": 2, "cubic": 4}
USUAL_POINTS = 4
"""Curves with fewer points are flagged (VCEG-M33 uses four)."""
NOT_COMPARABLE = "Not comparable"
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


@dataclass(frozen=True)
class BdResult:
    """BD-rate in percent and BD-quality in the metric's unit by method; None with a reason where there is none."""

    rate: dict[str, float | None]
    quality: dict[str, float | None]
    health: Health
    notes: list[str] = field(default_factory=list)

    @property
    def comparable(self) -> bool:
        """Whether any method gave a BD-rate."""
        return any(value is not None for value in self.rate.values())

    @property
    def reason(self) -> str | None:
        """Why there is no BD-rate at all, in one sentence; None where there is one."""
        if self.comparable:
            return None
        return next(note for note in self.notes if note.startswith(NOT_COMPARABLE))


def bd_rate(
    rate_anchor: Floats, quality_anchor: Floats, rate_test: Floats, quality_test: Floats, method: str = "pchip"
) -> float:
    """Mean bitrate difference at equal quality in percent; negative: the test needs fewer bits. Raises UsageError."""
    anchor, test = _sorted(rate_anchor, quality_anchor, 1), _sorted(rate_test, quality_test, 1)
    _refuse(anchor, test, method, 1)
    return (10 ** _mean_difference(_swap(anchor), _swap(test), method) - 1) * 100


def bd_quality(
    rate_anchor: Floats, quality_anchor: Floats, rate_test: Floats, quality_test: Floats, method: str = "pchip"
) -> float:
    """Mean quality difference at equal bitrate, in the unit of the quality. Raises UsageError."""
    anchor, test = _sorted(rate_anchor, quality_anchor, 0), _sorted(rate_test, quality_test, 0)
    _refuse(anchor, test, method, 0)
    return _mean_difference(anchor, test, method)


Curve = tuple[Array, Array]
"""log10 of the rate, and the quality."""


def _sorted(rate: Floats, quality: Floats, axis: int) -> Curve:
    r, q = np.asarray(rate, dtype=np.float64), np.asarray(quality, dtype=np.float64)
    if r.ndim != 1 or r.shape != q.shape:
        raise UsageError(f"A curve needs as many rates as qualities; there are {r.size} and {q.size}.")
    if not (np.isfinite(r).all() and np.isfinite(q).all()):
        raise UsageError("A curve holds a value that is not a finite number; leave that point out.")
    if (r <= 0).any():
        raise UsageError("A curve holds a rate that is not positive; correct that point.")
    order = np.argsort(r if axis == 0 else q, kind="stable")
    return np.log10(r[order]), q[order]


def _swap(curve: Curve) -> Curve:
    return curve[1], curve[0]


def _refuse(anchor: Curve, test: Curve, method: str, axis: int) -> None:
    """Raises UsageError where the integral has no meaning; `axis` 0 integrates over rate, 1 over quality."""
    if method not in METHODS:
        raise UsageError(f"There is no BD method {method!r}{did_you_mean(method, METHODS)}")
    for name, curve in (("anchor", anchor), ("test", test)):
        if curve[0].size < FEWEST_POINTS[method]:
            raise UsageError(
                f"The {name} has {curve[0].size} points; {method} needs at least {FEWEST_POINTS[method]}: measure more."
            )
        if (np.diff(curve[axis]) <= 0).any():
            what = ("rate", "quality")[axis]
            raise UsageError(f"Two points of the {name} have the same {what}; leave one of them out.")
    low = max(anchor[axis][0], test[axis][0])
    high = min(anchor[axis][-1], test[axis][-1])
    if not high > low:
        what = ("rate", "quality")[axis]
        raise UsageError(f"The curves do not overlap in {what}; choose rate points that meet.")


def _mean_difference(anchor: Curve, test: Curve, method: str) -> float:
    """Mean of test minus anchor over the common part of the first axis."""
    low, high = max(anchor[0][0], test[0][0]), min(anchor[0][-1], test[0][-1])
    areas = [_integral(curve, method)(low, high) for curve in (anchor, test)]
    return float((areas[1] - areas[0]) / (high - low))


def _integral(curve: Curve, method: str) -> Callable[[float, float], float]:
    x, y = curve
    if method == "cubic":
        # Centered and scaled, or the normal equations lose digits.
        center, scale = x.mean(), float(np.ptp(x)) or 1.0
        antiderivative = np.polynomial.Polynomial(np.polynomial.polynomial.polyfit((x - center) / scale, y, 3)).integ()
        return lambda a, b: float(scale * (antiderivative((b - center) / scale) - antiderivative((a - center) / scale)))
    if method == "pchip" or x.size == 2:  # through two points both are the straight line
        return lambda a, b: float(PchipInterpolator(x, y).integrate(a, b))
    return lambda a, b: float(Akima1DInterpolator(x, y).integrate(a, b))


def compare_curves(rate_anchor: Floats, quality_anchor: Floats, rate_test: Floats, quality_test: Floats) -> BdResult:
    """BD-rate and BD-quality by all methods; what cannot be computed is None, with the reason in `notes`."""
    notes: list[str] = []
    try:
        anchor = _usable(rate_anchor, quality_anchor, "anchor", notes)
        test = _usable(rate_test, quality_test, "test", notes)
    except UsageError as error:
        nothing: dict[str, float | None] = dict.fromkeys(METHODS)
        health = Health(0.0, (False, False), None, (len(rate_anchor), len(rate_test)))
        return BdResult(nothing, dict(nothing), health, [f"{NOT_COMPARABLE}: {error}"])
    monotone = (anchor[0].size == len(rate_anchor), test[0].size == len(rate_test))
    notes += [
        f"The {name} has only {curve[0].size} points; {USUAL_POINTS} or more are usual."
        for name, curve in (("anchor", anchor), ("test", test))
        if 2 <= curve[0].size < USUAL_POINTS
    ]
    rate, quality = _all_methods(bd_rate, anchor, test, notes), _all_methods(bd_quality, anchor, test, notes)
    overlap = _overlap(anchor[1], test[1])
    known = [value for value in rate.values() if value is not None]
    spread = max(known) - min(known) if len(known) > 1 else None
    if known and overlap < SMALL_OVERLAP:
        notes.append(f"The quality ranges overlap by {100 * overlap:.0f} % only.")
    if spread is not None and spread > SPREAD_LIMIT:
        notes.append(f"The methods differ by {spread:.1f} percentage points.")
    health = Health(overlap, monotone, spread, (anchor[0].size, test[0].size))
    return BdResult(rate, quality, health, list(dict.fromkeys(notes)))


def _usable(rate: Floats, quality: Floats, name: str, notes: list[str]) -> Curve:
    """The points in order of rate, without the dominated ones: no cheaper than another point and no better.

    Interpolation over quality needs qualities that rise with the rate, and nobody would run an encoder at a dominated
    point; a note lists the points that were left out.
    """
    _sorted(rate, quality, 0)
    r, q = np.asarray(rate, dtype=np.float64), np.asarray(quality, dtype=np.float64)
    order = np.lexsort((-q, r))
    r, q = r[order], q[order]
    best = np.maximum.accumulate(q)
    keep = np.r_[True, (q[1:] > best[:-1])] if q.size else np.zeros(0, bool)
    if not keep.all():
        left_out = ", ".join(f"{x:g} at rate {y:g}" for x, y in zip(q[~keep], r[~keep], strict=True))
        notes.append(
            f"{int((~keep).sum())} of {q.size} points of the {name} cost no fewer bits than another and are no better; "
            f"left out: {left_out}."
        )
    return r[keep], q[keep]


def _all_methods(
    function: Callable[[Array, Array, Array, Array, str], float], anchor: Curve, test: Curve, notes: list[str]
) -> dict[str, float | None]:
    values: dict[str, float | None] = {}
    for method in METHODS:
        try:
            value = function(anchor[0], anchor[1], test[0], test[1], method)
            values[method] = value if math.isfinite(value) else None
        except (UsageError, OverflowError) as error:
            values[method] = None
            if not any(str(error) in note for note in notes):
                notes.append(f"{NOT_COMPARABLE}: {error}" if method == METHODS[0] else str(error))
    return values


def _overlap(a: Array, b: Array) -> float:
    """The intersection of two ranges divided by their union, 0 to 1."""
    if not (a.size and b.size):
        return 0.0
    union = max(a.max(), b.max()) - min(a.min(), b.min())
    common = min(a.max(), b.max()) - max(a.min(), b.min())
    return float(max(common, 0.0) / union) if union > 0 else 0.0
