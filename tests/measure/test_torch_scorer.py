"""The scorer of torch gives what that of NumPy does: on the CPU always, on a GPU where there is one."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from rdbench.measure.metrics import compare
from rdbench.measure.scorer import Measurement, NumpyScorer
from rdbench.measure.torch_scorer import TorchScorer
from rdbench.video import Chroma, Frames, VideoFormat
from rdbench.video.conditions import find_conditions
from rdbench.video.readers import MemoryVideo

torch.set_num_threads(1)
FORMATS: list[tuple[int, int, Chroma, int]] = [
    (200, 176, "420", 8), (201, 177, "420", 10), (163, 161, "444", 10), (163, 171, "gray", 8), (171, 163, "rgb", 8),
    (201, 180, "422", 16), (64, 47, "420", 8),
]  # fmt: skip
CASES = [
    (*fmt, conditions)
    for fmt in FORMATS
    for conditions in ("rgb601", "rgb709", "yuv420")
    if conditions != "yuv420" or fmt[2] not in ("gray", "rgb")
]


def pair(fmt: VideoFormat, spread: int) -> tuple[Frames, Frames]:
    """Noise, and noise about it."""
    random = np.random.default_rng(0)
    first = [random.integers(0, fmt.peak + 1, (3, *shape)) for shape in fmt.plane_shapes]
    second = [np.clip(plane + random.integers(-spread, spread + 1, plane.shape), 0, fmt.peak) for plane in first]
    frames = [Frames(tuple(plane.astype(fmt.dtype) for plane in planes)) for planes in (first, second)]
    return frames[0], frames[1]


def check(fmt: VideoFormat, conditions: str, device: str) -> None:
    measurement = Measurement(fmt, fmt, find_conditions(conditions), True)
    for spread in (2, fmt.peak):
        ours, theirs = pair(fmt, spread)
        expected = NumpyScorer(measurement, 1).score(ours, theirs)
        scores = TorchScorer(measurement, device).score(ours, theirs)
        assert list(scores) == list(expected)
        for name, values in expected.items():
            assert scores[name] == (pytest.approx(values, abs=1e-10) if name == "ms_ssim" else values)


@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize(("width", "height", "chroma", "depth", "conditions"), CASES)
def test_torch_measures_what_numpy_does(
    width: int, height: int, chroma: Chroma, depth: int, conditions: str, full_range: bool
) -> None:
    check(VideoFormat(width, height, chroma, depth, full_range=full_range), conditions, "cpu")


def test_a_test_of_another_depth_is_converted() -> None:
    fmt = VideoFormat(64, 48)
    deep = replace(fmt, bit_depth=10)
    (ours, _), (theirs, _) = pair(fmt, 2), pair(deep, 2)
    measurement = Measurement(fmt, deep, find_conditions("yuv420"), True)
    assert TorchScorer(measurement, "cpu").score(ours, theirs) == NumpyScorer(measurement, 1).score(ours, theirs)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="There is no GPU here.")
@pytest.mark.parametrize("conditions", ["rgb601", "rgb709"])
def test_a_gpu_measures_what_numpy_does(conditions: str) -> None:
    check(VideoFormat(333, 251), conditions, "cuda")
    check(VideoFormat(1920, 1080, "420", 10), conditions, "cuda")
    fmt = VideoFormat(333, 251)
    ours, theirs = (MemoryVideo(fmt, frames) for frames in pair(fmt, 2))
    known = compare(ours, theirs, find_conditions(conditions))
    for score, expected in zip(compare(ours, theirs, find_conditions(conditions), device="cuda"), known, strict=True):
        assert replace(score, ms_ssim=None) == replace(expected, ms_ssim=None)
        assert score.ms_ssim == pytest.approx(expected.ms_ssim, abs=1e-10)
