"""Variants that are a range of frames: the same frames as the file has there, and a cut of their own."""

from pathlib import Path

import numpy as np
import platformdirs
import pytest

from rdbench.clips import dataset
from rdbench.clips.content import content_sha256, count_frames, known_facts
from rdbench.clips.sequence import Sequence
from rdbench.errors import DatasetError, UsageError
from rdbench.video.readers import sha256_of

MANIFEST = """
title = "t"
homepage = "h"
license = "l"
get = "Ask me."
width = 32
height = 16
frame_rate = "25"
[variants.part]
frames = [2, 5]
[variants.start]
frames = [0, 4]
scale = [16, 8]
[variants.small]
scale = [16, 8]
[[sequences]]
name = "one"
file = "one.yuv"
frames = 7
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda name: tmp_path / "cache")
    values = np.random.default_rng(0).integers(0, 256, (7, 768), np.uint8)
    values.tofile(tmp_path / "one.yuv")
    path = tmp_path / "own.toml"
    path.write_text(MANIFEST)
    return path


def _one(spec: str) -> Sequence:
    (sequence,) = dataset.resolve(spec)
    return sequence


def test_a_range_has_these_frames_of_the_file(own: Path) -> None:
    raw = np.fromfile(own.parent / "one.yuv", np.uint8).reshape(7, 768)[2:5, :512].reshape(3, 16, 32)
    part = _one(f"{own}@part")
    batches = list(part.open().batches(2))
    assert np.array_equal(np.concatenate([batch.planes[0] for batch in batches]), raw)
    assert (part.open().frames, count_frames(part), part.label) == (3, 3, "own@part")
    assert np.array_equal(next(iter(part.open(frames=1).batches())).planes[0], raw[:1])


def test_its_hash_is_that_of_its_frames_and_a_cut_from_the_start_is_the_same_clip(own: Path) -> None:
    part, start, small = (_one(f"{own}@{name}") for name in ("part", "start", "small"))
    assert content_sha256(part) == sha256_of(part.open()) == content_sha256(part, 3)
    assert content_sha256(part) != content_sha256(_one(str(own)), 3)
    assert content_sha256(start) == content_sha256(small, 4)
    assert content_sha256(start, 2) == content_sha256(small, 2)
    assert count_frames(_one(str(own))) == 7


@pytest.mark.parametrize("there", [True, False])
def test_frames_beyond_the_range_are_refused_before_anything_runs(own: Path, there: bool) -> None:
    if not there:
        (own.parent / "one.yuv").unlink()
    part = _one(f"{own}@part")
    assert known_facts(part).frames == 3
    assert known_facts(part, 2).frames == 2
    with pytest.raises(UsageError, match="has 3 frames, not 4"):
        known_facts(part, 4)


def test_it_survives_json_and_sequences_of_older_jobs_have_none(own: Path) -> None:
    part = _one(f"{own}@part")
    values = part.to_dict()
    assert values["span"] == [2, 5]
    assert Sequence.from_dict(values) == part
    del values["span"]
    assert Sequence.from_dict(values).span is None


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("[2, 5]", "[5, 5]", "first below end"),
        ("[2, 5]", "[-1, 5]", "greater than or equal to 0"),
        ("[2, 5]", "[2, 8]", "ends at frame 8, but one has 7"),
        ("frames = 7", "", "give the number of frames of one"),
    ],
)
def test_impossible_ranges(own: Path, old: str, new: str, words: str) -> None:
    own.write_text(MANIFEST.replace(old, new))
    with pytest.raises(DatasetError, match=words):
        dataset.resolve(str(own))
