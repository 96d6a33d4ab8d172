"""Today's results against a kept baseline: what moved, and whether anything got worse."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from pydantic import BaseModel, ConfigDict, ValidationError

from ..errors import RdbenchError
from ..measure.bdrate import compare_curves

Key = tuple[str, str, str, str]
"""Codec, dataset, sequence, conditions."""


_COPIED = (
    "codec", "dataset", "sequence", "conditions", "rate_point", "frames", "bpp", "encode_seconds", "decode_seconds",
)  # fmt: skip


class Point(BaseModel):
    """A rate point that is kept."""

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

    @property
    def key(self) -> Key:
        """The curve it belongs to."""
        return self.codec, self.dataset, self.sequence, self.conditions


class Baseline(BaseModel):
    """All kept points."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    points: list[Point]


@dataclass(frozen=True)
class CheckReport:
    """What moved, and what of it is a regression."""

    moved: list[str]
    regressions: list[str]

    @property
    def ok(self) -> bool:
        """Whether nothing got worse beyond its limit."""
        return not self.regressions

    def lines(self) -> list[str]:
        """The report for people."""
        verdict = "no regression" if self.ok else f"{len(self.regressions)} regressions"
        return [*self.moved, *(f"REGRESSION: {line}" for line in self.regressions), f"check: {verdict}"]


def make_baseline(frame: pd.DataFrame) -> Baseline:
    """The finished records as a baseline, of a rate point run twice the later. Raises RdbenchError where one failed."""
    failed = frame[frame["status"] != "ok"]
    if len(failed):
        first = failed.iloc[0]
        raise RdbenchError(f"{first['codec']} {first['rate_point']} failed; a baseline needs every record finished.")
    return Baseline(points=[point for curve in _curves(frame).values() for point in curve.values()])


def _curves(frame: pd.DataFrame) -> dict[Key, dict[str, Point]]:
    """The finished points by curve and rate point; of two records of one rate point the one started later."""
    curves: dict[Key, dict[str, Point]] = {}
    for row in frame[frame["status"] == "ok"].sort_values("started", kind="stable").to_dict("records"):
        point = _point(row)
        curves.setdefault(point.key, {})[point.rate_point] = point
    return curves


def _point(row: dict[Any, Any]) -> Point:
    metric: Literal["psnr_rgb", "psnr_yuv"] = "psnr_rgb" if pd.notna(row["psnr_rgb"]) else "psnr_yuv"
    try:
        return Point(**{name: row[name] for name in _COPIED}, quality=row[metric], metric=metric)
    except ValidationError as error:
        field = ".".join(str(part) for part in error.errors()[0]["loc"])
        name = f"{row['codec']} {row['sequence']} {row['rate_point']}"
        raise RdbenchError(f"The record of {name} has no usable {field}; delete it and run it again.") from error


def save_baseline(path: Path, baseline: Baseline) -> None:
    """Writes the baseline as JSON, sorted, so that a change reads well in a diff."""
    points = sorted(baseline.points, key=lambda p: (*p.key, p.bpp))
    partial = path.with_suffix(".partial")
    try:
        partial.write_text(Baseline(points=points).model_dump_json(indent=1) + "\n")
        partial.replace(path)
    except OSError as error:
        raise RdbenchError(f"The baseline {path} cannot be written ({error.strerror}); choose another.") from error


def read_baseline(path: Path) -> Baseline:
    """The baseline in the file. Raises RdbenchError."""
    try:
        return Baseline.model_validate_json(path.read_text())
    except OSError as error:
        raise RdbenchError(f"There is no baseline {path} ({error.strerror}); --update writes one.") from error
    except (ValidationError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise RdbenchError(f"The baseline {path} is damaged or of another version; --update renews it.") from error


def check(
    frame: pd.DataFrame,
    baseline: Baseline,
    max_bd_rate: float = 2.0,
    max_psnr_drop: float = 0.1,
    max_time_ratio: float = 2.0,
) -> CheckReport:
    """Compares curve by curve and point by point. Limits: percent of BD-rate, dB at one rate point, ratio of times."""
    moved: list[str] = []
    worse = [f"{r['codec']} {r['sequence']} {r['rate_point']} failed: {r['error']}" for r in _failed(frame)]
    now = _curves(frame)
    kept: dict[Key, list[Point]] = {}
    for point in baseline.points:
        kept.setdefault(point.key, []).append(point)
    for key, points in kept.items():
        other = [found for found in now if found[:3] == key[:3] and found != key]
        if key not in now and other:
            worse.append(
                f"{' '.join(key[:3])}: conditions are {other[0][3]}, the baseline has {key[3]}; measure it alike"
            )
            continue
        _check_curve(key, points, now.get(key, {}), (max_bd_rate, max_psnr_drop, max_time_ratio), moved, worse)
    moved += [f"{' '.join(key)}: not in the baseline" for key in now if key not in kept]
    return CheckReport(moved, worse)


def _failed(frame: pd.DataFrame) -> list[dict[Any, Any]]:
    return frame[frame["status"] != "ok"].to_dict("records")


def _check_curve(
    key: Key, kept: list[Point], now: dict[str, Point], limits: tuple[float, float, float],
    moved: list[str], worse: list[str],
) -> None:  # fmt: skip
    name = " ".join(key)
    both = [(point, now[point.rate_point]) for point in kept if point.rate_point in now]
    worse += [f"{name} {point.rate_point} is missing" for point in kept if point.rate_point not in now]
    for old, new in both:
        _check_point(name, old, new, limits, moved, worse)
    pairs = [(old, new) for old, new in both if (old.metric, old.frames) == (new.metric, new.frames)]
    if len(pairs) < 2:
        return
    result = compare_curves(
        [old.bpp for old, _ in pairs], [old.quality for old, _ in pairs],
        [new.bpp for _, new in pairs], [new.quality for _, new in pairs],
    )  # fmt: skip
    rate = result.rate["pchip"]
    if rate is None:
        worse.append(f"{name}: the curve cannot be compared with the baseline's: {' '.join(result.notes)}")
        return
    moved.append(f"{name}: BD-rate {rate:+.2f} %")
    if rate > limits[0]:
        worse.append(f"{name}: BD-rate {rate:+.2f} % is above {limits[0]:g} %")


def _check_point(
    name: str, old: Point, new: Point, limits: tuple[float, float, float], moved: list[str], worse: list[str]
) -> None:
    label = f"{name} {old.rate_point}"
    if (old.metric, old.frames) != (new.metric, new.frames):
        worse.append(f"{label}: {new.frames} frames in {new.metric}, the baseline has {old.frames} in {old.metric}")
        return
    if (old.bpp, old.quality) != (new.bpp, new.quality):
        moved.append(f"{label}: {old.bpp:.4f} -> {new.bpp:.4f} bpp, {old.quality:.3f} -> {new.quality:.3f} dB")
    if old.quality - new.quality > limits[1]:
        worse.append(f"{label}: {old.metric} fell by {old.quality - new.quality:.3f} dB, more than {limits[1]:g}")
    for what, before, after in (
        ("encode", old.encode_seconds, new.encode_seconds),
        ("decode", old.decode_seconds, new.decode_seconds),
    ):
        if after > limits[2] * before:
            worse.append(f"{label}: {what} time {before:.2f} -> {after:.2f} s, more than {limits[2]:g} times")
