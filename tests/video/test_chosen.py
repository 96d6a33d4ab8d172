"""Some frames of a video are those of the whole video, whether it seeks or is read from the start."""

from collections.abc import Iterator

import numpy as np
import pytest

from rdbench.video import BATCH, Frames, Video, VideoFormat
from rdbench.video.chosen import Chosen, seeks
from rdbench.video.readers import MemoryVideo

FORMAT = VideoFormat(4, 2, "gray")


def numbered(count: int) -> Frames:
    """Frames whose samples are their numbers."""
    return Frames((np.arange(count, dtype=np.uint8)[:, None, None].repeat(2, 1).repeat(4, 2),))


class Seeking(MemoryVideo):
    """A video with random access that keeps what was asked for."""

    def __init__(self, count: int) -> None:
        super().__init__(FORMAT, numbered(count))
        self.asked: list[tuple[int, int]] = []

    def span(self, first: int, end: int, size: int = BATCH) -> Iterator[Frames]:
        self.asked.append((first, end))
        yield from super().span(first, end, size)


class Counting(MemoryVideo):
    """A video without random access that counts the frames that were read."""

    read = 0

    def batches(self, size: int = BATCH) -> Iterator[Frames]:
        for batch in super().batches(1):
            self.read += 1
            yield batch


def values(video: Video) -> list[int]:
    return [int(batch.planes[0][index, 0, 0]) for batch in video.batches() for index in range(len(batch))]


@pytest.mark.parametrize("numbers", [[0], [19], [3, 7, 8, 19], [8, 3, 3]])
def test_the_frames_are_the_chosen_ones_in_order(numbers: list[int]) -> None:
    for video in (Seeking(20), Counting(FORMAT, numbered(20))):
        assert values(Chosen(video, numbers, seeks(video))) == sorted(set(numbers))


def test_a_video_with_random_access_is_asked_for_these_frames_only() -> None:
    video = Seeking(20)
    list(Chosen(video, [15, 2], seeks(video)).batches())
    assert video.asked == [(2, 3), (15, 16)]


def test_another_is_read_once_and_no_further_than_the_last() -> None:
    video = Counting(FORMAT, numbered(20))
    assert values(Chosen(video, [2, 5], seeks(video))) == [2, 5]
    assert video.read == 6


def test_numbers_beyond_the_end_yield_nothing() -> None:
    assert values(Chosen(Counting(FORMAT, numbered(4)), [1, 9], seeks=False)) == [1]
