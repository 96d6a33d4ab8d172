"""Timed decodings: how many, which of them counts, what belongs to it."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from rdbench.codec import Codec, Host, Workspace
from rdbench.errors import RdbenchError
from rdbench.runner import decoding
from rdbench.runner.decoding import DecoderOptions, decode_timed
from rdbench.video import BATCH, Frames, Video, VideoFormat
from rdbench.video.hashing import hash_frames
from rdbench.video.readers import MemoryVideo

OPTIONS = DecoderOptions("cpu", 1, None, {})


def clip(frames: int) -> MemoryVideo:
    """Frames of 4x2, each of one value."""
    fmt = VideoFormat(4, 2)
    planes = (np.repeat(np.arange(frames, dtype=np.uint8), h * w).reshape(frames, h, w) for h, w in fmt.plane_shapes)
    return MemoryVideo(fmt, Frames(tuple(planes)))


class Slow(Codec):
    """Waits for the next of `seconds` in each complete decoding."""

    seconds: ClassVar[list[float]] = []
    counts: ClassVar[list[int]] = []
    folders: ClassVar[list[list[str]]] = []

    @classmethod
    def missing(cls, host: Host) -> str | None:
        return None

    @classmethod
    def version(cls, host: Host) -> str:
        return "slow-1"

    def rate_points(self, clip: Any) -> Any:
        return []

    def encode(self, source: Any, point: Any, bitstream: Path, workspace: Workspace) -> None: ...

    @classmethod
    def decode(cls, bitstream: Path, workspace: Workspace) -> Video:
        cls.folders.append(os.listdir(workspace.folder))
        (workspace.folder / "rest").touch()
        return _SlowVideo(workspace)


class _SlowVideo(Video):
    def __init__(self, workspace: Workspace) -> None:
        self._clip, self._workspace = clip(Slow.counts.pop(0) if Slow.counts else 3), workspace
        self.format, self.frames = self._clip.format, None

    def batches(self, size: int = BATCH) -> Iterator[Frames]:
        wait = Slow.seconds.pop(0) if Slow.seconds else 0.0
        with self._workspace.stopwatch.part("wait"):
            time.sleep(wait)
        self._workspace.report["waited"] = wait
        yield from self._clip.batches(size)


def run(tmp_path: Path, seconds: list[float], counts: tuple[int, ...] = ()) -> dict[str, Any]:
    Slow.seconds[:], Slow.counts[:], Slow.folders[:] = seconds, counts, []
    (tmp_path / "stream").write_bytes(b"12345")
    return decode_timed(Slow, tmp_path / "stream", OPTIONS, "cpu")


def test_the_value_is_the_median_of_the_warm_decodings_and_the_cold_one_is_apart(tmp_path: Path) -> None:
    result = run(tmp_path, [0.5, 0.05, 0.2, 0.1, 0.3, 0.15])
    assert [round(seconds, 1) for seconds in (result["cold_seconds"], result["seconds"])] == [0.5, 0.2]
    assert result["samples"] == pytest.approx([0.05, 0.2, 0.1, 0.3, 0.15], abs=0.04)
    assert sorted(result["samples"])[2] == result["seconds"]
    assert result["report"] == {"waited": 0.15}
    assert result["parts"]["wait"] == pytest.approx(0.15, abs=0.04)
    assert result["first_frame_seconds"] <= result["seconds"]
    assert result["seek_seconds"] < 0.05
    assert result["frames"] == 3
    assert result["ledger"] == {"payload": 5}
    assert result["peak_memory_mb"] > 1
    assert "energy" in result
    assert Slow.folders == [[]] * 8  # one cold, five warm, one frame, the hashes: none finds what another left


def test_a_further_decoding_starts_only_where_it_would_end_in_the_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoding, "DECODE_BUDGET_SECONDS", 0.5)
    result = run(tmp_path, [0.1, 0.2, 0.2, 0.2, 0.2])
    assert result["samples"] == pytest.approx([0.2, 0.2], abs=0.04)
    result = run(tmp_path, [0.6])
    assert result["samples"] == []
    assert result["seconds"] == result["cold_seconds"] == pytest.approx(0.6, abs=0.04)
    assert result["report"] == {"waited": 0.6}


def test_decodings_with_other_numbers_of_frames_are_a_failure(tmp_path: Path) -> None:
    with pytest.raises(RdbenchError, match="gave 3 and 4 frames"):
        run(tmp_path, [], counts=(3, 3, 4))


def test_the_hashes_are_those_of_the_frames_and_in_no_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(video: Video) -> Any:
        time.sleep(0.3)
        return hash_frames(video)

    monkeypatch.setattr(decoding, "hash_frames", slow)
    result = run(tmp_path, [])
    assert result["frames_sha256"] == hash_frames(clip(3)).sha256
    assert len(set(result["frame_hashes"])) == 3
    assert max(result["cold_seconds"], result["seek_seconds"], *result["samples"]) < 0.2


def test_ffmpeg_is_found_before_the_clock(tmp_path: Path) -> None:
    found = decoding.locate_ffmpeg(None)
    assert found is not None
    assert os.access(found, os.X_OK)
    assert decoding.locate_ffmpeg(str(tmp_path / "none")) == str(tmp_path / "none")
