"""`rdbench datasets fetch`: download, resume, check and unpack the files of a dataset."""

import http.client
import shutil
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from email.message import Message
from hashlib import sha256
from pathlib import Path

from filelock import FileLock

from ..errors import DatasetError, UsageError, did_you_mean
from . import dataset
from .archives import unpack
from .dataset import Sequence
from .manifest import (
    LARGEST_UNPACKED,
    Entry,
    Manifest,
    address_leaf,
    archive_places,
    find_datasets,
    is_archive,
    load_manifest,
    places_of,
)
from .selection import split_specs

Progress = Callable[[str, int, int | None], None]
"""Called with the name of the file, the bytes received so far, and the total bytes (None where unknown)."""

CHUNK = 1 << 20
"""Bytes that are read at a time."""
TRIES = 4
"""Attempts that may fail one after the other without a new byte."""
PAUSE = 1.0
"""Seconds before the second attempt; doubled before each further one."""
TIMEOUT = 60.0
"""Seconds without a byte after which a connection is given up."""


class _Transient(Exception):
    """A failure that may pass: try again, after `wait` seconds if the server requested that."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


@dataclass(frozen=True)
class _Download:
    """A web address, the file to write, its largest size, and the name and callback that show progress to the user."""

    url: str
    part: Path
    target: Path
    name: str
    limit: int
    progress: Progress


def fetch(names: str, data_root: Path | None, progress: Progress = lambda name, done, total: None) -> list[Path]:
    """The files of datasets or of some of their sequences, downloaded, or unpacked from an archive, where missing.

    `names` are as in `dataset.resolve`. Raises DatasetError, UsageError.
    """
    known = find_datasets()
    return [path for name in split_specs(names, known) for path in _fetch(name, known, data_root, progress)]


def _fetch(name: str, known: Mapping[str, Path], data_root: Path | None, progress: Progress) -> list[Path]:
    spec = dataset.parse_spec(name)
    own = spec.name not in known
    path = known.get(spec.name, Path(spec.name).expanduser())
    if own and path.suffix != ".toml":
        raise UsageError(f"There is no dataset {spec.name!r}{did_you_mean(spec.name, known)}")
    root = dataset.data_root(data_root)
    sequences = dataset.resolve(name, root)
    manifest = load_manifest(path)
    entries = {entry.name: entry for entry in manifest.sequences}
    wanted = [s for s in sequences if not _is_complete(s)]
    archives = {s.name: _archive(entries[s.name], path, root, own) for s in wanted}
    for sequence in wanted:
        if entries[sequence.name].url is None and archives[sequence.name] is None:
            raise DatasetError(_manual_instructions(spec.name, manifest, sequence))
    for sequence in wanted:
        entry = entries[sequence.name]
        target = places_of(entry, path, root, own)[0]
        with _disk_errors(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(target.with_name(target.name + ".lock")):
                _obtain(entry, archives[sequence.name], replace(sequence, path=str(target)), progress)
    return [Path(s.path) for s in dataset.resolve(name, root)]


def _archive(entry: Entry, manifest: Path, root: Path, own: bool) -> Path | None:
    """The archive that the user has put into the data folder; None where there is none."""
    return next((place for place in archive_places(entry, manifest, root, own) if place.is_file()), None)


def _is_complete(sequence: Sequence) -> bool:
    try:
        dataset.check_file(sequence)
    except DatasetError:
        return False
    return True


def _manual_instructions(name: str, manifest: Manifest, sequence: Sequence) -> str:
    missing = f"{name} cannot be downloaded by rdbench: {sequence.name} is not at {sequence.path}."
    return f"{missing} {manifest.get if sequence.remedy == '' else sequence.remedy}"


@contextmanager
def _disk_errors(target: Path) -> Iterator[None]:
    """Turns a full disk or an unwritable folder into a sentence."""
    try:
        yield
    except OSError as error:
        raise DatasetError(
            f"{target} cannot be written ({error.strerror or error}); free some space there, or name another folder "
            "with --data-root or RDBENCH_DATA."
        ) from error


def _obtain(entry: Entry, archive: Path | None, sequence: Sequence, progress: Progress) -> None:
    """Unpacks or downloads one file; `sequence.path` exists only when it is complete."""
    target = Path(sequence.path)
    if _is_complete(sequence):
        return  # another process has obtained it meanwhile
    if sequence.bytes is not None and _size(target) > sequence.bytes:
        raise DatasetError(f"{target} is longer than {sequence.name} of the manifest; move it away, then fetch again.")
    if archive is not None:
        _check_archive(archive, entry.download_sha256)
        return _unpack_into_place(archive, entry.inner or target.name, sequence, str(archive))
    failures: list[str] = []
    for url in entry.addresses:
        try:
            return _from_address(url, entry, sequence, progress)
        except DatasetError as error:
            failures.append(str(error))
    if len(failures) == 1:
        raise DatasetError(failures[0])
    listed = " ".join(f"({number}) {text}" for number, text in enumerate(failures, 1))
    raise DatasetError(f"{sequence.name} could not be had from any of its {len(failures)} addresses: {listed}")


def _from_address(url: str, entry: Entry, sequence: Sequence, progress: Progress) -> None:
    """Downloads from one address. Partial files of a mirror have names of their own: their bytes are never mixed."""
    target = Path(sequence.path)
    leaf = address_leaf(url) or target.name
    packed = is_archive(leaf)
    whole = target.with_name(leaf) if packed else target
    mark = "" if url == entry.url else f".{sha256(url.encode()).hexdigest()[:8]}"
    # twice the size: a file of 10-bit samples is then named as such
    limit = LARGEST_UNPACKED if packed or sequence.bytes is None else 2 * sequence.bytes
    download = _Download(url, whole.with_name(f"{whole.name}{mark}.part"), whole, leaf, limit, progress)
    _download(download)
    if entry.download_sha256 is not None:
        _check_download(download, entry.download_sha256)
    if not packed:
        return _move_into_place(download.part, sequence, url)
    try:
        _unpack_into_place(download.part, entry.inner or target.name, sequence, url)
    except DatasetError as error:
        download.part.unlink()
        raise DatasetError(f"{error} The downloaded archive was deleted.") from error
    download.part.unlink()


def _unpack_into_place(archive: Path, inner: str, sequence: Sequence, origin: str) -> None:
    with tempfile.TemporaryDirectory(dir=Path(sequence.path).parent, prefix=".unpack-") as scratch:
        _move_into_place(unpack(archive, inner, sequence.bytes, Path(scratch)), sequence, origin)


def _check_archive(archive: Path, expected: str | None) -> None:
    """Raises DatasetError for an archive of the user that is not the expected one; it stays where it is."""
    if expected is not None and (actual := dataset.file_sha256(archive)) != expected:
        raise DatasetError(
            f"{archive} is damaged or another file (sha256 {actual[:12]}..., expected {expected[:12]}...); "
            "get it again."
        )


def _check_download(download: _Download, expected: str) -> None:
    actual = dataset.file_sha256(download.part)
    if actual != expected:
        download.part.unlink()
        raise DatasetError(
            f"{download.url} is damaged or has changed (sha256 {actual[:12]}..., expected {expected[:12]}...); "
            "it was deleted: try again, or correct the manifest."
        )


def _move_into_place(file: Path, sequence: Sequence, url: str) -> None:
    """Moves a finished file to `sequence.path` if it is what the manifest describes, else deletes it."""
    try:
        dataset.check_file(replace(sequence, path=str(file), remedy=""))
    except DatasetError as error:
        file.unlink(missing_ok=True)
        raise DatasetError(f"The file from {url} did not match its manifest and was deleted: {error}") from error
    file.replace(sequence.path)


def _download(download: _Download) -> None:
    """Fills the `.part` file, resuming what is there. Raises DatasetError."""
    failures, size = 0, _size(download.part)
    while True:
        try:
            return _attempt(download)
        except _Transient as error:
            failures = 1 if _size(download.part) > size else failures + 1
            size = max(size, _size(download.part))
            if failures >= TRIES:
                raise DatasetError(
                    f"{download.url} could not be downloaded ({error}); its first part is kept: run the command again."
                ) from error
            time.sleep(max(PAUSE * 2 ** (failures - 1), error.wait))


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _attempt(download: _Download) -> None:
    """One connection: from where the `.part` file ends to the end. Raises _Transient or DatasetError."""
    start = _size(download.part)
    # "identity": a compressed answer would make byte ranges meaningless.
    headers = {"User-Agent": "rdbench", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    try:
        response = urllib.request.urlopen(urllib.request.Request(download.url, headers=headers), timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        with error:
            return _refused(download, error, start)
    except (http.client.HTTPException, OSError) as error:  # URLError is an OSError
        raise _Transient(str(error)) from error
    except ValueError as error:  # an address that the server redirects to, or a name too long for any host
        raise DatasetError(f"{download.url} leads to an impossible address ({error}); correct the manifest.") from error
    with response:
        if response.status == 206 and _content_range(response.headers)[0] != start:
            download.part.unlink()
            raise _Transient("the server sent another part of the file than requested")
        _receive(download, response, start if response.status == 206 else 0)


def _refused(download: _Download, error: urllib.error.HTTPError, start: int) -> None:
    if error.code == 416 and start:
        if _content_range(error.headers)[1] == start:
            return  # there is nothing after the received part: it is complete
        download.part.unlink()
        raise _Transient("the partial download does not match the file any more") from error
    if error.code in (408, 429) or error.code >= 500:
        wait = _number(error.headers.get("Retry-After", ""))
        raise _Transient(f"HTTP {error.code} {error.reason}", min(float(wait or 0), 60.0))
    raise DatasetError(
        f"{download.url} cannot be downloaded (HTTP {error.code} {error.reason}); download it yourself, "
        f"put it at {download.target}, and inform the authors of the manifest."
    ) from error


def _content_range(headers: Message) -> tuple[int | None, int | None]:
    """(first byte, size of the whole) of `Content-Range: bytes 5-9/10` or `bytes */10`; None for what is unknown."""
    span, _, whole = headers.get("Content-Range", "").removeprefix("bytes").strip().partition("/")
    first = span.partition("-")[0]
    return _number(first), _number(whole)


def _number(text: str) -> int | None:
    """The number in a server's header; None for what is none, or has more digits than any file's size."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


def _receive(download: _Download, response: http.client.HTTPResponse, start: int) -> None:
    """Appends the answer's body from byte `start` on. Raises _Transient if it ends too early."""
    length = _number(response.headers.get("Content-Length", ""))
    total = None if length is None else start + length
    done = start
    with download.part.open("ab" if start else "wb") as file:
        if total is not None and total - start > shutil.disk_usage(download.part.parent).free:
            raise OSError(f"{total - start:,} bytes do not fit on the disk")
        _check_limit(download, total or 0)
        download.progress(download.name, done, total)
        while chunk := _read(response):
            file.write(chunk)
            done += len(chunk)
            _check_limit(download, done)
            download.progress(download.name, done, total)
    if total is not None and done < total:
        raise _Transient(f"the connection ended after {done:,} of {total:,} bytes")


def _check_limit(download: _Download, size: int) -> None:
    """Raises DatasetError for more bytes than the file can have; what is there of it is deleted."""
    if size > download.limit:
        download.part.unlink()
        raise DatasetError(
            f"{download.url} sends more than the {download.limit:,} bytes of its file; what came was deleted."
        )


def _read(response: http.client.HTTPResponse) -> bytes:
    try:
        return response.read(CHUNK)
    except (http.client.HTTPException, OSError) as error:
        raise _Transient(str(error) or type(error).__name__) from error
