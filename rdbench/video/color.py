"""YUV <-> RGB, chroma resampling and bit depth, exactly specified, with NumPy: frame by frame, within the caches."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import MediaError
from .conditions import Conditions
from .depth import change_depth, typed
from .video import Frames, Plane, VideoFormat

LUMA_WEIGHTS = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722)}
"""Kr and Kb of each matrix (ITU-R BT.601, BT.709)."""

INTEGER = {
    ("bt601", False): (9539, 13075, -3209, -6660, 16525),
    ("bt601", True): (8192, 11485, -2819, -5850, 14516),
}
"""16.16 fixed-point constants / 8 of ffmpeg's default path (cy, rv, gu, gv, bu), limited and full range."""

SCALE_8_BIT = 8
"""ffmpeg's default path multiplies samples by 8 before its 16-bit high multiplication."""

STRIP = 32
"""Rows that are converted at once, an even number, so that 1080p stays in a cache of 1 MB (our choice)."""

Array = npt.NDArray[Any]


def to_rgb(frames: Frames, fmt: VideoFormat, conditions: Conditions) -> Frames:
    """8-bit RGB planes `[T, H, W]` of YUV, gray or RGB frames, by the conversion of the test conditions."""
    eight = change_depth(frames, fmt.bit_depth, 8)
    if fmt.chroma == "rgb":
        return eight
    planes = eight.planes
    if fmt.chroma == "gray":
        planes += (np.full_like(planes[0], 128),) * 2
    if conditions.matrix == "bt709":
        return Frames(rgb_exact(planes, fmt.full_range, "bt709"))
    return Frames(rgb_integer(planes, fmt.full_range))


def rgb_integer(planes: Sequence[Plane], full_range: bool = False) -> tuple[Plane, ...]:
    """8-bit YUV planes `[T, h, w]` -> R, G, B by the integer arithmetic of ffmpeg's default path; chroma is replicated.

    Limited-range 4:2:0 is what the INR papers trained on, to the bit. Full range uses the same arithmetic with
    full-range constants, and 4:2:2 and 4:4:4 replicate chroma only where it is subsampled (our choice).
    """
    rgb = tuple(np.empty(planes[0].shape, np.uint8) for _ in range(3))
    vertical = 1 if planes[1].shape[1] == planes[0].shape[1] else 2
    for index in range(len(planes[0])):
        for top in range(0, planes[0].shape[1], STRIP):
            rows, half = slice(top, top + STRIP), slice(top // vertical, (top + STRIP) // vertical)
            y, u, v = planes[0][index, rows], planes[1][index, half], planes[2][index, half]
            _integer_strip(y, u, v, full_range, [plane[index, rows] for plane in rgb])
    return rgb


def _integer_strip(y: Plane, u: Plane, v: Plane, full_range: bool, rgb: Sequence[Plane]) -> None:
    """Fills the strips of R, G and B."""
    cy, rv, gu, gv, bu = INTEGER["bt601", full_range]
    luma = _scaled(y, cy, 0 if full_range else 16).astype(np.int16)
    total = np.empty_like(luma)
    green = _scaled(u, gu, 128)
    green += _scaled(v, gv, 128)
    for term, out in zip((_scaled(v, rv, 128), green, _scaled(u, bu, 128)), rgb, strict=True):
        chroma = _doubled(term)[:, : y.shape[1]] if u.shape[1] != y.shape[1] else term.astype(np.int16)
        if len(chroma) == len(luma):
            np.add(luma, chroma, out=total)
        else:
            np.add(luma[0::2], chroma, out=total[0::2])
            np.add(luma[1::2], chroma[: len(luma) // 2], out=total[1::2])
        out[...] = np.clip(total, 0, 255, out=total)


def _scaled(samples: Plane, factor: int, offset: int) -> npt.NDArray[np.int32]:
    """The high 16 bits of the product of the factor and 8 times the samples above the offset."""
    scaled = samples.astype(np.int32)
    scaled *= SCALE_8_BIT * factor
    scaled -= SCALE_8_BIT * factor * offset
    scaled >>= 16
    return scaled


def _doubled(samples: npt.NDArray[np.int32]) -> npt.NDArray[np.int16]:
    """Each sample twice in its row, of 16 bits: as the two halves of a number of 32 bits."""
    pairs = samples & 0xFFFF
    pairs |= pairs << 16
    return pairs.view(np.int16)


def rgb_exact(planes: Sequence[Plane], full_range: bool, matrix: str) -> tuple[Plane, ...]:
    """8-bit YUV planes `[T, h, w]` -> R, G, B in float64, bilinear chroma (MPEG-2 siting), rounded once."""
    kr, kb = LUMA_WEIGHTS[matrix]
    kg = 1 - kr - kb
    height, width = planes[0].shape[1:]
    offset, luma_range, chroma_range = (0, 255, 255) if full_range else (16, 219, 224)
    rgb = tuple(np.empty(planes[0].shape, np.uint8) for _ in range(3))
    for index in range(len(planes[0])):
        y = (planes[0][index].astype(np.float64) - offset) / luma_range
        u, v = ((_bilinear(c[index].astype(np.float64), height, width) - 128) / chroma_range for c in planes[1:])
        rgb[0][index] = _rounded(y + 2 * (1 - kr) * v, 255)
        rgb[1][index] = _rounded(y - 2 * (1 - kb) * kb / kg * u - 2 * (1 - kr) * kr / kg * v, 255)
        rgb[2][index] = _rounded(y + 2 * (1 - kb) * u, 255)
    return rgb


def _rounded(unit: Array, peak: int) -> Array:
    """Samples from 0 to the peak, still in float64, of values from 0 to 1; overwrites them."""
    unit *= peak
    return _nearest(unit, peak)


def _nearest(samples: Array, peak: int) -> Array:
    """Rounded half up and clipped, in place."""
    samples += 0.5
    np.floor(samples, out=samples)
    return np.clip(samples, 0, peak, out=samples)


def _bilinear(chroma: Array, height: int, width: int) -> Array:
    """A chroma plane `[h, w]` at luma positions: co-sited horizontally, centered vertically; edges are repeated."""
    if chroma.shape[0] != height:
        above, below = np.vstack([chroma[:1], chroma[:-1]]), np.vstack([chroma[1:], chroma[-1:]])
        rows = np.empty((2 * len(chroma), chroma.shape[1]))
        rows[0::2], rows[1::2] = 0.75 * chroma + 0.25 * above, 0.75 * chroma + 0.25 * below
        chroma = rows[:height]
    if chroma.shape[1] != width:
        columns = np.empty((len(chroma), 2 * chroma.shape[1]))
        columns[:, 0::2] = chroma
        columns[:, 1::2] = 0.5 * (chroma + np.hstack([chroma[:, 1:], chroma[:, -1:]]))
        chroma = columns[:, :width]
    return chroma


def rgb_to_yuv(frames: Frames, fmt: VideoFormat, target: VideoFormat, matrix: str = "bt601") -> Frames:
    """RGB planes -> YUV of the target's chroma, depth and range: float64, box-averaged chroma, rounded once."""
    kr, kb = LUMA_WEIGHTS[matrix]
    unit = 1 << (target.bit_depth - 8)
    offset, luma_range, chroma_range = (
        (0.0, target.peak, target.peak) if target.full_range else (16.0 * unit, 219.0 * unit, 224.0 * unit)
    )
    planes = tuple(np.empty((len(frames), *shape), target.dtype) for shape in target.plane_shapes)
    for index in range(len(frames)):
        r, g, b = (plane[index].astype(np.float64) / fmt.peak for plane in frames.planes)
        y = kr * r + (1 - kr - kb) * g + kb * b
        u, v = (b - y) / (2 * (1 - kb)), (r - y) / (2 * (1 - kr))
        planes[0][index] = _nearest(y * luma_range + offset, target.peak)
        for plane, chroma in zip(planes[1:], (u, v), strict=False):
            box = _box(chroma, *plane.shape[1:])
            plane[index] = _nearest(box * chroma_range + 128.0 * unit, target.peak)
    return Frames(planes)


def _box(chroma: Array, height: int, width: int) -> Array:
    """The mean over the luma samples that a chroma sample covers (odd edges: over those that exist)."""
    if chroma.shape[0] != height:
        lower = chroma[1::2] if len(chroma) % 2 == 0 else np.vstack([chroma[1::2], chroma[-1:]])
        chroma = (chroma[0::2] + lower) / 2
    if chroma.shape[1] != width:
        right = chroma[:, 1::2] if chroma.shape[1] % 2 == 0 else np.hstack([chroma[:, 1::2], chroma[:, -1:]])
        chroma = (chroma[:, 0::2] + right) / 2
    return chroma


def convert(frames: Frames, fmt: VideoFormat, target: VideoFormat, matrix: str = "bt601") -> Frames:
    """The frames in the target's chroma and bit depth. Raises MediaError where that would invent chroma."""
    if fmt.chroma == "rgb" and target.chroma != "rgb":
        return rgb_to_yuv(frames, fmt, target, matrix)
    if fmt.chroma != target.chroma:
        frames = _subsample(frames, fmt, target)
    return change_depth(frames, fmt.bit_depth, target.bit_depth)


def _subsample(frames: Frames, fmt: VideoFormat, target: VideoFormat) -> Frames:
    if fmt.chroma not in ("444", "422") or target.chroma not in ("422", "420"):
        raise MediaError(f"{fmt.chroma} frames cannot be converted to {target.chroma}; use a source of that chroma.")
    planes = [frames.planes[0]]
    for plane, shape in zip(frames.planes[1:], target.plane_shapes[1:], strict=True):
        small = [np.floor(_box(one.astype(np.float64), *shape) + 0.5) for one in plane]
        planes.append(typed(np.stack(small), fmt.dtype))
    return Frames(tuple(planes))
