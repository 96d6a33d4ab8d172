"""One job: encode -> bitstream -> decode in a fresh process -> measure -> record."""

import datetime
import json
import os
import shutil
import threading
import traceback
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ..clips.dataset import file_sha256
from ..codec import FIT_CURVE, Progress
from ..errors import RdbenchError
from ..report.results import RECORD, SCHEMA, Record, write_record
from ..video.conditions import find_conditions
from ..video.hashing import first_difference
from .checksum import write_checksum
from .failure import describe_failure, ends_run, plain_text, plain_values
from .faster import FastDecoding, decisive_psnr
from .files import BITSTREAM, ENCODING, LOG, SHARED, WORK
from .launch import StartWorker, start_fresh_worker
from .leftovers import heal_bitstream, heal_record, is_whole, kept_encoding, remove
from .locks import locked_folder
from .machine import Machine, describe_machine, software_versions
from .resume import finished_record, job_folder, kept_record, measured_metrics, missing_metrics
from .stage import Event, JobError, StageRunner, Stopped
from .sweep import Job


def run_job(
    job: Job, out: Path, progress: Progress, stop: threading.Event, gpu: str | None = None,
    start: StartWorker = start_fresh_worker,
) -> Record:  # fmt: skip
    """Runs the job in processes of its own and writes its record; whatever it raises becomes its reason.

    A finished job that only lacks metrics is measured again; its bitstream and its times are kept. What another run on
    the same folder finished meanwhile is kept as it is. Raises Stopped, or OSError where no job can write its results
    any more; it then sets `stop`, so that the others end too.
    """
    started = _now()
    try:
        with locked_folder(job_folder(out, job), stop):
            there = finished_record(out, job)
            if there is not None:
                return there
            return _run_alone(out, StageRunner(job, job_folder(out, job), progress, stop, gpu, start))
    except Stopped:
        raise
    except Exception as error:
        if ends_run(error, out):
            stop.set()
            raise
        return _failed(job, started, describe_failure(error))  # its folder does not even take a record


def _run_alone(out: Path, stages: StageRunner) -> Record:
    job, folder = stages.job, stages.folder
    started = _now()
    try:
        (folder / WORK).mkdir(exist_ok=True)
        kept = kept_record(out, job)
        if kept is None:
            heal_record(folder)
        if kept is not None and kept.status == "ok" and is_whole(folder / BITSTREAM, kept.bitstream_sha256):
            record = _extended(kept, stages)
        else:
            record = _measured(job, stages, started)
            write_record(folder / RECORD, record)
    except Stopped:
        raise
    except Exception as error:
        if ends_run(error, out):
            raise
        if not isinstance(error, RdbenchError):
            _log_traceback(folder)
        return fail(job, out, describe_failure(error), started)
    shutil.rmtree(folder / WORK, ignore_errors=True)
    return record


def _log_traceback(folder: Path) -> None:
    """Appends the traceback of the error that is being handled to the job's log."""
    with suppress(OSError), (folder / LOG).open("a", encoding="utf-8", errors="backslashreplace") as log:
        log.write(traceback.format_exc())


def _extended(record: Record, stages: StageRunner) -> Record:
    """The record with what the job requests and it lacks, also written to its file.

    Where that fails, the file keeps the record as it was, and the result has the reason.
    """
    folder = stages.folder
    only_faster = not missing_metrics(record, stages.job)
    try:
        values, frames_sha256 = (_decoded_faster if only_faster else _measured_again)(record, stages)
        if record.frames_sha256 not in (None, frames_sha256):
            raise JobError("Decoding the bitstream again gave other frames than when it was first measured.")
    except RdbenchError as error:
        return record.model_copy(update={"status": "failed", "error": str(error)})
    more = record.model_copy(update={**values, "frames_sha256": frames_sha256})
    write_record(folder / RECORD, more)
    return more


def _measured_again(record: Record, stages: StageRunner) -> tuple[dict[str, Any], str]:
    """New values of all metrics that the record has or that the job requests, and the hash of the frames."""
    stages.job = replace(stages.job, metrics=tuple(dict.fromkeys((*measured_metrics(record), *stages.job.metrics))))
    measured = measure_bitstream(stages, stages.folder / BITSTREAM)
    values = {name: value for name, value in measured["summary"].items() if name in Record.model_fields}
    return values | measured["faster"], measured["frames_sha256"]


def _decoded_faster(record: Record, stages: StageRunner) -> tuple[dict[str, Any], str]:
    """What a decoding in a faster number format adds to a record, and the hash of float32's frames."""
    event = _run_on_bitstream("faster", stages, stages.folder / BITSTREAM)
    fast = FastDecoding(event["values"], event["psnr"], event["frames_sha256"])
    return fast.fields(decisive_psnr(record.model_dump())), fast.frames_sha256


def fail(job: Job, out: Path, reason: str, started: str = "") -> Record:
    """Writes the record of a job that failed, with its reason."""
    record = _failed(job, started or _now(), reason)
    write_record(job_folder(out, job) / RECORD, record)
    return record


def _failed(job: Job, started: str, reason: str) -> Record:
    """The record of a job that failed, whatever its settings, names and reason are made of."""
    known = plain_values(_known_values(job, started, describe_machine(job.device)))
    known |= {"status": "failed", "error": plain_text(reason)}
    try:
        return Record(**known)
    except ValidationError as error:
        wrong = {str(one["loc"][0]) for one in error.errors()}
        required = {name: str(known[name]) for name in wrong if Record.model_fields[name].is_required()}
        return Record(**{name: value for name, value in known.items() if name not in wrong} | required)


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _measured(job: Job, stages: StageRunner, started: str) -> Record:
    bitstream = stages.folder / BITSTREAM
    encoded, result = _encode_and_decode(job, stages, bitstream)
    decoded, measured = result["decoded"], result["measured"]
    _check_same_frames(decoded, measured)
    return _fill(job, started, encoded, decoded, {**measured["summary"], **measured["faster"]}, bitstream)


def _encode_and_decode(job: Job, stages: StageRunner, bitstream: Path) -> tuple[dict[str, Any], Event]:
    """What encoder and decoder reported. A kept bitstream that does not decode is encoded again, once."""
    kept = kept_encoding(stages.folder)
    if kept is not None:
        try:
            return kept, _run_on_bitstream("decode", stages, bitstream)
        except JobError as error:
            if not heal_bitstream(stages.folder, str(error)):
                raise
    return _encode(job, stages, bitstream), _run_on_bitstream("decode", stages, bitstream)


def measure_bitstream(stages: StageRunner, bitstream: Path) -> Event:
    """Decodes a bitstream and measures its frames, in the runner's folder. Raises JobError."""
    return _run_on_bitstream("measure", stages, bitstream)


def _run_on_bitstream(verb: str, stages: StageRunner, bitstream: Path) -> Event:
    return stages.run_worker(verb, stages.write_job(), bitstream.absolute(), stages.folder)


def _encode(job: Job, stages: StageRunner, bitstream: Path) -> dict[str, Any]:
    """What the encoder reported, once its bitstream is in place."""
    result_file = stages.folder / ENCODING
    machine = describe_machine(job.device, stages.environment)
    work, shared = stages.folder / WORK, stages.folder.parent / f"{SHARED}{job.family}"
    partial = work / "bitstream.partial"
    remove(partial)  # of an encoder that was killed
    job_file = stages.write_job()
    encoded = stages.run_worker("encode", job_file, partial, work, shared)
    check_bitstream(partial)
    result = {**encoded, "schema": SCHEMA, "machine": asdict(machine), "jobs": job.jobs, "threads": job.threads}
    result_file.unlink(missing_ok=True)
    os.replace(partial, bitstream)
    write_checksum(bitstream)
    partial_result = work / ENCODING
    partial_result.write_text(json.dumps(result))
    os.replace(partial_result, result_file)
    if (curve := work / FIT_CURVE).exists():
        shutil.copyfile(curve, stages.folder / FIT_CURVE)
    return result


def check_bitstream(partial: Path) -> None:
    """Raises JobError where the encoder did not write one file with something in it."""
    if partial.is_symlink() or (partial.exists() and not partial.is_file()):
        kind = "a link" if partial.is_symlink() else "a folder" if partial.is_dir() else "something else"
        raise JobError(f"The encoder wrote {kind} where its bitstream belongs; it must write one file.")
    if not partial.exists() or partial.stat().st_size == 0:
        raise JobError("The encoder ended without an error but wrote no bitstream.")


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
    reported = ("parameters", "kmacs_per_pixel", "render_fps", "execution", "shown_as")
    values |= {name: report[name] for name in reported if name in report}
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
    known = _known_values(job, started, Machine(**encoded["machine"]))
    if "command" in report:
        known["settings"] = {**known["settings"], "encoder_command": report["command"]}
    return Record(**{**known, **values, "status": "ok"})


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


def _known_values(job: Job, started: str, machine: Machine) -> dict[str, Any]:
    """What is known of a record before there is a result."""
    clip, fmt = job.clip, job.video_format
    return {
        "codec": job.name, "dataset": clip.label, "sequence": clip.name, "rate_point": job.point, "preset": job.preset,
        "settings": {**job.settings, **job.point_settings},
        "conditions": find_conditions(job.conditions).stamp,
        "width": fmt.width, "height": fmt.height, "frames": job.frames, "frame_rate": float(fmt.frame_rate),
        "bit_depth": fmt.bit_depth, "seed": job.seed, "device": job.device, "threads": job.threads,
        "host": machine.host, "cpu": machine.cpu, "cpu_cores": machine.cpu_cores, "gpu": machine.gpu,
        "gpu_driver": machine.gpu_driver, "load": machine.load, "jobs": job.jobs, "started": started,
        "versions": {"codec": job.codec_version, **software_versions()}, "command": job.command,
        "clip_sha256": job.clip_sha256, "id": job.id, "schema_number": SCHEMA, "identity": job.identity,
    }  # fmt: skip
