"""Where jobs run: on this machine, on a Ray cluster, or on a cluster with SLURM."""

import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Protocol

from ...codec import Progress
from ...report.results import Record
from ..launch import StartWorker
from ..options import RunOptions, Sweep
from ..sweep import Job


class RunJobs(Protocol):
    """The function of an executor: runs the jobs and yields each with its record as it ends."""

    def __call__(
        self, jobs: Sequence[Job], options: RunOptions, progress: Callable[[Job], Progress], stop: threading.Event
    ) -> Iterator[tuple[Job, Record]]: ...


def find_executor(name: str, start: StartWorker) -> RunJobs:
    """The executor of one of the names in `EXECUTORS`; `start` starts the workers of this machine's."""
    if name == "ray":
        from .ray import run_jobs as on_ray

        return on_ray
    if name == "slurm":
        from .slurm import run_jobs as on_slurm

        return on_slurm
    from .local import run_jobs as here

    return partial(here, start=start)


def for_executor(options: RunOptions, sweep: Sweep) -> Sweep:
    """The sweep with a device and a number of threads that the machines of a cluster have. Raises UsageError."""
    if options.executor == "ray":
        from .ray import for_cluster as for_ray

        return for_ray(sweep)
    if options.executor == "slurm":
        from .slurm import for_cluster as for_slurm

        return for_slurm(sweep, options)
    return sweep
