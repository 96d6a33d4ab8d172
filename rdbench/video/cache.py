"""Facts that take long to find, as hashes and numbers of frames, cached on disk for each state of the files."""

import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import platformdirs


def cache_key(what: str, *paths: Path) -> str:
    """The key of a fact about files, or folders of files, as they are now (path, size, modification time).

    Raises OSError where one does not exist.
    """
    files = [file for path in paths for file in _files(path)]
    state = [(str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return hashlib.sha256(json.dumps([what, state]).encode()).hexdigest()


def _files(path: Path) -> list[Path]:
    return sorted(file for file in path.iterdir() if file.is_file()) if path.is_dir() else [path]


def find_cached(key: str) -> str | None:
    """The fact with this key; None where it is not cached, or where its file is damaged."""
    with suppress(OSError, UnicodeDecodeError):
        value, mark, check = _place(key).read_text(encoding="utf-8").rpartition("\n")
        if mark and check == _check(key, value):
            return value
    return None


def write_cached(key: str, value: str) -> None:
    """Caches a fact; a cache that cannot be written costs time only."""
    place = _place(key)
    with suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
        scratch = place.with_name(f"{key}.{uuid4().hex}")
        scratch.write_text(f"{value}\n{_check(key, value)}", encoding="utf-8")
        scratch.replace(place)


def cached(key: str, compute: Callable[[], str]) -> str:
    """The cached fact, or else what `compute` returns, which is then cached."""
    known = find_cached(key)
    if known is not None:
        return known
    value = compute()
    write_cached(key, value)
    return value


def _place(key: str) -> Path:
    return platformdirs.user_cache_path("rdbench") / "facts" / key


def _check(key: str, value: str) -> str:
    return hashlib.sha256(f"{key}\n{value}".encode()).hexdigest()
