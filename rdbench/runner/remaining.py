"""How long the jobs of a run still take, from what is known so far."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .estimates import duration
from .sweep import Job

FIRST_SHARE = 0.005
"""Progress of a stage from which on its speed is trusted (our choice)."""


@dataclass
class _Running:
    """A job that runs: when it began, and the time and the share of the work with which its present stage began."""

    job: Job
    began: float
    at: float
    share_then: float | None = None
    share: float = 0.0

    def left(self, now: float, expected: float | None) -> float | None:
        """Seconds, by the speed of the present stage; before there is one, by the expected seconds of the job."""
        gained = 0.0 if self.share_then is None else self.share - self.share_then
        if gained >= FIRST_SHARE and now > self.at:
            return (1 - self.share) * (now - self.at) / gained
        return None if expected is None else max(0.0, expected - (now - self.began))


class Remaining:
    """The jobs of a run, waiting, running and done; may be called from several threads."""

    def __init__(self, jobs: Sequence[Job], clock: Callable[[], float] = time.monotonic) -> None:
        self._jobs, self._clock, self._lock = list(jobs), clock, threading.Lock()
        self._running: dict[str, _Running] = {}
        self._ended: set[str] = set()
        self._taken: dict[str, list[tuple[float | None, float]]] = {}
        """By codec: estimated and actual seconds of the jobs that this run has finished."""

    @property
    def running(self) -> int:
        """Number of jobs that run."""
        return len(self._running)

    def start(self, job: Job) -> None:
        """The job begins."""
        now = self._clock()
        with self._lock:
            self._running[job.id] = _Running(job, now, now)

    def progress(self, job: Job, done: float, total: float) -> None:
        """The job has done this much of its present stage; less than before is the beginning of the next one."""
        now, share = self._clock(), done / total if total > 0 else 0.0
        with self._lock:
            running = self._running.get(job.id)
            if running is None:
                return
            if running.share_then is None or share < running.share:
                running.at, running.share_then = now, share
            running.share = share

    def finish(self, job: Job, worked: bool) -> None:
        """The job has ended; `worked`: in this run, and without failing, so that its time says something of others."""
        with self._lock:
            running = self._running.pop(job.id, None)
            self._ended.add(job.id)
            if running is not None and worked:
                self._taken.setdefault(job.name, []).append((job.estimate, self._clock() - running.began))

    def text(self) -> str:
        """As `12 of 40 jobs, about 3 h left`; without the time where nothing is known of it, or nothing is left."""
        with self._lock:
            count = f"{len(self._ended)} of {len(self._jobs)} jobs"
            left, complete = self._left()
        if left is None:
            return count
        return f"{count}, {'about' if complete else 'at least'} {duration(left)} left"

    def _left(self) -> tuple[float | None, bool]:
        """Seconds by as many jobs side by side as run now, and whether all jobs are in them."""
        now = self._clock()
        waiting = [job for job in self._jobs if job.id not in self._ended and job.id not in self._running]
        ahead = [self._expected(job) for job in waiting]
        under_way = [one.left(now, self._expected(one.job)) for one in self._running.values()]
        known = [seconds for seconds in (*ahead, *under_way) if seconds is not None]
        if not known:
            return None, False
        longest = max((seconds for seconds in under_way if seconds is not None), default=0.0)
        side_by_side = max(1, len(self._running))
        return max(longest, sum(known) / side_by_side), len(known) == len(ahead) + len(under_way)

    def _projected(self, name: str) -> list[tuple[float | None, float]]:
        """Estimated seconds of the codec's running jobs, and their whole time by their speed so far."""
        now = self._clock()
        ahead = [(one, one.left(now, None)) for one in self._running.values() if one.job.name == name]
        return [(one.job.estimate, now - one.began + left) for one, left in ahead if left is not None]

    def _expected(self, job: Job) -> float | None:
        """The job's estimate, corrected by how the codec's finished jobs compare with theirs; or their mean time."""
        taken = [*self._taken.get(job.name, []), *self._projected(job.name)]
        if job.estimate is not None:
            compared = [(estimate, actual) for estimate, actual in taken if estimate]
            planned = sum(estimate for estimate, _ in compared)
            return job.estimate * (sum(actual for _, actual in compared) / planned if planned else 1.0)
        return sum(actual for _, actual in taken) / len(taken) if taken else None
