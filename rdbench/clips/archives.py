"""The one expected file out of an archive that nobody has checked: no path leaves the folder, sizes are bounded."""

import gzip
import lzma
import shutil
import tarfile
import zlib
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import IO, cast

from ..errors import DatasetError
from .manifest import LARGEST_UNPACKED, is_inside

SLACK = 1 << 26
"""Bytes that a .tgz may hold besides the expected file (our choice)."""
SHOWN = 5
"""Members that an error message names."""


def unpack(archive: Path, inner: str, size: int | None, scratch: Path) -> Path:
    """Unpacks the file `inner` (a path in the archive, or a name alone) into `scratch`, a new folder.

    `size`: its bytes, where the manifest gives them; nothing larger is written. Raises DatasetError.
    """
    try:
        if archive.name.lower().removesuffix(".part").endswith(".7z"):
            return _unpack_7z(archive, inner, size, scratch)
        return _unpack_tar(archive, inner, size, scratch)
    except (lzma.LZMAError, zlib.error, gzip.BadGzipFile, tarfile.TarError, EOFError, ValueError) as error:
        raise DatasetError(f"The archive {archive} is damaged ({error}); get it again.") from error


def is_safe(member: str) -> bool:
    """Whether a member of an archive has a path that stays inside a folder, on every system."""
    return is_inside(member) and ":" not in member


def _chosen(names: Iterable[str], inner: str, archive: Path) -> str:
    """The one safe member that is meant. Raises DatasetError."""
    known = list(names)
    safe = [name for name in known if is_safe(name)]
    found = [name for name in safe if name == inner] or [name for name in safe if PurePosixPath(name).name == inner]
    if len(found) != 1:
        held = ", ".join(sorted(known)[:SHOWN])
        raise DatasetError(f"The archive {archive} contains no single {inner} but {held}; correct the manifest.")
    return found[0]


def _check_size(actual: int, expected: int | None, name: str, folder: Path) -> None:
    """Raises DatasetError for a member that is not the expected file, OSError where the disk cannot hold it."""
    if actual != expected and expected is not None:
        raise DatasetError(f"{name} in its archive has {actual:,} bytes, expected {expected:,}; do not trust it.")
    if actual > LARGEST_UNPACKED:
        raise DatasetError(f"{name} in its archive has {actual:,} bytes, more than any clip; do not trust it.")
    if actual > shutil.disk_usage(folder).free:
        raise OSError(f"{actual:,} bytes do not fit on the disk")


def _unpack_7z(archive: Path, inner: str, size: int | None, scratch: Path) -> Path:
    import py7zr
    from py7zr.exceptions import ArchiveError

    try:
        with py7zr.SevenZipFile(archive, "r") as packed:
            members = {member.filename: member for member in packed.list()}
            name = _chosen(packed.getnames(), inner, archive)
            if not members[name].is_symlink:
                _check_size(members[name].uncompressed or 0, size, name, scratch)
            packed.extract(path=scratch, targets=[name])
    except ArchiveError as error:
        raise DatasetError(f"The archive {archive} is damaged ({error}); get it again.") from error
    file = scratch / name
    if file.is_symlink() or not file.is_file() or scratch.resolve() not in file.resolve().parents:
        raise DatasetError(f"{name} in its archive is not a plain file; do not trust the archive.")
    return file


def _unpack_tar(archive: Path, inner: str, size: int | None, scratch: Path) -> Path:
    """Reads a .tgz in two passes, for the names and for the content; what a member says of itself is not followed."""
    limit = (LARGEST_UNPACKED if size is None else size) + SLACK
    with _Bounded(archive, limit) as stream, tarfile.open(fileobj=stream, mode="r|") as packed:
        members = {member.name: member for member in packed}
    name = _chosen(members, inner, archive)
    if not members[name].isreg():
        raise DatasetError(f"{name} in its archive is not a plain file; do not trust the archive.")
    _check_size(members[name].size, size, name, scratch)
    target = scratch / PurePosixPath(name).name
    with _Bounded(archive, limit) as stream, tarfile.open(fileobj=stream, mode="r|") as packed:
        for member in packed:
            content = packed.extractfile(member) if member.name == name else None
            if content is not None:
                with target.open("wb") as file:
                    shutil.copyfileobj(content, file)
    return target


class _Bounded:
    """The unpacked bytes of a .gz file, at most `limit` of them. Raises DatasetError at the first one beyond."""

    def __init__(self, path: Path, limit: int) -> None:
        self._path, self._left = path, limit
        self._file = gzip.GzipFile(path, "rb")

    def __enter__(self) -> IO[bytes]:
        return cast(IO[bytes], self)  # a tar stream only reads

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def read(self, size: int) -> bytes:
        """Up to `size` bytes."""
        chunk = self._file.read(min(size, self._left + 1))
        self._left -= len(chunk)
        if self._left < 0:
            raise DatasetError(f"The archive {self._path} holds far more than its manifest says; do not trust it.")
        return chunk
