"""Frames from one process to another, and the reason where there are no more."""

import io

import numpy as np
import pytest

from rdbench.errors import MediaError
from rdbench.video import Frames, VideoFormat
from rdbench.video.pipe import PipedVideo, send_failure, send_video
from rdbench.video.readers import MemoryVideo

FORMAT = VideoFormat(5, 3, "420", 10)
REASON = "why\n\x00\ud800" + "x" * 2000


def sent() -> tuple[MemoryVideo, bytes]:
    rng = np.random.default_rng(0)
    planes = tuple(rng.integers(0, 1024, (11, h, w), np.uint16) for h, w in FORMAT.plane_shapes)
    video, stream = MemoryVideo(FORMAT, Frames(planes)), io.BytesIO()
    assert send_video(video, stream) == 11
    return video, stream.getvalue()


def test_frames_arrive_as_they_were() -> None:
    video, data = sent()
    pairs = zip(PipedVideo(io.BytesIO(data)).batches(4), video.batches(4), strict=True)
    assert all(np.array_equal(a, b) for ours, theirs in pairs for a, b in zip(ours.planes, theirs.planes, strict=True))


def test_the_reason_of_a_failure_arrives_after_the_frames_before_it() -> None:
    stream = io.BytesIO()
    stream.write(sent()[1][:-1])
    send_failure(REASON, stream)
    stream.seek(0)
    batches = PipedVideo(stream).batches(4)
    assert [len(next(batches)) for _ in range(3)] == [4, 4, 3]
    with pytest.raises(MediaError) as error:
        next(batches)
    assert str(error.value) == REASON


def test_the_reason_arrives_where_there_is_no_frame() -> None:
    stream = io.BytesIO()
    send_failure(REASON, stream)
    stream.seek(0)
    with pytest.raises(MediaError) as error:
        PipedVideo(stream)
    assert str(error.value) == REASON


@pytest.mark.parametrize("kept", [0, 10, 100, -1])
def test_a_sender_that_is_gone_is_named(kept: int) -> None:
    with pytest.raises(MediaError, match="log"):
        list(PipedVideo(io.BytesIO(sent()[1][:kept])).batches())
