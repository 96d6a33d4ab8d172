"""Jobs in processes of this machine, on the cores and GPUs that are free."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from ...codec import Progress
from ...report.results import Record
from ..interrupt import Stopped, requested
from ..job import run_job
from ..launch import StartWorker, start_fresh_worker
from ..machine import usable_cores
from ..nvml import VisibleGpu, open_nvml, visible_gpus
from ..options import RunOptions
from ..sweep import Job
from .schedule import Schedule, need_of
from .slots import Slot, Slots

POLL_SECONDS = 0.5
"""How soon a job starts after what it shares was made by one that still runs (our choice)."""


def run_jobs(
    jobs: Sequence[Job], options: RunOptions, progress: Callable[[Job], Progress], stop: threading.Event,
    *, start: StartWorker = start_fresh_worker,
) -> Iterator[tuple[Job, Record]]:  # fmt: skip
    """Runs up to `options.jobs` jobs side by side and yields each with its record as it ends."""
    slots = Slots(_gpus(jobs), usable_cores(), options.jobs)
    schedule = Schedule(jobs, options.out, slots, lambda job: need_of(job, options.gpu_memory_mb))
    running: dict[Future[Record], tuple[Job, Slot]] = {}
    with ThreadPoolExecutor(options.jobs, thread_name_prefix="job") as pool:
        try:
            while running or not schedule.empty:
                for job, slot in schedule.start():
                    future = pool.submit(run_job, job, options.out, progress(job), stop, slot.entry, start)
                    running[future] = (job, slot)
                if not running:  # other runs do all that is left
                    _pause(stop)
                    continue
                done, _ = wait(running, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
                for future in done:
                    job, slot = running.pop(future)
                    schedule.end(job, slot)
                    yield job, future.result()
        except BaseException:  # the other jobs end, whatever ended this one
            stop.set()
            raise


def _pause(stop: threading.Event) -> None:
    """Raises Stopped where the user ended the run."""
    if stop.wait(POLL_SECONDS) or requested():
        raise Stopped


def _gpus(jobs: Sequence[Job]) -> list[VisibleGpu]:
    """The GPUs that the user left visible, where a job computes on one."""
    if all(job.device == "cpu" for job in jobs):
        return []
    with open_nvml() as nvml:
        return [] if nvml is None else visible_gpus(nvml)
