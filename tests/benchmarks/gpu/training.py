"""A whole training beside a published number; it says on the way how far it is, so that a time limit loses little."""

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from rdbench.codec import Clip, Workspace
from rdbench.measure.metrics import Summary, compare, summarize
from rdbench.registry import load_codec
from rdbench.runner.decoder_process import decoder_options
from rdbench.runner.decoding import decode_once
from rdbench.runner.options import ClipOptions
from rdbench.runner.session import single_job
from rdbench.runner.sweep import Job
from rdbench.runner.worker import encode
from rdbench.video.conditions import find_conditions

SAY_EVERY = 1.0
"""Seconds between two reports of progress."""
Say = Callable[[Mapping[str, Any]], None]


def train(
    say: Say, spec: str, point: str, clip: str, frames: int | None, preset: str, published: float | None, device: str,
    threads: int,
) -> Iterator[Mapping[str, Any]]:  # fmt: skip
    """The row of the decoded bitstream; `say` hears the stage, its epoch and its PSNR meanwhile."""
    job = single_job(spec, clip, point, ClipOptions(preset=preset, frames=frames, device=device, threads=threads))
    with tempfile.TemporaryDirectory() as folder:
        bitstream, reached = Path(folder) / "bitstream.bin", _Reached(say, published)
        made = encode(job, bitstream, Path(folder), reached)
        decoding = decode_once(load_codec(job.codec), bitstream, decoder_options(job), made["device"])
        quality = _quality(job, bitstream, made["device"])
        size = bitstream.stat().st_size
    clip_format = job.clip.open(job.ffmpeg, job.frames).format
    yield {"values": {
        "published dB": published, "PSNR dB": quality.psnr_rgb, "MS-SSIM": quality.ms_ssim,
        "bpp": 8 * size / (clip_format.width * clip_format.height * job.frames), "encode, s": made["seconds"],
        "decoded frames/s": decoding.frames / decoding.seconds, "parameters": made["report"].get("parameters"),
        "joules": made["energy"], "peak MiB": made["peak_memory_mb"],
        "expected MiB": _expected_memory(job, Clip(clip_format, job.frames)), "last epoch": reached.text,
        "precision": job.precision, "rate point": job.point,
    }}  # fmt: skip


class _Reached:
    """How far the training is, with its own PSNR, which is that of the frames before quantization."""

    def __init__(self, say: Say, published: float | None) -> None:
        self._say, self._published, self._said = say, published, 0.0
        self.text = ""

    def __call__(self, done: float, total: float, text: str) -> None:
        self.text, now = text, time.monotonic()
        if now - self._said >= SAY_EVERY:
            self._said = now
            self._say({"published dB": self._published, "last epoch": text, "share of the work": done / total})


def _quality(job: Job, bitstream: Path, device: str) -> Summary:
    """PSNR and MS-SSIM against the clip, both on the device."""
    with tempfile.TemporaryDirectory() as folder:
        decoded = load_codec(job.codec).decode(bitstream, Workspace(Path(folder), device, job.threads))
        original = job.clip.open(job.ffmpeg, job.frames)
        scores = compare(original, decoded, find_conditions(job.conditions), threads=job.threads, device=device)
    return summarize(scores)


def _expected_memory(job: Job, clip: Clip) -> float | None:
    """What a run would reserve for the job."""
    cls = load_codec(job.codec)
    codec = cls(cls.Settings(**job.settings))
    return codec.expected_gpu_memory_mb(clip, codec.rate_point(job.point, clip))
