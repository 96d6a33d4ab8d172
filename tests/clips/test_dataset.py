"""Manifests, sequences and what goes wrong with files."""

import importlib.metadata
import json
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import platformdirs
import pytest
from PIL import Image

from rdbench.clips import dataset, manifest
from rdbench.clips.dataset import Sequence
from rdbench.errors import DatasetError, MediaError, UsageError
from rdbench.video.readers import sha256_of

OWN = """
title = "Own"
homepage = "https://example.org"
license = "none"
get = "Ask me."
width = 32
height = 16
frame_rate = "24"
sizes = [1000]

[variants.small]
scale = [16, 8]
sizes = [500]

[variants.cut]
crop = [28, 12]

[[sequences]]
name = "one"
aliases = ["uno"]
file = "one.yuv"
frames = 3
"""


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in ("cache", "config", "data"):
        folder = tmp_path / f"user-{kind}"
        monkeypatch.setattr(platformdirs, f"user_{kind}_path", lambda name, folder=folder: folder / name)
    monkeypatch.delenv("RDBENCH_DATA", raising=False)


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A manifest with its raw file of 3 frames 32x16 beside it."""
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "own.toml").write_text(OWN)
    data = np.random.default_rng(0).integers(0, 256, 3 * 768, dtype=np.uint8)
    (folder / "one.yuv").write_bytes(data.tobytes())
    return folder / "own.toml"


def test_the_manifests_agree_with_what_is_known_of_the_sets() -> None:
    manifests = {name: manifest.load_manifest(path) for name, path in manifest.find_datasets().items()}
    assert {"bunny", "carphone", "uvg", "hevc_b", "mcl_jcv"} <= set(manifests)
    totals = {
        name: (len(m.sequences), sum(e.frames or 0 for e in m.sequences), sum(e.bytes or 0 for e in m.sequences))
        for name, m in manifests.items()
    }
    assert totals["uvg"] == (7, 3900, 12_130_560_000)
    assert totals["mcl_jcv"] == (30, 4115, 4115 * 3_110_400)
    assert totals["hevc_b"] == (5, 2080, 2 * 1_555_200_000 + 1_866_240_000 + 2 * 746_496_000)
    assert all(e.url and e.url.endswith(".7z") for e in manifests["uvg"].sequences)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("uvg", dataset.Spec("uvg")),
        ("uvg:Jockey, Bosphorus", dataset.Spec("uvg", None, ("Jockey", "Bosphorus"))),
        ("bunny@320x180", dataset.Spec("bunny", "320x180")),
        ("uvg@1920x960:Jockey", dataset.Spec("uvg", "1920x960", ("Jockey",))),
        ("uvg:Jockey@1920x960", dataset.Spec("uvg", "1920x960", ("Jockey",))),
    ],
)
def test_specs(text: str, expected: dataset.Spec) -> None:
    assert dataset.parse_spec(text) == expected


@pytest.mark.parametrize("text", ["", "@x", "a:b:c", "a@x:b@y", "a@"])
def test_bad_specs(text: str) -> None:
    with pytest.raises(UsageError):
        dataset.parse_spec(text)


def test_aliases_case_and_repeats_lead_to_the_same_sequence() -> None:
    found = dataset.resolve("uvg:ReadySetGo,readysteadygo,Honeybee")
    assert [s.name for s in found] == ["ReadySteadyGo", "HoneyBee"]


@pytest.mark.parametrize(
    ("spec", "hint"),
    [("uvgg", "uvg"), ("uvg:Jocky", "Jockey"), ("bunny@320x18", "320x180"), ("nowhere.toml", "nowhere.toml")],
)
def test_unknown_names_get_a_hint(spec: str, hint: str) -> None:
    with pytest.raises(UsageError, match=hint):
        dataset.resolve(spec)


def test_a_sequence_survives_json() -> None:
    (sequence,) = dataset.resolve("bunny@1280x640")
    assert sequence.label == "bunny@1280x640"
    assert Sequence.from_dict(json.loads(json.dumps(sequence.to_dict()))) == sequence
    with pytest.raises(DatasetError, match="nmae"):
        Sequence.from_dict({**sequence.to_dict(), "nmae": 1})


def test_listing_imports_no_torch() -> None:
    code = "import sys; from rdbench.clips import dataset, manifest; "
    code += "[dataset.status(n) for n in manifest.find_datasets()]; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_carphone_opens_and_its_frames_are_the_known_ones() -> None:
    (sequence,) = dataset.resolve("carphone")
    video = sequence.open()
    assert (video.format.width, video.format.height, video.format.chroma) == (176, 144, "420")
    assert sequence.frames_sha256 == sha256_of(video) == dataset.content_sha256(sequence)
    with pytest.raises(DatasetError, match="decoder was"):
        replace(sequence, frames_sha256="0" * 64).open()


@pytest.mark.parametrize(("variant", "width", "height"), [("1280x640", 1280, 640), ("320x180", 320, 180)])
def test_bunny_variants(variant: str, width: int, height: int) -> None:
    (sequence,) = dataset.resolve(f"bunny@{variant}")
    video = sequence.open(frames=2)
    assert (video.format.width, video.format.height, video.frames) == (width, height, 2)
    frames = next(iter(video.batches()))
    assert [p.shape for p in frames.planes] == [(2, *shape) for shape in video.format.plane_shapes]


def test_own_manifest_beside_its_data(own: Path) -> None:
    (sequence,) = dataset.resolve(f"{own}:uno")
    frames = next(iter(sequence.open().batches()))
    raw = np.fromfile(own.parent / "one.yuv", np.uint8).reshape(3, 768)
    assert np.array_equal(frames.planes[0], raw[:, :512].reshape(3, 16, 32))
    assert (sequence.bytes, sequence.sizes, sequence.frame_rate) == (2304, (1000,), "24")
    assert dataset.resolve(f"{own}@small")[0].sizes == (500,)


def test_a_crop_is_centered_on_even_samples(own: Path) -> None:
    (whole,) = dataset.resolve(str(own))
    (cut,) = dataset.resolve(f"{own}@cut")
    full, part = (next(iter(s.open().batches())).planes for s in (whole, cut))
    assert np.array_equal(part[0], full[0][:, 2:14, 2:30])
    assert np.array_equal(part[1], full[1][:, 1:7, 1:15])


@pytest.mark.parametrize(
    ("size", "words"), [(2303, r"truncated.*2 of 3 frames"), (4608, "10-bit"), (2305, "expected 2,304")]
)
def test_wrong_sizes_are_named(own: Path, size: int, words: str) -> None:
    (own.parent / "one.yuv").write_bytes(bytes(size))
    with pytest.raises(DatasetError, match=words):
        dataset.resolve(str(own))[0].open()
    assert "wrong size" in dataset.status(str(own)) or "all" in dataset.status(str(own))


def test_a_missing_file_says_where_and_how(own: Path, tmp_path: Path) -> None:
    (own.parent / "one.yuv").unlink()
    (sequence,) = dataset.resolve(str(own), tmp_path / "root")
    with pytest.raises(DatasetError, match=r"root/own.*Ask me.*--data-root"):
        sequence.open()
    with pytest.raises(DatasetError, match="rdbench datasets fetch uvg"):
        dataset.resolve("uvg:Jockey", tmp_path)[0].open()
    assert "missing 7 of 7" in dataset.status("uvg", tmp_path)
    assert "available" in dataset.status("bunny", tmp_path)


def test_a_wrong_checksum_is_named(own: Path) -> None:
    with pytest.raises(DatasetError, match="damaged"):
        replace(dataset.resolve(str(own))[0], sha256="0" * 64).open()


@pytest.mark.parametrize("frames", [0, -1, 4])
def test_impossible_numbers_of_frames(own: Path, frames: int) -> None:
    with pytest.raises(UsageError, match=r"at (least|most)"):
        dataset.resolve(str(own))[0].open(frames=frames)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("width", "widht", "widht|width"),
        ("frames = 3", "frames = 3\nbytes = 7", "bytes is 7"),
        ('"uno"', '"one"', "used twice"),
        ('"one.yuv"', '"../one.yuv"', "inside its folder"),
        ("[[sequences]]", "[[sequences", "cannot be read"),
    ],
)
def test_wrong_manifests(own: Path, old: str, new: str, words: str) -> None:
    own.write_text(OWN.replace(old, new, 1))
    with pytest.raises(DatasetError, match=words):
        dataset.resolve(str(own))


def test_content_hash_depends_on_content_variant_and_frames(own: Path) -> None:
    (whole,), (cut,) = dataset.resolve(str(own)), dataset.resolve(f"{own}@cut")
    digests = {dataset.content_sha256(whole), dataset.content_sha256(cut), dataset.content_sha256(whole, 2)}
    (own.parent / "one.yuv").write_bytes(bytes(2304))
    assert len(digests | {dataset.content_sha256(whole)}) == 4


def test_a_damaged_cache_is_repaired(own: Path, tmp_path: Path) -> None:
    (sequence,) = dataset.resolve(str(own))
    digest = dataset.content_sha256(sequence)
    kept = list((tmp_path / "user-cache").rglob("*"))
    files = [path for path in kept if path.is_file()]
    assert [path.read_text().startswith(digest) for path in files] == [True]
    good = files[0].read_bytes()
    files[0].write_bytes(b"\xff\x00")
    assert dataset.content_sha256(sequence) == digest
    assert files[0].read_bytes() == good


def test_data_root_precedence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert dataset.data_root() == tmp_path / "user-data" / "rdbench"
    config = tmp_path / "user-config" / "rdbench" / "config.toml"
    config.parent.mkdir(parents=True)
    config.write_text('data_root = "/from/config"')
    assert dataset.data_root() == Path("/from/config")
    monkeypatch.setenv("RDBENCH_DATA", "/from/env")
    assert dataset.data_root() == Path("/from/env")
    assert dataset.data_root(Path("/from/option")) == Path("/from/option")


def _images(folder: Path, count: int) -> None:
    folder.mkdir(exist_ok=True)
    for i in range(count):
        Image.new("RGB", (16, 16), (i * 20, 0, 0)).save(folder / f"f{i:03}.png")


def test_files_and_folders(tmp_path: Path) -> None:
    carphone = Path(dataset.resolve("carphone")[0].path)
    folder = tmp_path / "clips"
    folder.mkdir()
    for name in ("b.mp4", "a clip.mp4"):
        (folder / name).write_bytes(carphone.read_bytes())
    assert [(s.dataset, s.name) for s in dataset.resolve(str(folder))] == [("clips", "a_clip"), ("clips", "b")]
    (single,) = dataset.resolve(str(folder / "b.mp4"))
    assert single.open(frames=3).frames == 3
    _images(tmp_path / "stills", 4)
    (stills,) = dataset.resolve(str(tmp_path / "stills"))
    assert (stills.name, stills.width) == ("stills", 16)
    assert sum(len(batch) for batch in stills.open().batches()) == 4
    _images(folder, 1)
    with pytest.raises(UsageError, match="images and videos"):
        dataset.resolve(str(folder))


def test_what_is_not_a_video(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="holds no videos"):
        dataset.resolve(str(tmp_path / "empty"))
    (tmp_path / "note.txt").write_text("hello")
    with pytest.raises(MediaError, match=r"note\.txt"):
        dataset.resolve(str(tmp_path / "note.txt"))
    (tmp_path / "raw.yuv").write_bytes(bytes(1536))
    with pytest.raises(UsageError, match="manifest"):
        dataset.resolve(str(tmp_path / "raw.yuv"))


def test_third_parties_bring_datasets(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (own.parent / "__init__.py").write_text("raise RuntimeError('must not run')")
    monkeypatch.syspath_prepend(str(own.parent.parent))
    points = [EntryPoint("x", "own", manifest.GROUP)]
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: points)
    assert manifest.find_datasets() == {"own": own}
    points.append(EntryPoint("y", "no.such.module", manifest.GROUP))
    with pytest.raises(DatasetError, match=r"no\.such\.module"):
        manifest.find_datasets()
