"""The table of BD-rates: which curves are compared, seeds, intervals, and means over common sequences."""

from pathlib import Path
from statistics import fmean

import numpy as np
import pandas as pd
import pytest
from report.synthetic import QUALITY, RATE, frames, new
from report.synthetic import old as curve

from rdbench.errors import RdbenchError, UsageError
from rdbench.measure.bdrate import compare_curves
from rdbench.measure.statistics import bootstrap_interval
from rdbench.report.bd_table import bd_table, bd_tables
from rdbench.report.published import AVERAGE, load_published
from rdbench.report.tables import only

PUBLISHED = Path(__file__).parents[2] / "results" / "published"


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
    table = bd_table(frames(curve("x265", "A"), short, curve("new", "A", 0.5)), "x265")
    rates = dict(zip(table["codec"], table["bd_rate"], strict=True))
    assert rates["new, 8 frames"] == pytest.approx(-50)
    assert pd.isna(rates["new, 4 frames"])


def test_a_mean_over_part_of_the_sequences_says_so(three: pd.DataFrame) -> None:
    disjoint = three["codec"].eq("new") & three["sequence"].eq("B")
    moved = three.assign(psnr_rgb=three["psnr_rgb"] + 30 * disjoint)
    absent = three[~disjoint]
    for frame in (moved, absent):
        row = bd_table(frame, "x265").iloc[0]
        assert row["bd_rate"] == pytest.approx(-35)
        assert row["sequences"] == "2/3"
        assert "Mean without B (new lacks it)." in row["notes"]


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
    with pytest.raises(UsageError, match="did you mean new"):
        bd_table(three, "x265", codecs="newer")
    with pytest.raises(UsageError, match="more than one codec"):
        bd_table(three, "x265,new")
    with pytest.raises(RdbenchError, match="x265 has psnr_rgb"):
        bd_table(three, "x265", "vmaf")


@pytest.mark.parametrize(
    "changes",
    [{"preset": "quick", "settings": {"epochs": 3}}, {"version": "2"}, {"device": "cuda"}, {"settings": {"epochs": 3}}],
)
def test_other_presets_versions_and_devices_have_rows_of_their_own(changes: dict[str, object]) -> None:
    """Pooled, the four cheap points would hide the four dear ones."""
    first = {"settings": {"epochs": 300}}
    frame = frames(new("x265"), new("nerv", factor=2.0, **first), new("nerv", factor=0.5, **(first | changes)))
    table = bd_table(frame, "x265")
    assert sorted(table["bd_rate"]) == pytest.approx([-50, 100])
    assert table["codec"].nunique() == 2


def test_an_anchor_of_several_series_is_refused_with_their_labels() -> None:
    frame = frames(new("x265", preset="quick"), new("x265", factor=2.0), new("nerv"))
    with pytest.raises(UsageError, match=r"several series \(x265, preset quick; x265, no preset\)"):
        bd_table(frame, "x265")
    table = bd_table(frame, "x265, preset quick")
    assert dict(zip(table["codec"], table["bd_rate"], strict=True)) == pytest.approx(
        {"nerv": 0, "x265, no preset": 100}
    )


def test_the_anchors_curve_of_the_tests_frames_is_used() -> None:
    frame = frames(
        curve("x265"), curve("x265", factor=3.0, frames=4), curve("new", factor=0.5), curve("new", factor=1.5, frames=4)
    )
    table = bd_table(frame, "x265")
    assert dict(zip(table["codec"], table["bd_rate"], strict=True)) == pytest.approx(
        {"new, 8 frames": -50, "new, 4 frames": -50}
    )


def test_other_clips_of_one_name_are_refused() -> None:
    row = bd_table(frames(curve("x265", clip_sha256="a" * 64), curve("new", clip_sha256="b" * 64)), "x265").iloc[0]
    assert pd.isna(row["bd_rate"])
    assert "The clips differ (bbbbbbbb, anchor aaaaaaaa)" in row["notes"]


def noisy(codec: str, sequence: str, seed: int, noise: np.random.Generator) -> pd.DataFrame:
    """A curve like the anchor's, with 0.3 dB of noise on each point."""
    return new(codec, sequence, seed=seed).assign(psnr_rgb=np.array(QUALITY) + noise.normal(0, 0.3, 4))


def test_five_seeds_of_equal_codecs_average_zero() -> None:
    """Pooled, and without the dominated points, the best of five seeds would be compared with one: -2 % and less."""
    noise = np.random.default_rng(1)
    sequences = [f"s{i}" for i in range(24)]
    tests = frames(*(noisy("new", name, seed, noise) for name in sequences for seed in range(5)))
    row = bd_table(frames(tests, *(curve("x265", name) for name in sequences)), "x265").iloc[0]
    assert abs(row["bd_rate"]) < 1.0
    assert row["low"] < 0 < row["high"]
    assert (row["seeds"], row["sequences"]) == ("5", "24/24")
    pooled = [
        compare_curves(RATE, QUALITY, part["bpp"].tolist(), part["psnr_rgb"].tolist()).rate["pchip"]
        for _, part in tests.groupby("sequence")
    ]
    assert fmean(value for value in pooled if value is not None) < -2


def test_seeds_are_paired_and_averaged_within_each_sequence_first() -> None:
    """A has two seeds and B one: B counts as much as A."""
    seeds = [new("x265", "A", 2.0, seed=1), new("new", "A", 0.5), new("new", "A", 2.0, seed=1), new("new", "B", 0.8)]
    frame = frames(new("x265", "A"), new("x265", "B"), *seeds)
    row = bd_table(frame, "x265").iloc[0]
    assert row["bd_rate"] == pytest.approx(((-50 + 0) / 2 - 20) / 2)
    assert row["seeds"] == "1 to 2"
    interval = bootstrap_interval({"A": [-50.0, 0.0], "B": [-20.0]})
    assert interval is not None
    assert (row["low"], row["high"]) == pytest.approx((interval.low, interval.high))


def test_several_seeds_of_one_sequence_have_an_interval_and_one_has_none() -> None:
    frame = frames(
        new("x265"), *(new("new", factor=f, seed=s) for s, f in enumerate((0.7, 0.8, 0.9))), new("old", factor=2.0)
    )
    for per_sequence in (False, True):
        table = bd_table(frame, "x265", per_sequence=per_sequence).set_index("codec")
        several, one = table.loc["new"], table.loc["old"]
        assert several["bd_rate"] == pytest.approx(-20)
        assert several["low"] < -30 < -10 < several["high"]
        assert "interval" not in several["notes"]
        assert pd.isna(one["low"])
        assert pd.isna(one["high"])
        assert "One seed on one sequence: no interval." in one["notes"]


@pytest.mark.parametrize("single", ["anchor", "test"])
def test_one_training_has_no_interval_whatever_the_seeds_of_the_other(single: str) -> None:
    """The three seeds of the other codec say nothing about how a second training of this one would differ."""
    factors = {0: 0.7, 1: 0.8, 2: 0.9}
    several, one = ("test", "anchor") if single == "anchor" else ("anchor", "test")
    curves = [new(several, factor=f, seed=s, parameters=40_000) for s, f in factors.items()]
    row = bd_table(frames(*curves, new(one, parameters=40_000)), "anchor").iloc[0]
    assert row["bd_rate"] == pytest.approx(-30 if several == "test" else 100 / 0.7 - 100)
    assert pd.isna(row["low"])
    assert row["seeds"] == "1"
    assert "One seed on one sequence: no interval." in row["notes"]
    assert f"Seeds 1, 2 of the {several} are left out; the {one} lacks them." in row["notes"]


def test_seeds_without_a_partner_are_named() -> None:
    frame = frames(*(new("x265", seed=s) for s in (0, 1)), *(new("new", seed=s) for s in (1, 2, 3)))
    notes = bd_table(frame, "x265").iloc[0]["notes"]
    assert "Seeds 0 of the anchor are left out" in notes
    assert "Seeds 2, 3 of the test are left out" in notes


def test_health_of_a_row_is_that_of_its_weakest_curve() -> None:
    frame = frames(curve("x265", "A"), curve("x265", "B"), curve("new", "A", 0.5), curve("new", "B", 0.5, lift=4.5))
    row = bd_table(frame, "x265").iloc[0]
    lifted = [quality + 4.5 for quality in QUALITY]
    one = compare_curves(RATE, QUALITY, [0.5 * rate for rate in RATE], lifted).health
    assert row["overlap"] == pytest.approx(4.5 / 13.5) == pytest.approx(one.overlap)
    assert row["leave_one_out"] == pytest.approx(one.leave_one_out)
    assert row["spread"] == pytest.approx(one.spread)


def test_a_threaded_repetition_is_not_pooled_and_a_note_says_so() -> None:
    frame = frames(new("x265"), new("x264", factor=0.5), new("x264", factor=2.0, threads=4, started="2026-01-02"))
    row = bd_table(frame, "x265").iloc[0]
    assert row["bd_rate"] == pytest.approx(100)
    assert "rate points more than once" in row["notes"]


def test_all_rows_are_means_over_the_sequences_that_every_series_has(three: pd.DataFrame) -> None:
    frame = frames(three, curve("poor", "A", 0.6), curve("poor", "B", 0.6))
    table = bd_table(frame, "x265").set_index("codec")
    assert table["bd_rate"].to_dict() == pytest.approx({"new": -30, "poor": -40})
    assert table["median"].to_dict() == pytest.approx({"new": -30, "poor": -40})
    assert table["sequences"].tolist() == ["2/3", "2/3"]
    assert table["notes"].str.contains("Mean without C (poor lacks it).", regex=False).all()
    assert table.loc["new", "C"] == pytest.approx(-20)
    without = bd_table(frame, "x265", codecs="new").iloc[0]
    assert without["bd_rate"] == pytest.approx(-80 / 3)
    assert without["sequences"] == "3/3"


def test_series_without_any_value_do_not_shrink_the_means(three: pd.DataFrame) -> None:
    table = bd_table(frames(three, curve("far", "A", lift=50), curve("other", "A", conditions="b")), "x265")
    rates = table.set_index("codec")["bd_rate"]
    assert rates["new"] == pytest.approx(-80 / 3)
    assert rates[["far", "other"]].isna().all()


def test_a_not_reportable_rate_enters_no_mean_and_is_named(three: pd.DataFrame) -> None:
    lifted = three["codec"].eq("new") & three["sequence"].eq("B")
    row = bd_table(three.assign(psnr_rgb=three["psnr_rgb"] + 8.5 * lifted), "x265").iloc[0]
    assert row["bd_rate"] == pytest.approx(-35)
    assert pd.isna(row["B"])
    assert "Not reportable on B." in row["notes"]
    assert row["sequences"] == "2/3"


def test_methods_of_one_row_average_the_same_sequences(three: pd.DataFrame) -> None:
    """Three points are too few for the cubic: on C it has no value, so it has no mean."""
    frame = three[~(three["codec"].eq("new") & three["sequence"].eq("C") & three["rate_point"].eq("p0"))]
    row = bd_table(frame, "x265").iloc[0]
    assert row["pchip"] == pytest.approx(-80 / 3)
    assert pd.isna(row["cubic"])
    assert "cubic has no value at one of the curves." in row["notes"]
    row = bd_table(frame, "x265", method="cubic").iloc[0]
    assert row["cubic"] == row["bd_rate"] == pytest.approx(-30)
    assert row["pchip"] == pytest.approx(-30)
    assert row["sequences"] == "2/3"


def test_published_means_over_six_common_sequences() -> None:
    """HiNeRV's two curves on UVG against VTM: computed by hand over the six sequences that both have."""
    uvg = only(load_published([PUBLISHED]), "uvg")
    table = bd_table(uvg, "vtm-17.0-ra", codecs="hinerv-original,hinerv-released-code")
    means = table[table["sequence"] == "mean"].set_index("codec")
    assert means["sequences"].tolist() == ["6/7", "6/7"]
    assert means["bd_rate"].round(2).to_dict() == {"hinerv-original": 22.27, "hinerv-released-code": 13.50}

    def points(codec: str, name: str) -> list[list[float]]:
        rows = uvg[(uvg["codec"] == codec) & (uvg["sequence"] == name)]
        return [rows["bpp"].tolist(), rows["psnr_rgb"].tolist()]

    for codec, row in means.iterrows():
        each = {
            name: compare_curves(*points("vtm-17.0-ra", name), *points(str(codec), name))
            for name in sorted(set(uvg["sequence"]) - {AVERAGE, "HoneyBee"})
        }
        for method in ("pchip", "akima", "cubic"):
            assert row[method] == pytest.approx(fmean(result.rate[method] or 0.0 for result in each.values()))
        assert "Mean without HoneyBee" in row["notes"]


def test_both_tables_in_one_pass_are_the_two_tables(three: pd.DataFrame) -> None:
    means, each = bd_tables(three, "x265")
    pd.testing.assert_frame_equal(means, bd_table(three, "x265"))
    pd.testing.assert_frame_equal(each, bd_table(three, "x265", per_sequence=True))
