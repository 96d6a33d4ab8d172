"""Downloads from a server on this machine that misbehaves on demand."""

import hashlib
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import platformdirs
import py7zr
import pytest

from rdbench.clips import fetch
from rdbench.clips.archives import is_safe
from rdbench.clips.manifest import find_datasets, load_manifest
from rdbench.errors import DatasetError, UsageError

DATA = bytes(range(256)) * 9
"""Three frames 32x16: 2304 bytes."""


@dataclass
class Behavior:
    """Behavior of the server, and the requests that it received."""

    files: dict[str, bytes] = field(default_factory=dict)
    ranges: bool = True
    cut_at: int | None = None
    """Number of bytes after which the first response ends."""
    statuses: list[int] = field(default_factory=list)
    """Statuses of the first responses."""
    asked: list[str | None] = field(default_factory=list)
    url: str = ""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Behavior]:
    behavior = Behavior()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers["Range"]
            behavior.asked.append(asked)
            if behavior.statuses:
                return self.send_error(behavior.statuses.pop(0))
            if self.path not in behavior.files:
                return self.send_error(404)
            body, start = behavior.files[self.path], 0
            if asked and behavior.ranges:
                start = int(asked.removeprefix("bytes=").rstrip("-"))
                if start >= len(body):
                    self.send_response(416)
                    self.send_header("Content-Range", f"bytes */{len(body)}")
                    self.send_header("Content-Length", "0")
                    return self.end_headers()
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
            else:
                self.send_response(200)
            self.send_header("Content-Length", str(len(body) - start))
            self.end_headers()
            end = len(body) if behavior.cut_at is None else behavior.cut_at
            behavior.cut_at = None
            self.wfile.write(body[start:end])

        def log_message(self, format: str, *args: object) -> None:
            pass

    monkeypatch.setattr(fetch, "PAUSE", 0.01)
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda name: tmp_path / "cache")
    monkeypatch.delenv("RDBENCH_DATA", raising=False)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True).start()
        behavior.url = f"http://127.0.0.1:{http.server_address[1]}"
        yield behavior
        http.shutdown()


def _manifest(tmp_path: Path, *lines: str) -> str:
    folder = tmp_path / "manifests"
    folder.mkdir()
    head = 'title="t"\nhomepage="h"\nlicense="l"\nget="Ask me."\nwidth=32\nheight=16\nframe_rate="25"\n[[sequences]]\n'
    (folder / "own.toml").write_text(head + 'name="one"\nfile="one.yuv"\nframes=3\n' + "\n".join(lines))
    return str(folder / "own.toml")


def _left(tmp_path: Path) -> set[str]:
    return {p.name for p in (tmp_path / "root" / "own").iterdir() if p.suffix != ".lock"}


def test_a_file_arrives_once(server: Behavior, tmp_path: Path) -> None:
    server.files["/one.yuv"] = DATA
    spec = _manifest(tmp_path, f'url="{server.url}/one.yuv"', f'sha256="{hashlib.sha256(DATA).hexdigest()}"')
    seen: list[tuple[str, int, int | None]] = []
    (path,) = fetch.fetch(spec, tmp_path / "root", lambda *state: seen.append(state))
    assert path.read_bytes() == DATA
    assert path == tmp_path / "root" / "own" / "one.yuv"
    assert _left(tmp_path) == {"one.yuv"}
    assert seen[0] == ("one.yuv", 0, 2304)
    assert seen[-1] == ("one.yuv", 2304, 2304)
    assert fetch.fetch(spec, tmp_path / "root") == [path]
    assert len(server.asked) == 1


@pytest.mark.parametrize(("ranges", "second"), [(True, "bytes=1000-"), (False, "bytes=1000-")])
def test_a_cut_connection_is_resumed(server: Behavior, tmp_path: Path, ranges: bool, second: str) -> None:
    server.files["/one.yuv"], server.cut_at, server.ranges = DATA, 1000, ranges
    (path,) = fetch.fetch(_manifest(tmp_path, f'url="{server.url}/one.yuv"'), tmp_path / "root")
    assert path.read_bytes() == DATA
    assert server.asked == [None, second]


def test_a_part_of_an_earlier_run_is_resumed_or_moved_into_place(server: Behavior, tmp_path: Path) -> None:
    server.files["/one.yuv"] = DATA
    spec = _manifest(tmp_path, f'url="{server.url}/one.yuv"')
    folder = tmp_path / "root" / "own"
    folder.mkdir(parents=True)
    (folder / "one.yuv.part").write_bytes(DATA[:7])
    (path,) = fetch.fetch(spec, tmp_path / "root")
    assert path.read_bytes() == DATA
    path.rename(folder / "one.yuv.part")
    assert fetch.fetch(spec, tmp_path / "root")[0].read_bytes() == DATA
    (folder / "one.yuv").rename(folder / "one.yuv.part")
    (folder / "one.yuv.part").write_bytes(DATA + b"too much")
    assert fetch.fetch(spec, tmp_path / "root")[0].read_bytes() == DATA
    assert server.asked == ["bytes=7-", "bytes=2304-", "bytes=2312-", None]


def test_a_busy_server_gets_another_request(server: Behavior, tmp_path: Path) -> None:
    server.files["/one.yuv"], server.statuses = DATA, [503, 500]
    assert fetch.fetch(_manifest(tmp_path, f'url="{server.url}/one.yuv"'), tmp_path / "root")
    assert len(server.asked) == 3


def test_a_dead_server_is_given_up(server: Behavior, tmp_path: Path) -> None:
    server.statuses = [503] * 99
    with pytest.raises(DatasetError, match="run the command again"):
        fetch.fetch(_manifest(tmp_path, f'url="{server.url}/one.yuv"'), tmp_path / "root")
    assert len(server.asked) == fetch.TRIES


def test_404_is_not_repeated(server: Behavior, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="HTTP 404"):
        fetch.fetch(_manifest(tmp_path, f'url="{server.url}/one.yuv"'), tmp_path / "root")
    assert len(server.asked) == 1
    assert _left(tmp_path) == set()


@pytest.mark.parametrize(("key", "words"), [("sha256", "damaged"), ("download_sha256", "damaged or has changed")])
def test_a_wrong_checksum_leaves_nothing(server: Behavior, tmp_path: Path, key: str, words: str) -> None:
    server.files["/one.yuv"] = DATA
    with pytest.raises(DatasetError, match=words):
        fetch.fetch(_manifest(tmp_path, f'url="{server.url}/one.yuv"', f'{key}="{"0" * 64}"'), tmp_path / "root")
    assert _left(tmp_path) == set()


def test_a_file_of_another_size_is_refused(server: Behavior, tmp_path: Path) -> None:
    server.files["/one.yuv"] = DATA * 2
    with pytest.raises(DatasetError, match="10-bit"):
        fetch.fetch(_manifest(tmp_path, f'url="{server.url}/one.yuv"'), tmp_path / "root")
    assert _left(tmp_path) == set()


def test_a_longer_file_of_the_user_is_not_overwritten(server: Behavior, tmp_path: Path) -> None:
    server.files["/one.yuv"] = DATA
    target = tmp_path / "root" / "own" / "one.yuv"
    target.parent.mkdir(parents=True)
    target.write_bytes(DATA * 2)
    with pytest.raises(DatasetError, match="move it away"):
        fetch.fetch(_manifest(tmp_path, f'url="{server.url}/one.yuv"'), tmp_path / "root")
    assert target.read_bytes() == DATA * 2


def _archive(tmp_path: Path, members: dict[str, bytes]) -> bytes:
    with py7zr.SevenZipFile(tmp_path / "made.7z", "w") as packed:
        for name, data in members.items():
            packed.writestr(data, name)
    return (tmp_path / "made.7z").read_bytes()


def test_only_the_expected_file_leaves_an_archive(server: Behavior, tmp_path: Path) -> None:
    members = {"copyright.txt": b"mine", "deep/one.yuv": DATA, "other.yuv": b"no"}
    server.files["/one_RAW.7z"] = _archive(tmp_path, members)
    (path,) = fetch.fetch(_manifest(tmp_path, f'url="{server.url}/one_RAW.7z"'), tmp_path / "root")
    assert path.read_bytes() == DATA
    assert _left(tmp_path) == {"one.yuv"}


def test_an_archive_without_the_file(server: Behavior, tmp_path: Path) -> None:
    server.files["/one.7z"] = _archive(tmp_path, {"two.yuv": DATA})
    with pytest.raises(DatasetError, match=r"no single one\.yuv but two\.yuv"):
        fetch.fetch(_manifest(tmp_path, f'url="{server.url}/one.7z"'), tmp_path / "root")


@pytest.mark.parametrize("damage", ["cut", "flip", "text"])
def test_a_damaged_archive(server: Behavior, tmp_path: Path, damage: str) -> None:
    whole = _archive(tmp_path, {"one.yuv": DATA})
    middle = 40
    flipped = whole[:middle] + bytes([whole[middle] ^ 255]) + whole[middle + 1 :]
    server.files["/one.7z"] = {"cut": whole[:-20], "flip": flipped, "text": b"<html>sorry</html>"}[damage]
    with pytest.raises(DatasetError, match="damaged"):
        fetch.fetch(_manifest(tmp_path, f'url="{server.url}/one.7z"'), tmp_path / "root")
    assert _left(tmp_path) == set()


def test_members_that_would_leave_the_folder_are_not_safe() -> None:
    assert is_safe("folder/one.yuv")
    assert not any(map(is_safe, ("../one.yuv", "/one.yuv", "a/../../one.yuv", "..\\one.yuv", "C:one.yuv")))


def test_nothing_to_download_from(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"Ask me.*--data-root"):
        fetch.fetch(_manifest(tmp_path), tmp_path / "root")
    with pytest.raises(DatasetError, match="neither http"):
        fetch.fetch(_with_url(tmp_path, "file:///etc/passwd"), tmp_path / "root")
    with pytest.raises(UsageError, match="uvg"):
        fetch.fetch("uvgg", tmp_path)


def _with_url(tmp_path: Path, url: str) -> str:
    path = tmp_path / "manifests" / "own.toml"
    path.write_text(path.read_text() + f'\nurl="{url}"')
    return str(path)


def test_a_folder_that_cannot_be_written(server: Behavior, tmp_path: Path) -> None:
    (tmp_path / "root").write_text("a file, not a folder")
    with pytest.raises(DatasetError, match="cannot be written"):
        fetch.fetch(_manifest(tmp_path, f'url="{server.url}/one.yuv"'), tmp_path / "root")


def test_a_full_disk(server: Behavior, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server.files["/one.yuv"] = DATA
    full = type("Usage", (), {"free": 10})
    monkeypatch.setattr(shutil, "disk_usage", lambda path: full)
    with pytest.raises(DatasetError, match="do not fit on the disk"):
        fetch.fetch(_manifest(tmp_path, f'url="{server.url}/one.yuv"'), tmp_path / "root")


def test_bundled_datasets_need_no_network(tmp_path: Path) -> None:
    (path,) = fetch.fetch("carphone", tmp_path)
    assert path.exists()


def test_mirrors_are_tried_in_order_and_held_to_the_same_hash(server: Behavior, tmp_path: Path) -> None:
    server.files |= {"/wrong.yuv": bytes(2304), "/right.yuv": DATA}
    urls = ", ".join(f'"{server.url}/{name}.yuv"' for name in ("wrong", "right"))
    spec = _manifest(
        tmp_path, f'url="{server.url}/gone.yuv"', f"mirrors=[{urls}]", f'sha256="{hashlib.sha256(DATA).hexdigest()}"'
    )
    (path,) = fetch.fetch(spec, tmp_path / "root")
    assert path.read_bytes() == DATA
    assert _left(tmp_path) == {"one.yuv"}
    assert len(server.asked) == 3


def test_where_all_addresses_fail_each_says_why(server: Behavior, tmp_path: Path) -> None:
    server.files["/wrong.yuv"] = bytes(2303)
    spec = _manifest(tmp_path, f'url="{server.url}/gone.yuv"', f'mirrors=["{server.url}/wrong.yuv"]')
    with pytest.raises(DatasetError, match=r"any of its 2 addresses: \(1\) .*404.*\(2\) .*truncated"):
        fetch.fetch(spec, tmp_path / "root")
    assert not (tmp_path / "root" / "own" / "one.yuv").exists()


def test_a_part_of_one_address_is_not_continued_from_another(server: Behavior, tmp_path: Path) -> None:
    server.files["/two/one.yuv"] = DATA
    spec = _manifest(tmp_path, f'url="{server.url}/one.yuv"', f'mirrors=["{server.url}/two/one.yuv"]')
    folder = tmp_path / "root" / "own"
    folder.mkdir(parents=True)
    (folder / "one.yuv.part").write_bytes(b"x" * 7)
    (path,) = fetch.fetch(spec, tmp_path / "root")
    assert path.read_bytes() == DATA
    assert server.asked == ["bytes=7-", None]


def test_a_server_that_sends_without_end_is_given_up(server: Behavior, tmp_path: Path) -> None:
    server.files["/one.yuv"] = DATA * 100
    with pytest.raises(DatasetError, match="sends more than the 4,608 bytes"):
        fetch.fetch(_manifest(tmp_path, f'url="{server.url}/one.yuv"'), tmp_path / "root")
    assert _left(tmp_path) == set()


def test_an_archive_may_name_its_file_otherwise(server: Behavior, tmp_path: Path) -> None:
    with py7zr.SevenZipFile(tmp_path / "a.7z", "w") as packed:
        packed.writestr(DATA, "folder/another.yuv")
    server.files["/a.7z"] = (tmp_path / "a.7z").read_bytes()
    (path,) = fetch.fetch(_manifest(tmp_path, f'url="{server.url}/a.7z"', 'inner="another.yuv"'), tmp_path / "root")
    assert (path.name, path.read_bytes()) == ("one.yuv", DATA)
    assert _left(tmp_path) == {"one.yuv"}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('mirrors=["https://example.org/a.yuv"]', "add it"),
        ('inner="../x"', "inside its folder"),
        ('archive="../x.tgz"', "inside its folder"),
        ('archive="x.rar"', "must end with"),
        ('url="https://example.org/a.yuv"\ninner="b.yuv"', "neither url nor archive"),
        ('url="https://example.org/a.7z"\nmirrors=["ftp://example.org/a.7z"]', "neither http nor https"),
    ],
)
def test_addresses_and_archives_that_make_no_sense(tmp_path: Path, line: str, words: str) -> None:
    with pytest.raises(DatasetError, match=words):
        fetch.fetch(_manifest(tmp_path, line), tmp_path / "root")


def test_uvg_is_fetched_by_the_names_of_its_archives() -> None:
    """ReadySteadyGo's archive alone has another name than its file."""
    entries = {entry.name: entry for entry in load_manifest(find_datasets()["uvg"]).sequences}
    leaves = {name: (entry.url or "").rpartition("/")[2].partition("_")[0] for name, entry in entries.items()}
    assert {name for name, leaf in leaves.items() if leaf != name} == {"ReadySteadyGo"}
    assert leaves["ReadySteadyGo"] == "ReadySetGo"
    assert (entries["ReadySteadyGo"].inner or "").startswith("ReadySteadyGo_")
