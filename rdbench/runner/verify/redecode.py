"""A record's bitstream decoded and measured once more in fresh processes, and held against the record."""

import shutil
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...codec import Progress
from ...processes import read_log_tail
from ...report.results import QUALITY, Record
from ...video import VideoFormat
from ..decoder_process import decoder_options, hidden_from, sealed_decoder
from ..devices import device_class
from ..failure import LIMITS
from ..files import LOG
from ..job import measure_bitstream
from ..machine import cpu_model, describe_gpu, software_versions
from ..stage import Event, JobError, StageRunner
from ..sweep import Job
from .findings import Finding, compare, compare_keys, note, shown, unknown, wrong
from .rebuild import Tool

DECIBELS = 0.05
"""Largest difference of PSNR and MS-SSIM (in dB) between devices, where decoding computes in floating point (our
choice: about 1 % of the rate, where 5 % of it give 0.2 to 0.3 dB)."""
VMAF_POINTS = 0.5
"""Largest difference of VMAF between devices, to go with DECIBELS (our choice)."""
VMAF_ROUNDING = 0.01
"""Largest difference of the VMAF of equal frames between builds of libvmaf, whose arithmetic differs (our choice)."""
TOLERANCE = (
    "Tolerance: none for conventional codecs, and none for others where device and version of torch are the record's; "
    f"else {DECIBELS} dB in PSNR and MS-SSIM and {VMAF_POINTS} in VMAF, and the hash of the decoded frames is not "
    f"compared. VMAF of equal frames may differ by {VMAF_ROUNDING} between machines."
)
NOT_CHECKED = (
    "Times, energy, memory and the machine's description cannot be checked afterwards, only whether they go together."
)
ROOM = 3
"""Copies of a bitstream for which the disk must have room."""


@dataclass(frozen=True)
class Tolerance:
    """How far what is measured here may be from the record."""

    decibels: float
    vmaf: float

    @property
    def same_frames(self) -> bool:
        """Whether the decoded frames must be the same to the bit."""
        return self.decibels == 0


def tolerance(record: Record, tool: Tool, job: Job) -> Tolerance:
    """By the kind of codec, and by whether this machine is like that of the record."""
    software, gpu = software_versions(), device_class(job.device) == "cuda"
    device = (device_class(job.device), describe_gpu(job.device)[0] if gpu else cpu_model())
    recorded = (device_class(record.device), record.gpu if gpu else record.cpu)
    alike = device == recorded and software.get("torch") == record.versions.get("torch")
    if tool.codec.kind == "conventional" or alike:
        ours = (cpu_model(), software.get("imageio-ffmpeg"))
        return Tolerance(0.0, 0.0 if ours == (record.cpu, record.versions.get("imageio-ffmpeg")) else VMAF_ROUNDING)
    return Tolerance(DECIBELS, VMAF_POINTS)


def check_format(record: Record, source: VideoFormat) -> Iterator[Finding]:
    """The record's format is the clip's."""
    formats = {"width": source.width, "height": source.height, "bit_depth": source.bit_depth}
    for name, value in {**formats, "frame_rate": float(source.frame_rate)}.items():
        yield from compare(name, getattr(record, name), value, "in the clip")


def check_decoding(record: Record, tool: Tool, job: Job, bitstream: Path, progress: Progress) -> Iterator[Finding]:
    """Reads the ledger of the bitstream, decodes it and measures the frames, in sealed processes.

    Where something does not hold, a note says whether the codec here is of another version.
    """
    findings = list(_check_decoding(record, tool, job, bitstream, progress))
    yield from findings
    if not tool.is_same and any(finding.result == "does not hold" for finding in findings):
        yield note(tool.difference)


def _check_decoding(record: Record, tool: Tool, job: Job, bitstream: Path, progress: Progress) -> Iterator[Finding]:
    with tempfile.TemporaryDirectory() as scratch:
        if shutil.disk_usage(scratch).free < ROOM * bitstream.stat().st_size:
            yield unknown("bitstream: there is no room for a copy in the folder for temporary files")
            return
        stages = StageRunner(job, Path(scratch), progress, threading.Event(), None)
        try:
            yield from compare_keys("ledger", record.ledger, _ledger(stages, bitstream), "in the bitstream")
            measured, missing = _measured(stages, bitstream)
        except JobError as error:
            yield _decoding_failed(_with_log(str(error), stages.folder), tool)
            return
    yield from missing
    limits = tolerance(record, tool, job)
    yield from _compare_quality(record, measured, limits)
    if not limits.same_frames:
        recorded = f"{record.device} ({shown(record.gpu or record.cpu or 'of an unknown model')})"
        yield note(f"decoded on another device or version of torch than {recorded}, so within {limits.decibels} dB")


def _with_log(reason: str, folder: Path) -> str:
    """The reason, with the last line of the log where it only points there: the log does not outlast the check."""
    return f"{reason} {read_log_tail(folder / LOG, lines=1)}".strip() if "its log" in reason else reason


def _measured(stages: StageRunner, bitstream: Path) -> tuple[Event, list[Finding]]:
    """What is measured, without VMAF where this machine cannot compute it. Raises JobError."""
    try:
        return measure_bitstream(stages, bitstream), []
    except JobError as error:
        if "VMAF" not in str(error) or "vmaf" not in stages.job.metrics:
            raise
        metrics = tuple(metric for metric in stages.job.metrics if metric != "vmaf")
        stages.job = replace(stages.job, metrics=metrics)
        return measure_bitstream(stages, bitstream), [unknown(f"vmaf: {error}")]


def _ledger(stages: StageRunner, bitstream: Path) -> dict[str, Any]:
    """The ledger of the bitstream, read by the codec in a sealed process. Raises JobError."""
    job, hidden = stages.job, hidden_from(stages.job, stages.folder, bitstream.absolute().parent)
    with sealed_decoder(("ledger",), job.codec, decoder_options(job), bitstream, hidden) as decoder:
        ledger: dict[str, Any] = stages.run("ledger", decoder.command, decoder.folder)["ledger"]
    return ledger


def _decoding_failed(reason: str, tool: Tool) -> Finding:
    """The decoders of a standard read all its bitstreams; others may read those of their own version only."""
    if any(word in reason for word in LIMITS):
        return unknown(f"decoding: {reason}")
    if tool.is_same or tool.codec.kind == "conventional":
        return wrong(f"decoding: {reason}")
    return unknown(f"decoding: {reason} ({tool.difference})")


def _compare_quality(record: Record, measured: Event, limits: Tolerance) -> Iterator[Finding]:
    """Each measured value against the record's."""
    summary = measured["summary"]
    if limits.same_frames and record.frames_sha256:
        yield from compare("frames_sha256", record.frames_sha256, measured["frames_sha256"], "decoded here")
    if limits.same_frames and record.lossless_frames is not None:
        yield from compare("lossless_frames", record.lossless_frames, summary["lossless_frames"], "measured here")
    for name in QUALITY:
        if name == "ms_ssim" and not limits.same_frames:  # held by its dB, which `check_derived` ties to it
            continue
        if name == "vmaf" and "vmaf" in summary and summary["vmaf"] is None and record.vmaf is not None:
            continue
        allowed = limits.vmaf if name == "vmaf" else limits.decibels
        yield from compare(name, getattr(record, name), summary[name], "measured here", allowed)
