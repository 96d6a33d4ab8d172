"""Jobs on a Ray cluster; what nodes lack is sent to them, what they write comes back: no shared disk is needed."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from ...codec import Progress
from ...errors import RdbenchError, UsageError
from ...report.results import Record
from ..answers import shared_key
from ..interrupt import Stopped, requested
from ..job import fail
from ..options import RunOptions, Sweep
from ..resume import shared_folder
from ..sweep import Job
from .node import Files, Outcome, clip_files, keep, read_files, run_on_node
from .schedule import Schedule
from .slots import Need, Slot, Slots

GPU_SHARE = 0.25
"""Share of a GPU for a job that computes on one: four jobs per GPU (our choice)."""
MOST_RETRIES = 5
"""How often a job runs again because its node was lost (our choice)."""


def for_cluster(sweep: Sweep) -> Sweep:
    """The sweep with a device that the cluster has, and no more threads than its largest node. Raises UsageError."""
    if sweep.device.startswith("cuda:"):
        raise UsageError(f"--device {sweep.device} names a GPU of this machine; give --device cuda, and Ray chooses.")
    ray = _connected()
    cores = max((int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]), default=0)
    if sweep.threads_given and sweep.threads > cores:
        raise UsageError(f"--threads {sweep.threads} is more than any node of the cluster has; give at most {cores}.")
    device = sweep.device if sweep.device != "auto" else "cuda" if ray.cluster_resources().get("GPU") else "cpu"
    return replace(sweep, device=device, threads=max(1, min(sweep.threads, cores)))


def _connected() -> Any:
    """The module `ray`, connected to the cluster that it finds, or to this machine. Raises UsageError."""
    try:
        import ray
    except ImportError as error:
        raise UsageError('--executor ray needs Ray; install it with pip install "rdbench[ray]".') from error
    ray.init(ignore_reinit_error=True, log_to_driver=False)
    return ray


def run_jobs(
    jobs: Sequence[Job], options: RunOptions, progress: Callable[[Job], Progress], stop: threading.Event
) -> Iterator[tuple[Job, Record]]:
    """Sends every job to the cluster that `ray.init` finds and yields each with its record as it ends.

    Of the jobs that share an artifact, one makes it, and the others start when it is there.
    """
    slots = Slots((), cores=1, parallel=max(len(jobs), 1))
    schedule = Schedule(jobs, options.out, slots, lambda job: Need(0))
    with _tasks(options.out.resolve()) as tasks:
        while tasks.running or not schedule.empty:
            for job, slot in schedule.start():
                tasks.start(job, slot)
            for job, slot, record in tasks.ended():
                schedule.end(job, slot)
                yield job, record
            if stop.is_set() or requested():
                raise Stopped
            if not tasks.running and not schedule.empty:  # other runs do all that is left
                stop.wait(1)


@contextmanager
def _tasks(out: Path) -> "Iterator[_Tasks]":
    """The tasks of a run; those that are left are cancelled at the end of the block."""
    token = f".rdbench-{uuid4().hex}"
    out.mkdir(parents=True, exist_ok=True)
    (out / token).touch()
    tasks = _Tasks(_connected(), out, token)
    try:
        yield tasks
    finally:
        tasks.cancel()
        (out / token).unlink(missing_ok=True)


class _Tasks:
    """The jobs on the cluster."""

    def __init__(self, ray: Any, out: Path, token: str) -> None:
        self._ray, self._out, self._token = ray, out, token
        self._sent: dict[Path, Any] = {}
        """References to the clips and artifacts that nodes asked for, by their paths on this machine."""
        self.running: dict[Any, tuple[Job, Slot]] = {}

    def start(self, job: Job, slot: Slot, clip: Any = None) -> None:
        """Sends the job; `clip` is the reference to its clip where its node did not find that."""
        share = GPU_SHARE if job.device != "cpu" else 0
        remote = self._ray.remote(num_cpus=job.threads, num_gpus=share, max_retries=MOST_RETRIES)(_run_remotely)
        # A reference inside a list is fetched by the node only where it is needed.
        arguments = [[reference] if reference is not None else None for reference in (self._artifact(job), clip)]
        self.running[remote.remote(job.to_json(), str(self._out), self._token, *arguments)] = (job, slot)

    def ended(self) -> Iterator[tuple[Job, Slot, Record]]:
        """The jobs that end within a second, with their records."""
        done, _ = self._ray.wait(list(self.running), timeout=1) if self.running else ([], [])
        for reference in done:
            job, slot = self.running.pop(reference)
            record = self._record(job, slot, reference)
            if record is not None:
                yield job, slot, record

    def _record(self, job: Job, slot: Slot, reference: Any) -> Record | None:
        """The job's record; None where the job was sent again, with its clip."""
        try:
            outcome: Outcome = self._ray.get(reference)
            if not outcome.lacks_clip:
                return keep(job, self._out, outcome)
        except self._ray.exceptions.RayError as error:  # nodes are gone or ran out of memory
            return fail(job, self._out, f"Ray lost the job ({type(error).__name__}); run the same command again.")
        except RdbenchError as error:
            return fail(job, self._out, str(error))
        clip = self._put(Path(job.clip.path), clip_files)
        if clip is None:
            return fail(
                job, self._out, f"{job.clip.name} is not on its node and too large to be sent; copy it to every node."
            )
        self.start(job, slot, clip)
        return None

    def _artifact(self, job: Job) -> Any:
        """A reference to what other jobs made for this one; None where there is nothing."""
        key = shared_key(job)
        folder = None if key is None else shared_folder(self._out, job) / key
        return self._put(folder, read_files) if folder is not None and (folder / "done").exists() else None

    def _put(self, path: Path, read: Callable[[Path], Files | None]) -> Any:
        """A reference to the files, which are read and sent once; None where `read` gives none."""
        if path not in self._sent:
            files = read(path)
            self._sent[path] = None if files is None else self._ray.put(files)
        return self._sent[path]

    def cancel(self) -> None:
        """Ends the jobs that still run."""
        for reference in self.running:
            self._ray.cancel(reference, force=True)


def _run_remotely(
    description: str, out: str, token: str, artifact: list[Any] | None, clip: list[Any] | None
) -> Outcome:
    """`run_on_node`, with references to files in the cluster's memory."""
    import ray

    def fetch(references: list[Any] | None) -> Callable[[], Files] | None:
        return None if references is None else lambda: ray.get(references[0])

    return run_on_node(description, Path(out), token, fetch(artifact), fetch(clip))
