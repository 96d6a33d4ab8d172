"""Integrals of piecewise cubics through points, for many curves in one call.

`pchip_slopes`: F. Fritsch and J. Butland (1984), with the three-point formula at the ends (C. Moler, Numerical
Computing with MATLAB, 2004, section 3.6). `akima_slopes`: H. Akima (1970). Each operation is done in the order in which
`scipy.interpolate` does it, so that the integrals are equal to the last bit; tests compare them. scipy's classes take
the same x for all curves, so a call for each curve is needed there, 40 times slower for curves of ten points.

Arrays have the points along the last axis, in order of x, and curves along the others, which broadcast.
"""

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

_TINY = 1e-9
"""Share of the largest difference of chord slopes below which Akima's weights count as undefined, as in scipy."""


def pchip_slopes(x: Array, y: Array) -> Array:
    """The slopes at the points, which keep the curve monotone between them; shape as x and y."""
    widths, chords = np.diff(x), np.diff(y) / np.diff(x)
    if x.shape[-1] == 2:
        return np.repeat(chords, 2, axis=-1)
    left, right = chords[..., :-1], chords[..., 1:]
    first, second = 2 * widths[..., 1:] + widths[..., :-1], widths[..., 1:] + 2 * widths[..., :-1]
    flat = (np.sign(left) != np.sign(right)) | (left == 0) | (right == 0)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        inner = np.where(flat, 0.0, 1.0 / ((first / left + second / right) / (first + second)))
    start = _end_slope(widths[..., 0], widths[..., 1], chords[..., 0], chords[..., 1])
    end = _end_slope(widths[..., -1], widths[..., -2], chords[..., -1], chords[..., -2])
    return np.concatenate((start[..., None], inner, end[..., None]), axis=-1)


def _end_slope(width: Array, next_width: Array, chord: Array, next_chord: Array) -> Array:
    """The slope at an end from three points, limited so that the curve keeps its shape."""
    slope = ((2 * width + next_width) * chord - width * next_chord) / (width + next_width)
    steep = (np.sign(chord) != np.sign(next_chord)) & (np.abs(slope) > 3.0 * np.abs(chord))
    limited = np.where(steep, 3.0 * chord, slope)
    return np.where(np.sign(slope) != np.sign(chord), 0.0, limited)


def akima_slopes(x: Array, y: Array) -> Array:
    """The slopes at the points, of three or more, by Akima's weights."""
    inner = np.diff(y) / np.diff(x)
    before = 2.0 * inner[..., :1] - inner[..., 1:2]
    after = 2.0 * inner[..., -1:] - inner[..., -2:-1]
    ends = 2.0 * before - inner[..., :1], 2.0 * after - inner[..., -1:]
    chords = np.concatenate((ends[0], before, inner, after, ends[1]), axis=-1)
    changes = np.abs(np.diff(chords))
    next_change, last_change = changes[..., 2:], changes[..., :-2]
    both = next_change + last_change
    defined = both > _TINY * both.max(axis=-1, keepdims=True)
    low, high = chords[..., 1:-2], chords[..., 2:-1]
    weighted = low + (last_change / np.where(defined, both, 1.0)) * (high - low)
    return np.where(defined, weighted, 0.5 * (chords[..., 3:] + chords[..., :-3]))


def integrals(x: Array, y: Array, slopes: Array, low: Array, high: Array) -> Array:
    """The integral of each curve from `low` to `high`, both within its points, low below high; curves broadcast.

    `slopes` are those at the points; between two points the curve is the cubic with their values and slopes.
    """
    widths, chords = np.diff(x), np.diff(y) / np.diff(x)
    bend = (slopes[..., :-1] + slopes[..., 1:] - 2 * chords) / widths
    terms = (y[..., :-1], slopes[..., :-1], (chords - slopes[..., :-1]) / widths - bend, bend / widths)
    low, high = low[..., None], high[..., None]
    above_last = (np.arange(x.shape[-1] - 1) < x.shape[-1] - 2) & (x[..., 1:] <= low)
    starts, ends = np.maximum(low - x[..., :-1], 0.0), np.minimum(widths, high - x[..., :-1])
    ends = np.where(x[..., 1:] <= high, widths, ends)
    used = (x[..., :-1] <= high) & ~above_last
    areas = np.where(used, _antiderivative(terms, ends) - _antiderivative(terms, starts), 0.0)
    total: Array = np.cumsum(areas, axis=-1)[..., -1]  # in order, as a loop would add them
    return total


def values_at(x: Array, y: Array, slopes: Array, places: Array) -> Array:
    """The values of each curve at its places, which lie within its points; `slopes` are those at the points.

    `places` have theirs along the last axis, as many for each curve, and the other axes of `x`.
    """
    widths, chords = np.diff(x), np.diff(y) / np.diff(x)
    bend = (slopes[..., :-1] + slopes[..., 1:] - 2 * chords) / widths
    terms = (y[..., :-1], slopes[..., :-1], (chords - slopes[..., :-1]) / widths - bend, bend / widths)
    below = np.count_nonzero(x[..., None, :] <= places[..., :, None], axis=-1)
    piece = np.clip(below - 1, 0, x.shape[-1] - 2)
    total: Array = np.zeros(places.shape)
    power, distance = np.ones(places.shape), places - np.take_along_axis(x, piece, axis=-1)
    for term in terms:
        total = total + np.take_along_axis(term, piece, axis=-1) * power
        power = power * distance
    return total


def _antiderivative(terms: tuple[Array, ...], distance: Array) -> Array:
    """The integral of cubics (constant first) from their beginning over a distance."""
    total: Array = np.zeros(1)
    power = distance
    for degree, term in enumerate(terms):
        total = total + term * power * (1.0 / (degree + 1))
        power = power * distance
    return total
