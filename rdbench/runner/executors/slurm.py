"""Jobs as arrays on a cluster with SLURM, submitted through submitit; records come through the shared `--out`."""

import math
import re
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...codec import Progress
from ...errors import UsageError
from ...report.results import Record
from .. import defaults
from ..interrupt import Stopped, requested
from ..job import fail, run_job
from ..options import RunOptions, Sweep
from ..resume import kept_record
from ..sweep import Job
from .schedule import Schedule
from .slots import Need, Slot, Slots

SAFETY = 3.0
"""Time limit of a job as a multiple of its estimated encode time (our choice)."""
SHORTEST_MINUTES = 30
"""Shortest time limit; longer ones double, so that jobs of similar length make one array (our choice)."""
UNKNOWN_MINUTES = 720
"""Time limit of a job without an estimate (our choice)."""
MOST_TIMEOUTS = 20
"""How often a job that reaches its time limit is queued again (our choice)."""
MOST_TASKS = 1000
"""Tasks of an array; SLURM's default of MaxArraySize permits 1001."""
SIGNAL_SECONDS = 120
"""How long before the time limit a job has to end and is queued again."""
POLL_SECONDS = 2.0
OURS = ("array", "error", "open_mode", "output", "signal")
"""Options of sbatch that decide how results and signals come back."""


@dataclass(frozen=True)
class Resources:
    """What a task of an array asks SLURM for."""

    gpus: int
    threads: int
    minutes: int


class Task:
    """A job on a node, called again after a preemption or its time limit: it then goes on from its checkpoint."""

    def __call__(self, description: str, out: str) -> None:
        """Runs the job, which writes its record below `out`."""
        run_job(Job.from_json(description), Path(out), lambda done, total, text: None, threading.Event())

    def checkpoint(self, description: str, out: str) -> Any:
        """The same call again, which submitit puts into the queue."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self, description, out)


def for_cluster(sweep: Sweep, options: RunOptions) -> Sweep:
    """The sweep with a device that the cluster has and with threads for its jobs. Raises UsageError."""
    if sweep.device.startswith("cuda:"):
        raise UsageError(f"--device {sweep.device} names a GPU of this machine; give --device cuda, and SLURM chooses.")
    device = sweep.device if sweep.device != "auto" else "cuda" if _has_gpus(options) else "cpu"
    return replace(sweep, device=device, threads=sweep.threads if sweep.threads_given else defaults.SLURM_THREADS)


def _has_gpus(options: RunOptions) -> bool:
    """Whether nodes of the partition have GPUs. Raises UsageError without SLURM."""
    program = shutil.which("sinfo")
    if program is None:
        raise _no_slurm()
    partition = dict(options.slurm).get("partition")
    command = [program, "--noheader", "--format=%G", *([f"--partition={partition}"] if partition else [])]
    listed = subprocess.run(command, capture_output=True, text=True, check=False)
    return "gpu" in listed.stdout


def _no_slurm() -> UsageError:
    return UsageError("--executor slurm needs sbatch, srun and sinfo; run it on a login node of the cluster.")


def resources_of(job: Job) -> Resources:
    """GPU, cores and time of a job, from its plan."""
    return Resources(int(job.device != "cpu"), job.threads, _minutes(job.estimate))


def _minutes(estimate: float | None) -> int:
    """The time limit for an encode time in seconds; decoding and measuring are far below SHORTEST_MINUTES."""
    if estimate is None:
        return UNKNOWN_MINUTES
    doublings = math.ceil(math.log2(max(1.0, SAFETY * estimate / 60 / SHORTEST_MINUTES)))
    return SHORTEST_MINUTES << doublings


def run_jobs(
    jobs: Sequence[Job],
    options: RunOptions,
    progress: Callable[[Job], Progress],
    stop: threading.Event,
    cluster: str = "slurm",
) -> Iterator[tuple[Job, Record]]:
    """Submits the jobs as arrays and yields each with its record as it ends; cancels those that are left at the end.

    `cluster` is the name of submitit's executor. Raises UsageError where submitit or SLURM is missing.
    """
    queue = _Queue(options, cluster)
    slots = Slots((), cores=1, parallel=max(len(jobs), 1))
    schedule = Schedule(jobs, options.out, slots, lambda job: Need(0))
    try:
        while queue.running or not schedule.empty:
            for resources, chosen in _arrays(schedule.start()).items():
                queue.submit(resources, chosen)
            for job, slot, record in queue.ended():
                schedule.end(job, slot)
                yield job, record
            if (queue.running or not schedule.empty) and (stop.wait(POLL_SECONDS) or requested()):
                raise Stopped
    finally:
        queue.cancel()


def _arrays(started: Sequence[tuple[Job, Slot]]) -> dict[Resources, list[tuple[Job, Slot]]]:
    arrays: dict[Resources, list[tuple[Job, Slot]]] = {}
    for job, slot in started:
        arrays.setdefault(resources_of(job), []).append((job, slot))
    return arrays


class _Queue:
    """The submitted jobs."""

    def __init__(self, options: RunOptions, cluster: str) -> None:
        self._out, self._parallel = options.out.resolve(), options.jobs
        self._given = sbatch_options(options.slurm)
        self._cluster = cluster
        self._new_executor()  # an error comes before anything is submitted
        self.running: list[tuple[Job, Slot, Any]] = []

    def _new_executor(self) -> Any:
        return _executor(self._out / "slurm", self._cluster)

    def submit(self, resources: Resources, chosen: Sequence[tuple[Job, Slot]]) -> None:
        """Arrays of jobs that ask for the same."""
        executor = self._new_executor()  # parameters of an earlier array would remain in the same one
        executor.update_parameters(**parameters(resources, self._given, self._parallel))
        for first in range(0, len(chosen), MOST_TASKS):
            part = chosen[first : first + MOST_TASKS]
            descriptions = [job.to_json() for job, _ in part]
            tasks = executor.map_array(Task(), descriptions, [str(self._out)] * len(part))
            self.running += [(job, slot, task) for (job, slot), task in zip(part, tasks, strict=True)]

    def ended(self) -> Iterator[tuple[Job, Slot, Record]]:
        """The jobs that ended since the last call, with their records."""
        for entry in list(self.running):
            job, slot, task = entry
            if task.done():
                self.running.remove(entry)
                yield job, slot, self._record(job, task)

    def _record(self, job: Job, task: Any) -> Record:
        """The record that the job wrote; a new one with the reason where SLURM ended it before that."""
        failure = task.exception()
        record = kept_record(self._out, job)
        if record is not None and (failure is None or record.status == "ok"):
            return record
        return fail(
            job,
            self._out,
            f"SLURM ended job {task.job_id} ({task.state}) before it wrote its record; see {task.paths.stderr}, give "
            "it more time or memory with --slurm, and run the same command again.",
        )

    def cancel(self) -> None:
        """Takes the jobs that have not ended from the queue."""
        for _, _, task in self.running:
            task.cancel(check=False)


def parameters(resources: Resources, given: Mapping[str, str], parallel: int) -> dict[str, Any]:
    """submitit's parameters for an array; what the user gave for sbatch comes last and wins."""
    minutes = minutes_of(given["time"]) if "time" in given else resources.minutes
    own_gpus = any(name.startswith(("gpu", "gres")) for name in given)
    more = {"requeue": True, **{name: value for name, value in given.items() if name != "time"}}
    return {
        "name": "rdbench",
        "timeout_min": minutes,
        "cpus_per_task": resources.threads,
        "gpus_per_node": resources.gpus if resources.gpus and not own_gpus else None,
        "slurm_array_parallelism": parallel,
        "slurm_signal_delay_s": SIGNAL_SECONDS,
        "slurm_additional_parameters": more,
    }


def sbatch_options(pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    """The user's options of sbatch by name. Raises UsageError for those that rdbench needs itself."""
    given = dict(pairs)
    if taken := sorted(set(given) & set(OURS)):
        raise UsageError(f"--slurm {taken[0]} cannot be given, because rdbench sets it itself; leave it out.")
    if "time" in given:
        minutes_of(given["time"])
    return given


def minutes_of(text: str) -> int:
    """A time limit as sbatch takes it: minutes, `H:MM:SS` or `D-HH:MM:SS`, rounded up. Raises UsageError."""
    match = re.fullmatch(r"(?:(\d{1,3})-)?(\d{1,6})(?::(\d{1,2}))?(?::(\d{1,2}))?", text.strip())
    if match is None:
        raise UsageError(f"--slurm time={text} is no time limit; give minutes, as time=240, or time=1-12:00:00.")
    days, parts = match[1], [int(part) for part in match.groups()[1:] if part is not None]
    if days is not None or len(parts) == 3:
        hours, minutes, seconds = (*parts, 0, 0)[:3]
    else:
        hours, (minutes, seconds) = 0, (*parts, 0)[:2]
    total = (int(days or 0) * 24 + hours) * 60 + minutes + (seconds > 0)
    if total < 1:
        raise UsageError(f"--slurm time={text} leaves no time; give at least one minute.")
    return total


def _executor(folder: Path, cluster: str) -> Any:
    try:
        import submitit
    except ImportError as error:
        raise UsageError('--executor slurm needs submitit; install it with pip install "rdbench[slurm]".') from error
    if cluster == "slurm" and not (shutil.which("sbatch") and shutil.which("srun")):
        raise _no_slurm()
    python = f"{shlex.quote(sys.executable)} -P"  # not the rdbench of the folder in which the job is submitted
    return submitit.AutoExecutor(
        folder, cluster=cluster, slurm_max_num_timeout=MOST_TIMEOUTS, local_max_num_timeout=MOST_TIMEOUTS,
        slurm_python=python, local_python=python,
    )  # fmt: skip
