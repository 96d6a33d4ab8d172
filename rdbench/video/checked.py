"""What a codec's decoder yields, checked against the format that it names: types, shapes, counts and values."""

from collections.abc import Iterator
from fractions import Fraction
from functools import cached_property
from typing import Any, get_args

import numpy as np

from ..errors import MediaError
from .video import BATCH, Chroma, Frames, Video, VideoFormat

DEPTHS = range(8, 17)
"""Bits of a sample that a format may have."""


class CheckedVideo(Video):
    """A decoder's video whose every batch is checked. Raises MediaError that names what is wrong.

    `values`: whether samples are compared with the bit depth too, which takes time for each of them.
    """

    def __init__(self, video: Video, values: bool = True) -> None:
        if not isinstance(video, Video):
            raise MediaError(f"The decoder gave {_kind(video)}, expected an object of the class rdbench.video.Video.")
        self._video, self._values = video, values
        self.frames = getattr(video, "frames", None)

    @cached_property
    def format(self) -> VideoFormat:  # type: ignore[override]
        """The video's own format, asked for late: a stream may have to be read for it."""
        return _checked_format(getattr(self._video, "format", None))

    def batches(self, size: int = BATCH) -> Iterator[Frames]:
        """The video's own batches."""
        yield from self._checked(self._video.batches(size))

    def span(self, first: int, end: int, size: int = BATCH) -> Iterator[Frames]:
        """The video's own span."""
        yield from self._checked(self._video.span(first, end, size))

    def _checked(self, batches: Iterator[Frames]) -> Iterator[Frames]:
        count = 0
        for batch in batches:
            if (problem := find_problem(batch, self.format, self._values)) is not None:
                raise MediaError(f"The decoder gave {problem}, from frame {count} on.")
            count += len(batch)
            yield batch


def find_problem(batch: Frames, fmt: VideoFormat, values: bool = True) -> str | None:
    """What the batch has and what the format asks for instead, `planes of 90x160, expected 160x90`; None if alike."""
    if not isinstance(batch, Frames) or not isinstance(batch.planes, tuple | list):
        return f"{_kind(batch)}, expected rdbench.video.Frames"
    shapes = fmt.plane_shapes
    if len(batch.planes) != len(shapes):
        return f"{len(batch.planes)} planes, expected {len(shapes)} ({fmt.chroma})"
    for number, (plane, shape) in enumerate(zip(batch.planes, shapes, strict=True)):
        problem = _find_plane_problem(plane, shape, fmt)
        if problem is None and len(plane) != len(batch.planes[0]):
            problem = f"{len(plane)} frames, expected {len(batch.planes[0])} as in plane 0"
        if problem is None and values and fmt.bit_depth not in (8, 16) and plane.size and plane.max() > fmt.peak:
            problem = f"the value {plane.max()}, expected at most {fmt.peak} at {fmt.bit_depth} bit"
        if problem is not None:
            return f"{problem} (plane {number})"
    return None


def _find_plane_problem(plane: Any, shape: tuple[int, int], fmt: VideoFormat) -> str | None:
    if not isinstance(plane, np.ndarray):
        return f"planes of the type {_kind(plane)}, expected NumPy arrays"
    if plane.ndim != 3:
        return f"planes with {plane.ndim} dimensions, expected 3: frames, height, width"
    if plane.dtype != fmt.dtype:
        swapped = plane.dtype.name == fmt.dtype.name
        names = (plane.dtype.str, fmt.dtype.str) if swapped else (plane.dtype.name, fmt.dtype.name)
        return f"samples of {names[0]}, expected {names[1]} at {fmt.bit_depth} bit"
    if plane.shape[1:] != shape:
        return f"planes of {plane.shape[2]}x{plane.shape[1]}, expected {shape[1]}x{shape[0]}"
    return None


def _checked_format(fmt: Any) -> VideoFormat:
    """The format, where all its values are possible. Raises MediaError."""
    if not isinstance(fmt, VideoFormat):
        raise MediaError(f"The decoder gave a video with the format {_kind(fmt)}, expected rdbench.video.VideoFormat.")
    allowed = {
        "width": ("a positive int", type(fmt.width) is int and fmt.width > 0),
        "height": ("a positive int", type(fmt.height) is int and fmt.height > 0),
        "chroma": (f"one of {', '.join(get_args(Chroma))}", fmt.chroma in get_args(Chroma)),
        "bit_depth": ("an int from 8 to 16", type(fmt.bit_depth) is int and fmt.bit_depth in DEPTHS),
        "frame_rate": ("a positive Fraction", isinstance(fmt.frame_rate, Fraction | int) and fmt.frame_rate > 0),
        "full_range": ("a bool", isinstance(fmt.full_range, bool)),
    }
    for name, (expected, holds) in allowed.items():
        if not holds:
            raise MediaError(f"The decoder gave a format with {name} {getattr(fmt, name)!r:.60}, expected {expected}.")
    return fmt


def _kind(value: object) -> str:
    return type(value).__name__
