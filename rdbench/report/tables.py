"""Tables: rate points, BD-rates, and their rendering."""

import json
from collections.abc import Iterator
from statistics import median
from typing import Any

import pandas as pd
from tabulate import tabulate

from ..bdrate import METHODS, BdResult, compare_curves
from ..errors import RdbenchError, UsageError, did_you_mean
from ..published import AVERAGE
from ..results import QUALITY

FORMATS = ("table", "csv", "json", "markdown", "latex")
NOT_COMPARABLE = "not comparable"
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
    """The columns that people look at first, without the empty ones, by codec and rate."""
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

    Curves that papers published as averages stand under their own name, `Average`, and enter no mean.
    Raises UsageError for an unknown anchor, metric or method.
    """
    codecs = sorted(set(frame["codec"]))
    for what, name, known in (("codec", anchor, codecs), ("metric", metric, QUALITY), ("method", method, METHODS)):
        if name not in known:
            raise UsageError(f"There is no {what} {name!r} in these results{did_you_mean(name, known)}")
    rows = list(_pairs(frame, anchor, metric, method, force_conditions))
    if not rows:
        raise RdbenchError(f"No other codec shares a sequence and the metric {metric} with {anchor}; nothing to compare.")
    return pd.DataFrame(rows if per_sequence else _means(rows))


def _pairs(
    frame: pd.DataFrame, anchor: str, metric: str, method: str, force: bool
) -> Iterator[dict[str, Any]]:
    usable = frame[(frame["status"] == "ok") & frame[metric].notna()]
    for (dataset, sequence), group in usable.groupby(["dataset", "sequence"], sort=True):
        bases = group[group["codec"] == anchor]
        for base_conditions, base in bases.groupby("conditions"):
            for (codec, conditions), test in group[group["codec"] != anchor].groupby(["codec", "conditions"]):
                row = {"codec": codec, "dataset": dataset, "sequence": sequence}
                mixed = conditions != base_conditions
                if mixed and not force:
                    reason = f"Conditions differ: {conditions}, anchor {base_conditions}; --force-conditions compares them."
                    yield row | _nothing(reason)
                    continue
                result = compare_curves(base["bpp"].tolist(), base[metric].tolist(), test["bpp"].tolist(), test[metric].tolist())
                yield row | _row(result, method, f"Conditions differ ({conditions}, {base_conditions})." if mixed else None)


def _nothing(reason: str) -> dict[str, Any]:
    return {"bd_rate": None, "bd_quality": None, **dict.fromkeys(METHODS), "overlap": None, "points": "", "notes": reason}


def _row(result: BdResult, method: str, warning: str | None) -> dict[str, Any]:
    points = "{}/{}".format(*result.health.points)
    notes = " ".join([*([warning] if warning else []), *result.notes])
    return {
        "bd_rate": result.rate[method], "bd_quality": result.quality[method] if result.comparable else None,
        **result.rate, "overlap": result.health.overlap, "points": points, "notes": notes,
    }  # fmt: skip


def _means(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    frame = pd.DataFrame(rows)
    frame["own"] = frame["sequence"].where(frame["sequence"] == AVERAGE, "all")
    out = []
    for (codec, dataset, own), group in frame.groupby(["codec", "dataset", "own"], sort=True):
        values = [float(v) for v in group["bd_rate"] if pd.notna(v)]
        known = group[group["bd_rate"].notna()]
        row = {"codec": codec, "dataset": dataset, "sequence": AVERAGE if own == AVERAGE else "mean"}
        row |= {"bd_rate": _mean(known["bd_rate"]), "median": median(values) if values else None}
        row |= {"bd_quality": _mean(known["bd_quality"]), **{m: _mean(known[m]) for m in METHODS}}
        out.append(row | {"sequences": f"{len(known)}/{len(group)}", "overlap": _least(known["overlap"]), "notes": _notes(group)})
    return out


def _mean(values: "pd.Series[Any]") -> float | None:
    """The mean over the sequences that have a value; how many have is in the column `sequences`."""
    known = [float(v) for v in values if pd.notna(v)]
    return sum(known) / len(known) if known else None


def _least(values: "pd.Series[Any]") -> float | None:
    known = [float(v) for v in values if pd.notna(v)]
    return min(known) if known else None


def _notes(group: pd.DataFrame) -> str:
    """One sequence's notes, or the number of sequences that have any."""
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
    styles = {"table": "simple", "markdown": "github", "latex": "latex_booktabs"}
    texts = [[_text(column, value) for column, value in zip(frame.columns, row, strict=True)] for row in frame.itertuples(index=False)]
    return tabulate(texts, headers=list(frame.columns), tablefmt=styles[format], disable_numparse=True)


def _plain(row: dict[Any, Any]) -> dict[str, Any]:
    return {str(k): None if not isinstance(v, dict | list) and pd.isna(v) else v for k, v in row.items()}


def _text(column: str, value: Any) -> str:
    if isinstance(value, dict):
        return json.dumps(value)
    if value is None or (not isinstance(value, str) and pd.isna(value)):
        return NOT_COMPARABLE if column == "bd_rate" else ""
    if isinstance(value, float):
        return f"{value:.{_DIGITS.get(column, 2)}f}"
    return str(value)
