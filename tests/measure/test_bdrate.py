"""BD-rate: published values, an independent implementation, and curves that have no number."""

import math
import subprocess
import sys

import bjontegaard
import numpy as np
import pytest

from rdbench.errors import UsageError
from rdbench.measure.bdrate import METHODS, bd_quality, bd_rate, compare_curves

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
        curves.append(np.cumsum(random.uniform(0.05, 1.0, points)) * 100)
        curves.append(28 + np.cumsum(random.uniform(0.3, 2.5, points)))
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
        ([0.1], [31.0], "1 points"),
        ([0.1, math.nan, 0.4], [30.0, 32.0, 34.0], "not a finite number"),
        ([0.1, 0.2, 0.4], [30.0, math.inf, 34.0], "not a finite number"),
        ([0.0, 0.2, 0.4], [30.0, 32.0, 34.0], "not positive"),
        ([-0.1, 0.2, 0.4], [30.0, 32.0, 34.0], "not positive"),
        ([0.1, 0.2], [30.0], "as many rates as qualities"),
        ([0.1, 0.2, 0.4, 0.8], [37.0, 35.0, 33.0, 31.0], "1 points"),
        ([0.1, 0.2, 0.4], [33.0, 33.0, 33.0], "1 points"),
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
    with pytest.raises(UsageError, match="same quality"):
        bd_rate(RATE, QUALITY, [0.1, 0.2], [31.0, 31.0])
    with pytest.raises(UsageError, match="same rate"):
        bd_quality(RATE, QUALITY, [0.2, 0.2], [31.0, 32.0])


def test_needs_no_torch() -> None:
    code = "import sys, rdbench.measure.bdrate, rdbench.report.tables; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
