"""`rdbench bench`: the speed of a codec's training or decoding, also as a share of the machine's peak."""

import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..codec import Codec, RatePoint, Source, Timing, Workspace
from ..errors import UsageError
from .costs import point_size
from .decoder_process import decoder_options
from .decoding import decode_once, seek_once
from .rates import FEWEST_STEPS, Rate, device_name
from .sweep import Job
from .worker import open_job

MATRIX = {"cpu": 2048, "cuda": 8192}
"""Side of the square matrices whose product measures the peak (our choice: larger ones are no faster)."""
PRODUCTS = 7
"""Number of timed products, of which the median is the result (our choice)."""


@dataclass(frozen=True)
class Report:
    """Timings of one job, with the peak that they are compared with, in operations per second by precision."""

    codec: str
    rate_point: str
    clip: str
    device: str
    threads: int
    timings: list[Timing]
    peaks: Mapping[str, float]

    def table(self) -> pd.DataFrame:
        """A row for each timing: medians, and the 25th and 75th percentile of the seconds."""
        return pd.DataFrame([self._row(timing) for timing in self.timings])

    def _row(self, timing: Timing) -> dict[str, Any]:
        seconds = statistics.median(timing.seconds)
        low, high = np.percentile(timing.seconds, [25, 75])
        row: dict[str, Any] = {
            "work": timing.name, "ms": 1000 * seconds, "p25_ms": 1000 * low, "p75_ms": 1000 * high,
            "per_second": 1 / seconds, "frames_per_second": timing.frames / seconds,
        }  # fmt: skip
        if timing.flops is not None:
            speed = timing.flops / seconds
            row |= {"gflop": timing.flops / 1e9, "gflop_per_second": speed / 1e9}
            row |= {"percent_of_peak": 100 * speed / self.peaks[timing.precision]}
        return row

    def lines(self) -> list[str]:
        """The text below the table: codec, clip, device, peak."""
        peaks = [f"{speed / 1e9:.0f} GFLOP/s in {name}" for name, speed in self.peaks.items()]
        compared = f"; peak, a large matrix product here: {', '.join(peaks)}" if peaks else ""
        return [f"{self.codec} {self.rate_point} on {self.clip}, {self.device}, {self.threads} threads{compared}."]

    def as_dict(self) -> dict[str, Any]:
        """All values, with every sample, the machine and the version of torch."""
        import torch

        return {**asdict(self), "machine": f"{platform.machine()} {platform.system()}", "torch": torch.__version__}


def bench(what: str, job: Job, steps: int) -> Report:
    """Times training (`fit`: `steps` steps of each stage) or decoding (`steps` times). Raises UsageError."""
    if what not in ("fit", "decode"):
        raise UsageError(f"There is no bench of {what!r}; there are fit and decode.")
    if what == "fit" and job.rendering != "float32":
        raise UsageError(f"--precision is for decoding; a training's is {job.codec}[precision={job.rendering}].")
    if steps < 1:
        raise UsageError(f"--steps {steps} times nothing; give at least 1.")
    os.environ.update({"OMP_NUM_THREADS": str(job.threads), "OMP_WAIT_POLICY": "PASSIVE"})  # before torch is imported
    with tempfile.TemporaryDirectory() as scratch:
        codec, source, point, workspace = open_job(job, Path(scratch), lambda done, total, text: None)
        device = workspace.device
        measure = _fit if what == "fit" else _decode
        timings = measure(codec, source, point, workspace, steps, job)
    used: set[str] = {timing.precision for timing in timings if timing.flops is not None}
    peaks = {name: measure_peak(device, name) for name in sorted(used)}
    label = f"{job.clip.label}:{job.clip.name}, {job.frames} frames"
    return Report(job.name, job.point, label, device, job.threads, list(timings), peaks)


def measured_rate(what: str, job: Job, report: Report) -> Rate | None:
    """The multiply-accumulates of a second of training, over a step of each stage.

    None for decoding, and for fewer steps than FEWEST_STEPS, which say too little for a plan.
    """
    counted = [timing for timing in report.timings if timing.flops is not None]
    if what != "fit" or not counted or min(len(timing.seconds) for timing in counted) < FEWEST_STEPS:
        return None
    seconds = sum(statistics.median(timing.seconds) for timing in counted)
    macs = sum(timing.flops or 0.0 for timing in counted) / 2
    fmt = job.video_format
    device, speed = device_name(report.device, job.threads), macs / seconds
    return Rate(device, job.codec, fmt.width, fmt.height, speed, point_size(job))


def _fit(
    codec: Codec, source: Source, point: RatePoint, workspace: Workspace, steps: int, job: Job
) -> Sequence[Timing]:
    timings = codec.time_fit(source, point, steps, workspace)
    if not timings:
        raise UsageError(f"{job.codec} has no fit; rdbench bench decode {job.codec} times its decoder.")
    return timings


def _decode(
    codec: Codec, source: Source, point: RatePoint, workspace: Workspace, steps: int, job: Job
) -> Sequence[Timing]:
    """Timings after one warm-up decoding: the whole, its parts, the first frame, the middle frame alone."""
    bitstream = workspace.folder / "sample.bin"
    codec.write_sample(source, point, bitstream, workspace)
    options, device, cls = replace(decoder_options(job), precision=job.rendering), workspace.device, type(codec)
    results = [decode_once(cls, bitstream, options, device) for _ in range(steps + 1)][1:]
    count = results[0].frames
    seeks = [seek_once(cls, bitstream, options, device, count // 2) for _ in range(steps)]
    frames = float(count)
    pixels = source.video.format.width * source.video.format.height
    kmacs = workspace.report.get("kmacs_per_pixel")
    flops = None if kmacs is None else 2000.0 * kmacs * pixels * frames
    timings = [Timing("decode", tuple(r.seconds for r in results), frames, flops, job.rendering)]
    for part in results[0].parts:
        seconds = tuple(r.parts[part] for r in results)
        rendered = part == "render"
        timings.append(
            Timing(part, seconds, frames, flops, job.rendering) if rendered else Timing(part, seconds, frames)
        )
    firsts = tuple(r.first_frame_seconds for r in results if r.first_frame_seconds is not None)
    return [*timings, Timing("first frame", firsts, 1.0), Timing("middle frame", tuple(seeks), 1.0)]


def measure_peak(device: str, precision: str) -> float:
    """Operations per second of a large matrix product with this machine's matrix library."""
    import torch

    side = MATRIX["cuda" if device.startswith("cuda") else "cpu"]
    a = torch.rand(side, side, device=device, dtype=getattr(torch, precision))
    wait: Callable[[], None] = torch.cuda.synchronize if device.startswith("cuda") else lambda: None
    seconds = []
    for _ in range(PRODUCTS + 1):
        wait()
        started = time.perf_counter()
        a @ a
        wait()
        seconds.append(time.perf_counter() - started)
    return float(2 * side**3 / statistics.median(seconds[1:]))
