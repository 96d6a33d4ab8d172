"""What an earlier run left in the output folder, so that nothing is done twice."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from ..errors import RdbenchError
from ..measure import SMALLEST_MS_SSIM_SIDE
from ..report.results import RECORD, Record, read_record
from .files import RUNS, SHARED
from .sweep import Job

MOST_THREADS = 1024
"""Largest number of threads with which an earlier run is looked for (our choice)."""


def job_folder(out: Path, job: Job) -> Path:
    """`<out>/runs/<codec>/<dataset>/<sequence>/<rate point>-<id>`."""
    names = (job.name, job.clip.label, job.clip.name, f"{job.point}-{job.id}")
    return out.joinpath(RUNS, *(re.sub(r"[^A-Za-z0-9._=@+-]+", "_", name).strip("_") for name in names))


def shared_folder(out: Path, job: Job) -> Path:
    """The folder of everything that the rate points of a codec on a clip share."""
    return job_folder(out, job).parent / f"{SHARED}{job.family}"


def with_earlier_threads(job: Job, out: Path) -> Job:
    """The job with the number of threads of an earlier run, where the user asks for none and threads decide the bits.

    The default number of threads is the cores divided by `--jobs`, so that another `--jobs` would make another id. A
    finished job is therefore kept whatever its number of threads was; one that was interrupted continues with its own
    number where that is not larger than the new default, since more threads than cores take many times as long.
    """
    if job.threads_given or not job.threads_decide_bits:
        return job
    if _is_finished(out, job):
        return job
    earlier = list(_earlier(out, job))
    finished = [twin for twin in earlier if _is_finished(out, twin)]
    if finished:
        return finished[0]
    interrupted = [twin for twin in earlier if twin.threads < job.threads]
    return interrupted[-1] if interrupted and not job_folder(out, job).exists() else job


def _earlier(out: Path, job: Job) -> Iterator[Job]:
    """The same job with other numbers of threads that have a folder, from few threads to many."""
    folder = job_folder(out, job)
    if not folder.parent.is_dir():
        return
    names = {path.name for path in folder.parent.iterdir()} - {folder.name}
    if not any(name.startswith(folder.name.removesuffix(job.id)) for name in names):
        return
    for threads in range(1, MOST_THREADS + 1):
        twin = replace(job, threads=threads)
        if job_folder(out, twin).name in names:
            yield twin


def _is_finished(out: Path, job: Job) -> bool:
    record = kept_record(out, job)
    return record is not None and record.status == "ok"


def finished_record(out: Path, job: Job) -> Record | None:
    """The record of a finished job; None where it failed, cannot be read, or lacks what the job requests.

    That is a metric, or a second decoding in a faster number format.
    """
    record = kept_record(out, job)
    if record is None or record.status != "ok" or missing_metrics(record, job):
        return None
    return record if job.rendering in ("float32", record.fast_precision) else None


def kept_record(out: Path, job: Job) -> Record | None:
    """The job's record, finished or failed; None where there is no readable one."""
    path = job_folder(out, job) / RECORD
    if not path.exists():
        return None
    try:
        record = read_record(path)
    except RdbenchError:
        return None
    return record if record.id == job.id else None


def missing_metrics(record: Record, job: Job) -> tuple[str, ...]:
    """The requested metrics that the record lacks; frames that are too small for MS-SSIM do not lack it."""
    lacking = {
        "ms_ssim": record.ms_ssim is None and min(record.width, record.height) >= SMALLEST_MS_SSIM_SIDE,
        "vmaf": record.vmaf is None,
    }
    return tuple(name for name in job.metrics if lacking.get(name, False))


def measured_metrics(record: Record) -> tuple[str, ...]:
    """The metrics that the record has."""
    known = {"psnr": True, "ms_ssim": record.ms_ssim is not None, "vmaf": record.vmaf is not None}
    return tuple(name for name, there in known.items() if there)
