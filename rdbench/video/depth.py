"""Bit depths of samples, without torch: an encoder's clock must not hold the import of it."""

from typing import Any

import numpy as np
import numpy.typing as npt

from .video import Frames, Plane


def change_depth(frames: Frames, depth: int, target: int) -> Frames:
    """Samples at another bit depth: rounded and clipped down (10 -> 8: (x + 2) >> 2), shifted up."""
    if depth == target:
        return frames
    if depth > target:
        shift, peak = depth - target, (1 << target) - 1
        kind = np.uint8 if target == 8 else np.dtype("<u2")
        half = 1 << (shift - 1)
        rounded = (np.minimum((p.astype(np.int32) + half) >> shift, peak) for p in frames.planes)
        return Frames(tuple(typed(p, np.dtype(kind)) for p in rounded))
    scaled = (p.astype(np.int32) << (target - depth) for p in frames.planes)
    return Frames(tuple(typed(p, np.dtype("<u2")) for p in scaled))


def typed(samples: npt.NDArray[Any], dtype: np.dtype[Any]) -> Plane:
    """The samples, already in range, in the type of a plane."""
    plane: Plane = samples.astype(dtype)
    return plane
