"""Tables: rate points, BD-rates, and their rendering."""

import json
from collections.abc import Iterator
from statistics import median
from typing import Any

import pandas as pd
from tabulate import tabulate

from ..errors import RdbenchError, UsageError, did_you_mean
from ..measure.bdrate import METHODS, NOT_COMPARABLE, BdResult, compare_curves
from .published import AVERAGE
from .results import QUALITY

FORMATS = ("table", "csv", "json", "markdown", "latex")
MOST_SEQUENCE_COLUMNS = 8
"""Largest number of sequences for which a table of means has a column for each sequence (our choice)."""
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
    """The main columns, without the empty ones, sorted by codec and rate."""
    shown = frame[[c for c in _SHOWN if c in frame and frame[c].notna().any()]]
    return shown.sort_values(["dataset", "sequence", "codec", "bpp"], kind="stable").reset_index(drop=True)


def bd_table(
    frame: pd.DataFrame,
    anchor: str,
    metric: str = "psnr_rgb",
    method: str = "pchip",
    per_sequence: bool = False,
    force_conditions: bool = False,
) -> pd.DataFrame:
    """BD-rate (percent) and BD-quality of each codec against the anchor, per sequence or their mean and median.

    Curves that papers published as averages are listed as `Average`, and enter no mean.
    Raises UsageError for an unknown anchor, metric or method.
    """
    codecs = sorted(set(frame["codec"]))
    for what, name, known in (("codec", anchor, codecs), ("metric", metric, QUALITY), ("method", method, METHODS)):
        if name not in known:
            raise UsageError(f"There is no {what} {name!r} in these results{did_you_mean(name, known)}")
    rows = list(_pairs(frame, anchor, metric, method, force_conditions))
    if not rows:
        mine = frame[frame["codec"] == anchor]
        available = ", ".join(name for name in QUALITY if name in mine and mine[name].notna().any())
        raise RdbenchError(
            f"No other codec shares a sequence and the metric {metric} with {anchor}; "
            f"{anchor} has {available or 'no quality at all'}."
        )
    table = pd.DataFrame(rows if per_sequence else _means(rows, _sequences(frame, anchor, metric)))
    return table if table["conditions"].nunique() > 1 else table.drop(columns="conditions")


def _sequences(frame: pd.DataFrame, anchor: str, metric: str) -> dict[str, list[str]]:
    """The sequences of each dataset that the anchor was measured on."""
    mine = frame[(frame["codec"] == anchor) & (frame["status"] == "ok") & frame[metric].notna()]
    mine = mine[mine["sequence"] != AVERAGE]
    return {str(dataset): sorted(set(group["sequence"])) for dataset, group in mine.groupby("dataset")}


def _pairs(frame: pd.DataFrame, anchor: str, metric: str, method: str, force: bool) -> Iterator[dict[str, Any]]:
    """A row for each sequence, codec and conditions that the anchor shares the sequence with."""
    usable = frame[(frame["status"] == "ok") & frame[metric].notna()]
    for (dataset, sequence), group in usable.groupby(["dataset", "sequence"], sort=True):
        bases = _curves(group[group["codec"] == anchor])
        if not bases:
            continue
        for (codec, conditions), rows in group[group["codec"] != anchor].groupby(["codec", "conditions"]):
            row = {"codec": codec, "dataset": dataset, "sequence": sequence, "conditions": conditions}
            yield row | _compare(bases, _curves(rows), metric, method, force)


def _curves(rows: pd.DataFrame) -> list[pd.DataFrame]:
    """The rows of each curve of a codec on a sequence: one for each conditions and number of frames, longest first."""
    frames = pd.to_numeric(rows["frames"]).fillna(0)
    return [curve for _, part in rows.groupby(-frames) for _, curve in part.groupby("conditions")]


def _mismatch(base: pd.DataFrame, test: pd.DataFrame) -> str | None:
    """Why two curves cannot be compared, or None; an unknown number of frames does not count as a difference."""
    ours, theirs = test["conditions"].iloc[0], base["conditions"].iloc[0]
    if ours != theirs:
        return f"Conditions differ ({ours}, anchor {theirs})"
    frames, others = test["frames"].iloc[0], base["frames"].iloc[0]
    if pd.notna(frames) and pd.notna(others) and frames != others:
        return f"Numbers of frames differ ({frames:g}, anchor {others:g})"
    return None


def _compare(
    bases: list[pd.DataFrame], tests: list[pd.DataFrame], metric: str, method: str, force: bool
) -> dict[str, Any]:
    """Compares the longest curves of the same conditions, and others only with `force`, with a note."""
    pairs = [(base, test, _mismatch(base, test)) for test in tests for base in bases]
    base, test, reason = next((pair for pair in pairs if pair[2] is None), pairs[0])
    if reason and not force:
        return _nothing(f"{reason}; --force-conditions compares them.")
    warnings = [f"{reason}."] if reason else []
    for name, curve in (("anchor", base), ("test", test)):
        if curve["rate_point"].duplicated().any():
            warnings.append(f"The {name} has rate points more than once (other seeds or versions); all are used.")
    axes = [curve[column].astype(float).tolist() for curve in (base, test) for column in ("bpp", metric)]
    return _row(compare_curves(*axes), method, warnings)


def _nothing(reason: str) -> dict[str, Any]:
    return {
        "bd_rate": None,
        "bd_quality": None,
        **dict.fromkeys(METHODS),
        "overlap": None,
        "points": "",
        "notes": reason,
    }


def _row(result: BdResult, method: str, warnings: list[str]) -> dict[str, Any]:
    return {
        "bd_rate": result.rate[method], "bd_quality": result.quality[method] if result.comparable else None,
        **result.rate, "overlap": result.health.overlap, "points": "{}/{}".format(*result.health.points),
        "notes": " ".join([*warnings, *result.notes]),
    }  # fmt: skip


def _means(rows: list[dict[str, Any]], anchored: dict[str, list[str]]) -> list[dict[str, Any]]:
    """Mean and median of each codec, dataset and conditions; `anchored`: the anchor's sequences of each dataset."""
    frame = pd.DataFrame(rows)
    frame["own"] = frame["sequence"].where(frame["sequence"] == AVERAGE, "all")
    names = sorted(set(frame["sequence"]) - {AVERAGE})
    shown = names if 1 < len(names) <= MOST_SEQUENCE_COLUMNS and frame["dataset"].nunique() == 1 else []
    out = []
    for (codec, dataset, own, conditions), group in frame.groupby(["codec", "dataset", "own", "conditions"], sort=True):
        known = group[group["bd_rate"].notna()]
        values = [float(v) for v in known["bd_rate"]]
        wanted = [AVERAGE] if own == AVERAGE else anchored.get(str(dataset), [])
        row = {"codec": codec, "dataset": dataset, "conditions": conditions}
        row |= {"sequence": AVERAGE if own == AVERAGE else "mean"}
        row |= {"bd_rate": _mean(known["bd_rate"]), "median": median(values) if values else None}
        each = dict(zip(group["sequence"], group["bd_rate"], strict=True))
        row |= {name: each.get(name) for name in shown}
        row |= {"bd_quality": _mean(known["bd_quality"]), **{m: _mean(known[m]) for m in METHODS}}
        row |= {"sequences": f"{len(known)}/{len(wanted)}", "overlap": _least(known["overlap"])}
        lacking = [name for name in wanted if name not in set(known["sequence"])] if values else []
        out.append(row | {"notes": " ".join(filter(None, (_lacking(lacking), _notes(group))))})
    return out


def _lacking(names: list[str]) -> str:
    """A note that names missing sequences: a mean without them is not comparable with a mean over all."""
    if not names:
        return ""
    return f"Mean without {', '.join(names[:3])}{f' and {len(names) - 3} more' if len(names) > 3 else ''}."


def _mean(values: "pd.Series[Any]") -> float | None:
    """The mean over the sequences that have a value (their number is in the column `sequences`)."""
    known = [float(v) for v in values if pd.notna(v)]
    return sum(known) / len(known) if known else None


def _least(values: "pd.Series[Any]") -> float | None:
    known = [float(v) for v in values if pd.notna(v)]
    return min(known) if known else None


def _notes(group: pd.DataFrame) -> str:
    """The note where there is only one, else the number of sequences that have notes."""
    noted = group[group["notes"] != ""]
    if len(group) == 1 or noted["notes"].nunique() == 1:
        return str(noted["notes"].iloc[0]) if len(noted) else ""
    return f"{len(noted)} sequences have notes; see --per-sequence." if len(noted) else ""


def render(frame: pd.DataFrame, format: str) -> str:
    """The table as text. Missing BD-rates are named, other missing values empty. Raises UsageError."""
    if format not in FORMATS:
        raise UsageError(f"There is no format {format!r}{did_you_mean(format, FORMATS)}")
    if format == "json":
        return json.dumps([_plain(row) for row in frame.to_dict("records")], indent=1, default=str)
    if format == "csv":
        return frame.map(lambda v: json.dumps(v) if isinstance(v, dict) else v).to_csv(index=False).rstrip("\n")
    if format == "table" and "notes" in frame:
        numbered, below = _footnotes(frame)
        return "\n".join([_grid(numbered, format), *below])
    return _grid(frame, format)


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
    if isinstance(value, dict):
        return json.dumps(value)
    if value is None or (not isinstance(value, str) and pd.isna(value)):
        return NOT_COMPARABLE.lower() if column == "bd_rate" else ""
    if isinstance(value, float):
        return f"{value:.{_DIGITS.get(column, 2)}f}"
    return str(value)
