"""Artificial clips, so that no time goes into reading one."""

import numpy as np

from rdbench.codec import Source
from rdbench.video import Frames, VideoFormat
from rdbench.video.conditions import find_conditions
from rdbench.video.readers import MemoryVideo, RgbVideo


def waves(width: int, height: int, frames: int) -> Source:
    """Moving waves in 4:2:0."""
    t, y, x = np.ogrid[:frames, :height, :width]
    luma = (128 + 60 * np.sin(x / 9 + t / 3) * np.cos(y / 7 - t / 5)).astype(np.uint8)
    chroma = (128 + 20 * np.sin(x / 31 + y / 17 + t / 9))[:, ::2, ::2].astype(np.uint8)
    video = MemoryVideo(VideoFormat(width, height), Frames((luma, chroma, chroma)))
    return Source(video, RgbVideo(video, find_conditions("rgb601")))


def noise_about(frames: Frames, spread: int) -> Frames:
    """The frames with noise of up to `spread` levels."""
    random = np.random.default_rng(0)
    noisy = [plane + random.integers(-spread, spread + 1, plane.shape) for plane in frames.planes]
    return Frames(tuple(np.clip(plane, 0, 255).astype(np.uint8) for plane in noisy))
