"""One job: encode -> bitstream -> decode in a fresh process -> measure -> record."""

import datetime
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ..codec import Progress
from ..errors import BitstreamError, RdbenchError
from ..report.results import Record, read_record, write_record
from ..video.conditions import find_conditions
from ..video.pipe import read_log_tail
from .checksum import verify_checksum, write_checksum
from .sweep import Job
from .worker import decoder_command


class JobError(RdbenchError):
    """A stage of a job failed; the sentence goes into the record."""


class Stopped(Exception):
    """The user stopped the run."""


def job_folder(out: Path, job: Job) -> Path:
    """`<out>/runs/<codec>/<dataset>/<sequence>/<rate point>-<id>`."""
    names = (job.name, job.clip.label, job.clip.name, f"{job.point}-{job.id}")
    return out.joinpath("runs", *(re.sub(r"[^A-Za-z0-9._=@+-]+", "_", name).strip("_") for name in names))


def finished_record(out: Path, job: Job) -> Record | None:
    """The record of this job if it is done; a failed, unreadable or VMAF-less one (when asked for) is not."""
    path = job_folder(out, job) / "record.json"
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
    stage = _Stage(job, folder, progress, stop, gpu)
    started = _now()
    try:
        record = _measured(job, stage, started)
    except RdbenchError as error:
        return fail(job, out, str(error), started)
    write_record(folder / "record.json", record)
    shutil.rmtree(folder / "work", ignore_errors=True)
    return record


def fail(job: Job, out: Path, reason: str, started: str = "") -> Record:
    """Writes the record of a job that failed, with its reason."""
    record = _describe(job, started or _now(), None, "failed", reason)
    write_record(job_folder(out, job) / "record.json", record)
    return record


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _measured(job: Job, stage: "_Stage", started: str) -> Record:
    bitstream = stage.folder / "bitstream.bin"
    encoded = _encode(job, stage, bitstream)
    decoded = _decode(job, stage, bitstream)
    if decoded["frames"] != job.frames:
        raise JobError(f"The decoder gave {decoded['frames']} frames where {job.frames} were encoded.")
    job_file = stage.write_job()
    measured = stage.run("measure", _python("measure", str(job_file), str(bitstream), str(stage.folder)))
    return _fill(job, started, encoded, decoded, measured["summary"], bitstream.stat().st_size)


def _encode(job: Job, stage: "_Stage", bitstream: Path) -> dict[str, Any]:
    """What the encoder told; a bitstream that an earlier run finished is kept."""
    told = stage.folder / "encode.json"
    if told.exists() and bitstream.exists():
        with suppress(BitstreamError, ValueError):  # a damaged one is encoded again
            verify_checksum(bitstream)
            return dict(json.loads(told.read_text()))
    partial = stage.folder / "work" / "bitstream.partial"
    job_file = stage.write_job()
    work, shared = stage.folder / "work", stage.folder.parent / f"shared-{job.family}"
    result = stage.run("encode", _python("encode", str(job_file), str(partial), str(work), str(shared)))
    if not partial.exists() or partial.stat().st_size == 0:
        raise JobError("The encoder ended without an error but wrote no bitstream.")
    told.unlink(missing_ok=True)
    os.replace(partial, bitstream)
    write_checksum(bitstream)
    unfinished = stage.folder / "work" / "encode.json"
    unfinished.write_text(json.dumps(result))
    os.replace(unfinished, told)
    if (curve := stage.folder / "work" / "fit.csv").exists():
        shutil.copyfile(curve, stage.folder / "fit.csv")
    return result


def _decode(job: Job, stage: "_Stage", bitstream: Path) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as empty:
        shutil.copyfile(bitstream, Path(empty) / "bitstream.bin")
        command = decoder_command("decode", job)
        return stage.run("decode", command, Path(empty))


def _python(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "rdbench.runner.worker", *arguments]


class _Stage:
    """Runs the processes of one job: log, events, time-out, stop."""

    def __init__(self, job: Job, folder: Path, progress: Progress, stop: threading.Event, gpu: int | None) -> None:
        self.job, self.folder, self._progress, self._stop = job, folder.resolve(), progress, stop
        self._environment = {
            **os.environ,
            "OMP_NUM_THREADS": str(job.threads),
            "OMP_WAIT_POLICY": "PASSIVE",
            **({"CUDA_VISIBLE_DEVICES": str(gpu)} if gpu is not None else {}),
        }

    def write_job(self) -> Path:
        path = self.folder / "work" / "job.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(self.job.to_json())
        return path

    def run(self, name: str, command: list[str], cwd: Path | None = None) -> dict[str, Any]:
        """The `result` event of a stage. Raises JobError with its reason, or Stopped."""
        log_path = self.folder / "log.txt"
        deadline = time.monotonic() + self.job.timeout if self.job.timeout else None
        with log_path.open("ab") as log:
            log.write(f"== {name}: {' '.join(command)}\n".encode())
            log.flush()
            process = subprocess.Popen(
                command, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log,
                env=self._environment, start_new_session=True,
            )  # fmt: skip
        answers: list[dict[str, Any]] = []
        reader = threading.Thread(target=self._listen, args=(name, process, answers), daemon=True)
        reader.start()
        try:
            self._wait(name, process, deadline)
        finally:
            _end(process)
            reader.join(timeout=10)
        if answers and answers[-1]["event"] == "result":
            return answers[-1]
        raise JobError(_reason(name, answers, process.returncode, log_path))

    def _listen(self, name: str, process: "subprocess.Popen[bytes]", answers: list[dict[str, Any]]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            event = json.loads(line)
            if event["event"] == "progress":
                self._progress(event["done"], event["total"], event["text"] or name)
            else:
                answers.append(event)

    def _wait(self, name: str, process: "subprocess.Popen[bytes]", deadline: float | None) -> None:
        while True:
            try:
                process.wait(timeout=0.2)
                return
            except subprocess.TimeoutExpired:
                pass
            if self._stop.is_set():
                raise Stopped
            if deadline is not None and time.monotonic() > deadline:
                raise JobError(f"{name} took longer than --timeout {self.job.timeout:g} seconds and was ended.")


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Ends the process and everything it started."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, sign)
        except (ProcessLookupError, PermissionError):
            break
        try:
            process.wait(timeout=3)
        except subprocess.TimeoutExpired:
            continue
    process.wait()


def _reason(name: str, answers: list[dict[str, Any]], status: int, log: Path) -> str:
    if answers and answers[-1]["event"] == "error":
        return str(answers[-1]["message"])
    if status == -signal.SIGKILL:
        return f"{name} was killed by the system, most likely because memory ran out; use fewer --jobs."
    ended = f"signal {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
    return f"{name} ended with {ended}: {read_log_tail(log)}"


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
