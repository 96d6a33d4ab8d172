"""One job: encode -> bitstream -> decode in a fresh process -> measure -> record."""

import datetime
import json
import os
import shutil
import threading
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ..clips.dataset import file_sha256
from ..codec import FIT_CURVE, Progress
from ..errors import BitstreamError, RdbenchError
from ..report.results import RECORD, SCHEMA, Record, write_record
from ..video.conditions import find_conditions
from ..video.hashing import first_difference
from .checksum import verify_checksum, write_checksum
from .decoder_process import BITSTREAM, hidden_from, sealed_decoder, worker_command
from .decoding import DecoderOptions
from .machine import Machine, describe_machine, software_versions
from .resume import job_folder, kept_record, measured_metrics
from .stage import JobError, StageRunner
from .sweep import Job


def run_job(job: Job, out: Path, progress: Progress, stop: threading.Event, gpu: int | None = None) -> Record:
    """Runs the job in processes of its own and writes its record; a failure becomes a record with its reason.

    A finished job that only lacks metrics is measured again; its bitstream and its times are kept.
    """
    folder = job_folder(out, job)
    (folder / "work").mkdir(parents=True, exist_ok=True)
    started, kept = _now(), kept_record(out, job)
    try:
        if kept is not None and kept.status == "ok" and _is_whole(folder / BITSTREAM):
            record = _measured_again(job, kept, folder, progress, stop, gpu)
        else:
            record = _measured(job, StageRunner(job, folder, progress, stop, gpu), started)
            write_record(folder / RECORD, record)
    except RdbenchError as error:
        return fail(job, out, str(error), started)
    shutil.rmtree(folder / "work", ignore_errors=True)
    return record


def _is_whole(bitstream: Path) -> bool:
    """Whether the bitstream is there as it was written."""
    if not bitstream.exists():
        return False
    with suppress(BitstreamError):
        verify_checksum(bitstream)
        return True
    return False


def _measured_again(
    job: Job, record: Record, folder: Path, progress: Progress, stop: threading.Event, gpu: int | None
) -> Record:
    """The record with new values of all metrics that it has or that the job requests, also written to its file.

    Where that fails, the file keeps the record as it was, and the result has the reason.
    """
    wanted = tuple(dict.fromkeys((*measured_metrics(record), *job.metrics)))
    stages = StageRunner(replace(job, metrics=wanted), folder, progress, stop, gpu)
    try:
        measured = _measure(stages)
        if record.frames_sha256 not in (None, measured["frames_sha256"]):
            raise JobError("Decoding the bitstream again gave other frames than when it was first measured.")
    except RdbenchError as error:
        return record.model_copy(update={"status": "failed", "error": str(error)})
    values = {name: value for name, value in measured["summary"].items() if name in Record.model_fields}
    more = record.model_copy(update={**values, "frames_sha256": measured["frames_sha256"]})
    write_record(folder / RECORD, more)
    return more


def fail(job: Job, out: Path, reason: str, started: str = "") -> Record:
    """Writes the record of a job that failed, with its reason."""
    record = _describe(job, started or _now(), describe_machine(job.device), error=reason)
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
    measured = _measure(stages)
    _check_same_frames(decoded, measured)
    return _fill(job, started, encoded, decoded, measured["summary"], bitstream)


def _measure(stages: StageRunner) -> dict[str, Any]:
    bitstream, job_file = stages.folder / BITSTREAM, stages.write_job()
    return stages.run("measure", worker_command("measure", str(job_file), str(bitstream), str(stages.folder)))


def _encode(job: Job, stages: StageRunner, bitstream: Path) -> dict[str, Any]:
    """The encoder's result; a bitstream that an earlier run finished is kept."""
    result_file = stages.folder / "encode.json"
    if (kept := _kept_encoding(result_file, bitstream)) is not None:
        return kept
    machine = describe_machine(job.device, stages.environment)
    work, shared = stages.folder / "work", stages.folder.parent / f"shared-{job.family}"
    partial = work / "bitstream.partial"
    job_file = stages.write_job()
    encoded = stages.run("encode", worker_command("encode", str(job_file), str(partial), str(work), str(shared)))
    if not partial.exists() or partial.stat().st_size == 0:
        raise JobError("The encoder ended without an error but wrote no bitstream.")
    result = {**encoded, "schema": SCHEMA, "machine": asdict(machine), "jobs": job.jobs, "threads": job.threads}
    result_file.unlink(missing_ok=True)
    os.replace(partial, bitstream)
    write_checksum(bitstream)
    partial_result = work / "encode.json"
    partial_result.write_text(json.dumps(result))
    os.replace(partial_result, result_file)
    if (curve := work / FIT_CURVE).exists():
        shutil.copyfile(curve, stages.folder / FIT_CURVE)
    return result


def _kept_encoding(result_file: Path, bitstream: Path) -> dict[str, Any] | None:
    """The result of an earlier run's encoder; None where it or its bitstream is missing, damaged or outdated."""
    if not (result_file.exists() and _is_whole(bitstream)):
        return None
    try:
        result = json.loads(result_file.read_text())
    except ValueError:
        return None
    return result if isinstance(result, dict) and result.get("schema") == SCHEMA else None


def _decode(job: Job, stages: StageRunner, bitstream: Path) -> dict[str, Any]:
    hidden = hidden_from(job, stages.folder)
    with sealed_decoder("decode", job.codec, DecoderOptions.of(job), bitstream, hidden) as decoder:
        return stages.run("decode", decoder.command, decoder.folder)


def _check_same_frames(decoded: dict[str, Any], measured: dict[str, Any]) -> None:
    """Raises JobError where the frames of the timed process and of the measured one differ."""
    if measured["frames_sha256"] != decoded["frames_sha256"]:
        frame = first_difference(decoded["frame_hashes"], measured["frame_hashes"])
        where = "in their format" if frame is None else f"first at frame {frame} (the first one is 0)"
        raise JobError(
            f"Two decodings of the bitstream differ, {where}; the decoder must give the same frames each time."
        )


def _fill(
    job: Job, started: str, encoded: dict[str, Any], decoded: dict[str, Any], summary: dict[str, Any], bitstream: Path
) -> Record:
    fmt, bits = job.video_format, 8 * bitstream.stat().st_size
    report = {**encoded["report"], **decoded["report"]}
    values = {name: summary[name] for name in Record.model_fields if name in summary}
    values |= {name: report[name] for name in ("parameters", "kmacs_per_pixel", "render_fps") if name in report}
    values |= {
        "bits": bits,
        "bpp": bits / (job.frames * fmt.width * fmt.height),
        "kbps": bits * float(fmt.frame_rate) / job.frames / 1000,
        "bitstream_sha256": file_sha256(bitstream),
        "frames_sha256": decoded["frames_sha256"],
        "encode_seconds": encoded["seconds"],
        "encode_fps": job.frames / encoded["seconds"],
        "decode_seconds": decoded["seconds"],
        "decode_fps": job.frames / decoded["seconds"],
        "decode_samples": decoded["samples"],
        "decode_cold_seconds": decoded["cold_seconds"],
        "first_frame_seconds": decoded["first_frame_seconds"],
        "seek_seconds": decoded["seek_seconds"],
        "peak_memory_mb": _peak(encoded["peak_memory_mb"], decoded["peak_memory_mb"]),
        "device": encoded["device"],
        "threads": encoded["threads"],
        "ledger": decoded["ledger"],
        "parts": {**encoded["parts"], **decoded["parts"]},
        "seal": decoded["seal"],
        **_energy(encoded, decoded),
    }
    settings = {"encoder_command": report["command"]} if "command" in report else {}
    return _describe(job, started, Machine(**encoded["machine"]), values, settings=settings)


def _peak(*megabytes: float | None) -> float | None:
    """The larger of the stages' peaks; None where that of a stage is unknown."""
    known = [value for value in megabytes if value is not None]
    return max(known) if len(known) == len(megabytes) else None


def _energy(encoded: dict[str, Any], decoded: dict[str, Any]) -> dict[str, Any]:
    """Joules by stage and their sum, where the machine measures them and ran this job alone."""
    stages = {"encode": encoded["energy"], "decode": decoded["energy"]}
    known = {name: joules for name, joules in stages.items() if joules is not None}
    if encoded["jobs"] != 1 or not known:
        return {}
    return {"energy_stages": known, "energy_joules": sum(known.values())}


def _describe(
    job: Job, started: str, machine: Machine, values: dict[str, Any] | None = None, error: str | None = None,
    settings: dict[str, Any] | None = None,
) -> Record:  # fmt: skip
    """The record of the job: finished with `values`, or failed with `error`."""
    clip, fmt = job.clip, job.video_format
    known = {
        "codec": job.name, "dataset": clip.label, "sequence": clip.name, "rate_point": job.point, "preset": job.preset,
        "settings": {**job.settings, **job.point_settings, **(settings or {})},
        "conditions": find_conditions(job.conditions).stamp,
        "width": fmt.width, "height": fmt.height, "frames": job.frames, "frame_rate": float(fmt.frame_rate),
        "bit_depth": fmt.bit_depth, "seed": job.seed, "device": job.device, "threads": job.threads,
        "host": machine.host, "cpu": machine.cpu, "cpu_cores": machine.cpu_cores, "gpu": machine.gpu,
        "gpu_driver": machine.gpu_driver, "load": machine.load, "jobs": job.jobs, "started": started,
        "versions": {"codec": job.codec_version, **software_versions()}, "command": job.command,
        "clip_sha256": job.clip_sha256, "status": "ok" if error is None else "failed", "error": error, "id": job.id,
        "schema_number": SCHEMA, "identity": job.identity,
    }  # fmt: skip
    return Record(**{**known, **(values or {})})
