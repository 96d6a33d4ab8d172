"""Bit depths of samples."""

from typing import Any

import numpy as np
import numpy.typing as npt

from .video import Frames, Plane


def change_depth(frames: Frames, depth: int, target: int) -> Frames:
    """Samples at another bit depth: rounded and clipped down (10 -> 8: (x + 2) >> 2), shifted up."""
    if depth == target:
        return frames
    if depth > target:
        return Frames(tuple(_rounded(plane, depth - target, target) for plane in frames.planes))
    scaled = (p.astype(np.int32) << (target - depth) for p in frames.planes)
    return Frames(tuple(typed(p, np.dtype("<u2")) for p in scaled))


def _rounded(plane: Plane, shift: int, target: int) -> Plane:
    """The plane at the smaller depth of the target, frame by frame, in 16 bits."""
    half = 1 << (shift - 1)
    rounded: Plane = np.empty(plane.shape, np.uint8 if target == 8 else np.dtype("<u2"))
    for frame, out in zip(plane, rounded, strict=True):
        samples = np.minimum(frame, np.uint16(0xFFFF - half))  # so that the sum stays below 2^16
        samples += np.uint16(half)
        samples >>= np.uint16(shift)
        out[...] = np.minimum(samples, np.uint16((1 << target) - 1), out=samples)
    return rounded


def typed(samples: npt.NDArray[Any], dtype: np.dtype[Any]) -> Plane:
    """The samples, already in range, in the type of a plane."""
    plane: Plane = samples.astype(dtype)
    return plane
