"""Which jobs may start now: those with a free slot that nobody else does, and that would not wait for another one."""

from collections.abc import Callable, Sequence
from pathlib import Path

from filelock import FileLock, Timeout

from ..answers import memory_mb, shared_key
from ..locks import is_locked
from ..resume import job_folder, shared_folder
from ..sweep import Job
from .slots import Need, Slot, Slots


class Schedule:
    """Hands out slots of a machine to jobs in their order; a job that has to wait is passed by the next ones.

    A job that another run does at present, on this machine or on one that shares the folder `out`, waits as well: it is
    finished when its turn comes, or the other run died.
    """

    def __init__(self, jobs: Sequence[Job], out: Path, slots: Slots, need: Callable[[Job], Need]) -> None:
        self._waiting, self._out, self._slots, self._need = list(jobs), out, slots, need
        self._shared = SharedWork(out)

    @property
    def empty(self) -> bool:
        """Whether every job has been started."""
        return not self._waiting

    def start(self) -> list[tuple[Job, Slot]]:
        """The jobs that start now, each with its slot."""
        started = []
        for job in list(self._waiting):
            if self._slots.full:
                break
            if self._shared.is_made_elsewhere(job) or is_locked(job_folder(self._out, job)):
                continue
            slot = self._slots.take(self._need(job))
            if slot is not None:
                self._waiting.remove(job)
                self._shared.start(job)
                started.append((job, slot))
        return started

    def end(self, job: Job, slot: Slot) -> None:
        """Frees the slot of a job that ended."""
        self._slots.give_back(slot)
        self._shared.end(job)


class SharedWork:
    """The artifacts that jobs share (`Codec.shared_artifact`), and the job that makes each of them."""

    def __init__(self, out: Path) -> None:
        self._out = out
        self._folders: dict[int, Path | None] = {}
        self._makers: dict[Path, Job] = {}

    def is_made_elsewhere(self, job: Job) -> bool:
        """Whether another job, of this run or of any, makes what this one shares with it and would only wait for."""
        folder = self._folder(job)
        if folder is None or _is_made(folder):
            return False
        return folder in self._makers or is_held(folder / ".lock")

    def start(self, job: Job) -> None:
        """Notes that the job makes its artifact, unless that exists."""
        folder = self._folder(job)
        if folder is not None and not _is_made(folder):
            self._makers[folder] = job

    def end(self, job: Job) -> None:
        """Notes that the job ended, with or without an artifact."""
        self._makers = {folder: maker for folder, maker in self._makers.items() if maker is not job}

    def _folder(self, job: Job) -> Path | None:
        """The folder of the job's artifact; found once, because hashing a job's identity takes its time."""
        if id(job) not in self._folders:
            key = shared_key(job)
            self._folders[id(job)] = None if key is None else shared_folder(self._out, job) / key
        return self._folders[id(job)]


def is_held(lock: Path) -> bool:
    """Whether a process has the lock of an artifact."""
    if not lock.exists():
        return False
    try:
        with FileLock(lock, timeout=0):
            return False
    except Timeout:
        return True


def _is_made(folder: Path) -> bool:
    return (folder / "done").exists()


def need_of(job: Job, gpu_memory_mb: float | None = None) -> Need:
    """What the job occupies; `gpu_memory_mb` MiB of GPU memory where the user said how much."""
    if job.device == "cpu":
        return Need(job.threads)
    return Need(job.threads, job.device, memory_mb(job) if gpu_memory_mb is None else gpu_memory_mb)
