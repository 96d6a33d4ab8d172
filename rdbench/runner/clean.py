"""What may be removed from a folder of results: work folders, what was set aside as damaged, failed jobs."""

import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ..errors import RdbenchError, UsageError
from ..report.results import RECORD, Record, read_record
from .files import RUNS, SHARED
from .leftovers import DAMAGED, remove
from .locks import is_locked, locked_folder
from .run import locked
from .stage import Stopped


@dataclass(frozen=True)
class Leftover:
    """Something that no finished record needs."""

    path: Path
    what: str
    """What it is, and what is lost with it."""
    job: Path
    """The folder of its job."""
    size: int
    """Bytes of all its files."""


def find_leftovers(out: Path, failed: bool) -> list[Leftover]:
    """What can be removed below the output folder; `failed`: the whole folders of failed records too.

    Folders of jobs that a run works on are left out, and so is what rate points share: a sweep that is not complete
    may need it again. Raises UsageError where the folder has no results.
    """
    if not (out / RUNS).is_dir():
        raise UsageError(f"There are no results in {out}; name a folder that rdbench run wrote.")
    found: list[Leftover] = []
    for folder in sorted((out / RUNS).glob("*/*/*/*")):
        if folder.is_symlink() or not folder.is_dir() or folder.name.startswith(SHARED) or is_locked(folder):
            continue
        found += _of_job(folder, failed)
    return found


def _of_job(folder: Path, failed: bool) -> Iterator[Leftover]:
    record = _record(folder)
    if failed and record is not None and record.status == "failed":
        yield Leftover(folder, "failed job", folder, _size(folder))
        return
    if (work := folder / "work").is_dir() and not work.is_symlink():
        finished = record is not None and record.status == "ok"
        yield Leftover(work, "work folder" if finished else "work folder: its job starts anew", folder, _size(work))
    for path in sorted(folder.glob(f"*{DAMAGED}")):
        yield Leftover(path, "set aside as damaged", folder, _size(path))


def _record(folder: Path) -> Record | None:
    """The record of a job's folder; None where there is none that can be read."""
    with suppress(RdbenchError):
        return read_record(folder / RECORD)
    return None


def _size(path: Path) -> int:
    if path.is_symlink() or path.is_file():
        return path.lstat().st_size
    return sum((Path(top) / name).lstat().st_size for top, _, names in os.walk(path) for name in names)


def remove_leftovers(out: Path, failed: bool) -> Iterator[Leftover]:
    """Removes them and yields each; holds the locks of the output folder and of each job meanwhile.

    Raises UsageError where another run writes there, RdbenchError for a file that cannot be removed.
    """
    find_leftovers(out, failed)  # before the lock makes the folder
    with locked(out):
        for leftover in find_leftovers(out, failed):
            with suppress(Stopped):
                _remove(leftover)
                yield leftover


def _remove(leftover: Leftover) -> None:
    """Removes it. Raises Stopped where a run works on its job, RdbenchError where it cannot be removed."""
    busy = threading.Event()
    busy.set()  # do not wait for the lock
    try:
        with locked_folder(leftover.job, busy):
            remove(leftover.path)
        if leftover.path == leftover.job:
            _remove_empty(leftover.job.parent)
    except OSError as error:
        raise RdbenchError(
            f"{leftover.path} cannot be removed ({error.strerror}); change its owner or its permissions."
        ) from error


def _remove_empty(folder: Path) -> None:
    """Removes the folder and those around it, up to that of all jobs, while they are empty."""
    with suppress(OSError):  # not empty
        while folder.name != RUNS:
            folder.rmdir()
            folder = folder.parent


def clean(out: Path, failed: bool, dry_run: bool) -> None:
    """Removes leftovers and prints a line for each, and how many bytes they took; `dry_run` only prints."""
    total, count = 0, 0
    for leftover in find_leftovers(out, failed) if dry_run else remove_leftovers(out, failed):
        print(f"{leftover.path}: {leftover.what}, {leftover.size} bytes")
        total, count = total + leftover.size, count + 1
    done = "Would remove" if dry_run else "Removed"
    print(f"{done} {count} files and folders, {total} bytes; finished records stay.")
