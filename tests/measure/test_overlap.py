"""Videos read ahead by threads: bounded, in order, with their errors, and ended with those who use them."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from rdbench.errors import MediaError
from rdbench.measure.metrics import compare
from rdbench.measure.overlap import AHEAD, in_order, read_ahead
from rdbench.video import Frames, Video, VideoFormat
from rdbench.video.conditions import find_conditions

FORMAT = VideoFormat(16, 8)


class Counted(Video):
    """A long video that counts how many of its batches exist at once, and whether it was read to an end."""

    def __init__(self, frames: int, fails_at: int | None = None) -> None:
        self.format, self.frames = FORMAT, frames
        self.fails_at = fails_at
        self.read, self.alive, self.most, self.ended = 0, 0, 0, threading.Event()
        self._lock = threading.Lock()

    def batches(self, size: int = 1) -> Iterator[Frames]:
        try:
            for number in range(self.frames or 0):
                if number == self.fails_at:
                    raise ValueError(f"no frame {number}")
                self.read += 1
                yield self._batch(number)
        finally:
            self.ended.set()

    def _batch(self, number: int) -> Frames:
        self._count(1)
        planes = tuple(np.full((1, *shape), number % 200, np.uint8).view(_Owned) for shape in FORMAT.plane_shapes)
        planes[0].owner = self  # type: ignore[attr-defined]
        return Frames(planes)

    def _count(self, change: int) -> None:
        with self._lock:
            self.alive += change
            self.most = max(self.most, self.alive)


class _Owned(np.ndarray):
    """A plane whose owner learns when it is gone; what is made from it has no owner."""

    owner: Counted | None = None

    def __del__(self) -> None:
        if self.owner is not None:
            self.owner._count(-1)


@pytest.mark.parametrize("threads", [1, 3])
def test_a_long_clip_is_measured_with_few_frames_in_memory(threads: int) -> None:
    reference, test = Counted(600), Counted(600)
    scores = compare(reference, test, find_conditions("rgb601"), ("psnr",), threads=threads)
    assert [score.frame for score in scores] == list(range(600))
    # In the queue, at the reader, at the one who takes them, and measured or waiting for it.
    for video in (reference, test):
        assert video.most <= AHEAD + 2 + 2 * threads
        assert video.alive == 0


def test_reading_goes_ahead_of_who_asks_and_stops() -> None:
    video = Counted(100)
    with read_ahead(video, 1) as batches:
        assert next(batches).planes[0].flat[0] == 0
        deadline = time.monotonic() + 60
        while video.read < AHEAD + 2 and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(0.02)
        assert video.read == AHEAD + 2  # one was taken, and one waits for room
    assert video.ended.is_set()
    assert video.read == AHEAD + 2


def test_both_videos_are_read_at_the_same_time() -> None:
    """Each yields its frame only when the other one is being read."""
    barrier = threading.Barrier(2, timeout=10)

    class Meeting(Counted):
        def batches(self, size: int = 1) -> Iterator[Frames]:
            for batch in super().batches(size):
                barrier.wait()
                yield batch

    assert len(compare(Meeting(5), Meeting(5), find_conditions("rgb601"), ("psnr",))) == 5


@pytest.mark.parametrize("fails", ["reference", "test"])
def test_an_error_of_a_reader_arrives_and_both_end(fails: str) -> None:
    videos = {name: Counted(500, fails_at=20 if name == fails else None) for name in ("reference", "test")}
    with pytest.raises(ValueError, match="no frame 20"):
        compare(videos["reference"], videos["test"], find_conditions("rgb601"), ("psnr",))
    assert all(video.ended.wait(5) for video in videos.values())
    assert no_reader_is_left()


def test_an_error_of_the_measuring_ends_the_readers() -> None:
    class Misshapen(Counted):
        def _batch(self, number: int) -> Frames:
            whole = super()._batch(number)
            return whole if number != 9 else Frames(tuple(plane[:, :3] for plane in whole.planes))

    reference, test = Counted(500), Misshapen(500)
    with pytest.raises(ValueError, match="broadcast"):
        compare(reference, test, find_conditions("rgb601"), ("psnr",))
    assert all(video.ended.wait(5) for video in (reference, test))
    assert reference.read < 20
    assert no_reader_is_left()


def test_lengths_are_counted_to_the_end() -> None:
    with pytest.raises(MediaError, match="7 and 40 frames"):
        compare(Counted(7), Counted(40), find_conditions("rgb601"), ("psnr",))


def test_a_reader_that_hangs_does_not_keep_the_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rdbench.measure.overlap.PATIENCE", 0.05)
    released = threading.Event()

    class Hanging(Counted):
        def batches(self, size: int = 1) -> Iterator[Frames]:
            yield self._batch(0)
            released.wait(20)

    start = time.monotonic()
    with pytest.raises(ValueError, match="no frame 0"):
        compare(Counted(5, fails_at=0), Hanging(5), find_conditions("rgb601"), ("psnr",))
    assert time.monotonic() - start < 10
    released.set()


def test_results_keep_their_order_and_later_work_is_not_begun_after_an_error() -> None:
    begun = []

    def work(a: Frames, b: Frames) -> int:
        number = int(a.planes[0].flat[0])
        begun.append(number)
        time.sleep(0.01 if number % 2 else 0)
        if number == 5:
            raise RuntimeError("five")
        return number

    pairs = ((batch, batch) for batch in Counted(100).batches())
    results = in_order(work, pairs, 2)
    assert [next(results) for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(RuntimeError, match="five"):
        next(results)
    assert len(begun) <= 10


def no_reader_is_left() -> bool:
    deadline = time.monotonic() + 60
    while any("_read" in thread.name for thread in threading.enumerate()):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


def test_vmaf_files_are_those_of_the_clips(tmp_path: Path) -> None:
    """A failing ffmpeg is named after all frames were written for it."""
    broken = tmp_path / "ffmpeg"
    broken.write_text("#!/bin/sh\nwc -c test reference >&2\nexit 1\n")
    broken.chmod(0o755)
    with pytest.raises(MediaError, match=f"{2 * 5 * FORMAT.frame_bytes} total"):
        compare(Counted(5), Counted(5), find_conditions("rgb601"), ("vmaf",), str(broken))
