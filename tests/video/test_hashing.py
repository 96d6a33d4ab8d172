"""Hashes of frames: what they depend on, and where two videos first differ."""

import hashlib
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from rdbench.video import Frames, VideoFormat
from rdbench.video.hashing import first_difference, hash_frames
from rdbench.video.readers import MemoryVideo

FORMAT = VideoFormat(4, 2, bit_depth=10)


def video(changed: int | None = None, fmt: VideoFormat = FORMAT) -> MemoryVideo:
    """Three frames, one sample of one of them changed."""
    planes = [np.arange(3 * h * w).reshape(3, h, w).astype(fmt.dtype) for h, w in fmt.plane_shapes]
    if changed is not None:
        planes[2][changed, 0, 0] += 1
    return MemoryVideo(fmt, Frames(tuple(planes)))


def test_the_hash_is_that_of_the_format_and_of_the_frames() -> None:
    line = b'{"width": 4, "height": 2, "chroma": "420", "bit_depth": 10, "full_range": false}\n'
    frames = [
        np.concatenate([np.arange(8 * t, 8 * t + 8), *[np.arange(2 * t, 2 * t + 2)] * 2]).astype("<u2").tobytes()
        for t in range(3)
    ]
    digests = [hashlib.sha256(frame).digest() for frame in frames]
    hashed = hash_frames(video())
    assert hashed.sha256 == hashlib.sha256(line + b"".join(digests)).hexdigest()
    assert hashed.frame_hashes == [digest.hex()[:16] for digest in digests]
    assert hash_frames(video()).sha256 == hashed.sha256


@pytest.mark.parametrize("change", [{"bit_depth": 12}, {"full_range": True}])
def test_other_formats_have_other_hashes(change: dict[str, int]) -> None:
    other = hash_frames(video(fmt=replace(FORMAT, **change)))  # type: ignore[arg-type]
    assert other.sha256 != hash_frames(video()).sha256
    assert hash_frames(video(fmt=replace(FORMAT, frame_rate=Fraction(50)))).sha256 == hash_frames(video()).sha256


def test_the_first_frame_that_differs() -> None:
    first, second = hash_frames(video()), hash_frames(video(changed=1))
    assert first.sha256 != second.sha256
    assert first_difference(first.frame_hashes, second.frame_hashes) == 1
    assert first_difference(first.frame_hashes, first.frame_hashes) is None
    assert first_difference(first.frame_hashes, first.frame_hashes[:2]) == 2
