"""Tables: rate points, and the rendering of these and of BD-rates (`bd_table`)."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pandas as pd

from ..errors import UsageError, did_you_mean
from ..measure.bdrate import NOT_COMPARABLE, NOT_REPORTABLE
from . import curves
from .bd_table import NO_COMMON_SEQUENCE, bd_table
from .cells import Grid, Rate, grid
from .latex import latex
from .selection import only
from .text_tables import markdown, terminal

__all__ = ["FORMATS", "bd_table", "gap", "only", "picked", "rd_table", "render", "results_table"]

FORMATS = ("table", "csv", "json", "markdown", "latex")
DATA_FORMATS = ("csv", "json")
"""Formats for programs: all columns, numbers with all digits, no footnotes."""
_WRITERS: Mapping[str, Callable[[Grid], str]] = MappingProxyType(
    {"table": terminal, "markdown": markdown, "latex": latex}
)
_SHOWN = ("codec", "dataset", "sequence", "rate_point", "bpp", "kbps", "psnr_rgb", "psnr_yuv", "ms_ssim", "ms_ssim_db",
          "vmaf", "encode_seconds", "decode_fps", "status")  # fmt: skip


def results_table(
    frame: pd.DataFrame, format: str, given: list[str], columns: str | None = None, everything: bool = False,
    in_order: bool = False,
) -> pd.DataFrame:  # fmt: skip
    """The columns of a labeled frame that a format shows; `in_order`: its rows are sorted already.

    `given` are the columns of the records: all of them stand in a csv and a json, and with `everything` in the others;
    `columns` names others, separated by commas. Raises UsageError for a column that there is not.
    """
    if columns is not None:
        if everything:
            raise UsageError("--columns chooses columns and --all means all of them; give one of the two.")
        return picked(frame, columns)
    if everything or format in DATA_FORMATS:
        return frame[given]
    return rd_table(frame, in_order)


def picked(frame: pd.DataFrame, columns: str) -> pd.DataFrame:
    """The columns of these names, separated by commas, in this order. Raises UsageError."""
    names = [name.strip() for name in columns.split(",") if name.strip()]
    for name in names:
        if name not in frame:
            known = [str(column) for column in frame.columns]
            raise UsageError(f"There is no column {name!r}{did_you_mean(name, known)}")
    if not names:
        raise UsageError("--columns names no column; give some, as in --columns codec,bpp,psnr_rgb.")
    return frame[list(dict.fromkeys(names))]


def rd_table(frame: pd.DataFrame, in_order: bool = False) -> pd.DataFrame:
    """The main columns, without the empty ones, sorted by codec and rate, or `in_order` of the frame.

    Columns that separate curves (preset, settings, version, device, conditions, frames, seed) stand after the codec
    where the curves of one codec differ in them; conditions and frames also where those of two codecs do. The status
    stands there where one is not `ok`.
    """
    frame = curves.labeled(frame)
    shown = frame[[c for c in _SHOWN if c in frame and frame[c].notna().any()]]
    if "own_label" in frame:  # a label that the reader chose
        shown = shown.assign(codec=shown["codec"].where(frame["label"] == frame["own_label"], frame["label"]))
    if "status" in shown and (shown["status"] == "ok").all():
        shown = shown.drop(columns="status")
    for place, (name, texts) in enumerate(curves.distinctions(frame).items(), 1):
        shown.insert(place, str(name), texts)
    if in_order:
        return shown.reset_index(drop=True)
    order = frame.sort_values(["dataset", "sequence", "codec", "label", "seed", "bpp"], kind="stable").index
    return shown.loc[order].reset_index(drop=True)


def render(frame: pd.DataFrame, format: str, below: Sequence[str] = ()) -> str:
    """The table as text, for people with the lines `below` it.

    Missing BD-rates are named, other missing values empty. Raises UsageError.
    """
    if format not in FORMATS:
        raise UsageError(f"There is no format {format!r}{did_you_mean(format, FORMATS)}")
    if format == "json":
        rows = _spread_out(frame).to_dict("records")
        return json.dumps([_plain(row) for row in rows], indent=1, default=str)
    if format == "csv":
        plain = _spread_out(frame).map(lambda v: json.dumps(v) if isinstance(v, dict | list) else v)
        return plain.to_csv(index=False).rstrip("\n")
    table = grid(_with_named_gaps(frame), footnotes=format != "markdown")
    table = replace(table, notes=[*table.notes, *below])
    return _WRITERS[format](table)


def _spread_out(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with three columns of numbers for each column of rates with their intervals."""
    found: dict[str, Any] = {}
    for name, values in frame.items():
        if not values.map(lambda value: isinstance(value, Rate)).any():
            found[str(name)] = values
            continue
        for part, suffix in (("value", ""), ("low", " low"), ("high", " high"), ("notes", " notes")):
            found[f"{name}{suffix}"] = [getattr(value, part) for value in values]
    return pd.DataFrame(found, index=frame.index)


def _with_named_gaps(frame: pd.DataFrame) -> pd.DataFrame:
    """The table with words where there is no BD-rate."""
    if not {"bd_rate", "notes"} <= set(frame.columns):
        return frame
    words = [
        gap(notes) if pd.isna(rate) else rate for rate, notes in zip(frame["bd_rate"], frame["notes"], strict=True)
    ]
    return frame.assign(bd_rate=pd.Series(words, index=frame.index, dtype=object))


def gap(notes: str) -> str:
    """Why there is no BD-rate, in two or three words; the notes say more."""
    if NOT_REPORTABLE in notes.replace(f"BD-quality: {NOT_REPORTABLE}", ""):
        return NOT_REPORTABLE.lower()
    return "no common sequence" if NO_COMMON_SEQUENCE in notes else NOT_COMPARABLE.lower()


def _plain(row: dict[Any, Any]) -> dict[str, Any]:
    return {str(k): None if not isinstance(v, dict | list) and pd.isna(v) else v for k, v in row.items()}
