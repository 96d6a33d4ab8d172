"""Tables: rate points, and the rendering of these and of BD-rates (`bd_table`)."""

import json
from typing import Any

import pandas as pd
from tabulate import tabulate

from ..errors import UsageError, did_you_mean
from ..measure.bdrate import NOT_COMPARABLE, NOT_REPORTABLE
from . import curves
from .bd_table import NO_COMMON_SEQUENCE, bd_table

__all__ = ["FORMATS", "bd_table", "only", "rd_table", "render"]

FORMATS = ("table", "csv", "json", "markdown", "latex")
_SHOWN = ("codec", "dataset", "sequence", "rate_point", "bpp", "kbps", "psnr_rgb", "psnr_yuv", "ms_ssim", "ms_ssim_db",
          "vmaf", "encode_seconds", "decode_fps", "status")  # fmt: skip
_DIGITS = {"bpp": 4, "kbps": 1, "ms_ssim": 4, "encode_seconds": 1, "decode_fps": 1, "overlap": 2}


def only(frame: pd.DataFrame, dataset: str | None) -> pd.DataFrame:
    """The rows of one dataset. Raises UsageError where there are none."""
    if dataset is None:
        return frame
    known = sorted(set(frame["dataset"]))
    if dataset not in known:
        raise UsageError(f"There are no results on {dataset!r}{did_you_mean(dataset, known)}")
    return frame[frame["dataset"] == dataset]


def rd_table(frame: pd.DataFrame) -> pd.DataFrame:
    """The main columns, without the empty ones, sorted by codec and rate.

    Columns that separate curves (preset, settings, version, device, conditions, frames, seed) stand after the codec
    where the curves of one codec differ in them; conditions and frames also where those of two codecs do.
    """
    frame = curves.labeled(frame)
    shown = frame[[c for c in _SHOWN if c in frame and frame[c].notna().any()]]
    for place, (name, texts) in enumerate(curves.distinctions(frame).items(), 1):
        shown.insert(place, str(name), texts)
    order = frame.sort_values(["dataset", "sequence", "codec", "label", "seed", "bpp"], kind="stable").index
    return shown.loc[order].reset_index(drop=True)


def render(frame: pd.DataFrame, format: str) -> str:
    """The table as text. Missing BD-rates are named, other missing values empty. Raises UsageError."""
    if format not in FORMATS:
        raise UsageError(f"There is no format {format!r}{did_you_mean(format, FORMATS)}")
    if format not in ("csv", "json"):
        frame = _with_named_gaps(frame)
    if format == "json":
        return json.dumps([_plain(row) for row in frame.to_dict("records")], indent=1, default=str)
    if format == "csv":
        return frame.map(lambda v: json.dumps(v) if isinstance(v, dict | list) else v).to_csv(index=False).rstrip("\n")
    if format == "table" and "notes" in frame:
        numbered, below = _footnotes(frame)
        return "\n".join([_grid(numbered, format), *below])
    return _grid(frame, format)


def _with_named_gaps(frame: pd.DataFrame) -> pd.DataFrame:
    """The table with words where there is no BD-rate."""
    if not {"bd_rate", "notes"} <= set(frame.columns):
        return frame
    words = [
        _gap(notes) if pd.isna(rate) else rate for rate, notes in zip(frame["bd_rate"], frame["notes"], strict=True)
    ]
    return frame.assign(bd_rate=pd.Series(words, index=frame.index, dtype=object))


def _gap(notes: str) -> str:
    """Why there is no BD-rate, in two or three words; the notes say more."""
    if NOT_REPORTABLE in notes.replace(f"BD-quality: {NOT_REPORTABLE}", ""):
        return NOT_REPORTABLE.lower()
    return "no common sequence" if NO_COMMON_SEQUENCE in notes else NOT_COMPARABLE.lower()


def _footnotes(frame: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """The table with numbers for notes, and the notes by number: a terminal is too narrow for sentences in a column."""
    texts = [note for note in dict.fromkeys(frame["notes"]) if note]
    numbers = {note: str(number) for number, note in enumerate(texts, 1)}
    return frame.assign(notes=frame["notes"].map(lambda note: numbers.get(note, ""))), [
        f"{number}: {note}" for note, number in numbers.items()
    ]


def _grid(frame: pd.DataFrame, format: str) -> str:
    styles = {"table": "simple", "markdown": "github", "latex": "latex_booktabs"}
    texts = [
        [_text(column, value) for column, value in zip(frame.columns, row, strict=True)]
        for row in frame.itertuples(index=False)
    ]
    return tabulate(texts, headers=list(frame.columns), tablefmt=styles[format], disable_numparse=True)


def _plain(row: dict[Any, Any]) -> dict[str, Any]:
    return {str(k): None if not isinstance(v, dict | list) and pd.isna(v) else v for k, v in row.items()}


def _text(column: str, value: Any) -> str:
    if isinstance(value, dict | list):
        return json.dumps(value)
    if value is None or (not isinstance(value, str) and pd.isna(value)):
        return ""
    if isinstance(value, float):
        return f"{value:.{_DIGITS.get(column, 2)}f}"
    return str(value)
