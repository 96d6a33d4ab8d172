"""The stored baseline of the regression gate: its file, and how it is made of records."""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import pandas as pd
from pydantic import BaseModel, ConfigDict, ValidationError

from ..errors import RdbenchError, UsageError, did_you_mean
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
    decode_samples: tuple[float, ...] = ()
    """Seconds of each decoding; empty in older baselines, whose only sample is `decode_seconds`."""
    machine: str | None = None
    """What the times were measured on: processor, GPU, number of threads; None in older baselines."""
    preset: str | None = None
    settings: str | None = None
    device: str | None = None
    precision: str | None = None
    seed: int | None = None
    hull: Literal[True] | None = None
    """Whether its curve is the upper convex hull over several sizes and lambdas; None: not, or an older baseline."""

    @property
    def decodings(self) -> tuple[float, ...]:
        """Seconds of each decoding that was timed."""
        return self.decode_samples or (self.decode_seconds,)

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
    time_ratio: float | None = None
    """Ratio of the new to the old encode or decode time of a curve."""


def base_name(codec: str) -> str:
    """The name of a codec without its options."""
    return codec.partition("[")[0]


class Baseline(BaseModel):
    """All rate points that new results are compared with, and limits by the names of codecs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1, 2, 3] = 3
    """1: its points do not state preset, device and seed. 2: they have one time of decoding, and no machine."""
    limits: dict[str, CodecLimits] = {}
    """By the name of a codec, or by its whole label, as `x265[preset=fast]`, which counts first."""
    points: list[Point]

    def limits_of(self, codec: str) -> CodecLimits | None:
        """The limits of a codec that has its own."""
        return self.limits.get(codec, self.limits.get(base_name(codec)))


def make_baseline(
    frame: pd.DataFrame, limits: Mapping[str, CodecLimits] = MappingProxyType({}), others: Sequence[Point] = ()
) -> Baseline:
    """A baseline of the finished records (of the version that ran last), with the points of other codecs kept.

    Raises RdbenchError for a failed record.
    """
    failed = frame[frame["status"] != "ok"]
    if len(failed):
        first = failed.iloc[0]
        raise RdbenchError(f"{first['codec']} {first['rate_point']} failed; a baseline needs every record finished.")
    points = [point for curve in points_by_curve(frame).values() for point in curve.values()]
    return Baseline(limits=dict(limits), points=[*others, *points])


def named_codecs(codecs: Collection[str], only: str) -> frozenset[str]:
    """Those of the codecs that `only` names, by name or by label. Raises UsageError for a name that is none."""
    found: set[str] = set()
    for name in (part.strip() for part in re.split(r",(?![^\[]*\])", only)):
        own = {codec for codec in codecs if name in (codec, base_name(codec))}
        if not own:
            raise UsageError(f"--only {name} is no codec here{did_you_mean(name, {*codecs, *map(base_name, codecs)})}")
        found |= own
    return frozenset(found)


def restricted(frame: pd.DataFrame, baseline: Baseline, only: str) -> tuple[pd.DataFrame, Baseline]:
    """The records and the points of the codecs that `only` names. Raises UsageError."""
    known = {point.codec for point in baseline.points} | set(map(str, frame["codec"]))
    chosen = named_codecs(known, only)
    points = [point for point in baseline.points if point.codec in chosen]
    return frame[frame["codec"].isin(chosen)], baseline.model_copy(update={"points": points})


def updated(frame: pd.DataFrame, path: Path, only: str | None) -> Baseline:
    """The baseline in the file with the records' points in place of its own, its limits kept.

    With `only`, the points of other codecs stay. Raises RdbenchError for limits whose codec would have no point, and
    with `only` for a file that cannot be read.
    """
    if only is None:
        return _with_used_limits(make_baseline(frame, kept_limits(path)), path)
    chosen = named_codecs(set(map(str, frame["codec"])), only)
    before = read_baseline(path)
    others = [point for point in before.points if point.codec not in chosen]
    return make_baseline(frame[frame["codec"].isin(chosen)], before.limits, others)


def points_by_curve(frame: pd.DataFrame) -> dict[Key, dict[str, Point]]:
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
    stated |= {"machine": _machine(row), "decode_samples": tuple(row["decode_samples"])}
    stated |= {"hull": True} if row["hull"] else {}
    if own["preset"] is None and own["settings"] != "{}":  # an older record: its settings stand for the preset
        stated["settings"] = own["settings"]
    try:
        return Point(**{name: row[name] for name in _COPIED}, quality=row[metric], metric=metric, **stated)
    except ValidationError as error:
        field = ".".join(str(part) for part in error.errors()[0]["loc"])
        name = f"{row['codec']} {row['sequence']} {row['rate_point']}"
        raise RdbenchError(f"The record of {name} has no usable {field}; delete it and run it again.") from error


def _machine(row: Mapping[Any, Any]) -> str | None:
    """What the record's times were measured on; None where it does not say."""
    if not row["cpu"]:
        return None
    gpu = [row["gpu"]] if row["device"] != "cpu" and row["gpu"] else []
    return ", ".join((row["cpu"], *gpu, f"{row['threads']} thread{'s' if row['threads'] > 1 else ''}"))


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
        return _read(path).limits
    return {}


def read_baseline(path: Path) -> Baseline:
    """The baseline in the file. Raises RdbenchError, also for limits of a codec that has no point in it."""
    return _with_used_limits(_read(path), path)


def _read(path: Path) -> Baseline:
    try:
        return Baseline.model_validate_json(path.read_text())
    except OSError as error:
        raise RdbenchError(f"There is no baseline {path} ({error.strerror}); --update writes one.") from error
    except (ValidationError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise RdbenchError(f"The baseline {path} is damaged or of another version; --update renews it.") from error


def _with_used_limits(baseline: Baseline, path: Path) -> Baseline:
    """The baseline itself. Raises RdbenchError for limits that would be ignored because of a misspelled name."""
    known = {name for point in baseline.points for name in (point.codec, base_name(point.codec))}
    if wrong := next((name for name in baseline.limits if name not in known), None):
        hint = did_you_mean(wrong, known)
        raise RdbenchError(f"{path} would have limits of {wrong!r} without a point of that codec{hint}")
    return baseline
