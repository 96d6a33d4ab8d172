"""Frames that are not what their format says are named."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from rdbench.errors import MediaError
from rdbench.video import BATCH, Frames, Video, VideoFormat
from rdbench.video.checked import CheckedVideo
from rdbench.video.readers import MemoryVideo

FORMAT = VideoFormat(160, 90, "420", 10)
SHAPES = ((90, 160), (45, 80), (45, 80))
Planes = list[Any]


def planes(frames: int = 3, dtype: str = "<u2", value: int = 1023) -> Planes:
    return [np.full((frames, *shape), value, dtype) for shape in SHAPES]


class Given(Video):
    """Two good frames, then a batch as it is given."""

    def __init__(self, batch: Any, fmt: Any = FORMAT) -> None:
        self.format, self.frames, self._batch = fmt, None, batch

    def batches(self, size: int = BATCH) -> Iterator[Frames]:
        yield Frames(tuple(planes(2)))
        yield self._batch

    def span(self, first: int, end: int, size: int = BATCH) -> Iterator[Frames]:
        yield self._batch


CASES: list[tuple[Callable[[Planes], Any], str]] = [
    (lambda p: [plane.transpose(0, 2, 1) for plane in p], "gave planes of 90x160, expected 160x90 (plane 0), from fra"),
    (lambda p: [p[0], p[1], p[2][:, :44]], "gave planes of 80x44, expected 80x45 (plane 2)"),
    (lambda p: p[:1], "gave 1 planes, expected 3 (420)"),
    (lambda p: [*p, p[1]], "gave 4 planes, expected 3 (420)"),
    (lambda p: [], "gave 0 planes, expected 3"),
    (lambda p: [plane.astype(np.float32) for plane in p], "gave samples of float32, expected uint16 at 10 bit"),
    (lambda p: [plane.astype(np.uint8) for plane in p], "gave samples of uint8, expected uint16 at 10 bit"),
    (lambda p: [plane.astype(">u2") for plane in p], "gave samples of >u2, expected <u2"),
    (lambda p: [plane[0] for plane in p], "gave planes with 2 dimensions, expected 3"),
    (lambda p: [plane[..., None] for plane in p], "gave planes with 4 dimensions, expected 3"),
    (lambda p: [plane.tolist() for plane in p], "gave planes of the type list, expected NumPy arrays"),
    (lambda p: [p[0], p[1][:2], p[2]], "gave 2 frames, expected 3 as in plane 0 (plane 1)"),
    (lambda p: [p[0], p[1], p[2] + 477], "the value 1500, expected at most 1023 at 10 bit (plane 2), from frame 2"),
]


@pytest.mark.parametrize(("change", "words"), CASES)
def test_wrong_frames_are_named(change: Callable[[Planes], Any], words: str) -> None:
    video = CheckedVideo(Given(Frames(tuple(change(planes())))))
    with pytest.raises(MediaError) as error:
        list(video.batches())
    assert words in str(error.value)
    with pytest.raises(MediaError):
        list(video.span(0, 1))


@pytest.mark.parametrize(
    ("batch", "words"), [(None, "gave NoneType"), (tuple(planes()), "gave tuple"), (Frames(np.zeros(3)), "gave Frames")]
)
def test_what_is_no_batch_is_named(batch: Any, words: str) -> None:
    with pytest.raises(MediaError, match=f"{words}, expected rdbench.video.Frames"):
        list(CheckedVideo(Given(batch)).batches())


@pytest.mark.parametrize(
    ("fmt", "words"),
    [
        (None, "NoneType"), ("420", "str"), (replace(FORMAT, width=160.0), "width 160.0"),
        (replace(FORMAT, height=0), "height 0"), (replace(FORMAT, chroma="411"), "chroma '411'"),
        (replace(FORMAT, bit_depth=32), "bit_depth 32"), (replace(FORMAT, frame_rate=float("nan")), "frame_rate nan"),
        (replace(FORMAT, full_range=None), "full_range None"),
    ],
)  # fmt: skip
def test_a_wrong_format_is_named(fmt: Any, words: str) -> None:
    with pytest.raises(MediaError, match=words):
        _ = CheckedVideo(Given(None, fmt)).format


def test_what_is_no_video_is_named() -> None:
    with pytest.raises(MediaError, match="gave list, expected"):
        CheckedVideo([Frames(tuple(planes()))])  # type: ignore[arg-type]


def test_good_frames_pass_unchanged_and_samples_are_compared_on_request_only() -> None:
    content = Frames(tuple(planes(11)))
    (first, second) = CheckedVideo(MemoryVideo(FORMAT, content)).batches(8)
    assert (len(first), len(second)) == (8, 3)
    (part,) = CheckedVideo(MemoryVideo(FORMAT, content)).span(4, 6)
    assert all(np.array_equal(a, b[4:6]) for a, b in zip(part.planes, content.planes, strict=True))
    above = MemoryVideo(FORMAT, Frames(tuple(planes(2, value=1024))))
    assert len(list(CheckedVideo(above, values=False).batches())) == 1
    with pytest.raises(MediaError, match="1024"):
        list(CheckedVideo(above).batches())
