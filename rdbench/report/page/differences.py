"""What a page compares: BD-rates of every series against every other, and rates by quality on one grid.

All BD-rates are those of `bd_table`; a page only averages those of the sequences that its reader chooses.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ...errors import RdbenchError
from ...measure.interpolation import pchip_slopes, values_at
from .. import curves
from ..bd_table import USED, bd_tables
from ..hull import on_hull
from ..published import AVERAGE
from .rows import rounded

Array = npt.NDArray[np.float64]

METRICS = ("psnr_rgb", "ms_ssim_db", "vmaf", "psnr_yuv")
"""The metrics that a page compares by, the usual one first."""
GRID = {"psnr_rgb": 0.25, "psnr_yuv": 0.25, "ms_ssim_db": 0.25, "vmaf": 1.0}
"""Steps of quality, in each metric's unit, at which rates are compared (our choice)."""
MOST_COMPARISONS = 2_000
"""BD-rates of two curves that a page may compute, about 20 s of work (our choice)."""
_CELL = ("bd_rate", "low", "high", "bd_quality", "pchip", "akima", "cubic", "overlap", "spread", "leave_one_out")


@dataclass(frozen=True)
class Column:
    """All series against one anchor by one metric, in one group of comparable results."""

    group: str
    metric: str
    anchor: int
    cells: list[dict[str, Any]] = field(default_factory=list)
    """For each series: `series`, the mean's numbers, `sequences` (those it is over), `notes`, and `each` sequence."""


def columns(rows: pd.DataFrame, anchor: int | None) -> tuple[list[Column], list[str]]:
    """The columns of the matrix for labeled rows of finished records, and notes on what was not computed.

    `rows` have a column `group`. The anchor comes first, then the series by the number of their curves, the usual
    metric before the others, until MOST_COMPARISONS are done; each group gets one column at least, by one metric.
    """
    found: list[Column] = []
    lacking: dict[str, list[str]] = {}
    spent = 0
    rows = rows[[name for name in ("group", *USED) if name in rows]]
    for metric in METRICS:
        for group, own in rows.dropna(subset=[metric]).groupby("group", sort=False):
            counts = _curve_counts(own)
            labels = dict(zip(own["series"], own["label"], strict=True))
            first = not any(column.group == group for column in found)
            for number in sorted(counts, key=lambda one: (one != anchor, -counts[one], one)):
                cost = sum(counts.values()) - counts[number]
                if cost == 0:
                    continue
                if spent + cost > MOST_COMPARISONS and not first:
                    lacking.setdefault(metric, []).append(str(labels[number]))
                    continue
                spent += cost
                first = False
                found.append(Column(str(group), metric, number, _cells(own, number, metric)))
    return found, [
        f"BD-rates by {metric} against {_some(labels)} were not computed; rdbench bdrate prints them."
        for metric, labels in lacking.items()
    ]


def _some(labels: Sequence[str]) -> str:
    names = list(dict.fromkeys(labels))
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _curve_counts(rows: pd.DataFrame) -> dict[int, int]:
    """How many curves each series has."""
    counts = rows.drop_duplicates(curves.CURVE)["series"].value_counts(sort=False)
    return {int(str(number)): int(count) for number, count in counts.items()}


def _cells(rows: pd.DataFrame, anchor: int, metric: str) -> list[dict[str, Any]]:
    """The cells of one column; none where no other series shares a sequence with the anchor."""
    names = {int(number): str(label) for number, label in zip(rows["series"], rows["label"], strict=True)}
    tags = rows["series"].map(lambda number: f"series {number}")
    # A tag for each name, so that each row of the table is found again whatever the names hold.
    rows = rows.assign(codec=tags, name=tags, label=tags)
    try:
        means, single = bd_tables(rows, f"series {anchor}", metric)
    except RdbenchError:
        return []
    each: dict[int, dict[str, dict[str, Any]]] = {}
    for row in single.to_dict("records"):
        each.setdefault(_number(row["codec"]), {})[str(row["sequence"])] = _cell({str(k): v for k, v in row.items()})
    known = [set(_with_rate(own)) for own in each.values()]
    common = set.intersection(*filter(None, known)) if any(known) else set()
    return [
        _mean({str(k): v for k, v in row.items()}, each[_number(row["codec"])], common, names)
        for row in means.to_dict("records")
        if row["sequence"] != AVERAGE
    ]


def _number(tag: Any) -> int:
    return int(str(tag).removeprefix("series "))


def _with_rate(own: Mapping[str, Mapping[str, Any]]) -> list[str]:
    return [name for name, cell in own.items() if "bd_rate" in cell and name != AVERAGE]


def _cell(row: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers of one row of the table without the missing ones, its seeds, points and notes."""
    numbers = {name: rounded(float(row[name])) for name in _CELL if not pd.isna(row[name])}
    texts = {name: str(row[name]) for name in ("seeds", "points", "notes") if row.get(name)}
    return numbers | texts


def _mean(
    row: Mapping[str, Any], each: Mapping[str, dict[str, Any]], common: set[str], names: Mapping[int, str]
) -> dict[str, Any]:
    """The cell of one series: the numbers of the table's mean row, and those of each sequence."""
    used = sorted(common & set(each)) if not pd.isna(row["bd_rate"]) else []
    cell = {"series": _number(row["codec"]), **_cell(row), "sequences": used, "each": dict(each)}
    for number in sorted(names, reverse=True):  # so that the tag of series 1 is not found in that of series 12
        cell["notes"] = cell.get("notes", "").replace(f"series {number}", names[number])
    return cell


def sampled(rows: pd.DataFrame, metric: str) -> list[dict[str, Any]]:
    """Each curve as log10 of its bpp at the multiples of GRID inside its range of quality, the mean over its seeds.

    `{"series", "sequence", "dataset", "first" (number of the first multiple), "log_rate": [..]}`; interpolated as
    BD-rate is, by a piecewise cubic Hermite over the points that cost fewer bits than all better ones.
    """
    rows = on_hull(rows.dropna(subset=[metric, "bpp"]), metric)
    rate, quality = (rows[name].to_numpy(dtype=np.float64) for name in ("bpp", metric))
    keys = zip(*(rows[name].tolist() for name in ("series", "dataset", "sequence")), strict=True)
    places: dict[tuple[Any, ...], dict[int, list[int]]] = {}
    for place, (key, seed) in enumerate(zip(keys, rows["seed"].tolist(), strict=True)):
        places.setdefault(key, {}).setdefault(seed, []).append(place)
    logs = np.log10(rate)
    parts = [seeds[seed] for seeds in places.values() for seed in sorted(seeds)]
    each = iter(_on_grid([_rising(logs[part], quality[part]) for part in parts], GRID[metric]))
    found = []
    for (series, dataset, sequence), seeds in places.items():
        curve = _mean_curve([next(each) for _ in seeds])
        if curve is None:
            continue
        first, values = curve
        place_of = {"series": int(series), "dataset": str(dataset), "sequence": str(sequence)}
        found.append(place_of | {"first": first, "log_rate": [round(value, 4) for value in values]})
    return found


def _rising(rate: Array, quality: Array) -> tuple[Array, Array]:
    """The points of a curve that cost fewer bits than all better ones, in order of the rate."""
    order = np.lexsort((-quality, rate))
    rate, quality = rate[order], quality[order]
    keep = np.r_[True, quality[1:] > np.maximum.accumulate(quality)[:-1]]
    return rate[keep], quality[keep]


def _on_grid(curves_: Sequence[tuple[Array, Array]], step: float) -> list[dict[int, float]]:
    """The rates of each curve (as log10) by the number of the multiple of `step`; of equally long ones in one call."""
    found: list[dict[int, float]] = [{} for _ in curves_]
    groups: dict[int, list[int]] = {}
    for place, (rate, _) in enumerate(curves_):
        groups.setdefault(rate.size, []).append(place)
    for size, places in groups.items():
        if size < 2:
            continue
        rates, qualities = (np.stack([curves_[place][side] for place in places]) for side in (0, 1))
        first, last = np.ceil(qualities[:, 0] / step), np.floor(qualities[:, -1] / step)
        counts = np.maximum(last - first + 1, 0).astype(int).tolist()
        numbers = first[:, None] + np.arange(max(counts))
        # A curve with fewer multiples repeats its last ones, and they are left out below.
        inside = np.clip(numbers * step, qualities[:, :1], qualities[:, -1:])
        values = values_at(qualities, rates, pchip_slopes(qualities, rates), inside).tolist()
        for place, start, count, own in zip(places, first.astype(int).tolist(), counts, values, strict=True):
            found[place] = dict(zip(range(start, start + count), own[:count], strict=True))
    return found


def _mean_curve(seeds: Sequence[Mapping[int, float]]) -> tuple[int, list[float]] | None:
    """The first number and the means over the seeds, where all of them have a value; None where they have none."""
    common = sorted(set.intersection(*(set(own) for own in seeds)))
    if not common:
        return None
    means = np.mean([[own[number] for number in common] for own in seeds], axis=0)
    return common[0], means.tolist()
