"""Colors and markers of figures are those of the page."""

import re
from pathlib import Path

from report.synthetic import frames, new

from rdbench.report import page, palette
from rdbench.report.curves import labeled
from rdbench.report.styles import COLORS, MARKERS, line_styles

ASSETS = Path(page.__file__).parent / "assets"


def test_colors_are_those_of_the_style_sheet_and_markers_as_many() -> None:
    light = (ASSETS / "page.css").read_text().split("}")[0]
    assert tuple(re.findall(r"--c[0-9]: (#[0-9a-f]{6})", light)) == COLORS
    assert (len(COLORS), len(MARKERS)) == (palette.COLORS, palette.MARKERS)
    assert len(set(COLORS)) == len(COLORS)


def test_series_of_one_codec_share_a_color_and_differ_in_marker() -> None:
    found = line_styles(
        labeled(frames(new("x265", preset="fast"), new("x265", preset="slow"), new("nerv"))), ("nerv", "x265")
    )
    fast, slow = found["x265, preset fast"], found["x265, preset slow"]
    assert fast.color == slow.color == COLORS[1]
    assert fast.marker != slow.marker
    assert found["nerv"].color == COLORS[0]
