"""Conversions: to the bit what the INR papers trained on, and by definition elsewhere."""

import hashlib
import math
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rdbench.video import Chroma, Frames, VideoFormat
from rdbench.video.color import convert, rgb_to_yuv, to_rgb
from rdbench.video.conditions import find_conditions
from rdbench.video.depth import change_depth
from rdbench.video.ffmpeg import find_ffmpeg
from rdbench.video.pipe import split_planes
from rdbench.video.readers import RgbVideo, open_video

PAPERS = "52126f0b88bddddb25abea5e135a998b93636fa15d94b5acb1f7eb6958fa4fc5"


def test_rgb601_is_what_the_papers_trained_on(bunny: Path) -> None:
    digest = hashlib.sha256()
    for batch in RgbVideo(open_video(bunny), find_conditions("rgb601")).batches():
        digest.update(np.stack(batch.planes, axis=-1).tobytes())
    assert digest.hexdigest() == PAPERS


@pytest.mark.parametrize(
    ("pixels", "chroma", "depth", "least", "most"),
    [
        ("yuv420p", "420", 8, math.inf, math.inf), ("yuv422p", "422", 8, math.inf, math.inf),
        ("yuv444p", "444", 8, 43, 50), ("yuv420p10le", "420", 10, 40, 47), ("yuv444p10le", "444", 10, 43, 50),
    ],
)  # fmt: skip
def test_rgb601_is_ffmpegs_default_for_8_bit_420_and_422_alone(
    bunny: Path, pixels: str, chroma: Chroma, depth: int, least: float, most: float
) -> None:
    """For other formats the README says how many dB the two are apart; infinitely many are equal frames."""
    reader = ["-v", "error", "-i", str(bunny), "-frames:v", "1", "-vf", "scale=320:180", "-pix_fmt", pixels]
    raw = subprocess.run([find_ffmpeg(), *reader, "-f", "rawvideo", "-"], capture_output=True, check=True).stdout
    fmt = VideoFormat(320, 180, chroma, depth)
    planes = split_planes(np.frombuffer(raw, fmt.dtype).reshape(1, -1), fmt)
    ours = np.stack(to_rgb(planes, fmt, find_conditions("rgb601")).planes, axis=-1)[0].astype(np.int32)
    source = ["-v", "error", "-f", "rawvideo", "-pix_fmt", pixels, "-s", "320x180", "-i", "-"]
    command = [find_ffmpeg(), *source, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    theirs = subprocess.run(command, input=raw, capture_output=True, check=True).stdout
    error = np.mean((ours - np.frombuffer(theirs, np.uint8).reshape(180, 320, 3)) ** 2)
    apart = 10 * math.log10(255**2 / error) if error else math.inf
    assert least <= apart <= most


def random_frames(fmt: VideoFormat, seed: int = 0) -> Frames:
    rng = np.random.default_rng(seed)
    return Frames(tuple(rng.integers(0, fmt.peak + 1, (2, *s)).astype(fmt.dtype) for s in fmt.plane_shapes))


@pytest.mark.parametrize("chroma", ["420", "422", "444"])
@pytest.mark.parametrize("full_range", [False, True])
def test_rgb709_follows_its_definition(chroma: str, full_range: bool) -> None:
    fmt = VideoFormat(7, 5, chroma, full_range=full_range)  # type: ignore[arg-type]
    frames = random_frames(fmt)
    rgb = np.stack(to_rgb(frames, fmt, find_conditions("rgb709")).planes, axis=-1)
    offset, luma, spread = (0, 255, 255) if full_range else (16, 219, 224)
    for t, y, x in np.ndindex(2, 5, 7):
        # Position of the luma sample on the chroma grid: co-sited horizontally, between rows vertically.
        cx = x / 2 if chroma != "444" else x
        cy = (y - 0.5) / 2 if chroma == "420" else y
        u, v = (sample(p[t], cy, cx) for p in frames.planes[1:])
        luminance, pb, pr = (float(frames.planes[0][t, y, x]) - offset) / luma, (u - 128) / spread, (v - 128) / spread
        r, b = luminance + 1.5748 * pr, luminance + 1.8556 * pb
        g = (luminance - 0.2126 * r - 0.0722 * b) / 0.7152
        expected = np.floor(np.clip(np.array([r, g, b]) * 255, 0, 255) + 0.5)
        assert np.abs(rgb[t, y, x] - expected).max() == 0


def sample(plane: np.ndarray, y: float, x: float) -> float:
    rows, columns = plane.shape
    total = 0.0
    for dy, wy in ((np.floor(y), 1 - (y - np.floor(y))), (np.floor(y) + 1, y - np.floor(y))):
        for dx, wx in ((np.floor(x), 1 - (x - np.floor(x))), (np.floor(x) + 1, x - np.floor(x))):
            total += wy * wx * float(plane[int(np.clip(dy, 0, rows - 1)), int(np.clip(dx, 0, columns - 1))])
    return total


def test_gray_levels_survive_both_ways() -> None:
    fmt = VideoFormat(4, 4, "rgb", full_range=True)
    for level in (0, 1, 127, 128, 254, 255):
        gray = Frames(tuple(np.full((1, 4, 4), level, np.uint8) for _ in range(3)))
        target = replace(fmt, chroma="444", full_range=False)
        yuv = rgb_to_yuv(gray, fmt, target)
        assert yuv.planes[0].flat[0] == int(16 + 219 * level / 255 + 0.5)
        assert (yuv.planes[1] == 128).all()
        assert abs(int(to_rgb(yuv, target, find_conditions("rgb601")).planes[0].flat[0]) - level) <= 1


def test_depth_is_rounded_down_and_shifted_up() -> None:
    frames = Frames((np.array([[[0, 1, 2, 5, 6, 1023]]], "<u2"),))
    assert change_depth(frames, 10, 8).planes[0].ravel().tolist() == [0, 0, 1, 1, 2, 255]
    assert change_depth(Frames((np.array([[[0, 255]]], np.uint8),)), 8, 10).planes[0].ravel().tolist() == [0, 1020]


def test_444_becomes_420_by_box_means_at_odd_sizes() -> None:
    fmt = VideoFormat(3, 3, "444")
    plane = np.arange(9, dtype=np.uint8).reshape(1, 3, 3)
    small = convert(Frames((plane, plane, plane)), fmt, replace(fmt, chroma="420")).planes[1]
    assert small.tolist() == [[[2, 4], [7, 8]]]  # means 2, 3.5, 6.5 and 8, rounded half up
