"""The lines of a plot's panels: means over seeds, and over sequences that all series of a panel have."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from ..errors import UsageError
from . import curves
from .heads import head
from .hull import upper_hull
from .published import AVERAGE

MOST_NAMES = 3
"""Largest number of sequences that a title names one by one (our choice)."""
TITLE_LETTERS = 52
"""A panel is about as wide as this many letters of its title."""


@dataclass(frozen=True)
class Line:
    """One series in one panel. `points` has the columns x, mean, low and high (of the seeds), in order of x."""

    label: str
    points: pd.DataFrame
    seeds: int = 1
    source: str = ""
    """Where a published curve is from; empty for our own."""


@dataclass(frozen=True)
class Panel:
    """One panel: its title, the sequences that each line is the mean of, its metric, notes on what it does not show."""

    title: str
    sequences: tuple[str, ...]
    metric: str
    lines: list[Line] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def sequence_panel(rows: pd.DataFrame, x: str, metric: str) -> Panel:
    """The panel of one sequence."""
    dataset, sequence = str(rows["dataset"].iloc[0]), str(rows["sequence"].iloc[0])
    title = f"{dataset}: {sequence}"
    return _fill(Panel(title, (sequence,), metric), _usable(rows, x, metric))


def mean_panel(rows: pd.DataFrame, x: str, metric: str) -> Panel:
    """The panel of one dataset: every line is the mean over the sequences that all series have.

    Where some series have several sequences, one that has a single sequence has no mean: a note names it. Curves
    published as averages stay as they are where their series has nothing else. Raises UsageError where the series have
    no sequence in common.
    """
    dataset = str(rows["dataset"].iloc[0])
    usable = _usable(rows, x, metric)
    named = usable[usable["sequence"] != AVERAGE]
    having = {str(label): set(part["sequence"]) for label, part in named.groupby("label", sort=False)}
    most = max(map(len, having.values()), default=0)
    single = {label: next(iter(names)) for label, names in having.items() if len(names) == 1 < most}
    kept = {label: names for label, names in having.items() if label not in single}
    common = _common(kept, dataset)
    title = dataset + _extent(common, set().union(*kept.values()))
    notes = [f"{label} has {name} alone, so no mean; --per-sequence shows it." for label, name in single.items()]
    panel = Panel(textwrap.fill(title, TITLE_LETTERS), tuple(sorted(common)), metric, notes=notes)
    mine = named[named["sequence"].isin(common) & named["label"].isin(list(kept))]
    averages = usable[(usable["sequence"] == AVERAGE) & ~usable["label"].isin(list(kept))]
    return _fill(_fill(panel, mine), averages)


def _common(having: Mapping[str, set[str]], dataset: str) -> set[str]:
    """The sequences that all series have. Raises UsageError where there is none."""
    common = set.intersection(*having.values()) if having else set()
    if having and not common:
        poorest = min(having, key=lambda label: len(having[label]))
        raise UsageError(
            f"The curves of {', '.join(having)} on {dataset} have no sequence in common ({poorest} has the fewest), "
            "so they have no mean; use --per-sequence, or choose some with --codecs."
        )
    return common


def _usable(rows: pd.DataFrame, x: str, metric: str) -> pd.DataFrame:
    """The latest rows that have both values, with the columns `x` and `quality` as numbers; hulls only over bits."""
    chosen = {"hull": rows["hull"] & (x == "bpp")} if "hull" in rows else {}
    values = rows.assign(x=pd.to_numeric(rows[x]), quality=pd.to_numeric(rows[metric]), **chosen)
    return curves.latest(values.dropna(subset=["x", "quality"]))[0]


def _extent(common: set[str], known: set[str]) -> str:
    """What the title says of the sequences: how many the means are of, and which are left out."""
    missing = sorted(known - common)
    if not missing:
        return f" (mean of {len(common)} sequences)" if len(common) > 1 else ""
    names = ", ".join(missing[:MOST_NAMES])
    more = f" and {len(missing) - MOST_NAMES} more" if len(missing) > MOST_NAMES else ""
    of = f"mean of {len(common)} of {len(known)} sequences" if len(common) > 1 else f"{next(iter(common))} alone"
    return f" ({of}, without {names}{more}, which not all curves have)"


def _fill(panel: Panel, rows: pd.DataFrame) -> Panel:
    """The panel with a line for each series of the rows; a series that has none is named in a note.

    A line is over all sequences of its rows, the seeds that all of these have, and the rate points that all of these
    curves have; where it is a hull, of these means. All series are averaged in one pass, since a group costs pandas
    more than the sums in it.
    """
    if rows.empty:
        return panel
    rows = rows.assign(point=_points(rows))
    sequences = rows.groupby("label")["sequence"].transform("nunique")
    kept = rows[rows.groupby(["label", "seed"])["sequence"].transform("nunique") == sequences]
    seeds = kept.groupby("label")["seed"].nunique()
    wanted = sequences[kept.index] * kept["label"].map(seeds)
    whole = kept.groupby(["label", "point"])["quality"].transform("size") == wanted
    means = kept[whole].groupby(["label", "seed", "point"])[["x", "quality"]].mean()
    points = means.groupby(["label", "point"]).agg(
        x=("x", "mean"), mean=("quality", "mean"), low=("quality", "min"), high=("quality", "max")
    )
    lines = {label: own.sort_values("x").reset_index(drop=True) for label, own in points.groupby("label")}
    hulls = set(rows["label"][rows["hull"]]) if "hull" in rows else set()
    lacking = set(rows["label"][~rows.index.isin(kept.index[whole])])
    sources = dict(reversed(list(zip(rows["label"], rows.get("source", rows["label"]), strict=True))))
    published = set(rows["label"][curves.published(rows)])
    for label in rows["label"].unique():
        own = rows[rows["label"] == label] if label in lacking else rows[:0]
        if label not in lines:
            panel.notes.append(
                f"{label} is not shown: no rate point has all of its "
                f"{_of(own['sequence'].nunique(), own['seed'].nunique())}."
            )
            continue
        source = str(sources[label]) if label in published else ""
        own_points, note = _hull(str(label), lines[label], panel.metric) if label in hulls else (lines[label], "")
        panel.lines.append(Line(str(label), own_points, int(seeds[label]), source))
        panel.notes.extend([note] if note else [])
        if label in lacking:
            mine = kept[kept["label"] == label]
            note = _lacking(str(label), mine[~whole[mine.index]], sorted(set(own["seed"]) - set(mine["seed"])))
            panel.notes.extend([note] if note else [])
    return panel


def _hull(label: str, points: pd.DataFrame, metric: str) -> tuple[pd.DataFrame, str]:
    """The points on the upper convex hull, and a note that says how many there are."""
    places = upper_hull(points["x"].tolist(), points["mean"].tolist())
    quality = head(metric).removesuffix(" (dB)")
    note = f"{label}: {len(places)} of {len(points)} rate points are on the hull of {quality} over sizes and lambdas."
    return points.iloc[places].reset_index(drop=True), note


def pareto(lines: Sequence[Line]) -> pd.DataFrame:
    """The points of all lines that no other one beats: none has as much quality at a smaller x. In order of x."""
    points = pd.concat([line.points[["x", "mean"]] for line in lines], ignore_index=True)
    points = points.sort_values(["x", "mean"], ascending=[True, False], kind="stable")
    best = points["mean"].astype(float).cummax().shift(fill_value=-math.inf)
    return points[points["mean"] > best].reset_index(drop=True)


def seeds_note(lines: Sequence[Line]) -> list[str]:
    """The note on lines that are means over seeds; none where there are none."""
    counts = {line.label: line.seeds for line in lines if line.seeds > 1}
    if not counts:
        return []
    texts = ", ".join(f"{label}: {count}" for label, count in counts.items())
    return [f"Lines are means over seeds ({texts}); bands reach from the lowest to the highest seed."]


def _points(rows: pd.DataFrame) -> "pd.Series[str]":
    """The labels of the rate points; a published one that a curve has twice gets a number."""
    again = rows.groupby([*curves.CURVE, "rate_point"]).cumcount()
    return rows["rate_point"].astype(str) + again.map(lambda count: f" ({count})" if count else "")


def _of(sequences: int, seeds: int) -> str:
    texts = [f"{count} {name}" for count, name in ((sequences, "sequences"), (seeds, "seeds")) if count > 1]
    return " and ".join(texts)


def _lacking(label: str, rows: pd.DataFrame, seeds: Sequence[int]) -> str:
    """A note that names the rate points and the seeds which a line leaves out."""
    points = list(dict.fromkeys(rows["rate_point"].astype(str)))
    parts = [
        f"{what} {', '.join(map(str, names))}" for what, names in (("rate points", points), ("seeds", seeds)) if names
    ]
    return f"{label} is without {' and '.join(parts)}, which not all of its curves have." if parts else ""
