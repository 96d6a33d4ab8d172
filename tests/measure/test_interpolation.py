"""The integrals against scipy's interpolators, which give them one curve at a time."""

import numpy as np
import pytest
from scipy.interpolate import Akima1DInterpolator, PchipInterpolator

from rdbench.measure.interpolation import Array, akima_slopes, integrals, pchip_slopes, values_at

SLOPES = {"pchip": pchip_slopes, "akima": akima_slopes}
SCIPY = {"pchip": PchipInterpolator, "akima": Akima1DInterpolator}


def curves(points: int, count: int, digits: int) -> tuple[Array, Array, Array, Array]:
    """Rising curves, and limits inside each of them; rounding to few digits gives flat parts."""
    random = np.random.default_rng(points)
    x = np.sort(random.normal(size=(count, points)))
    y = np.round(np.sort(random.normal(size=(count, points))), digits)
    limits = np.sort(x[:, :1] + random.random((count, 2)) * (x[:, -1:] - x[:, :1]))
    return x, y, limits[:, 0], limits[:, 1]


@pytest.mark.parametrize("digits", [12, 1])
@pytest.mark.parametrize("points", [3, 4, 5, 10])
@pytest.mark.parametrize("method", ["pchip", "akima"])
def test_many_curves_in_one_call_are_scipys_to_the_last_bits(method: str, points: int, digits: int) -> None:
    x, y, low, high = curves(points, 50, digits)
    expected = [SCIPY[method](*curve).integrate(*limits) for *curve, limits in zip(x, y, np.c_[low, high], strict=True)]
    np.testing.assert_allclose(integrals(x, y, SLOPES[method](x, y), low, high), expected, rtol=1e-13, atol=1e-14)


def test_one_curve_is_integrated_over_many_ranges() -> None:
    x, y = np.array([0.0, 1.0, 3.0, 4.0]), np.array([0.0, 2.0, 3.0, 7.0])
    low, high = np.array([0.0, 0.5, 1.0]), np.array([4.0, 1.0, 3.0])
    expected = [PchipInterpolator(x, y).integrate(*limits) for limits in zip(low, high, strict=True)]
    np.testing.assert_allclose(integrals(x, y, pchip_slopes(x, y), low, high), expected, rtol=1e-14)


def test_two_points_are_a_straight_line() -> None:
    x, y = np.array([1.0, 3.0]), np.array([2.0, 6.0])
    assert integrals(x, y, pchip_slopes(x, y), np.array(1.0), np.array(3.0)) == 8.0


@pytest.mark.parametrize("method", ["pchip", "akima"])
def test_a_straight_line_through_many_points_has_its_area(method: str) -> None:
    x = np.array([0.0, 1.0, 1.5, 4.0])
    area = integrals(x, 2 * x + 1, SLOPES[method](x, 2 * x + 1), np.array(0.5), np.array(3.5))
    assert area == pytest.approx(3.5**2 + 3.5 - 0.5**2 - 0.5, rel=1e-14)


@pytest.mark.parametrize("points", [2, 3, 10])
def test_values_between_and_at_the_points_are_scipys(points: int) -> None:
    x, y, low, high = (array[0] for array in curves(points, 1, 12))
    places = np.r_[x, low, high]
    np.testing.assert_allclose(values_at(x, y, pchip_slopes(x, y), places), PchipInterpolator(x, y)(places), rtol=1e-13)


def test_values_of_many_curves_are_those_of_each() -> None:
    x, y, low, high = curves(6, 20, 13)
    slopes, places = pchip_slopes(x, y), np.linspace(low, high, 9, axis=-1)
    each = [values_at(*own) for own in zip(x, y, slopes, places, strict=True)]
    np.testing.assert_array_equal(values_at(x, y, slopes, places), np.array(each))
