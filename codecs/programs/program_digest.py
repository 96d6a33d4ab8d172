"""Hashes of programs and scripts: two builds that print one version are two versions."""

import hashlib
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from rdbench.video.cache import cache_key, cached


def program_digest(files: Iterable[str | Path]) -> str:
    """Eight hex digits for the contents of these files, in this order. Raises OSError for one that cannot be read.

    A file is read again only when its size or modification time has changed; its hash is cached on disk. Libraries that
    a program loads do not count.
    """
    digests = [_digest(*_state(Path(file))) for file in files]
    return hashlib.sha256("".join(digests).encode()).hexdigest()[:8]


def _state(path: Path) -> tuple[Path, int, int]:
    state = path.stat()
    return path.resolve(), state.st_size, state.st_mtime_ns


@lru_cache(maxsize=64)
def _digest(path: Path, size: int, changed: int) -> str:
    return cached(cache_key("program", path), lambda: _read_digest(path))


def _read_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
