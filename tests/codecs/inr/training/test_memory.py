"""The memory that a training is expected to need, from the network's size and the clip."""

from fractions import Fraction

import pytest

from rdbench import registry
from rdbench.codec import Clip
from rdbench.codecs.inr.codec import InrCodec
from rdbench.registry import CodecSpec
from rdbench.video import VideoFormat

INR = [
    name
    for name in registry.find_codecs()
    if registry.find_card(name).kind == "INR" and issubclass(registry.load_codec(name), InrCodec)
]


def expected(name: str, width: int, height: int, frames: int, size: int = 200_000) -> float:
    codec = registry.create(CodecSpec(name), None)
    clip = Clip(VideoFormat(width, height, "420", 8, Fraction(25)), frames, (size,))
    megabytes = codec.expected_gpu_memory_mb(clip, codec.rate_points(clip)[0])
    assert megabytes is not None
    return megabytes


@pytest.mark.parametrize("name", INR)
def test_larger_frames_need_more(name: str) -> None:
    small, large = (expected(name, width, height, 8) for width, height in ((320, 180), (640, 360)))
    assert 600 < small < large < 20_000


def test_the_frames_of_the_clip_are_on_the_gpu() -> None:
    few, many = (expected("nerv", 320, 180, frames) for frames in (100, 1100))
    assert many - few >= 1000 * 3 * 320 * 180 / 2**20


def test_weights_count_with_what_belongs_to_them() -> None:
    small, large = (expected("nerv", 320, 180, 8, size) for size in (100_000, 2_100_000))
    assert large - small > 4 * 4 * 2_000_000 / 2**20  # weights, gradients and two moments, 4 bytes each


def test_conventional_codecs_expect_nothing() -> None:
    codec = registry.create(CodecSpec("x264"), None)
    clip = Clip(VideoFormat(320, 180, "420", 8, Fraction(25)), 8)
    assert codec.expected_gpu_memory_mb(clip, codec.rate_points(clip)[0]) is None
    assert codec.shared_artifact(codec.rate_points(clip)[0]) is None
