"""What is read of a clip: a cut reads its frames only, and nothing is hashed or counted twice."""

import hashlib
import shlex
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import platformdirs
import pytest
from conftest import make_y4m
from PIL import Image

from rdbench.clips.content import content_sha256, count_frames, known_facts, known_sha256, read_facts
from rdbench.clips.dataset import Sequence, resolve
from rdbench.errors import DatasetError, MediaError, UsageError
from rdbench.video import Video
from rdbench.video.ffmpeg import find_ffmpeg
from rdbench.video.readers import open_video

SIZE = 64 * 48 * 3 // 2
"""Bytes of a frame of the clips below."""


class Counted:
    """An ffmpeg that logs its arguments, and the bytes that it writes to its standard output."""

    def __init__(self, folder: Path) -> None:
        self.program, self._calls, self._bytes = folder / "ffmpeg", folder / "calls", folder / "bytes"
        ffmpeg = shlex.quote(find_ffmpeg())
        self.program.write_text(
            f'#!/bin/bash\necho "$@" >> {self._calls}\ncase "$*" in *pipe:*) {ffmpeg} "$@" > {folder}/$$; status=$?\n'
            f'wc -c < {folder}/$$ >> {self._bytes}; cat {folder}/$$; exit $status;; *) exec {ffmpeg} "$@";; esac\n'
        )
        self.program.chmod(0o755)

    @property
    def calls(self) -> list[str]:
        """A line for each start."""
        return self._calls.read_text().splitlines() if self._calls.exists() else []

    @property
    def decodings(self) -> list[str]:
        """The starts that decode."""
        return [call for call in self.calls if "pipe:" in call]

    @property
    def frames(self) -> int:
        """Frames of 64x48 that all starts wrote, 4:2:0 of 8 bit."""
        written = sum(map(int, self._bytes.read_text().split())) if self._bytes.exists() else 0
        assert written % SIZE == 0
        return written // SIZE


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda name: tmp_path / "user-cache" / name)


@pytest.fixture
def ffmpeg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Counted:
    """The ffmpeg that counts, in use."""
    (tmp_path / "program").mkdir()
    counted = Counted(tmp_path / "program")
    monkeypatch.setenv("RDBENCH_FFMPEG", str(counted.program))
    return counted


def coded(path: Path, frames: int = 30, *options: str, pix_fmt: str = "yuv420p") -> Path:
    """A moving test picture of 64x48, by default as H.264 with B-frames."""
    options = options or ("-c:v", "libx264", "-g", "12", "-bf", "3")
    source = ("-f", "lavfi", "-i", "testsrc=size=64x48:rate=25", "-frames:v", str(frames), "-pix_fmt", pix_fmt)
    subprocess.run([find_ffmpeg(), "-v", "error", *source, *options, str(path)], check=True)
    return path


def planes(video: Video, size: int = 8) -> bytes:
    """All samples, frame after frame."""
    return b"".join(
        plane[index].tobytes() for batch in video.batches(size) for index in range(len(batch)) for plane in batch.planes
    )


def test_a_cut_of_a_coded_file_decodes_its_frames_only_and_once(tmp_path: Path, ffmpeg: Counted) -> None:
    (clip,) = resolve(str(coded(tmp_path / "clip.mp4")))
    facts = read_facts(clip, 8)
    assert ffmpeg.frames == 8
    assert facts.frames == 8
    assert facts.sha256 == hashlib.sha256(planes(clip.open(frames=8))).hexdigest()
    assert ffmpeg.frames == 16
    calls = len(ffmpeg.calls)
    assert read_facts(clip, 8) == known_facts(clip, 8) == facts
    clip.open(frames=8)
    assert len(ffmpeg.calls) == calls, "probed, counted or hashed again"


def test_a_whole_clip_is_decoded_once_for_its_number_of_frames_and_all_hashes(tmp_path: Path, ffmpeg: Counted) -> None:
    (clip,) = resolve(str(coded(tmp_path / "clip.mp4")))
    known = hashlib.sha256(planes(open_video(Path(clip.path)))).hexdigest()
    before = ffmpeg.frames
    clip = replace(clip, frames_sha256=known, transforms=(("crop", 32, 32),))
    facts = read_facts(clip)
    assert (facts.frames, facts.format.width) == (30, 32)
    assert ffmpeg.frames - before == 30
    assert facts.sha256 == hashlib.sha256(planes(clip.open())).hexdigest()
    assert ffmpeg.frames - before == 60
    assert content_sha256(clip, 30) == facts.sha256
    assert (clip.open(frames=30).frames, count_frames(clip), ffmpeg.frames - before) == (30, 30, 60)


def test_planning_hashes_nothing(tmp_path: Path, ffmpeg: Counted) -> None:
    (clip,) = resolve(str(coded(tmp_path / "clip.mp4")))
    assert (known_facts(clip, 8).frames, known_facts(clip, 8).sha256) == (8, None)
    assert ffmpeg.frames == 8, "counted once, up to the cut"
    listed = replace(clip, frames=30, sha256="0" * 64, frames_sha256="0" * 64)
    assert known_facts(listed).frames == 30
    assert (ffmpeg.frames, known_sha256(listed)) == (8, None)


@pytest.mark.parametrize("facts_of", [read_facts, known_facts])
def test_too_few_frames_are_a_sentence_before_anything_runs(tmp_path: Path, ffmpeg: Counted, facts_of) -> None:  # type: ignore[no-untyped-def]
    (clip,) = resolve(str(coded(tmp_path / "clip.mp4", 5)))
    for _ in range(2):
        with pytest.raises(UsageError, match=r"^clip has 5 frames, not 8; give at most 5\.$"):
            facts_of(clip, 8)
    assert ffmpeg.frames == 5
    with pytest.raises(UsageError, match="give at most 5"):
        clip.open(frames=6)


def test_a_cut_that_nobody_counted_is_too_short_when_it_is_read(tmp_path: Path) -> None:
    (clip,) = resolve(str(coded(tmp_path / "clip.mp4", 5)))
    video = clip.open(frames=8)
    with pytest.raises(UsageError, match="clip has 5 frames, not 8"):
        list(video.batches())


@pytest.mark.parametrize(
    ("options", "pix_fmt"),
    [
        (("-c:v", "libx264", "-g", "12", "-bf", "3"), "yuv420p"),
        (("-c:v", "libx265", "-x265-params", "log-level=none:bframes=4:keyint=10"), "yuv420p10le"),
        (("-c:v", "ffv1"), "yuv444p"),
        (("-c:v", "ffv1"), "gbrp"),
        (("-c:v", "libvpx-vp9"), "yuv420p"),
        (("-c:v", "mpeg2video", "-bf", "2"), "yuv420p"),
    ],
)
@pytest.mark.parametrize("transforms", [(), (("crop", 40, 24), ("scale", 20, 12))])
def test_a_cut_has_the_frames_of_the_whole(
    tmp_path: Path, options: tuple[str, ...], pix_fmt: str, transforms: tuple[tuple[str, int, int], ...]
) -> None:
    (clip,) = resolve(str(coded(tmp_path / "clip.mkv", 21, *options, pix_fmt=pix_fmt)))
    clip = replace(clip, transforms=transforms)
    whole = planes(clip.open())
    for frames in (1, 7, 8, 13, 21):
        for size in (1, 5, 8):
            assert planes(clip.open(frames=frames), size) == whole[: frames * len(whole) // 21], (frames, size)


def test_headers_and_folders_are_cut_alike(tmp_path: Path) -> None:
    make_y4m(tmp_path / "clip.y4m", 64, 48, 21)
    (tmp_path / "images").mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (4, 48, 64, 3), np.uint8)
    for index, image in enumerate(noise):
        Image.fromarray(image).save(tmp_path / "images" / f"{index}.png")
    raw = planes(open_video(tmp_path / "clip.y4m"))
    (tmp_path / "clip.yuv").write_bytes(raw)
    listed = Sequence("clip", "own", str(tmp_path / "clip.yuv"), "raw", None, 64, 48, frame_rate="25", frames=21)
    for clip, counts in ((resolve(str(tmp_path / "clip.y4m"))[0], (1, 7, 13)), (listed, (1, 7, 13, 21)),
                         (resolve(str(tmp_path / "images"))[0], (1, 3))):  # fmt: skip
        whole = planes(clip.open())
        for frames in counts:
            for size in (2, 8):
                assert planes(clip.open(frames=frames), size) == whole[: frames * len(whole) // (clip.frames or 0)]


def test_a_cut_of_images_starts_no_ffmpeg_for_the_others(tmp_path: Path, ffmpeg: Counted) -> None:
    for index in range(6):
        Image.new("RGB", (64, 48), (index, 2, 3)).save(tmp_path / f"{index}.png")
    (clip,) = resolve(str(tmp_path))
    list(clip.open(frames=2).batches())
    assert {call.split("file:")[1].split(" ")[0] for call in ffmpeg.calls if "file:" in call} == {
        str(tmp_path / "0.png"), str(tmp_path / "1.png")
    }  # fmt: skip
    assert len(ffmpeg.decodings) == 2


def damage(path: Path, start: int, count: int = 500) -> None:
    """Overwrites bytes of the file."""
    data = bytearray(path.read_bytes())
    data[start : start + count] = np.random.default_rng(0).integers(0, 256, count, np.uint8).tobytes()
    path.write_bytes(data)


def test_damage_behind_the_cut_does_not_matter_and_before_it_does(tmp_path: Path, bunny: Path) -> None:
    options = ("-an", "-vf", "scale=320:180", "-c:v", "libx264", "-movflags", "+faststart")
    subprocess.run([find_ffmpeg(), "-v", "error", "-i", str(bunny), *options, str(tmp_path / "a.mp4")], check=True)
    whole = planes(open_video(tmp_path / "a.mp4"))
    data = (tmp_path / "a.mp4").read_bytes()
    damage(tmp_path / "a.mp4", len(data) - 5000)
    (clip,) = resolve(str(tmp_path / "a.mp4"))
    assert planes(clip.open(frames=8)) == whole[: 8 * 320 * 180 * 3 // 2]
    with pytest.raises(MediaError, match="damaged or cut short"):
        planes(clip.open())
    damage(tmp_path / "a.mp4", data.index(b"mdat") + 2500)
    with pytest.raises(MediaError, match="damaged or cut short"):
        planes(clip.open(frames=8))


def test_a_truncated_y4m_serves_for_what_it_has(tmp_path: Path) -> None:
    path = make_y4m(tmp_path / "clip.y4m", 64, 48, 20)
    whole = planes(open_video(path))
    path.write_bytes(path.read_bytes()[:-100])
    assert planes(resolve(str(path))[0].open(frames=18)) == whole[: 18 * SIZE]
    with pytest.raises(MediaError, match="ends inside a frame"):
        planes(resolve(str(path))[0].open(frames=20))


def raw_clip(tmp_path: Path) -> Sequence:
    """Three frames of random samples with the right checksum of their file."""
    data = np.random.default_rng(0).integers(0, 256, 3 * SIZE, np.uint8).tobytes()
    path = tmp_path / "clip.yuv"
    path.write_bytes(data)
    return Sequence(
        "clip", "own", str(path), "raw", None, 64, 48, frame_rate="25", frames=3, bytes=3 * SIZE,
        sha256=hashlib.sha256(data).hexdigest(), remedy="Get it again.",
    )  # fmt: skip


def test_raw_frames_are_hashed_once_for_the_file_and_its_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = raw_clip(tmp_path)
    assert content_sha256(clip) == content_sha256(clip, 3) == clip.sha256
    cache = [file for file in (tmp_path / "user-cache").rglob("*") if file.is_file()]
    assert [file.read_text().startswith(str(clip.sha256)) for file in cache].count(True) == 1
    assert content_sha256(clip, 2) == hashlib.sha256((tmp_path / "clip.yuv").read_bytes()[: 2 * SIZE]).hexdigest()


def test_a_cut_of_raw_frames_needs_no_checksum_of_the_rest(tmp_path: Path) -> None:
    clip = replace(raw_clip(tmp_path), sha256="0" * 64)
    assert clip.open(frames=2).frames == 2
    for frames in (None, 3):
        with pytest.raises(DatasetError, match="damaged or another file"):
            clip.open(frames=frames)


def test_wrong_frames_are_found_in_the_whole_and_then_in_a_cut(tmp_path: Path) -> None:
    (clip,) = resolve(str(coded(tmp_path / "clip.mp4")))
    clip = replace(clip, frames=30, frames_sha256="0" * 64)
    assert clip.open(frames=2).frames == 2
    for frames in (None, 30, 2):
        with pytest.raises(DatasetError, match="decoder was"):
            content_sha256(clip, frames) if frames is None else clip.open(frames=frames)


def test_a_number_of_frames_that_the_manifest_has_wrong_is_found(tmp_path: Path) -> None:
    (clip,) = resolve(str(coded(tmp_path / "clip.mp4")))
    with pytest.raises(DatasetError, match="has 30 frames, not 31"):
        content_sha256(replace(clip, frames=31))


def test_another_state_of_the_file_is_hashed_again(tmp_path: Path) -> None:
    path = make_y4m(tmp_path / "clip.y4m", 64, 48, 3)
    (clip,) = resolve(str(path))
    first = content_sha256(clip, 2)
    data = bytearray(path.read_bytes())
    data[200] ^= 1
    path.write_bytes(data)
    assert known_sha256(clip, 2) is None
    assert content_sha256(clip, 2) != first


def test_a_missing_file_can_be_planned_where_the_manifest_knows_it(tmp_path: Path) -> None:
    (clip,) = resolve("uvg@1920x960:Jockey", tmp_path)
    facts = known_facts(clip, 17)
    assert (facts.format.width, facts.format.height, facts.frames, facts.sha256) == (1920, 960, 17, None)
    assert (known_facts(clip).frames, str(known_facts(clip).format.frame_rate)) == (600, "120")
    with pytest.raises(UsageError, match="Jockey has 600 frames, not 601; give at most 600"):
        known_facts(clip, 601)
    with pytest.raises(DatasetError, match="rdbench datasets fetch uvg"):
        read_facts(clip, 17)
    with pytest.raises(DatasetError, match="is not at"):
        known_facts(replace(clip, frames=None), 17)
