"""BD-rate: published values, an independent implementation, and curves that have no number."""

import csv
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import bjontegaard
import numpy as np
import pytest

from rdbench.errors import UsageError
from rdbench.measure.bdrate import METHODS, MIN_OVERLAP, bd_quality, bd_rate, compare_curves, compare_pairs

PUBLISHED = Path(__file__).parents[2] / "results" / "published"

# VCEG-M33 workbook; JCTVC-E137 cases 1 and 2 (values of the VMAF tests).
M33 = (
    [90.33, 181.03, 332.99, 547.79], [27.95, 31.17, 34.44, 38.11],
    [127.1719, 186.14, 307.2924, 481.5588], [29.9286, 32.4165, 34.7013, 37.4561],
)  # fmt: skip
E137_1 = (
    [108048.8736, 61279.976, 33905.6656, 18883.6928], [43.6471, 40.3953, 37.247, 34.2911],
    [108061.2784, 61299.9936, 33928.7472, 18910.912], [43.6768, 40.4232, 37.2761, 34.3147],
)  # fmt: skip
E137_2 = (
    [40433.8848, 7622.7456, 2394.488, 1017.6184], [37.5761, 35.3756, 33.8977, 32.0603],
    [40370.12, 7587.0024, 2390.0944, 1017.0984], [37.5982, 35.4025, 33.9194, 32.0822],
)  # fmt: skip
# RDPlot's unit test: its value integrates over the union of both ranges, which is wrong.
RDPLOT = (
    [937.0112, 1405.4792, 3438.7128, 6448.6368], [45.5074, 47.0002, 49.9565, 52.1459],
    [822.0064, 1608.9144, 3086.912, 5784.7696], [45.7215, 47.6227, 50.1394, 52.3339],
)  # fmt: skip

Curves = tuple[list[float], list[float], list[float], list[float]]
Function = Callable[..., float]

RATE, QUALITY = [0.1, 0.2, 0.4, 0.8, 1.6], [30.0, 32.5, 35.0, 37.0, 39.0]


def test_vceg_m33() -> None:
    assert bd_rate(*M33, method="cubic") == pytest.approx(-13.261772993093556, abs=1e-9)
    assert bd_quality(*M33, method="cubic") == pytest.approx(0.8007131839739579, abs=1e-10)


@pytest.mark.parametrize(("curves", "expected"), [(E137_1, -0.465215420752807), (E137_2, -1.8779823450567612)])
def test_jctvc_e137(curves: tuple[list[float], ...], expected: float) -> None:
    assert bd_rate(curves[0], curves[1], curves[2], curves[3]) == pytest.approx(expected, abs=1e-9)


def test_the_overlap_is_integrated_not_the_union() -> None:
    assert abs(bd_rate(*RDPLOT, method="cubic") - -11.8353612757205) > 0.01
    assert abs(bd_quality(*RDPLOT, method="cubic") - 0.425738970169449) > 1e-3


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("seed", range(25))
def test_agrees_with_the_bjontegaard_package(method: str, seed: int) -> None:
    random = np.random.default_rng(seed)
    curves = []
    for _ in range(2):
        points = random.integers(4, 9)
        # Near a line in log rate, or the cubic saturates, which has tests of its own.
        curves.append(100 * np.exp(np.cumsum(random.uniform(0.45, 0.55, points))))
        curves.append(28 + random.uniform(0, 1) + np.cumsum(random.uniform(1.4, 1.6, points)))
    low, high = max(curves[1][0], curves[3][0]), min(curves[1][-1], curves[3][-1])
    assert high > low
    (ra, qa, rt, qt), options = curves, {"method": method, "require_matching_points": False, "min_overlap": 0}
    theirs = bjontegaard.bd_rate(ra, qa, rt, qt, **options), bjontegaard.bd_psnr(ra, qa, rt, qt, **options)
    assert bd_rate(ra, qa, rt, qt, method) == pytest.approx(theirs[0], rel=1e-9, abs=1e-9)
    assert bd_quality(ra, qa, rt, qt, method) == pytest.approx(theirs[1], rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_constant_factor_is_the_answer(method: str) -> None:
    """A curve with 20 % fewer bits at every quality; the order of its points does not matter."""
    rate = [0.8 * r for r in RATE]
    assert bd_rate(RATE, QUALITY, rate, QUALITY, method) == pytest.approx(-20.0, abs=1e-9)
    assert bd_rate(RATE[::-1], QUALITY[::-1], rate, QUALITY, method) == pytest.approx(-20.0, abs=1e-9)
    assert bd_quality(RATE, QUALITY, RATE, [q + 0.5 for q in QUALITY], method) == pytest.approx(0.5, abs=1e-9)
    assert bd_rate(RATE, QUALITY, RATE, QUALITY, method) == pytest.approx(0.0, abs=1e-9)


def test_healthy_curves_have_all_methods_and_no_notes() -> None:
    result = compare_curves(RATE, QUALITY, [0.9 * r for r in RATE], QUALITY)
    assert set(result.rate) == set(result.quality) == set(METHODS)
    assert all(value == pytest.approx(-10.0) for value in result.rate.values())
    assert result.health.overlap == pytest.approx(1.0)
    assert result.health.monotone == (True, True)
    assert result.health.points == (5, 5)
    assert result.health.spread == pytest.approx(0.0, abs=1e-9)
    assert (result.notes, result.reason, result.comparable) == ([], None, True)


def test_disjoint_curves_are_not_comparable() -> None:
    result = compare_curves(RATE, QUALITY, RATE, [q + 20 for q in QUALITY])
    assert not result.comparable
    assert all(value is None for value in result.rate.values())
    assert result.health.overlap == 0
    assert result.reason is not None
    assert "do not overlap in quality" in result.reason


@pytest.mark.parametrize(
    ("rate", "quality", "word"),
    [
        ([], [], "0 points"),
        ([0.1], [31.0], "1 point"),
        ([0.1, math.nan, 0.4], [30.0, 32.0, 34.0], "not a finite number"),
        ([0.1, 0.2, 0.4], [30.0, math.inf, 34.0], "not a finite number"),
        ([0.0, 0.2, 0.4], [30.0, 32.0, 34.0], "not positive"),
        ([-0.1, 0.2, 0.4], [30.0, 32.0, 34.0], "not positive"),
        ([0.1, 0.2], [30.0], "as many rates as qualities"),
        ([0.1, 0.2, 0.4, 0.8], [37.0, 35.0, 33.0, 31.0], "1 point"),
        ([0.1, 0.2, 0.4], [33.0, 33.0, 33.0], "1 point"),
    ],
)
def test_curves_without_a_number_say_why(rate: list[float], quality: list[float], word: str) -> None:
    for curves in ((RATE, QUALITY, rate, quality), (rate, quality, RATE, QUALITY)):
        result = compare_curves(*curves)
        assert all(value is None for value in result.rate.values())
        assert result.reason is not None
        assert word in result.reason


def test_two_points_are_compared_but_flagged() -> None:
    result = compare_curves(RATE, QUALITY, [0.1, 0.8], [30.0, 37.0])
    assert result.rate["cubic"] is None
    assert result.rate["pchip"] is not None
    assert any("only 2 points" in note for note in result.notes)
    assert any("cubic needs at least 4" in note for note in result.notes)


def test_dominated_points_are_left_out_and_named() -> None:
    """A point with more bits and no more quality, and a repeated one, change nothing but the notes."""
    clean = compare_curves(RATE, QUALITY, [0.8 * r for r in RATE], QUALITY)
    rate, quality = [*(0.8 * r for r in RATE), 0.5, 0.08], [*QUALITY, 33.0, 30.0]
    result = compare_curves(RATE, QUALITY, rate, quality)
    assert result.rate == pytest.approx(clean.rate)
    assert result.health.monotone == (True, False)
    assert result.health.points == (5, 5)
    assert "2 of 7 points of the test" in result.notes[0]
    assert "33 at rate 0.5" in result.notes[0]


def test_small_overlap_and_spread_are_flagged() -> None:
    result = compare_curves(RATE, QUALITY, [0.05, 0.06, 0.4, 1.2], [36.0, 38.5, 39.5, 45.0])
    assert result.health.overlap == pytest.approx(3 / 15)
    assert any("overlap by 20 %" in note for note in result.notes)
    assert result.health.spread is not None
    assert any("methods differ" in note for note in result.notes)


def test_strict_functions_refuse() -> None:
    with pytest.raises(UsageError, match="did you mean pchip"):
        bd_rate(RATE, QUALITY, RATE, QUALITY, "pchi")
    with pytest.raises(UsageError, match="1 point, since its quality does not rise with the rate"):
        bd_rate(RATE, QUALITY, [0.1, 0.2], [31.0, 31.0])
    with pytest.raises(UsageError, match="1 point, since its quality does not rise with the rate"):
        bd_quality(RATE, QUALITY, [0.2, 0.2], [31.0, 32.0])


@pytest.mark.parametrize("function", [bd_rate, bd_quality])
def test_a_curve_that_falls_with_the_rate_is_refused(function: Function) -> None:
    falling = QUALITY[::-1]
    for curves in ((RATE, falling, RATE, falling), (RATE, QUALITY, RATE, falling), (RATE, falling, RATE, QUALITY)):
        with pytest.raises(UsageError, match="does not rise with the rate"):
            function(*curves)


CASES = {
    "healthy": (RATE, QUALITY, [0.8 * r for r in RATE], QUALITY),
    "dominated points": (RATE, QUALITY, [*(0.8 * r for r in RATE), 0.5, 0.08], [*QUALITY, 33.0, 30.0]),
    "dominated points, shuffled": (
        [*RATE[::-1], 0.3],
        [*QUALITY[::-1], 32.0],
        [0.3, 0.1, 0.5, 0.9],
        [34.0, 31.0, 33.9, 38.0],
    ),
    "repeated rate": (RATE, QUALITY, [0.1, 0.2, 0.2, 0.5, 1.0], [31.0, 33.0, 33.5, 36.0, 38.0]),
    "few points": (RATE, QUALITY, [0.1, 0.8], [30.0, 37.0]),
    "falls": (RATE, QUALITY, RATE, QUALITY[::-1]),
    "flat": (RATE, QUALITY, RATE, [33.0] * 5),
    "disjoint in quality": (RATE, QUALITY, RATE, [q + 20 for q in QUALITY]),
    "disjoint in rate": (RATE, QUALITY, [100 * r for r in RATE], QUALITY),
    "little overlap": (RATE, QUALITY, RATE, [q + 8.5 for q in QUALITY]),
    "saturated": (RATE, QUALITY, RATE, [30.0, 37.5, 37.6, 37.7, 39.0]),
    "not finite": (RATE, QUALITY, RATE, [30.0, math.nan, 35.0, 37.0, 39.0]),
    "too large": ([1e-300, 1e-299], [30.0, 31.0], [1e300, 1e301], [30.0, 31.0]),
}


@pytest.mark.parametrize("name", CASES)
def test_the_functions_agree_with_the_comparison(name: str) -> None:
    """The same value, or a refusal for the same reason, by each method."""
    result = compare_curves(*CASES[name])
    for function, values in ((bd_rate, result.rate), (bd_quality, result.quality)):
        for method, value in values.items():
            if value is not None:
                assert function(*CASES[name], method) == value
                continue
            with pytest.raises(UsageError) as error:
                function(*CASES[name], method)
            assert any(str(error.value) in note for note in result.notes)


def truncated(overlap: float) -> tuple[list[float], list[float], list[float], list[float]]:
    """Two lines of equal length in log rate whose quality ranges overlap by the share, which costs half the bits."""
    shift = 9 * (1 - overlap) / (1 + overlap)
    rates = [0.1 * 2 ** (i / 2) for i in range(7)]
    higher = [0.5 * 0.1 * 2 ** ((1.5 * i + shift) / 3) for i in range(7)]
    return rates, [30 + 1.5 * i for i in range(7)], higher, [30 + shift + 1.5 * i for i in range(7)]


def test_an_overlap_under_the_limit_is_not_reportable() -> None:
    result = compare_curves(*truncated(0.05))
    assert result.health.overlap == pytest.approx(0.05)
    assert not result.reportable
    assert not result.comparable
    assert set(result.rate.values()) == {None}
    assert result.health.spread is None
    assert result.health.leave_one_out is None
    assert result.reason == result.notes[0]
    assert result.reason.startswith("Not reportable: the quality ranges overlap by 5 % only, less than 10 %")
    with pytest.raises(UsageError, match="Not reportable: the quality ranges overlap by 5 % only"):
        bd_rate(*truncated(0.05))


def test_an_overlap_above_the_limit_is_reported_and_flagged() -> None:
    result = compare_curves(*truncated(MIN_OVERLAP + 0.01))
    assert result.reportable
    assert result.rate["pchip"] == pytest.approx(-50.0)
    assert result.reason is None
    assert any("overlap by 11 % only" in note for note in result.notes)


def published(codec: str, sequence: str) -> tuple[list[float], list[float]]:
    """Rates and PSNR of a published curve of UVG."""
    rows = [row for path in PUBLISHED.glob("*.csv") for row in csv.DictReader(path.open())]
    mine = [r for r in rows if (r["codec"], r["sequence"], r["dataset"]) == (codec, sequence, "uvg")]
    return [float(r["bpp"]) for r in mine], [float(r["psnr_rgb"]) for r in mine]


@pytest.mark.parametrize("codec", ["hinerv", "hinerv-original"])
def test_the_published_number_that_rests_on_a_twentieth_is_not_reportable(codec: str) -> None:
    """HiNeRV's HoneyBee against VTM: -70.78 % over 0.05 of the quality ranges."""
    result = compare_curves(*published("vtm-17.0-ra", "HoneyBee"), *published(codec, "HoneyBee"))
    assert result.health.overlap == pytest.approx(0.05, abs=0.005)
    assert not result.reportable
    assert set(result.rate.values()) == {None}


def test_curves_apart_in_rate_have_a_bd_rate_without_a_mark() -> None:
    result = compare_curves(*CASES["disjoint in rate"])
    assert result.rate["pchip"] == pytest.approx(9900.0)
    assert result.comparable
    assert result.reportable
    assert result.reason is None
    assert set(result.quality.values()) == {None}
    assert len(result.notes) == 1
    assert result.notes[0].startswith("BD-quality: Not comparable: The curves do not overlap in rate")


def test_a_small_overlap_in_rate_marks_bd_quality_alone() -> None:
    factor = 16 ** (0.9 / 1.1 + 0.05)  # an overlap under a tenth of the logarithmic range of 16
    result = compare_curves(RATE, QUALITY, [factor * r for r in RATE], QUALITY)
    assert result.rate["pchip"] == pytest.approx(100 * (factor - 1))
    assert set(result.quality.values()) == {None}
    assert [note[:44] for note in result.notes] == ["BD-quality: Not reportable: the rate ranges "]


SATURATED = [30.0, 37.5, 37.6, 37.7, 39.0]
"""Qualities whose cubic through log rates turns twice, and that rise with the rate all the same."""


def test_a_saturated_cubic_has_no_value_and_is_named() -> None:
    fitted = np.polynomial.Polynomial.fit(SATURATED, np.log10(RATE), 3)
    assert (np.diff(fitted(np.linspace(30, 39, 1000))) < 0).any()
    for curves, name in (((RATE, QUALITY, RATE, SATURATED), "test"), ((RATE, SATURATED, RATE, QUALITY), "anchor")):
        result = compare_curves(*curves)
        assert result.rate["cubic"] is None
        assert result.quality["cubic"] is None
        assert result.rate["pchip"] is not None
        assert result.reason is None
        assert any(note.startswith(f"The cubic of the {name} is saturated") for note in result.notes)
        assert any(note.startswith(f"BD-quality: The cubic of the {name} is saturated") for note in result.notes)
        assert result.health.spread == pytest.approx(abs(result.rate["pchip"] - (result.rate["akima"] or 0)))


def test_each_cubic_is_judged_along_its_own_axis() -> None:
    """Quality over rate turns here, rate over quality does not: BD-rate keeps its cubic."""
    quality = [30.0, 32.2, 36.0, 39.2, 39.4]
    over_rate = np.polynomial.Polynomial.fit(np.log10(RATE), quality, 3)
    over_quality = np.polynomial.Polynomial.fit(quality, np.log10(RATE), 3)
    assert (np.diff(over_rate(np.linspace(-1, np.log10(1.6), 1000))) < 0).any()
    assert (np.diff(over_quality(np.linspace(30, 39, 1000))) > 0).all()
    result = compare_curves(RATE, QUALITY, RATE, quality)
    assert result.rate["cubic"] is not None
    assert result.quality["cubic"] is None


def test_leaving_out_one_point() -> None:
    """The spread over all curves without one point, each compared by the public function; a line has none."""
    test = [31.0, 33.9, 34.4, 37.8, 39.5]
    full = [bd_rate(RATE, QUALITY, RATE, test)]
    for i in range(5):
        less = [*RATE[:i], *RATE[i + 1 :]]
        full.append(bd_rate(less, [*QUALITY[:i], *QUALITY[i + 1 :]], RATE, test))
        full.append(bd_rate(RATE, QUALITY, less, [*test[:i], *test[i + 1 :]]))
    spread = compare_curves(RATE, QUALITY, RATE, test).health.leave_one_out
    assert spread == pytest.approx(max(full) - min(full))
    assert max(full) - min(full) > 1
    assert compare_curves(*truncated(0.5)).health.leave_one_out == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize(
    "curves",
    [
        (RATE, QUALITY, [0.1, 0.8], [30.0, 37.0]),  # a curve of two points
        (RATE, QUALITY, [1.6, 3.2, 6.4], [37.5, 40.0, 44.0]),  # without the anchor's last point they do not meet
    ],
)
def test_leaving_out_one_point_needs_what_remains_to_be_comparable(curves: Curves) -> None:
    result = compare_curves(*curves)
    assert result.rate["pchip"] is not None
    assert result.health.leave_one_out is None


def test_needs_no_torch() -> None:
    code = "import sys, rdbench.measure.bdrate, rdbench.report.tables; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_many_pairs_at_once_give_what_each_gives_alone() -> None:
    noise = np.random.default_rng(5)
    curves = []
    for points in (2, 3, 4, 6, 6, 9):
        rate = np.cumsum(noise.uniform(0.2, 2.0, points))
        curves.append((rate.tolist(), (30 + 4 * np.log2(rate) + noise.normal(0, 0.4, points)).tolist()))
    curves += [([1.0, 2.0], [30.0]), ([1.0, 2.0, 4.0], [90.0, 92.0, 93.0])]  # no curve, and one apart from the others
    pairs = [(a, b) for a in range(len(curves)) for b in range(len(curves)) if a != b]
    found = compare_pairs(curves, pairs)
    assert found == [compare_curves(*curves[a], *curves[b]) for a, b in pairs]
    assert 0 < sum(result.comparable for result in found) < len(pairs)
