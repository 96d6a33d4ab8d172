"""Tables: the columns of rate points, and rendering."""

import csv
import io
import json
from typing import Any

import pandas as pd
import pytest
from report.synthetic import frames, new
from report.synthetic import old as curve

from rdbench.errors import UsageError
from rdbench.report.curves import labeled
from rdbench.report.tables import FORMATS, bd_table, only, rd_table, render, results_table


@pytest.fixture
def three() -> pd.DataFrame:
    tests = [curve("new", name, factor) for name, factor in (("A", 0.5), ("B", 0.9), ("C", 0.8))]
    return frames(*(curve("x265", name) for name in "ABC"), *tests)


def test_wrong_names_are_refused(three: pd.DataFrame) -> None:
    with pytest.raises(UsageError, match="did you mean uvg"):
        only(three, "uvgg")
    with pytest.raises(UsageError, match="did you mean csv"):
        render(three, "cvs")


def test_nothing_is_rendered_as_nan_or_zero() -> None:
    table = bd_table(frames(curve("x265", "A"), curve("new", "A", lift=30)), "x265")
    for name in FORMATS:
        text = render(table, name)
        assert "nan" not in text.lower()
        assert "x265" not in text
    assert "not comparable" in render(table, "table")
    assert json.loads(render(table, "json"))[0]["bd_rate"] is None
    assert next(csv.DictReader(io.StringIO(render(table, "csv"))))["bd_rate"] == ""
    assert render(table, "markdown").startswith("| codec")
    assert "\\toprule" in render(table, "latex")


def test_rd_table_is_sorted_and_without_empty_columns(three: pd.DataFrame) -> None:
    table = rd_table(three)
    assert "vmaf" not in table
    assert table["sequence"].tolist() == sorted(table["sequence"])
    assert table["bpp"].tolist()[:4] == [0.05, 0.1, 0.2, 0.4]
    assert "0.0500" in render(table, "table")


def test_a_terminal_gets_notes_below_the_table_and_others_in_their_column(three: pd.DataFrame) -> None:
    short = bd_table(frames(curve("x265", "A"), curve("new", "A", 0.1, frames=4)), "x265")
    text = render(short, "table").splitlines()
    assert text[2].split()[-1] == "1"
    assert text[3].startswith("1: Numbers of frames differ")
    assert "Numbers of frames differ" in render(short, "csv").splitlines()[1]
    assert len(render(bd_table(three, "x265"), "table").splitlines()) == 3


def test_a_missing_bd_rate_says_whether_it_is_not_reportable_or_not_comparable() -> None:
    frame = frames(curve("x265"), curve("little", lift=8.5), curve("none", lift=30))
    table = bd_table(frame, "x265", per_sequence=True)
    texts = {line.split("|")[1].strip(): line for line in render(table, "markdown").splitlines()[2:]}
    assert "not reportable" in texts["little"]
    assert "not comparable" in texts["none"]
    assert [row["bd_rate"] for row in json.loads(render(table, "json"))] == [None, None]
    means = bd_table(frames(frame, curve("x265", "B"), curve("little", "B", lift=8.5)), "x265", codecs="little")
    assert "not reportable" in render(means, "table")


def test_a_mean_without_a_common_sequence_says_so() -> None:
    frame = frames(curve("x265", "A"), curve("x265", "B"), curve("a", "A", 0.9), curve("b", "B", 0.9))
    assert render(bd_table(frame, "x265"), "table").count("no common sequence") == 2


def test_rd_table_shows_what_separates_curves_where_it_differs(three: pd.DataFrame) -> None:
    separating = {"preset", "settings", "version", "device", "conditions", "frames", "seed"}
    assert not separating & set(rd_table(three))
    mixed = frames(new("nerv", preset="quick"), new("nerv", seed=1), new("x265", frames=4))
    table = rd_table(mixed)
    assert list(table.columns[:4]) == ["codec", "preset", "frames", "seed"]
    assert table[["codec", "preset", "frames", "seed"]].drop_duplicates().values.tolist() == [
        ["nerv", "", 8, 1], ["nerv", "quick", 8, 0], ["x265", "", 4, 0],
    ]  # fmt: skip


def test_columns_are_the_usual_ones_the_ones_named_or_all() -> None:
    frame = frames(new("nerv"), new("x265"))
    own = list(frame.columns)
    records = labeled(frame)

    def columns(format: str = "table", **options: Any) -> list[str]:
        return list(results_table(records, format, own, **options).columns)

    for name in ("table", "markdown", "latex"):
        assert columns(name) == ["codec", "dataset", "sequence", "rate_point", "bpp", "psnr_rgb"]
        assert columns(name, everything=True) == own
        assert columns(name, columns="bpp, codec,bpp") == ["bpp", "codec"]
    for name in ("csv", "json"):
        assert columns(name) == own
    with pytest.raises(UsageError, match="did you mean psnr_rgb"):
        columns(columns="psnr_rbg")
    with pytest.raises(UsageError, match="--columns chooses"):
        columns(columns="bpp", everything=True)
    with pytest.raises(UsageError, match="names no column"):
        columns(columns=" ,")


def test_the_status_is_shown_where_something_failed() -> None:
    frame = frames(new("nerv"), new("x265", status="failed"))
    assert rd_table(frame)["status"].tolist() == ["ok"] * 4 + ["failed"] * 4


def test_numbers_are_aligned_by_their_point() -> None:
    frame = frames(new("nerv", kbps=9.5), new("x265", kbps=12345.0))
    lines = render(rd_table(frame)[["codec", "kbps"]], "table").splitlines()[2:]
    assert {line.index(".") for line in lines} == {lines[0].index(".")}
    assert render(rd_table(frame)[["kbps"]], "markdown").splitlines()[1].replace("-", "") == "| : |"


def test_markdown_has_units_the_best_in_bold_and_keeps_bars() -> None:
    frame = frames(new("x265"), new("a|b", factor=0.5), new("c", factor=0.9))
    text = render(bd_table(frame, "x265"), "markdown")
    assert "BD-rate (%)" in text.splitlines()[0]
    assert "**-50.00**" in text
    assert "**-10.00**" not in text
    assert "a\\|b" in text
