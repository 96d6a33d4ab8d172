"""The lines of a panel: what is averaged, and over what."""

import pandas as pd
import pytest
from report.synthetic import QUALITY, RATE, frames, new, old

from rdbench.errors import UsageError
from rdbench.report.curves import labeled
from rdbench.report.lines import Line, Panel, mean_panel, pareto, seeds_note, sequence_panel


def means(*parts: pd.DataFrame) -> Panel:
    return mean_panel(labeled(frames(*parts)), "bpp", "psnr_rgb")


def values(line: Line, column: str = "mean") -> list[float]:
    return line.points[column].tolist()


def test_one_curve_is_plotted_as_it_is() -> None:
    panel = sequence_panel(labeled(new("nerv")), "bpp", "psnr_rgb")
    (line,) = panel.lines
    assert (panel.title, panel.sequences, panel.notes) == ("uvg: A", ("A",), [])
    assert (values(line, "x"), values(line), line.label) == (list(RATE), list(QUALITY), "nerv")


@pytest.mark.parametrize("changes", [{"preset": "quick"}, {"version": "2"}, {"device": "cuda"}, {"frames": 4}])
def test_curves_that_are_no_repetitions_are_never_averaged(changes: dict[str, object]) -> None:
    for names in ("A", "AB"):
        first, other = (
            [new("nerv", name, lift=lift, **own) for name in names] for lift, own in ((0.0, {}), (2.0, changes))
        )
        lines = means(*first, *other).lines
        assert [values(line) for line in lines] == [list(QUALITY), [quality + 2 for quality in QUALITY]]


def test_seeds_are_a_mean_with_the_lowest_and_the_highest() -> None:
    seeds = [
        new("nerv", factor=factor, lift=lift, seed=i) for i, (factor, lift) in enumerate(((1, 0), (1.2, 3), (1.4, 0)))
    ]
    (line,) = sequence_panel(labeled(frames(*seeds)), "bpp", "psnr_rgb").lines
    assert values(line, "x") == pytest.approx([1.2 * rate for rate in RATE])
    assert values(line) == pytest.approx([quality + 1 for quality in QUALITY])
    assert values(line, "low") == list(QUALITY)
    assert values(line, "high") == [quality + 3 for quality in QUALITY]
    assert line.seeds == 3
    assert seeds_note([line]) == [
        "Lines are means over seeds (nerv: 3); bands reach from the lowest to the highest seed."
    ]  # fmt: skip


def test_means_are_over_the_sequences_that_all_series_have() -> None:
    nerv = [new("nerv", "A"), new("nerv", "B", lift=2.0), new("nerv", "C", lift=50.0)]
    panel = means(*nerv, new("x265", "A", lift=4.0), new("x265", "B"))
    assert panel.sequences == ("A", "B")
    assert panel.title == "uvg (mean of 2 of 3 sequences, without C, which not\nall curves have)"
    assert {line.label: values(line) for line in panel.lines} == {
        "nerv": [31, 34, 37, 40], "x265": [32, 35, 38, 41],
    }  # fmt: skip
    assert means(*nerv[:2]).title == "uvg (mean of 2 sequences)"
    assert means(nerv[0]).title == "uvg"
    panel = means(*nerv[:2], new("x265", "A"), new("x265", "C"))
    assert panel.title == "uvg (A alone, without B, C, which not all curves\nhave)"


def test_a_series_of_one_sequence_among_others_of_several_has_no_mean_and_is_named() -> None:
    panel = means(new("nerv", "A"), new("nerv", "B"), new("x265", "A"))
    assert panel.sequences == ("A", "B")
    assert [line.label for line in panel.lines] == ["nerv"]
    assert panel.notes == ["x265 has A alone, so no mean; --per-sequence shows it."]
    assert len(means(new("nerv", "A"), new("x265", "A")).lines) == 2


def test_without_a_common_sequence_there_is_no_mean() -> None:
    with pytest.raises(UsageError, match=r"nerv, x265 on uvg have no sequence in common.*use --per-sequence"):
        means(new("nerv", "A"), new("x265", "B"))


def test_a_band_over_sequences_is_of_the_means_of_each_seed() -> None:
    lifts = {("A", 0): 0.0, ("B", 0): 4.0, ("A", 1): 2.0, ("B", 1): 4.0}
    (line,) = means(*(new("nerv", name, lift=lift, seed=seed) for (name, seed), lift in lifts.items())).lines
    assert (values(line, "low")[0], values(line)[0], values(line, "high")[0]) == (32, 32.5, 33)


def test_seeds_and_points_that_not_all_curves_have_are_left_out_and_named() -> None:
    panel = means(new("nerv", "A"), new("nerv", "B").iloc[1:], new("nerv", "A", lift=9.0, seed=1))
    assert values(panel.lines[0]) == [33, 36, 39]
    assert panel.notes == ["nerv is without rate points p0 and seeds 1, which not all of its curves have."]


def test_a_series_without_a_common_rate_point_is_named_and_not_plotted() -> None:
    renamed = new("nerv", "B").assign(rate_point=["q0", "q1", "q2", "q3"])
    panel = means(new("nerv", "A"), renamed, new("x265", "A"), new("x265", "B"))
    assert [line.label for line in panel.lines] == ["x265"]
    assert panel.notes == ["nerv is not shown: no rate point has all of its 2 sequences."]


def test_the_later_of_two_records_of_a_point_is_plotted() -> None:
    (line,) = means(new("x264"), new("x264", lift=1.0, threads=4, started="2026-01-02")).lines
    assert values(line) == [31, 34, 37, 40]


def test_published_averages_stay_as_they_are() -> None:
    published = old("c3", "Average", lift=1.0, conditions="rgb601/published").assign(source="C3 repository; more")
    panel = means(old("x265", "A"), old("x265", "B"), published, old("x265", "Average", lift=90.0))
    assert panel.sequences == ("A", "B")
    lines = {(line.label, line.source): values(line) for line in panel.lines}
    one_sequence = old("c3", "A", conditions="rgb601/published").assign(source="C3 repository; more")
    again = means(old("x265", "A"), old("x265", "B"), published, one_sequence)
    assert {(line.label, line.source): values(line) for line in again.lines} == lines
    assert lines == {
        ("x265, rgb601/1a", ""): list(QUALITY),
        ("c3, rgb601/published", "C3 repository; more"): [31, 34, 37, 40],
    }


def test_all_points_of_a_published_curve_are_plotted_whatever_their_labels() -> None:
    published = old("c3").assign(source="page", rate_point="0")
    assert values(means(published).lines[0]) == list(QUALITY)


def test_the_pareto_front_has_the_points_that_no_other_beats() -> None:
    def line(*points: tuple[float, float]) -> Line:
        return Line("any", pd.DataFrame(points, columns=["x", "mean"]))

    front = pareto([line((1, 30), (4, 36), (9, 35)), line((2, 29), (4, 33), (8, 38))])
    assert front.values.tolist() == [[1, 30], [4, 36], [8, 38]]
    assert pareto([line((1, 30), (1, 31), (2, 31))]).values.tolist() == [[1, 31]]
