"""Jobs on a Ray cluster; bitstreams and records come back as bytes, so no shared disk is needed."""

import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ...codec import FIT_CURVE, Progress
from ...errors import UsageError
from ...registry import find_card
from ...report.results import RECORD, Record, read_record
from ..checksum import checksum_path
from ..decoder_process import BITSTREAM
from ..job import fail, run_job
from ..resume import job_folder
from ..sweep import Job

FILES = (BITSTREAM, checksum_path(Path(BITSTREAM)).name, "encode.json", FIT_CURVE, "frames.csv", "log.txt", RECORD)
GPU_SHARE = 0.25
"""Share of a GPU for a job of a codec that computes on one: four jobs per GPU (our choice)."""


def run_remotely(description: str) -> dict[str, bytes]:
    """Runs one job in a scratch folder of the executing machine; returns its files by name."""
    job = Job.from_json(description)
    with tempfile.TemporaryDirectory() as scratch:
        run_job(job, Path(scratch), lambda done, total, text: None, threading.Event())
        folder = job_folder(Path(scratch), job)
        return {name: (folder / name).read_bytes() for name in FILES if (folder / name).exists()}


def keep_files(job: Job, out: Path, files: dict[str, bytes]) -> Record:
    """Writes a job's files below `out`, the record last."""
    folder = job_folder(out, job)
    folder.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        if name in files:
            partial = folder / f"{name}.partial"
            partial.write_bytes(files[name])
            partial.replace(folder / name)
    return read_record(folder / RECORD)


def cluster_device() -> str:
    """The device that `auto` stands for: `cuda` where the cluster has a GPU, else `cpu`."""
    return "cuda" if _connected().cluster_resources().get("GPU") else "cpu"


def _connected() -> Any:
    """The module `ray`, connected to the cluster that it finds, or to this machine. Raises UsageError."""
    try:
        import ray
    except ImportError as error:
        raise UsageError('--executor ray needs Ray; install it with pip install "rdbench[ray]".') from error
    ray.init(ignore_reinit_error=True, log_to_driver=False)
    return ray


def run_jobs(
    jobs: Sequence[Job], out: Path, parallel: int, progress: Callable[[Job], Progress], stop: threading.Event
) -> Iterator[tuple[Job, Record]]:
    """Sends every job to the cluster that `ray.init` finds and yields each with its record as it ends."""
    ray = _connected()
    share = GPU_SHARE if ray.cluster_resources().get("GPU") else 0
    waiting: dict[Any, Job] = {}
    for job in jobs:
        gpu = share if find_card(job.codec).kind != "conventional" else 0
        task = ray.remote(num_cpus=job.threads, num_gpus=gpu, max_retries=1)(run_remotely)
        waiting[task.remote(job.to_json())] = job
    try:
        while waiting and not stop.is_set():
            done, _ = ray.wait(list(waiting), timeout=1)
            for reference in done:
                job = waiting.pop(reference)
                try:
                    yield job, keep_files(job, out, ray.get(reference))
                except ray.exceptions.RayError as error:  # the machine is gone or ran out of memory
                    folder = job_folder(out, job)
                    folder.mkdir(parents=True, exist_ok=True)
                    yield job, fail(job, out, f"Ray lost the job ({type(error).__name__}); run the sweep again.")
    finally:
        for reference in waiting:
            ray.cancel(reference, force=True)
