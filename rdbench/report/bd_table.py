"""The table of BD-rates: which series stands against which anchor, per sequence, or as means over common sequences."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean, median
from typing import Any

import pandas as pd

from ..errors import RdbenchError, UsageError, did_you_mean
from ..measure.bdrate import METHODS, NOT_REPORTABLE, BdResult
from ..measure.statistics import bootstrap_interval
from . import curves
from .bd_pairs import FORCE, Comparison, comparisons
from .published import AVERAGE
from .results import QUALITY

__all__ = ["FORCE", "MOST_SEQUENCE_COLUMNS", "NO_COMMON_SEQUENCE", "USED", "bd_table", "bd_tables"]

MOST_SEQUENCE_COLUMNS = 8
"""Largest number of sequences for which a table of means has a column for each sequence (our choice)."""
NO_COMMON_SEQUENCE = "No sequence has a BD-rate of every series"
"""Beginning of the note of a mean that does not exist."""
USED = (
    "series", "label", "name", "own_label", "own_name", "codec", "dataset", "sequence", "conditions", "seed",
    "rate_point", "frames", "clip_sha256", "status", "started", "source", "hull", "parameters", "bpp", *QUALITY,
)  # fmt: skip
"""The columns that comparisons depend on; a selection of rows copies no other ones."""


def bd_table(
    frame: pd.DataFrame,
    anchor: str,
    metric: str = "psnr_rgb",
    method: str = "pchip",
    per_sequence: bool = False,
    force_conditions: bool = False,
    codecs: str | None = None,
) -> pd.DataFrame:
    """BD-rate (percent) and BD-quality of each series against the anchor: per sequence, or means over sequences.

    All means of one dataset and conditions are over the sequences that every series of the table has; `codecs` chooses
    the series by the names of codecs or by labels. `low` and `high` are the ends of the 95 % interval; `spread` is the
    largest over the methods and `leave_one_out` the largest without one rate point, both in percentage points. Curves
    that papers published as averages are listed as `Average`, and enter no mean. Curves with several sizes and lambdas
    are compared by their upper convex hulls (`hull.py`), which their labels say. Raises UsageError for an unknown name
    and for an anchor that is several curves.
    """
    found, anchored = _found(frame, anchor, metric, method, force_conditions, codecs)
    if per_sequence:
        return _table([_sequence_row(comparison, method) for comparison in found])
    return _table(_means(found, method, anchored))


def bd_tables(
    frame: pd.DataFrame,
    anchor: str,
    metric: str = "psnr_rgb",
    method: str = "pchip",
    force_conditions: bool = False,
    codecs: str | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The table of means and the one per sequence of `bd_table`, in the time of one. Raises as it does."""
    found, anchored = _found(frame, anchor, metric, method, force_conditions, codecs)
    return _table(_means(found, method, anchored)), _table([_sequence_row(one, method) for one in found])


def _table(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    table = pd.DataFrame(rows)
    return table if table["conditions"].nunique() > 1 else table.drop(columns="conditions")


def _found(
    frame: pd.DataFrame, anchor: str, metric: str, method: str, force: bool, codecs: str | None
) -> tuple[list[Comparison], dict[str, list[str]]]:
    """All comparisons with the anchor, and the sequences of each dataset that it was measured on; see `bd_table`."""
    for what, name, known in (("metric", metric, QUALITY), ("method", method, METHODS)):
        if name not in known:
            raise UsageError(f"There is no {what} {name!r} in these results{did_you_mean(name, known)}")
    frame = curves.labeled(frame)
    frame = frame[[column for column in USED if column in frame]]
    anchors = curves.find(frame, anchor)
    if frame.loc[frame["series"].isin(anchors), "codec"].nunique() > 1:
        raise UsageError(f"The anchor {anchor} is more than one codec; name one.")
    if codecs is not None:
        frame = frame[frame["series"].isin([*anchors, *curves.find(frame, codecs)])]
    found = comparisons(frame, set(anchors), anchor, metric, force)
    if not found:
        raise RdbenchError(_nothing_shared(frame, anchors, anchor, metric))
    return found, _sequences(frame, anchors, metric)


def _nothing_shared(frame: pd.DataFrame, anchors: Sequence[int], anchor: str, metric: str) -> str:
    mine = frame[frame["series"].isin(anchors)]
    available = ", ".join(name for name in QUALITY if name in mine and mine[name].notna().any())
    return (
        f"No other codec shares a sequence and the metric {metric} with {anchor}; "
        f"{anchor} has {available or 'no quality at all'}."
    )


def _sequences(frame: pd.DataFrame, anchors: Sequence[int], metric: str) -> dict[str, list[str]]:
    """The sequences of each dataset that the anchor was measured on."""
    mine = frame[frame["series"].isin(anchors) & (frame["status"] == "ok") & frame[metric].notna()]
    mine = mine[mine["sequence"] != AVERAGE]
    return {str(dataset): sorted(set(group["sequence"])) for dataset, group in mine.groupby("dataset")}


def _sequence_row(comparison: Comparison, method: str) -> dict[str, Any]:
    """The row of one series on one sequence."""
    values, notes = _values([comparison], method)
    points = "{}/{}".format(*comparison.results[0].health.points) if comparison.results else ""
    row = {"codec": comparison.name, "dataset": comparison.dataset, "sequence": comparison.sequence}
    row |= {"conditions": comparison.conditions, **values, "points": points}
    return row | {"notes": " ".join(filter(None, (comparison.text, *notes)))}


def _values(part: Sequence[Comparison], method: str) -> tuple[dict[str, Any], list[str]]:
    """The numbers of one row, over sequences and seeds that all have a BD-rate by the method, and notes on them.

    Every column is over the same sequences and seeds: a method without a value at one of them is left empty.
    """
    used = {comparison.sequence: comparison.used(method) for comparison in part}
    used = {sequence: results for sequence, results in used.items() if results}
    rates = {sequence: _rates(results, method) for sequence, results in used.items()}
    columns = {name: [_rates(results, name) for results in used.values()] for name in METHODS}
    notes = [
        f"{name} has no value at one of the curves." for name in METHODS
        if name != method and len(used) and any(None in values for values in columns[name])
        and any(value is not None for values in columns[name] for value in values)
    ]  # fmt: skip
    known = {sequence: [value for value in values if value is not None] for sequence, values in rates.items()}
    interval = bootstrap_interval(known) if known else None
    if known and interval is None:
        notes.append(
            "A published average: no interval." if AVERAGE in known else "One seed on one sequence: no interval."
        )
    health = [result.health for results in used.values() for result in results]
    quality = [[result.quality[method] for result in results] for results in used.values()]
    row = {
        "bd_rate": _mean(list(rates.values())), "low": interval.low if interval else None,
        "high": interval.high if interval else None, "bd_quality": _mean(quality),
        **{name: _mean(values) for name, values in columns.items()}, "seeds": _seeds(part, method),
        "overlap": min((one.overlap for one in health), default=None), "spread": _most(one.spread for one in health),
        "leave_one_out": _most(one.leave_one_out for one in health),
    }  # fmt: skip
    return row, notes


def _rates(results: Sequence[BdResult], method: str) -> list[float | None]:
    return [result.rate[method] for result in results]


def _mean(values: Sequence[Sequence[float | None]]) -> float | None:
    """The mean over sequences of the means over seeds; None where one value is missing, or where there is none."""
    known = [[value for value in seeds if value is not None] for seeds in values]
    if not values or any(len(ours) < len(seeds) for ours, seeds in zip(known, values, strict=True)):
        return None
    return fmean(fmean(seeds) for seeds in known)


def _most(values: Iterable[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)


def _seeds(part: Sequence[Comparison], method: str) -> str:
    """How many seeds stand behind each sequence: `5`, `4/5` where one has no BD-rate, `1 to 3` where that differs."""
    counts = [(len(comparison.used(method)), len(comparison.results)) for comparison in part if comparison.results]
    texts = [f"{used}" if used == total else f"{used}/{total}" for used, total in counts]
    if len(set(texts)) <= 1:
        return texts[0] if texts else ""
    return f"{min(used for used, _ in counts)} to {max(used for used, _ in counts)}"


def _means(found: Sequence[Comparison], method: str, anchored: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
    """The mean rows; `anchored`: the anchor's sequences of each dataset."""
    groups: dict[tuple[str, bool, str], list[Comparison]] = {}
    for one in found:
        groups.setdefault((one.dataset, one.sequence == AVERAGE, one.conditions), []).append(one)
    names = sorted({one.sequence for one in found} - {AVERAGE})
    few = 1 < len(names) <= MOST_SEQUENCE_COLUMNS and len({one.dataset for one in found}) == 1
    rows = []
    for (dataset, average, _), group in groups.items():
        wanted = [AVERAGE] if average else list(anchored.get(dataset, []))
        rows += _group_rows(group, method, wanted, names if few else [])
    return sorted(rows, key=lambda row: (row["codec"], row["dataset"], row["sequence"], row["conditions"]))


def _group_rows(
    group: Sequence[Comparison], method: str, wanted: Sequence[str], shown: Sequence[str]
) -> list[dict[str, Any]]:
    """A row for each series of one dataset and conditions, all over the sequences that each of them has."""
    series: dict[int, dict[str, Comparison]] = {}
    for one in group:
        series.setdefault(one.series, {})[one.sequence] = one
    having = {
        number: {name for name, one in own.items() if one.used(method)} for number, own in series.items()
    }  # fmt: skip
    names = {number: next(iter(own.values())).name for number, own in series.items()}
    measured = {number: known for number, known in having.items() if known}
    common = sorted(set.intersection(*measured.values())) if measured else []
    lacking = {
        name: [names[number] for number, known in measured.items() if name not in known]
        for name in wanted if name not in common
    }  # fmt: skip
    return [
        _mean_row(own, method, [own[name] for name in common if name in own], wanted, shown, lacking)
        for own in series.values()
    ]


def _mean_row(
    own: Mapping[str, Comparison], method: str, used: Sequence[Comparison], wanted: Sequence[str],
    shown: Sequence[str], lacking: Mapping[str, Sequence[str]],
) -> dict[str, Any]:  # fmt: skip
    """The row of one series: the mean over the sequences in `used`; `lacking`: the other ones and who lacks them."""
    first = next(iter(own.values()))
    values, notes = _values(used, method)
    each = {name: _mean([_rates(one.used(method), method)]) if one.used(method) else None for name, one in own.items()}
    rates = [rate for one in used if (rate := each[one.sequence]) is not None]
    row: dict[str, Any] = {"codec": first.name, "dataset": first.dataset, "conditions": first.conditions}
    row |= {"sequence": AVERAGE if first.sequence == AVERAGE else "mean", "bd_rate": values.pop("bd_rate")}
    row |= {"low": values.pop("low"), "high": values.pop("high"), "median": median(rates) if rates else None}
    row |= {name: each.get(name) for name in shown}
    row |= {"bd_quality": values.pop("bd_quality"), **{name: values.pop(name) for name in METHODS}}
    row |= {"sequences": f"{len(rates)}/{len(wanted)}", **values}
    some = any(rate is not None for rate in each.values())
    if some and not rates:
        notes.append(f"{NO_COMMON_SEQUENCE}; choose some with --codecs, or see --per-sequence.")
    texts = (_left_out(lacking) if rates else "", _not_reportable(own, method), *notes, _summary(own, bool(rates)))
    return row | {"notes": " ".join(filter(None, texts))}


def _left_out(lacking: Mapping[str, Sequence[str]]) -> str:
    """A note that names the sequences which the mean leaves out, and the series that lack them."""
    if not lacking:
        return ""
    texts = [
        name + (f" ({', '.join(who)} {'lack' if len(who) > 1 else 'lacks'} it)" if who else "")
        for name, who in list(lacking.items())[:3]
    ]
    return f"Mean without {', '.join(texts)}{f' and {len(lacking) - 3} more' if len(lacking) > 3 else ''}."


def _not_reportable(own: Mapping[str, Comparison], method: str) -> str:
    """A note that names the sequences whose BD-rate is not reportable; a single one's own note says why."""
    names = [
        name for name, one in own.items()
        if any((result.reason or "").startswith(NOT_REPORTABLE) for result in one.results)
    ]  # fmt: skip
    return f"{NOT_REPORTABLE} on {', '.join(names)}." if names and len(own) > 1 else ""


def _summary(own: Mapping[str, Comparison], used: bool) -> str:
    """The note where there is only one, else the number of sequences that have notes."""
    texts = [one.text for one in own.values() if one.text]
    if len(own) == 1 or len(set(texts)) == 1:
        return texts[0] if texts else ""
    return f"{len(texts)} sequences have notes; see --per-sequence." if texts else ""
