"""Archives that nobody has checked, and those that the user puts into the data folder."""

import hashlib
import io
import tarfile
from pathlib import Path

import py7zr
import pytest

from rdbench.clips import archives, dataset
from rdbench.clips.fetch import fetch
from rdbench.errors import DatasetError

DATA = bytes(range(256)) * 9
"""Three frames of 32x16."""
HEAD = (
    'title="t"\nhomepage="h"\nlicense="l"\nget="Pack it."\nwidth=32\nheight=16\nframe_rate="25"\n'
    '[[sequences]]\nname="one"\nfile="one.yuv"\nframes=3\narchive="box.tgz"\ninner="package/clip.yuv"\n'
)


def _tar(path: Path, **members: bytes | tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w:gz") as packed:
        for name, content in members.items():
            if isinstance(content, tarfile.TarInfo):
                packed.addfile(content)
                continue
            info = tarfile.TarInfo(name)
            info.size = len(content)
            packed.addfile(info, io.BytesIO(content))
    return path


def _link(name: str, target: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = tarfile.SYMTYPE, target
    return info


def _own(tmp_path: Path, more: str = "") -> str:
    (tmp_path / "manifests").mkdir()
    path = tmp_path / "manifests" / "own.toml"
    path.write_text(HEAD + more)
    return str(path)


@pytest.mark.parametrize("folder", ["root", "root/own"])
def test_the_users_archive_is_unpacked_and_kept(tmp_path: Path, folder: str) -> None:
    spec, place = _own(tmp_path), tmp_path / folder
    place.mkdir(parents=True)
    archive = _tar(place / "box.tgz", **{"package/clip.yuv": DATA, "package/readme": b"hello"})
    with pytest.raises(DatasetError, match=r"archive is here: run `rdbench datasets fetch .*box.tgz"):
        dataset.resolve(spec, tmp_path / "root")[0].open()
    (path,) = fetch(spec, tmp_path / "root")
    assert (path, path.read_bytes()) == (tmp_path / "root" / "own" / "one.yuv", DATA)
    assert archive.exists()
    assert not list((tmp_path / "root" / "own").glob(".unpack*"))


@pytest.mark.parametrize("place", ["own/package/clip.yuv", "package/clip.yuv", "one.yuv", "own/one.yuv"])
def test_the_unpacked_file_serves_where_the_user_put_it(tmp_path: Path, place: str) -> None:
    file = tmp_path / "root" / place
    file.parent.mkdir(parents=True)
    file.write_bytes(DATA)
    assert fetch(_own(tmp_path), tmp_path / "root") == [file]


def test_without_an_archive_the_manifest_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="Pack it"):
        fetch(_own(tmp_path), tmp_path / "root")


def test_another_archive_is_refused_and_stays(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    archive = _tar(tmp_path / "root" / "box.tgz", **{"package/clip.yuv": DATA})
    spec = _own(tmp_path, f'download_sha256="{hashlib.sha256(b"other").hexdigest()}"\n')
    with pytest.raises(DatasetError, match="damaged or another file"):
        fetch(spec, tmp_path / "root")
    assert archive.exists()


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"package/clip.yuv": DATA[:-1]}, "has 2,303 bytes, expected 2,304"),
        ({"package/clip.yuv": DATA * 2}, "has 4,608 bytes, expected 2,304"),
        ({"../package/clip.yuv": DATA}, "no single package/clip.yuv"),
        ({"/package/clip.yuv": DATA}, "no single package/clip.yuv"),
        ({"package/clip.yuv": _link("package/clip.yuv", "/etc/hostname")}, "not a plain file"),
    ],
)
def test_what_a_tar_cannot_do(tmp_path: Path, members: dict[str, bytes], words: str) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    archive = _tar(tmp_path / "box.tgz", **members)
    with pytest.raises(DatasetError, match=words):
        archives.unpack(archive, "package/clip.yuv", len(DATA), scratch)
    assert not list(scratch.iterdir())


def test_a_tar_that_grows_without_end_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "SLACK", 1 << 16)
    archive = _tar(tmp_path / "box.tgz", **{"bomb": bytes(1 << 20), "package/clip.yuv": DATA})
    assert archive.stat().st_size < 1 << 13
    (tmp_path / "scratch").mkdir()
    with pytest.raises(DatasetError, match="far more than its manifest says"):
        archives.unpack(archive, "package/clip.yuv", len(DATA), tmp_path / "scratch")


def test_a_7z_member_of_another_size_is_not_even_unpacked(tmp_path: Path) -> None:
    archive = tmp_path / "box.7z"
    with py7zr.SevenZipFile(archive, "w") as packed:
        packed.writestr(bytes(1 << 20), "package/clip.yuv")
    (tmp_path / "scratch").mkdir()
    with pytest.raises(DatasetError, match="1,048,576 bytes, expected 2,304"):
        archives.unpack(archive, "clip.yuv", len(DATA), tmp_path / "scratch")
    assert not list((tmp_path / "scratch").iterdir())


@pytest.mark.parametrize("content", [b"", b"no archive at all", b"\x1f\x8b\x08\x00broken"])
def test_damaged_tars(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "box.tgz").write_bytes(content)
    (tmp_path / "scratch").mkdir()
    with pytest.raises(DatasetError, match=r"box\.tgz"):
        archives.unpack(tmp_path / "box.tgz", "clip.yuv", len(DATA), tmp_path / "scratch")
