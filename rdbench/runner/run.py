"""A sweep, from plan to records: finished jobs are skipped, failed ones are tried again."""

import errno
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from ..codec import Progress
from ..errors import RdbenchError, UsageError
from ..report.results import Record
from .options import RunOptions
from .resume import finished_record, with_earlier_threads
from .sweep import Job


@dataclass(frozen=True)
class Outcome:
    """The result of a run: records by job, and the number of jobs that an earlier run had finished."""

    records: tuple[tuple[Job, Record], ...]
    skipped: int

    @property
    def failed(self) -> list[Record]:
        """The records of the jobs that failed."""
        return [record for _, record in self.records if record.status != "ok"]


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """Locks the output folder. Raises UsageError where it cannot be written or another run holds the lock."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        lock = FileLock(out / ".rdbench.lock", timeout=0)
        lock.acquire()
    except Timeout as error:
        raise UsageError(f"Another run is writing to {out}; wait for it, or give another folder with --out.") from error
    except OSError as error:
        raise UsageError(
            f"The output folder {out} cannot be written ({error.strerror}); give another with --out."
        ) from error
    try:
        yield
    finally:
        lock.release()


def run(
    jobs: Sequence[Job],
    options: RunOptions,
    progress: Callable[[Job], Progress],
    finished: Callable[[Job, Record, bool], None],
) -> Outcome:
    """Runs the jobs without a finished record and calls `finished(job, record, was_there)` for every record.

    The caller holds the lock of the output folder (`locked`).
    """
    out, executor = options.out, options.executor
    kept, todo = _split(jobs, out, finished)
    stop = threading.Event()
    records = list(kept)
    if executor == "ray":
        from .executors.ray import run_jobs
    else:
        from .executors.local import run_jobs
    try:
        for job, record in run_jobs(todo, out, options.jobs, progress, stop):
            records.append((job, record))
            finished(job, record, False)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
            reason = os.strerror(error.errno or 0)
            raise RdbenchError(
                f"Writing to {out} failed ({reason}); make room, run the same command again, and it continues."
            ) from error
        raise
    return Outcome(tuple(records), len(kept))


def _split(
    jobs: Sequence[Job], out: Path, finished: Callable[[Job, Record, bool], None]
) -> tuple[list[tuple[Job, Record]], list[Job]]:
    kept, todo = [], []
    for job in jobs_by_id([with_earlier_threads(job, out) for job in jobs]).values():
        record = finished_record(out, job)
        if record is None:
            todo.append(job)
        else:
            kept.append((job, record))
            finished(job, record, True)
    return kept, todo


def jobs_by_id(jobs: Sequence[Job]) -> dict[str, Job]:
    """The jobs by id; of descriptions with one id, which give one result, the last remains."""
    return {job.id: job for job in jobs}
