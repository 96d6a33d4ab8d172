"""A sweep, from plan to records: finished jobs are skipped, failed ones are tried again."""

import fcntl
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..codec import Progress
from ..errors import RdbenchError, UsageError
from ..report.results import Record
from .executors import find_executor
from .failure import ends_run
from .interrupt import Stopped, requested
from .launch import StartWorker, start_fresh_worker
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
def locked(out: Path, shared: bool = False) -> Iterator[None]:
    """Locks the output folder, which is made; `shared`: together with others that share it, as their jobs have locks.

    Raises UsageError where it cannot be written, or another command holds the lock.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(out / ".rdbench.lock", os.O_RDWR | os.O_CREAT, 0o666)
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise UsageError(f"Another run is writing to {out}; wait for it, or give another folder with --out.") from error
    except OSError as error:
        raise UsageError(
            f"The output folder {out} cannot be written ({error.strerror}); give another with --out."
        ) from error
    try:
        yield
    finally:
        os.close(descriptor)


def run(
    jobs: Sequence[Job],
    options: RunOptions,
    progress: Callable[[Job], Progress],
    finished: Callable[[Job, Record, bool], None],
    start: StartWorker = start_fresh_worker,
) -> Outcome:
    """Runs the jobs without a finished record and calls `finished(job, record, was_there)` for every record.

    The caller holds the lock of the output folder (`locked`); `start` starts workers on this machine. A job's failure
    is its record; only a disk that takes no more records ends the run, with the jobs that still run. Raises
    RdbenchError then.
    """
    run_jobs, stop = find_executor(options.executor, start), threading.Event()
    try:
        kept, todo = _split(jobs, options.out, finished)
        records = list(kept)
        for job, record in run_jobs(todo, options, progress, stop):
            records.append((job, record))
            finished(job, record, False)
    except OSError as error:
        if not ends_run(error, options.out):
            raise
        raise _disk_error(options.out, os.strerror(error.errno or 0)) from error
    except Stopped as error:
        if requested():
            raise
        raise _disk_error(options.out, "another job has met it first") from error
    return Outcome(tuple(records), len(kept))


def _disk_error(out: Path, reason: str) -> RdbenchError:
    return RdbenchError(f"Writing to {out} failed ({reason}); make room, run the same command again, and it continues.")


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
