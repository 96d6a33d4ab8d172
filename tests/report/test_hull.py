"""The upper convex hull of rate points with several sizes and lambdas: in curves, labels, BD-rates and pages."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from report.page.sample import record
from report.synthetic import QUALITY, RATE, frames, new

from rdbench.report.bd_table import bd_table
from rdbench.report.curves import labeled
from rdbench.report.hull import HULL, crossed, on_hull, upper_hull
from rdbench.report.lines import sequence_panel
from rdbench.report.page import ReportOptions, report_data
from rdbench.report.results import write_record

Grid = Sequence[tuple[int, float, float, float]]
"""Size, lambda, bpp and PSNR of rate points."""
ON_HULL = [(0.05, 30.0), (0.1, 33.0), (0.2, 36.0), (0.4, 39.0)]
"""Half the bits of `synthetic.RATE` at each quality; slopes of 60, 30 and 15 dB, so all are on their hull."""
GRID: Grid = (
    (1, 1.0, 0.05, 30.0), (1, 0.5, 0.1, 33.0),
    (1, 0.1, 0.15, 34.4),  # 34.5 on the segment from (0.1, 33) to (0.2, 36)
    (2, 1.0, 0.12, 32.0),  # more bits for less quality than (0.1, 33)
    (2, 0.5, 0.2, 36.0), (2, 0.1, 0.4, 39.0), (2, 0.05, 0.5, 39.0),
)  # fmt: skip


def grid(points: Grid = GRID, codec: str = "mine", **changes: Any) -> pd.DataFrame:
    rows = []
    for place, (size, weight, rate, quality) in enumerate(points):
        row = new(codec, **changes).iloc[[place % len(RATE)]].copy()
        own = dict(row["identity"].iloc[0], point={"size": size, "lambda": weight})
        values = {"rate_point": f"{size}K-lambda{weight}", "bpp": rate, "psnr_rgb": quality}
        rows.append(row.assign(**values, identity=pd.Series([own], index=row.index, dtype=object)))
    return frames(*rows)


def test_the_hull_has_what_no_segment_is_above() -> None:
    rates = [3.0, 1.0, 7.0, 2.0, 2.5, 4.0, 6.0]
    qualities = [34.0, 30.0, 37.0, 33.0, 32.0, 36.0, 37.0]
    # from (1, 30): slopes of 3 to (2, 33), 1.5 to (4, 36), 0.5 to (6, 37); (3, 34) is below 34.5, (7, 37) is no better
    assert upper_hull(rates, qualities) == [1, 3, 5, 6]


def test_points_on_a_segment_stay_and_of_two_at_one_rate_the_better_one() -> None:
    assert upper_hull([1, 2, 3], [1, 2, 3]) == [0, 1, 2]
    assert upper_hull([1, 1, 2], [1, 2, 3]) == [1, 2]
    assert upper_hull([1, 2], [3, 3]) == [0]
    assert upper_hull([], []) == []


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ([{"size": 1, "lambda": 1}, {"size": 1, "lambda": 2}, {"size": 2, "lambda": 1}], True),
        ([{"size": 1, "lambda": 1}, {"size": 1, "lambda": 2}, {"size": 2, "lambda": 4}], True),
        ([{"size": 1, "lambda": 1}, {"size": 2, "lambda": 2}, {"size": 3, "lambda": 4}], False),
        ([{"size": 1, "lambda": 1}, {"size": 1, "lambda": 2}, {"size": 1, "lambda": 4}], False),
        ([{"qp": 22}, {"qp": 27}, {"qp": 32}], False),
        ([], False),
    ],
)
def test_which_rate_points_have_several_sizes_and_lambdas(points: list[dict[str, int]], expected: bool) -> None:
    identities = [{"point": point} for point in points] or [{}]
    frame = pd.DataFrame({"dataset": "uvg", "sequence": "A", "identity": identities})
    assert crossed(frame, pd.Series([7] * len(frame))) == ({7} if expected else set())


def test_one_size_for_each_sequence_is_no_grid() -> None:
    one, other = (
        grid([(size, 1.0, 0.1, 30.0), (size, 0.5, 0.2, 33.0)], sequence=name) for size, name in ((1, "A"), (2, "B"))
    )
    assert not labeled(frames(one, other))["hull"].any()


def test_labels_say_it_and_a_plot_shows_the_hull_over_bits_alone() -> None:
    frame = labeled(frames(grid(), new("x265")))
    assert sorted(set(frame["label"])) == [f"mine, {HULL}", "x265"]
    panel = sequence_panel(frame[frame["codec"] == "mine"], "bpp", "psnr_rgb")
    (line,) = panel.lines
    assert list(zip(line.points["x"], line.points["mean"], strict=True)) == ON_HULL
    assert panel.notes == [f"mine, {HULL}: 4 of 7 rate points are on the hull of PSNR RGB over sizes and lambdas."]
    timed = frame[frame["codec"] == "mine"].assign(encode_seconds=1.0)
    assert len(sequence_panel(timed, "encode_seconds", "psnr_rgb").lines[0].points) == 7


def test_bd_rates_are_those_of_the_hull() -> None:
    table = bd_table(frames(grid(), new("x265")), "x265", per_sequence=True)
    row = table.iloc[0]
    assert (row["codec"], row["points"]) == (f"mine, {HULL}", "4/4")
    assert [row[method] for method in ("bd_rate", "pchip", "akima", "cubic")] == pytest.approx([-50.0] * 4)
    reverse = bd_table(frames(grid(), new("x265")), "mine", per_sequence=True).iloc[0]
    assert reverse["bd_rate"] == pytest.approx(100.0)


def test_each_seed_has_a_hull_of_its_own() -> None:
    # (0.15, 34.4) of the first seed is on the hull of the second, which lacks (0.1, 33)
    second = grid([*GRID[:1], *GRID[2:]], seed=1)
    frame = labeled(frames(grid(), second))
    kept = on_hull(frame, "psnr_rgb")
    counts = kept.groupby("seed").size().to_dict()
    assert counts == {0: 4, 1: 4}
    assert 34.4 in set(kept.loc[kept["seed"] == 1, "psnr_rgb"])
    assert 34.4 not in set(kept.loc[kept["seed"] == 0, "psnr_rgb"])


def test_a_page_knows_which_series_are_hulls_and_samples_them(tmp_path: Path) -> None:
    for place, (size, weight, rate, quality) in enumerate(GRID):
        plain = record("mine", "A", 0, place, rate, quality, {})
        own = plain.model_copy(update={"identity": plain.identity | {"point": {"size": size, "lambda": weight}}})
        write_record(tmp_path / str(place) / "record.json", own)
    for place, (rate, quality) in enumerate(zip(RATE, QUALITY, strict=True)):
        write_record(tmp_path / f"x{place}" / "record.json", record("x265", "A", 0, place, rate, quality, {}))
    data = report_data(ReportOptions((tmp_path,), tmp_path / "r.html", anchor="x265"))
    hulls = {one["label"]: one["hull"] for one in data["series"]}
    assert hulls == {f"mine, {HULL}": True, "x265": False}
    number = list(hulls).index(f"mine, {HULL}")
    (cell,) = next(one["cells"] for one in data["bd"] if one["metric"] == "psnr_rgb" and one["anchor"] != number)
    assert cell["bd_rate"] == pytest.approx(-50.0)
    mine, other = (
        next(one["log_rate"] for one in data["curves"]["psnr_rgb"] if (one["series"] == number) is mine)
        for mine in (True, False)
    )
    assert [a - b for a, b in zip(mine, other, strict=True)] == pytest.approx([-0.30103] * len(mine), abs=2e-4)
