"""One job: encode -> bitstream -> decode in a fresh process -> measure -> record."""

import datetime
import json
import os
import platform
import re
import shutil
import tempfile
import threading
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ..codec import FIT_CURVE, Progress
from ..errors import BitstreamError, RdbenchError
from ..report.results import RECORD, Record, read_record, write_record
from ..video.conditions import find_conditions
from .checksum import verify_checksum, write_checksum
from .stage import JobError, StageRunner
from .sweep import Job
from .worker import BITSTREAM, decoder_command, worker_command


def job_folder(out: Path, job: Job) -> Path:
    """`<out>/runs/<codec>/<dataset>/<sequence>/<rate point>-<id>`."""
    names = (job.name, job.clip.label, job.clip.name, f"{job.point}-{job.id}")
    return out.joinpath("runs", *(re.sub(r"[^A-Za-z0-9._=@+-]+", "_", name).strip("_") for name in names))


def finished_record(out: Path, job: Job) -> Record | None:
    """The record of a finished job; None where it failed, cannot be read, or lacks a VMAF that the job requests."""
    path = job_folder(out, job) / RECORD
    if not path.exists():
        return None
    try:
        record = read_record(path)
    except RdbenchError:
        return None
    lacks_vmaf = "vmaf" in job.metrics and record.vmaf is None
    return None if record.status != "ok" or lacks_vmaf else record


def run_job(job: Job, out: Path, progress: Progress, stop: threading.Event, gpu: int | None = None) -> Record:
    """Runs the job in processes of its own and writes its record; a failure becomes a record with its reason."""
    folder = job_folder(out, job)
    (folder / "work").mkdir(parents=True, exist_ok=True)
    stages = StageRunner(job, folder, progress, stop, gpu)
    started = _now()
    try:
        record = _measured(job, stages, started)
    except RdbenchError as error:
        return fail(job, out, str(error), started)
    write_record(folder / RECORD, record)
    shutil.rmtree(folder / "work", ignore_errors=True)
    return record


def fail(job: Job, out: Path, reason: str, started: str = "") -> Record:
    """Writes the record of a job that failed, with its reason."""
    record = _describe(job, started or _now(), None, "failed", reason)
    write_record(job_folder(out, job) / RECORD, record)
    return record


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _measured(job: Job, stages: StageRunner, started: str) -> Record:
    bitstream = stages.folder / BITSTREAM
    encoded = _encode(job, stages, bitstream)
    decoded = _decode(job, stages, bitstream)
    if decoded["frames"] != job.frames:
        raise JobError(f"The decoder gave {decoded['frames']} frames where {job.frames} were encoded.")
    job_file = stages.write_job()
    measured = stages.run("measure", worker_command("measure", str(job_file), str(bitstream), str(stages.folder)))
    return _fill(job, started, encoded, decoded, measured["summary"], bitstream.stat().st_size)


def _encode(job: Job, stages: StageRunner, bitstream: Path) -> dict[str, Any]:
    """The encoder's result; a bitstream that an earlier run finished is kept."""
    result_file = stages.folder / "encode.json"
    if result_file.exists() and bitstream.exists():
        with suppress(BitstreamError, ValueError):  # a damaged one is encoded again
            verify_checksum(bitstream)
            return dict(json.loads(result_file.read_text()))
    work, shared = stages.folder / "work", stages.folder.parent / f"shared-{job.family}"
    partial = work / "bitstream.partial"
    job_file = stages.write_job()
    result = stages.run("encode", worker_command("encode", str(job_file), str(partial), str(work), str(shared)))
    if not partial.exists() or partial.stat().st_size == 0:
        raise JobError("The encoder ended without an error but wrote no bitstream.")
    result_file.unlink(missing_ok=True)
    os.replace(partial, bitstream)
    write_checksum(bitstream)
    partial_result = work / "encode.json"
    partial_result.write_text(json.dumps(result))
    os.replace(partial_result, result_file)
    if (curve := work / FIT_CURVE).exists():
        shutil.copyfile(curve, stages.folder / FIT_CURVE)
    return result


def _decode(job: Job, stages: StageRunner, bitstream: Path) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as empty:
        shutil.copyfile(bitstream, Path(empty) / BITSTREAM)
        command = decoder_command("decode", job)
        return stages.run("decode", command, Path(empty))


def _fill(
    job: Job, started: str, encoded: dict[str, Any], decoded: dict[str, Any], summary: dict[str, Any], size: int
) -> Record:
    fmt = job.video_format
    pixels = job.frames * fmt.width * fmt.height
    report = {**encoded["report"], **decoded["report"]}
    values = {name: summary[name] for name in Record.model_fields if name in summary}
    values |= {name: report[name] for name in ("parameters", "kmacs_per_pixel", "render_fps") if name in report}
    values |= {
        "bits": 8 * size,
        "bpp": 8 * size / pixels,
        "kbps": 8 * size * float(fmt.frame_rate) / job.frames / 1000,
        "encode_seconds": encoded["seconds"],
        "encode_fps": job.frames / encoded["seconds"],
        "decode_seconds": decoded["seconds"],
        "decode_fps": job.frames / decoded["seconds"],
        "first_frame_seconds": decoded["first_frame_seconds"],
        "seek_seconds": decoded["seek_seconds"],
        "peak_memory_mb": max(encoded["peak_memory_mb"], decoded["peak_memory_mb"]),
        "device": encoded["device"],
        "ledger": decoded["ledger"],
        "parts": {**encoded["parts"], **decoded["parts"]},
    }
    settings = {"encoder_command": report["command"]} if "command" in report else {}
    return _describe(job, started, values, "ok", None, settings)


def _describe(
    job: Job, started: str, values: dict[str, Any] | None, status: str, error: str | None,
    settings: dict[str, Any] | None = None,
) -> Record:  # fmt: skip
    clip, fmt = job.clip, job.video_format
    known = {
        "codec": job.name, "dataset": clip.label, "sequence": clip.name, "rate_point": job.point,
        "settings": {**job.settings, **job.point_settings, **(settings or {})},
        "conditions": find_conditions(job.conditions).stamp,
        "width": fmt.width, "height": fmt.height, "frames": job.frames, "frame_rate": float(fmt.frame_rate),
        "bit_depth": fmt.bit_depth, "seed": job.seed, "device": job.device, "threads": job.threads,
        "host": f"{platform.node()} {platform.machine()} {platform.system()}", "started": started,
        "versions": _versions(job), "command": job.command, "status": status, "error": error, "id": job.id,
    }  # fmt: skip
    return Record(**{**known, **(values or {})})


def _versions(job: Job) -> dict[str, str]:
    versions = {"codec": job.codec_version, "python": platform.python_version()}
    for package in ("rdbench", "torch", "numpy", "pytorch-msssim", "imageio-ffmpeg"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions
