"""New results against a stored baseline: what changed, and whether anything got worse."""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import pandas as pd
from pydantic import BaseModel, ConfigDict, ValidationError

from ..errors import RdbenchError
from ..measure.bdrate import compare_curves
from . import curves

STATED = ("conditions", "frames", "preset", "settings", "device", "precision", "seed")
"""What else separates the curves of one codec on one sequence; the version does not, since versions are compared."""
_COPIED = (
    "codec", "dataset", "sequence", "conditions", "rate_point", "frames", "bpp", "encode_seconds", "decode_seconds",
)  # fmt: skip


@dataclass(frozen=True)
class Key:
    """A curve of any version; what a baseline does not state (None) is equal to everything."""

    codec: str
    dataset: str
    sequence: str
    conditions: str
    frames: int
    preset: str | None = None
    """Empty: no preset was asked for."""
    settings: str | None = None
    """JSON of the settings in which older records of one codec differ."""
    device: str | None = None
    precision: str | None = None
    seed: int | None = None

    @property
    def place(self) -> tuple[str, str, str]:
        """What the curve is of, whatever its conditions and settings."""
        return self.codec, self.dataset, self.sequence

    def differences(self, other: "Key") -> list[str]:
        """The fields of STATED in which two curves differ."""
        pairs = ((name, getattr(self, name), getattr(other, name)) for name in STATED)
        return [name for name, ours, theirs in pairs if None not in (ours, theirs) and ours != theirs]

    def value(self, name: str) -> str:
        """One field as text."""
        value = getattr(self, name)
        return "none" if value == "" else "not stated" if value is None else str(value)

    def __str__(self) -> str:
        """The curve in words; no preset, the CPU, float32 and seed 0 go without saying."""
        added = (
            f"preset {self.preset}" if self.preset else None,
            self.settings,
            None if self.device == "cpu" else self.device,
            None if self.precision == "float32" else self.precision,
            f"seed {self.seed}" if self.seed else None,
        )
        return " ".join(filter(None, (*self.place, self.conditions, *added)))


class Point(BaseModel):
    """A rate point of the baseline."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    codec: str
    dataset: str
    sequence: str
    conditions: str
    rate_point: str
    frames: int
    bpp: float
    quality: float
    metric: Literal["psnr_rgb", "psnr_yuv"]
    encode_seconds: float
    decode_seconds: float
    preset: str | None = None
    settings: str | None = None
    device: str | None = None
    precision: str | None = None
    seed: int | None = None

    @property
    def key(self) -> Key:
        """The curve it belongs to."""
        stated = {name: getattr(self, name) for name in STATED}
        return Key(self.codec, self.dataset, self.sequence, **stated)


class CodecLimits(BaseModel):
    """Limits of one codec, which replace those of the command line."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    exact: bool = False
    """Whether any change of bits or quality is a regression, as for a deterministic encoder."""
    bd_rate: float | None = None
    """BD-rate in percent."""
    psnr_drop: float | None = None
    """Loss of PSNR at one rate point in dB."""


class Baseline(BaseModel):
    """All rate points that new results are compared with, and limits by the names of codecs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1, 2] = 2
    """1: its points do not state preset, device and seed."""
    limits: dict[str, CodecLimits] = {}
    points: list[Point]


@dataclass(frozen=True)
class CheckReport:
    """The changes, and those of them that are regressions."""

    changes: list[str]
    regressions: list[str]

    @property
    def ok(self) -> bool:
        """Whether nothing got worse beyond its limit."""
        return not self.regressions

    def lines(self) -> list[str]:
        """The report as text: changes, regressions, the verdict."""
        verdict = "no regression" if self.ok else f"{len(self.regressions)} regressions"
        return [*self.changes, *(f"REGRESSION: {line}" for line in self.regressions), f"check: {verdict}"]


def make_baseline(frame: pd.DataFrame, limits: Mapping[str, CodecLimits] = MappingProxyType({})) -> Baseline:
    """A baseline of the finished records (of the version that ran last). Raises RdbenchError for a failed one."""
    failed = frame[frame["status"] != "ok"]
    if len(failed):
        first = failed.iloc[0]
        raise RdbenchError(f"{first['codec']} {first['rate_point']} failed; a baseline needs every record finished.")
    points = [point for curve in _curves(frame).values() for point in curve.values()]
    return Baseline(limits=dict(limits), points=points)


def _curves(frame: pd.DataFrame) -> dict[Key, dict[str, Point]]:
    """The finished points by curve and rate point: of the version that ran last, and the later of two of those."""
    frame = curves.labeled(frame[frame["status"] == "ok"])
    known = curves.attributes(frame)
    order = frame["started"].fillna("").astype(str).sort_values(kind="stable").index
    found: dict[Key, dict[str, Point]] = {}
    versions: dict[Key, str] = {}
    for row, own in zip(frame.loc[order].to_dict("records"), known.loc[order].to_dict("records"), strict=True):
        point = _point(row, own)
        if versions.get(point.key) != (version := str(own["version"])):
            found[point.key] = {}
        versions[point.key] = version
        found[point.key][point.rate_point] = point
    return found


def _point(row: dict[Any, Any], own: dict[Any, Any]) -> Point:
    """The record as a point; `own` holds what decides its series."""
    metric: Literal["psnr_rgb", "psnr_yuv"] = "psnr_rgb" if pd.notna(row["psnr_rgb"]) else "psnr_yuv"
    stated = {name: own[name] for name in ("preset", "device", "precision")} | {"seed": row["seed"]}
    if own["preset"] is None and own["settings"] != "{}":  # an older record: its settings stand for the preset
        stated["settings"] = own["settings"]
    try:
        return Point(**{name: row[name] for name in _COPIED}, quality=row[metric], metric=metric, **stated)
    except ValidationError as error:
        field = ".".join(str(part) for part in error.errors()[0]["loc"])
        name = f"{row['codec']} {row['sequence']} {row['rate_point']}"
        raise RdbenchError(f"The record of {name} has no usable {field}; delete it and run it again.") from error


def save_baseline(path: Path, baseline: Baseline) -> None:
    """Writes the baseline as JSON, sorted, so that a change reads well in a diff."""
    points = sorted(baseline.points, key=lambda p: (*p.key.place, str(p.key), p.frames, p.bpp))
    partial = path.with_suffix(".partial")
    try:
        sorted_points = baseline.model_copy(update={"points": points})
        partial.write_text(sorted_points.model_dump_json(indent=1, exclude_none=True) + "\n")
        partial.replace(path)
    except OSError as error:
        raise RdbenchError(f"The baseline {path} cannot be written ({error.strerror}); choose another.") from error


def kept_limits(path: Path) -> dict[str, CodecLimits]:
    """The codecs' own limits in a baseline that is about to be replaced; none where there is no readable one."""
    with suppress(RdbenchError):
        return read_baseline(path).limits
    return {}


def read_baseline(path: Path) -> Baseline:
    """The baseline in the file. Raises RdbenchError."""
    try:
        return Baseline.model_validate_json(path.read_text())
    except OSError as error:
        raise RdbenchError(f"There is no baseline {path} ({error.strerror}); --update writes one.") from error
    except (ValidationError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise RdbenchError(f"The baseline {path} is damaged or of another version; --update renews it.") from error


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
            time_ratio=self.time_ratio,
            exact=codec.exact,
        )


def check(
    frame: pd.DataFrame,
    baseline: Baseline,
    max_bd_rate: float = 2.0,
    max_psnr_drop: float = 0.1,
    max_time_ratio: float = 2.0,
) -> CheckReport:
    """Compares curve by curve and point by point. Limits: percent of BD-rate, dB at one rate point, ratio of times.

    The baseline's limits for a codec replace the first two.
    """
    limits = Limits(max_bd_rate, max_psnr_drop, max_time_ratio)
    report = CheckReport([], _failures(frame))
    after = _curves(frame)
    before: dict[Key, list[Point]] = {}
    for point in baseline.points:
        before.setdefault(point.key, []).append(point)
    matched: set[Key] = set()
    for key, points in before.items():
        own = limits.of(baseline.limits.get(key.codec))
        equal = [other for other in after if other.place == key.place and not key.differences(other)]
        matched.update(equal)
        if len(equal) > 1:
            report.regressions.append(_ambiguous(key, equal))
        elif equal:
            _check_curve(str(key), points, after[equal[0]], own, report)
        elif others := [other for other in after if other.place == key.place]:
            report.regressions.append(_other(key, others))
        else:
            _check_curve(str(key), points, {}, own, report)
    report.changes.extend(f"{key}: not in the baseline" for key in after if key not in matched)
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
    both = [(point, after[point.rate_point]) for point in before if point.rate_point in after]
    report.regressions.extend(
        f"{name} {point.rate_point} is missing" for point in before if point.rate_point not in after
    )
    for old, new in both:
        _check_point(f"{name} {old.rate_point}", old, new, limits, report)
    pairs = [(old, new) for old, new in both if old.metric == new.metric]
    if len(pairs) < 2:
        return
    result = compare_curves(
        [old.bpp for old, _ in pairs], [old.quality for old, _ in pairs],
        [new.bpp for _, new in pairs], [new.quality for _, new in pairs],
    )  # fmt: skip
    rate = result.rate["pchip"]
    if rate is None:
        notes = " ".join(result.notes)
        report.regressions.append(f"{name}: the curve cannot be compared with the baseline's: {notes}")
        return
    report.changes.append(f"{name}: BD-rate {rate:+.2f} %")
    if rate > limits.bd_rate:
        report.regressions.append(f"{name}: BD-rate {rate:+.2f} % is above {limits.bd_rate:g} %")


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
    for what, before, after in (
        ("encode", old.encode_seconds, new.encode_seconds),
        ("decode", old.decode_seconds, new.decode_seconds),
    ):
        if after > limits.time_ratio * before:
            report.regressions.append(
                f"{name}: {what} time {before:.2f} -> {after:.2f} s, more than {limits.time_ratio:g} times"
            )
