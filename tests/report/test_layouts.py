"""BD-rates by sequence, and what cannot be compared."""

import csv
import io

import pytest
from report.synthetic import frames, new

from rdbench.errors import UsageError
from rdbench.report.curves import labeled
from rdbench.report.layouts import Comparison, printed

RECORDS = labeled(frames(
    new("x265"), new("x265", "B"), new("nerv", factor=0.5), new("nerv", "B", 0.75), new("near", factor=0.9),
    new("late", conditions="rgb709/2b"), new("late", "B", conditions="rgb709/2b"),
))  # fmt: skip


def text(layout: str = "sequences", format: str = "table", order: str | None = None, verbose: bool = False) -> str:
    return printed(RECORDS, Comparison("x265"), layout, format, order, verbose)


def test_codecs_stand_in_rows_and_sequences_in_columns_with_intervals() -> None:
    lines = text().splitlines()
    assert lines[0].split() == ["codec", "conditions", "A", "B", "mean"]
    assert lines[2].split()[:3] == ["near", "rgb601/1a", "-10.0"]
    assert lines[2].index(".0") == lines[3].index(".0")
    assert "BD-rate in percent against x265 (PSNR RGB (dB), pchip); in brackets 95 % intervals." in lines
    alone = printed(RECORDS, Comparison("x265", codecs="nerv"), "sequences", "table", None, verbose=False)
    assert "-37.5 [" in alone


def test_incomparable_rows_are_a_count_and_a_list_when_asked() -> None:
    for layout in ("rows", "sequences"):
        assert "late" not in text(layout)
        assert "not possible: other conditions" in text(layout)
        assert "late" in text(layout, verbose=True)
        assert "not possible" not in text(layout, verbose=True)
        assert "late" in text(layout, "csv")
    assert text("rows", "latex").splitlines()[-1].startswith("% 1 more comparison is not possible")


def test_where_nothing_can_be_compared_all_rows_stay() -> None:
    only = RECORDS[RECORDS["codec"] != "nerv"]
    only = only[only["codec"] != "near"]
    assert "late" in printed(only, Comparison("x265"), "rows", "table", None, verbose=False)


def test_programs_get_a_column_for_each_number() -> None:
    rows = {row["codec"]: row for row in csv.DictReader(io.StringIO(text(format="csv")))}
    assert float(rows["nerv"]["A"]) == pytest.approx(-50)
    assert float(rows["nerv"]["B"]) == pytest.approx(-25)
    assert rows["near"]["B"] == ""
    assert {"mean", "mean low", "mean high", "mean notes"} <= set(rows["nerv"])


def test_rows_are_sorted_by_a_column() -> None:
    codecs = [line.split()[0] for line in text(order="-A").splitlines()[2:4]]
    assert codecs == ["near", "nerv"]
    assert [line.split()[0] for line in text("rows", order="bd_rate").splitlines()[2:4]] == ["nerv", "near"]


def test_an_unknown_layout_is_refused() -> None:
    with pytest.raises(UsageError, match="did you mean sequences"):
        text("sequence")
