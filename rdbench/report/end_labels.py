"""Labels beside a panel, each at the height of its curve's end: a reader need not look up a legend."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from .lines import Line
from .styles import LineStyle

MOST_LINES = 6
"""Largest number of lines of a panel that get direct labels (our choice)."""
LARGEST_SHARE = 0.36
"""Largest share of a panel's width that its labels may take (our choice)."""
_LETTER = 0.58
"""Width of a letter of the usual fonts, as a share of its size, on average."""
_LINE = 1.25
"""Height of a line of text, as a multiple of the letters' size."""


def room(lines: Sequence[Line], width: float, letters: float) -> bool:
    """Whether the lines of a panel, `width` inches wide, are few enough, and their labels short enough."""
    longest = max((len(line.label) for line in lines), default=0)
    return len(lines) <= MOST_LINES and longest * _LETTER * letters / 72 <= LARGEST_SHARE * width


def add(axis: Any, lines: Sequence[Line], styles: Mapping[str, LineStyle], height: float, letters: float) -> None:
    """Writes the labels right of the axes, `height` inches high, each with a thin line to its curve's last point."""
    ends = [(line, end) for line in lines if (end := _end(axis, line.points)) is not None]
    ends.sort(key=lambda pair: pair[1][1])
    heights = spread([share for _, (_, share, _, _) in ends], _LINE * letters / 72 / height)
    for (line, (_, _, x, y)), at in zip(ends, heights, strict=True):
        color = styles[line.label].color
        axis.annotate(
            line.label, xy=(x, y), xytext=(1.03, at), textcoords="axes fraction", color=color, fontsize=letters,
            va="center", ha="left", annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": color, "linewidth": 0.5, "alpha": 0.6, "shrinkA": 0, "shrinkB": 3,
                        "relpos": (0, 0.5)},
        )  # fmt: skip


def _end(axis: Any, points: pd.DataFrame) -> tuple[float, float, float, float] | None:
    """The last point inside the limits: as shares of the axes, and as data. None where all are outside."""
    for x, y in zip(reversed(points["x"].tolist()), reversed(points["mean"].tolist()), strict=True):
        across, up = axis.transLimits.transform(axis.transScale.transform((x, y)))
        if 0 <= across <= 1 and 0 <= up <= 1:
            return float(across), float(up), x, y
    return None


def spread(wanted: Sequence[float], gap: float) -> list[float]:
    """Heights from 0 to 1 at least `gap` apart, near the wanted ones, which are in ascending order.

    Where 1 has no room for all, they stand closer.
    """
    if not wanted:
        return []
    gap = min(gap, 1 / len(wanted))
    found = list(wanted)
    for place in range(1, len(found)):
        found[place] = max(found[place], found[place - 1] + gap)
    found[-1] = min(found[-1], 1.0)
    for place in range(len(found) - 2, -1, -1):
        found[place] = min(found[place], found[place + 1] - gap)
    return found
