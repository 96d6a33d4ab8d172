"""The lock of a job's folder: who holds it is the only one to write there, on this machine and on a shared disk."""

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .interrupt import Stopped, requested

LOCK = ".lock"
"""Name of the lock file in a job's folder. It stays there: removing it while others wait would make two locks of it."""
POLL_SECONDS = 0.5
"""Seconds between two attempts to get a lock (our choice)."""
_held: dict[Path, int] = {}


@contextmanager
def locked_folder(folder: Path, stop: threading.Event) -> Iterator[None]:
    """Holds the lock of the folder, which is made, and waits while others hold it. Raises Stopped, or OSError.

    The processes of the job's stages hold it too (`descriptors`), so that it ends with the last of them.
    """
    while (descriptor := _acquire(folder)) is None:
        _pause(stop)
    key = folder.resolve()
    _held[key] = descriptor
    try:
        yield
    finally:
        del _held[key]
        os.close(descriptor)


def descriptors(folder: Path) -> tuple[int, ...]:
    """What a process inherits that is to hold the lock of the folder as well; empty where this process has none."""
    descriptor = _held.get(folder.resolve())
    return () if descriptor is None else (descriptor,)


def is_locked(folder: Path) -> bool:
    """Whether somebody holds the lock of the folder."""
    if not (folder / LOCK).exists():
        return False
    descriptor = _acquire(folder)
    if descriptor is None:
        return True
    os.close(descriptor)
    return False


def _pause(stop: threading.Event) -> None:
    if stop.is_set() or requested():
        raise Stopped
    time.sleep(POLL_SECONDS)


def _acquire(folder: Path) -> int | None:
    """An open file that has the lock; None where another one has it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / LOCK
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if path.exists() and os.path.samestat(os.fstat(descriptor), path.stat()):
            return descriptor
    except BlockingIOError:
        pass
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None
