"""Choosing, naming and sorting results."""

import pandas as pd
import pytest
from report.synthetic import frames, new

from rdbench.errors import UsageError
from rdbench.report.bd_table import bd_table
from rdbench.report.curves import find, labeled
from rdbench.report.selection import Selection, relabeled, select, sort
from rdbench.report.tables import rd_table

RECORDS = frames(
    new("x265", preset="fast"), new("x265", preset="slow", lift=1.0), new("nerv", "B", lift=2.0), new("nerv")
)


def test_everything_together() -> None:
    chosen = select(
        RECORDS,
        Selection(codecs="x265", where="bpp > 0.1", labels=("x265, preset fast=x265 fast",), sort="-psnr_rgb"),
    )
    assert chosen["label"].tolist() == ["x265, preset slow", "x265 fast"] * 3
    assert chosen["psnr_rgb"].tolist() == [40, 39, 37, 36, 34, 33]


def test_a_series_keeps_its_label_whatever_else_is_chosen() -> None:
    assert set(select(RECORDS, Selection(where='preset == "fast"'))["label"]) == {"x265, preset fast"}


def test_a_new_label_and_the_old_one_both_find_the_series() -> None:
    frame = relabeled(labeled(RECORDS), "x265, preset fast=quick = short")
    assert find(frame, "quick = short") == find(frame, "x265, preset fast") != find(frame, "nerv")
    assert set(bd_table(frame, "quick = short")["codec"]) == {"x265, preset slow", "nerv"}
    assert "quick = short" in set(rd_table(frame)["codec"])


def test_a_name_with_an_equals_sign_is_read_whole() -> None:
    frame = labeled(frames(new("x265[preset=fast]"), new("nerv")))
    assert set(relabeled(frame, "x265[preset=fast]=x265 fast")["label"]) == {"x265 fast", "nerv"}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("x265=one", "means 2 series"),
        ("x256=one", "no codec 'x256'"),
        ("nerv=x265, preset fast", "Two series would have the label"),
        ("nerv", "no label=new label"),
        ("nerv=", "no label=new label"),
    ],
)
def test_wrong_labels_are_refused(given: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        relabeled(labeled(RECORDS), given)


def test_sorting_numbers_and_texts_with_missing_values_last() -> None:
    frame = pd.DataFrame({"n": [10, None, 9], "t": ["b", None, "a"], "d": [{}, {}, {}]})
    assert sort(frame, "n").index.tolist() == [2, 0, 1]
    assert sort(frame, "-n").index.tolist() == [0, 2, 1]
    assert sort(frame, "t").index.tolist() == [2, 0, 1]
    with pytest.raises(UsageError, match="no column 'm'"):
        sort(frame, "m")
    with pytest.raises(UsageError, match="several values"):
        sort(frame, "d")
