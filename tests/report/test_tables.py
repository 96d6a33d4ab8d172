"""Tables: which curves are compared, means over sequences, and rendering."""

import csv
import io
import json
from typing import Any

import pandas as pd
import pytest

from rdbench.errors import RdbenchError, UsageError
from rdbench.report.results import COLUMNS
from rdbench.report.tables import FORMATS, bd_table, only, rd_table, render

RATE, QUALITY = (0.1, 0.2, 0.4, 0.8), (30.0, 33.0, 36.0, 39.0)
LIKE: dict[str, Any] = {"dataset": "uvg", "conditions": "rgb601/1a", "frames": 8, "status": "ok", "width": 160}


def curve(codec: str, sequence: str, factor: float = 1.0, lift: float = 0.0, **changes: Any) -> pd.DataFrame:
    """Four points with `factor` times the bits and `lift` dB more than the anchor's."""
    rows = [
        LIKE
        | {"codec": codec, "sequence": sequence, "rate_point": f"p{i}", "bpp": r * factor, "psnr_rgb": q + lift}
        | changes
        for i, (r, q) in enumerate(zip(RATE, QUALITY, strict=True))
    ]  # fmt: skip
    return pd.DataFrame(rows).reindex(columns=list(COLUMNS))


def frames(*parts: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([part.astype(object) for part in parts], ignore_index=True)


@pytest.fixture
def three() -> pd.DataFrame:
    tests = [curve("new", name, factor) for name, factor in (("A", 0.5), ("B", 0.9), ("C", 0.8))]
    return frames(*(curve("x265", name) for name in "ABC"), *tests)


def test_mean_and_median_of_the_sequences(three: pd.DataFrame) -> None:
    table = bd_table(three, "x265")
    assert len(table) == 1
    row = table.iloc[0]
    assert row["bd_rate"] == pytest.approx((-50 - 10 - 20) / 3)
    assert row["median"] == pytest.approx(-20)
    assert [row[name] for name in "ABC"] == pytest.approx([-50, -10, -20])
    assert [row[method] for method in ("pchip", "akima", "cubic")] == pytest.approx([-80 / 3] * 3)
    assert (row["sequences"], row["notes"]) == ("3/3", "")
    assert row["bd_quality"] > 0


def test_per_sequence(three: pd.DataFrame) -> None:
    table = bd_table(three, "x265", per_sequence=True)
    assert dict(zip(table["sequence"], table["bd_rate"], strict=True)) == pytest.approx({"A": -50, "B": -10, "C": -20})
    assert set(table["points"]) == {"4/4"}


def test_published_averages_enter_no_mean(three: pd.DataFrame) -> None:
    table = bd_table(frames(three, curve("x265", "Average"), curve("new", "Average", 2.0)), "x265")
    values = dict(zip(table["sequence"], table["bd_rate"], strict=True))
    assert values == pytest.approx({"Average": 100.0, "mean": -80 / 3})


def test_other_conditions_are_refused_unless_forced() -> None:
    frame = frames(curve("x265", "A"), curve("new", "A", 0.5, conditions="rgb709/2b"))
    row = bd_table(frame, "x265").iloc[0]
    assert pd.isna(row["bd_rate"])
    assert "Conditions differ (rgb709/2b, anchor rgb601/1a)" in row["notes"]
    forced = bd_table(frame, "x265", force_conditions=True).iloc[0]
    assert forced["bd_rate"] == pytest.approx(-50)
    assert "Conditions differ" in forced["notes"]


def test_each_conditions_has_its_own_mean() -> None:
    """Anchor and test measured twice: like with like, two rows, nothing mixed."""
    parts = [curve(codec, "A", factor, conditions=conditions) for codec, conditions, factor in (
        ("x265", "rgb601/1a", 1.0), ("new", "rgb601/1a", 0.5), ("x265", "rgb709/2b", 1.0), ("new", "rgb709/2b", 0.8),
    )]  # fmt: skip
    table = bd_table(frames(*parts), "x265")
    values = dict(zip(table["conditions"], table["bd_rate"], strict=True))
    assert values == pytest.approx({"rgb601/1a": -50, "rgb709/2b": -20})


def test_other_numbers_of_frames_are_refused_and_never_mixed() -> None:
    short = curve("new", "A", 0.1, frames=4)
    row = bd_table(frames(curve("x265", "A"), short), "x265").iloc[0]
    assert pd.isna(row["bd_rate"])
    assert "Numbers of frames differ (4, anchor 8)" in row["notes"]
    row = bd_table(frames(curve("x265", "A"), short, curve("new", "A", 0.5)), "x265").iloc[0]
    assert row["bd_rate"] == pytest.approx(-50)


def test_a_mean_over_part_of_the_sequences_says_so(three: pd.DataFrame) -> None:
    disjoint = three["codec"].eq("new") & three["sequence"].eq("B")
    moved = three.assign(psnr_rgb=three["psnr_rgb"] + 30 * disjoint)
    absent = three[~disjoint]
    for frame in (moved, absent):
        row = bd_table(frame, "x265").iloc[0]
        assert row["bd_rate"] == pytest.approx(-35)
        assert row["sequences"] == "2/3"
        assert "Mean without B." in row["notes"]


def test_failed_records_do_not_count(three: pd.DataFrame) -> None:
    broken = curve("new", "A", 5.0, status="failed")
    assert bd_table(frames(three, broken), "x265").iloc[0]["A"] == pytest.approx(-50)


def test_wrong_names_are_refused(three: pd.DataFrame) -> None:
    with pytest.raises(UsageError, match="did you mean x265"):
        bd_table(three, "x256")
    with pytest.raises(UsageError, match="did you mean psnr_rgb"):
        bd_table(three, "x265", "psnr_rbg")
    with pytest.raises(UsageError, match="akima"):
        bd_table(three, "x265", method="spline")
    with pytest.raises(UsageError, match="did you mean uvg"):
        only(three, "uvgg")
    with pytest.raises(UsageError, match="did you mean csv"):
        render(three, "cvs")
    with pytest.raises(RdbenchError, match="x265 has psnr_rgb"):
        bd_table(three, "x265", "vmaf")


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
