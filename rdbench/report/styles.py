"""The color and the marker of each series in figures: those that `palette.py` decides by the codec's name, everywhere.

`COLORS` are the ones of the page's light style sheet, which tell apart for color-blind readers, and `MARKERS` the
shapes that the page draws, in the same order.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from . import palette

COLORS = (
    "#0072b2", "#d55e00", "#00855f", "#b0489a", "#b98200", "#3a9bd5", "#7d2a52", "#55595f", "#3d7a1f", "#4b3fa8",
)  # fmt: skip
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")


@dataclass(frozen=True)
class LineStyle:
    """How the line of a series looks: its color as #rrggbb, and its marker by matplotlib's letter."""

    color: str
    marker: str


def line_styles(frame: pd.DataFrame, known: Sequence[str] = ()) -> Mapping[str, LineStyle]:
    """The style of each label of a labeled frame; `known`: the names of all codecs that can be run, in their order."""
    each = frame.drop_duplicates("label").sort_values("series")
    found = palette.styles([str(codec) for codec in each["codec"]], known)
    return {
        str(label): LineStyle(COLORS[one.color], MARKERS[one.marker])
        for label, one in zip(each["label"], found, strict=True)
    }
