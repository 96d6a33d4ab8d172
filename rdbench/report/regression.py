"""New results against a stored baseline: what changed, and whether anything got worse."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import pandas as pd

from ..measure.bdrate import compare_curves
from .baseline import STATED, Baseline, CodecLimits, Key, Point, points_by_curve
from .hull import upper_hull
from .timings import FEWEST, slowdown


@dataclass(frozen=True)
class CheckReport:
    """The changes, and those of them that are regressions."""

    changes: list[str] = field(default_factory=list)
    regressions: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing got worse beyond its limit."""
        return not self.regressions

    def lines(self) -> list[str]:
        """The report as text: changes, regressions, the verdict."""
        verdict = "no regression" if self.ok else f"{len(self.regressions)} regressions"
        return [*self.changes, *(f"REGRESSION: {line}" for line in self.regressions), f"check: {verdict}"]


@dataclass(frozen=True)
class Limits:
    """The changes from which on a difference is a regression."""

    bd_rate: float
    """BD-rate in percent."""
    psnr_drop: float
    """Loss of PSNR at one rate point in dB."""
    time_ratio: float
    """Ratio of the new to the old encode or decode time."""
    exact: bool = False
    """Whether any change of bits or quality is a regression."""

    def of(self, codec: CodecLimits | None) -> "Limits":
        """The limits for a codec that may have its own."""
        if codec is None:
            return self
        return Limits(
            bd_rate=self.bd_rate if codec.bd_rate is None else codec.bd_rate,
            psnr_drop=self.psnr_drop if codec.psnr_drop is None else codec.psnr_drop,
            time_ratio=self.time_ratio if codec.time_ratio is None else codec.time_ratio,
            exact=codec.exact,
        )


def check(
    frame: pd.DataFrame,
    baseline: Baseline,
    max_bd_rate: float = 2.0,
    max_psnr_drop: float = 0.1,
    max_time_ratio: float = 2.0,
    ignore_missing: bool = False,
) -> CheckReport:
    """Compares curve by curve and point by point. Limits: percent of BD-rate, dB at one rate point, ratio of times.

    The baseline's limits for a codec replace them. `ignore_missing`: what the records lack is no regression; where
    they have nothing that the baseline has, that still is one.
    """
    limits = Limits(max_bd_rate, max_psnr_drop, max_time_ratio)
    report = CheckReport(regressions=_failures(frame))
    missing: list[str] = []
    after = points_by_curve(frame)
    before: dict[Key, list[Point]] = {}
    for point in baseline.points:
        before.setdefault(point.key, []).append(point)
    matched: set[Key] = set()
    for key, points in before.items():
        others = [other for other in after if other.place == key.place]
        equal = [other for other in others if not key.differences(other)]
        matched.update(equal)
        if len(equal) > 1:
            report.regressions.append(_ambiguous(key, equal))
        elif others and not equal:
            report.regressions.append(_other(key, others))
        else:
            found = after[equal[0]] if equal else {}
            missing += [f"{key} {point.rate_point} is missing" for point in points if point.rate_point not in found]
            _check_curve(str(key), points, found, limits.of(baseline.limits_of(key.codec)), report)
    report.changes.extend(f"{key}: not in the baseline" for key in after if key not in matched)
    (report.changes if ignore_missing else report.regressions).extend(missing)
    if len(missing) == len(baseline.points) and ignore_missing:
        report.regressions.append("nothing was compared: the records have no rate point of the baseline")
    return report


def _ambiguous(key: Key, equal: Sequence[Key]) -> str:
    """The sentence on a curve of the baseline that several curves are equal to in all that it states."""
    names = [name for name in STATED if len({getattr(other, name) for other in equal}) > 1]
    texts = [f"{name} {', '.join(sorted({other.value(name) for other in equal}))}" for name in names]
    return (
        f"{key}: the records are of several curves ({'; '.join(texts)}), and the baseline does not state which; "
        "check a folder with one of them, or renew the baseline with --update"
    )


def _other(key: Key, others: Sequence[Key]) -> str:
    """The sentence on a curve of the baseline whose codec was measured in another way only."""
    nearest = min(others, key=lambda other: len(key.differences(other)))
    verbs = {"conditions": "are", "frames": "are", "settings": "are"}
    texts = [
        f"{name} {verbs.get(name, 'is')} {nearest.value(name)}, the baseline has {key.value(name)}"
        for name in key.differences(nearest)
    ]
    return f"{' '.join(key.place)}: {'; '.join(texts)}; measure under the same"


def _failures(frame: pd.DataFrame) -> list[str]:
    rows = frame[frame["status"] != "ok"].to_dict("records")
    return [f"{row['codec']} {row['sequence']} {row['rate_point']} failed: {row['error']}" for row in rows]


def _check_curve(name: str, before: list[Point], after: dict[str, Point], limits: Limits, report: CheckReport) -> None:
    """Compares the rate points that both have."""
    both = [(point, after[point.rate_point]) for point in before if point.rate_point in after]
    for old, new in both:
        _check_point(f"{name} {old.rate_point}", old, new, limits, report)
    _check_times(name, both, limits.time_ratio, report)
    pairs = [(old, new) for old, new in both if old.metric == new.metric]
    if len(pairs) < 2:
        return
    rate_before, quality_before = _curve([old for old, _ in pairs])
    rate_after, quality_after = _curve([new for _, new in pairs])
    result = compare_curves(rate_before, quality_before, rate_after, quality_after)
    rate = result.rate["pchip"]
    if rate is None:
        notes = " ".join(result.notes)
        report.regressions.append(f"{name}: the curve cannot be compared with the baseline's: {notes}")
        return
    report.changes.append(f"{name}: BD-rate {rate:+.2f} %")
    if rate > limits.bd_rate:
        report.regressions.append(f"{name}: BD-rate {rate:+.2f} % is above {limits.bd_rate:g} %")


def _curve(points: Sequence[Point]) -> tuple[list[float], list[float]]:
    """Bits and qualities of the points, those on the hull alone where the curve is a hull."""
    rates, qualities = [point.bpp for point in points], [point.quality for point in points]
    if not any(point.hull for point in points):
        return rates, qualities
    places = upper_hull(rates, qualities)
    return [rates[place] for place in places], [qualities[place] for place in places]


def _check_point(name: str, old: Point, new: Point, limits: Limits, report: CheckReport) -> None:
    if old.metric != new.metric:
        report.regressions.append(f"{name}: the quality is {new.metric}, the baseline has {old.metric}")
        return
    if (old.bpp, old.quality) != (new.bpp, new.quality):
        change = f"{name}: {old.bpp:.4f} -> {new.bpp:.4f} bpp, {old.quality:.3f} -> {new.quality:.3f} dB"
        report.changes.append(change)
        if limits.exact:
            report.regressions.append(f"{change}; the baseline's limit for this codec is no change at all")
    drop = old.quality - new.quality
    if drop > limits.psnr_drop:
        report.regressions.append(f"{name}: {old.metric} fell by {drop:.3f} dB, more than {limits.psnr_drop:g}")


def _check_times(name: str, both: Sequence[tuple[Point, Point]], limit: float, report: CheckReport) -> None:
    """Judges the times of a curve by the samples of all of its rate points (`timings.py`), or says why it does not."""
    machines = ((old.machine, new.machine) for old, new in both)
    if other := next(((old, new) for old, new in machines if old and new and old != new), None):
        report.changes.append(f"{name}: times are not judged, measured on {other[1]}, the baseline's on {other[0]}")
        return
    for what, pairs in (
        ("encode", [((old.encode_seconds,), (new.encode_seconds,)) for old, new in both]),
        ("decode", [(old.decodings, new.decodings) for old, new in both]),
    ):
        found = slowdown(pairs)
        if found is None:
            continue
        if found.exceeds(limit):
            report.regressions.append(f"{name}: {what} time is {found}, more than {limit:g}")
        elif found.ratio > limit:
            why = "within the noise" if found.judged else f"not judged with fewer than {FEWEST} samples"
            report.changes.append(f"{name}: {what} time is {found}, {why}")
