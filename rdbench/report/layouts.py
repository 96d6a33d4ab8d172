"""Tables of BD-rates as people look at them: codecs x sequences, and what cannot be compared as a count."""

import re
from dataclasses import dataclass
from typing import Any

import pandas as pd

from ..errors import UsageError, did_you_mean
from .bd_table import FORCE, bd_table, bd_tables
from .cells import Rate
from .heads import head
from .selection import sort
from .tables import DATA_FORMATS, gap, render

LAYOUTS = ("rows", "sequences")
_SEEN = re.compile(
    r" ?(?:[0-9]+ sequences have notes; see --per-sequence|One seed on one sequence: no interval"
    r"|A published average: no interval)\."
)
"""Notes that say nothing beside the columns of the sequences: a reader sees that a cell has no interval."""


@dataclass(frozen=True)
class Comparison:
    """What `bd_table` compares, and how."""

    anchor: str
    metric: str = "psnr_rgb"
    method: str = "pchip"
    per_sequence: bool = False
    force_conditions: bool = False
    codecs: str | None = None

    @property
    def sentence(self) -> str:
        """What the numbers of a table without heads of its own are."""
        how = f"{head(self.metric)}, {self.method}"
        return f"BD-rate in percent against {self.anchor} ({how}); in brackets 95 % intervals."

    def table(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The table of BD-rates, per sequence or of means."""
        return bd_table(
            frame, self.anchor, self.metric, self.method, self.per_sequence, self.force_conditions, self.codecs
        )  # fmt: skip

    def tables(self, frame: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
        """The tables of means and per sequence."""
        return bd_tables(frame, self.anchor, self.metric, self.method, self.force_conditions, self.codecs)


def printed(
    frame: pd.DataFrame, comparison: Comparison, layout: str, format: str, order: str | None, verbose: bool
) -> str:
    """The BD-rates of labeled records as text in a layout, sorted by the column `order`. Raises UsageError.

    What cannot be compared is a count for people unless `verbose`; programs (csv, json) get all rows.
    """
    if layout not in LAYOUTS:
        raise UsageError(f"There is no layout {layout!r}{did_you_mean(layout, LAYOUTS)}")
    whole = verbose or format in DATA_FORMATS
    means, table = comparison.tables(frame) if layout == "sequences" else (None, comparison.table(frame))
    shown, line = (table, None) if whole else comparable(table)
    if means is not None:
        if line is not None:
            means = means[~means["notes"].str.contains(FORCE, regex=False)]
        shown = by_sequence(shown, means)
    if order is not None:
        shown = sort(shown, order).reset_index(drop=True)
    below = [comparison.sentence] if layout == "sequences" else []
    text = render(shown, format, below)
    if line is None:
        return text
    return f"{text}\n{'% ' if format == 'latex' else ''}{line}"


def by_sequence(each: pd.DataFrame, means: pd.DataFrame) -> pd.DataFrame:
    """A row for each series and a column for each sequence and each dataset's mean, of `Rate`s with their intervals.

    `each` is the table per sequence and `means` the one of means, both of `bd_table`.
    """
    rows = pd.concat([each.assign(last=False), means.assign(last=True)], ignore_index=True)
    rows = rows.sort_values(["dataset", "last", "sequence"], kind="stable")
    several = rows["dataset"].nunique() > 1
    # A mean that is a published average stands in both tables
    rows = rows.drop_duplicates([*_names(rows), "dataset", "sequence"])
    places = rows["dataset"] + ": " + rows["sequence"] if several else rows["sequence"]
    rates = [_rate(row) for row in rows.to_dict("records")]
    found: dict[tuple[str, ...], dict[str, Any]] = {}
    names = _names(rows)
    for name, place, rate in zip(rows[names].itertuples(index=False), places, rates, strict=True):
        found.setdefault(tuple(map(str, name)), {})[str(place)] = rate
    columns = list(dict.fromkeys(map(str, places)))
    values = [
        [*name, *(own.get(column, Rate(None)) for column in columns)] for name, own in sorted(found.items())
    ]  # fmt: skip
    return pd.DataFrame(values, columns=[*names, *columns])


def _names(rows: pd.DataFrame) -> list[str]:
    return ["codec", "conditions"] if "conditions" in rows else ["codec"]


def _rate(row: dict[Any, Any]) -> Rate:
    value, low, high = (None if pd.isna(row[name]) else float(row[name]) for name in ("bd_rate", "low", "high"))
    notes = _SEEN.sub("", str(row["notes"])).strip()
    return Rate(value, low, high, "" if value is not None else gap(notes), notes)


def comparable(table: pd.DataFrame) -> tuple[pd.DataFrame, str | None]:
    """The rows that can be compared with the anchor, and a line on how many cannot: they have other test conditions.

    All rows stay where none can be compared.
    """
    apart = table["notes"].str.contains(FORCE, regex=False) & table["bd_rate"].isna()
    if not apart.any() or apart.all():
        return table, None
    count = int(apart.sum())
    line = (
        f"{count} more comparison{' is' if count == 1 else 's are'} not possible: other conditions, frames or "
        "clips than the anchor's; --verbose lists them, --force-conditions compares them."
    )
    return table[~apart].reset_index(drop=True), line
