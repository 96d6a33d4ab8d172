"""Rate points to compare: records by their folders or by codecs' names, and of two codecs the nearest ones in bits."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ...errors import RdbenchError, UsageError
from ...report import curves
from ...report.page.rows import locate
from ...report.results import RECORD, Record, load, read_record
from ..verify.findings import shown


@dataclass(frozen=True)
class Point:
    """A finished record, and the folder with its bitstream."""

    record: Record
    folder: Path

    @property
    def name(self) -> str:
        """Codec and rate point as messages name them."""
        return f"{shown(self.record.codec)} {shown(self.record.rate_point)}"


@dataclass(frozen=True)
class Wanted:
    """What the command names: `a` and `b` are each a folder of a record, its file, or a codec of `results`."""

    a: str
    b: str
    results: Path
    sequence: str | None = None


def find_pair(wanted: Wanted) -> tuple[Point, Point]:
    """The two points, at the nearest bits where there is a choice. Raises UsageError or RdbenchError."""
    given = [_by_path(text) for text in (wanted.a, wanted.b)]
    if any(point is None for point in given):
        frame, folders = _results(wanted)
        named = [
            [point] if point is not None else _by_name(text, frame, folders)
            for text, point in zip((wanted.a, wanted.b), given, strict=True)
        ]
        return _one_sequence(named[0], named[1], wanted.sequence)
    first, second = (point for point in given if point is not None)
    if (reason := difference(first, second)) is not None:
        raise RdbenchError(f"{first.name} and {second.name} cannot be compared: {reason}.")
    return first, second


def _by_path(text: str) -> Point | None:
    """The record of a folder or file; None where there is no such path. Raises RdbenchError."""
    path = Path(text)
    if path.name != RECORD:
        path /= RECORD
    if not path.is_file():
        return None
    return read_point(path.parent)


def read_point(folder: Path) -> Point:
    """The point whose record is in the folder. Raises RdbenchError where it is damaged or failed."""
    record = read_record(folder / RECORD)
    if record.status != "ok" or not record.bpp or record.bpp <= 0:
        raise RdbenchError(f"The job of {folder} failed, so it has no frames to show; choose another record.")
    return Point(record, folder)


def _results(wanted: Wanted) -> tuple[pd.DataFrame, dict[str, Path]]:
    if not wanted.results.is_dir():
        names = " and ".join(shown(text) for text in (wanted.a, wanted.b) if _by_path(text) is None)
        raise UsageError(
            f"{names}: no folder with a {RECORD}, and no folder {wanted.results} in which to look for a codec of that "
            "name; name the folder of records with --results."
        )
    frame = curves.labeled(load([wanted.results]))
    return frame[frame["status"] == "ok"], locate([wanted.results])


def _by_name(name: str, frame: pd.DataFrame, folders: dict[str, Path]) -> list[Point]:
    """All rate points of a codec, with or without its options, or of a label.

    Raises UsageError where the name means several series, or none.
    """
    if frame.empty:
        raise RdbenchError("All of these jobs failed, so there is nothing to show; rdbench results says why.")
    rows = frame[frame["codec"].astype(str).str.partition("[")[0] == name]
    if rows.empty or name in set(frame["codec"]):
        rows = frame[frame["series"].isin(curves.find(frame, name))]
    labels = sorted({str(label) for label in rows["label"]})
    if len(labels) > 1:
        listed = "; ".join(shown(label) for label in labels)
        raise UsageError(f"{shown(name)} is {len(labels)} series of these results ({listed}); name one by its label.")
    return [read_point(folders[key]) for key in rows["id"] if key in folders]


def _one_sequence(a: Sequence[Point], b: Sequence[Point], sequence: str | None) -> tuple[Point, Point]:
    """The nearest pair on the sequence, which must be named where several are common."""
    if sequence is not None:
        a, b = ([point for point in points if point.record.sequence == sequence] for points in (a, b))
        if not a or not b:
            raise UsageError(f"There are no records of both codecs on the sequence {shown(sequence)}.")
    common = sorted({point.record.sequence for point in a} & {point.record.sequence for point in b})
    if len(common) > 1:
        raise UsageError(f"Both codecs have {len(common)} sequences in common; choose one of {', '.join(common)} "
                         "with --sequence.")  # fmt: skip
    pair = nearest_pair(a, b)
    if pair is None:
        reason = difference(a[0], b[0]) if a and b else "one of them has no record"
        raise RdbenchError(f"{a[0].name} and {b[0].name} cannot be compared: {reason or 'they are one record'}.")
    return pair


def difference(a: Point, b: Point) -> str | None:
    """Why two records cannot be compared, in words; None where they can."""
    one, other = a.record, b.record
    if one.clip_sha256 != other.clip_sha256 and one.clip_sha256 and other.clip_sha256:
        if one.sequence == other.sequence and one.frames != other.frames:
            return f"{one.frames} and {other.frames} frames of {shown(one.sequence)}"
        return f"other clips ({shown(one.sequence)} and {shown(other.sequence)}, whose frames have other hashes)"
    pairs = {
        "sequences": (one.sequence, other.sequence), "test conditions": (one.conditions, other.conditions),
        "numbers of frames": (one.frames, other.frames),
        "sizes": (f"{one.width}x{one.height}", f"{other.width}x{other.height}"),
    }  # fmt: skip
    return next(
        (f"other {name} ({shown(left)} and {shown(right)})" for name, (left, right) in pairs.items() if left != right),
        None,
    )


def nearest_pair(a: Iterable[Point], b: Iterable[Point]) -> tuple[Point, Point] | None:
    """Of all pairs that can be compared, the one whose bits differ least; of equal ones, that with equal seeds.

    None where no two can be compared.
    """
    others = list(b)
    pairs = [
        (one, other) for one in a for other in others
        if one.record.id != other.record.id and difference(one, other) is None
    ]  # fmt: skip
    return min(pairs, key=lambda pair: (distance(*pair), pair[0].record.seed != pair[1].record.seed), default=None)


def distance(a: Point, b: Point) -> float:
    """How far the rates of two points are apart: the absolute logarithm of their ratio."""
    assert a.record.bpp
    assert b.record.bpp
    return abs(math.log(a.record.bpp / b.record.bpp))
