"""PSNR, MS-SSIM and VMAF: per frame and plane, then per sequence, always from rounded frames."""

import csv
import json
import math
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import IO, Any

import numpy as np

from ..errors import MediaError
from ..video import Frames, Video, VideoFormat
from ..video.color import convert
from ..video.conditions import Conditions
from ..video.ffmpeg import find_ffmpeg
from . import DEFAULT_METRICS
from .overlap import in_order, read_ahead
from .scorer import Columns, Measurement, NumpyScorer, Scorer

LOSSLESS_DB = 100.0
"""PSNR in dB of a frame without any error, by convention."""


@dataclass(frozen=True)
class FrameScores:
    """One frame: squared errors (sums) and sample counts by plane, and its scores; None where not measured."""

    frame: int
    squared_error_rgb: float | None = None
    samples_rgb: int | None = None
    squared_error_y: float | None = None
    squared_error_u: float | None = None
    squared_error_v: float | None = None
    samples_y: int | None = None
    samples_c: int | None = None
    psnr_rgb: float | None = None
    psnr_y: float | None = None
    psnr_u: float | None = None
    psnr_v: float | None = None
    psnr_yuv: float | None = None
    lossless: bool = False
    ms_ssim: float | None = None
    vmaf: float | None = None


@dataclass(frozen=True)
class Summary:
    """The scores of a sequence: means over frames, `ms_ssim_db` of the mean MS-SSIM, the number of lossless frames."""

    psnr_rgb: float | None
    psnr_y: float | None
    psnr_u: float | None
    psnr_v: float | None
    psnr_yuv: float | None
    ms_ssim: float | None
    ms_ssim_db: float | None
    vmaf: float | None
    lossless_frames: int


def psnr(squared_error: float, samples: int, peak: int) -> float:
    """PSNR in dB from a sum of squared errors; LOSSLESS_DB for an error of 0."""
    if squared_error == 0:
        return LOSSLESS_DB
    return min(10 * math.log10(peak * peak * samples / squared_error), LOSSLESS_DB)


def compare(
    reference: Video,
    test: Video,
    conditions: Conditions,
    metrics: Sequence[str] = DEFAULT_METRICS,
    ffmpeg: str | None = None,
    *,
    threads: int = 1,
    device: str = "cpu",
) -> list[FrameScores]:
    """The scores of each frame of the test against the reference. Raises MediaError where they do not match.

    Both videos are read by threads of their own while `threads` others measure on the CPU, or `device` does (`cuda`,
    `cuda:1`), by torch. The number of threads changes no value; what a clip takes in memory does not grow with its
    length, except for the scores.
    """
    ours, theirs = reference.format, test.format
    if (ours.width, ours.height) != (theirs.width, theirs.height):
        raise MediaError(
            f"The clips differ in size: {ours.width}x{ours.height} and {theirs.width}x{theirs.height}; compare "
            "clips of one size."
        )
    measurement = Measurement(ours, theirs, conditions, "ms_ssim" in metrics)
    scorer = choose_scorer(measurement, threads, device)
    scores: list[FrameScores] = []
    with ExitStack() as stack:
        pairs = _paired(
            stack.enter_context(read_ahead(reference, scorer.size)), stack.enter_context(read_ahead(test, scorer.size))
        )
        files = stack.enter_context(_VmafFiles(measurement)) if "vmaf" in metrics else None
        for columns in in_order(scorer.score, files.written(pairs) if files else pairs, scorer.workers):
            scores += _frames(len(scores), columns, measurement)
        if files and scores:
            values = files.run(find_ffmpeg(ffmpeg))
            scores = [replace(score, vmaf=value) for score, value in zip(scores, values, strict=True)]
    return scores


def choose_scorer(measurement: Measurement, threads: int = 1, device: str = "cpu") -> Scorer:
    """Who measures on the device; only a GPU takes the import of torch."""
    if device == "cpu":
        return NumpyScorer(measurement, threads)
    from .torch_scorer import TorchScorer

    return TorchScorer(measurement, device)


def _paired(ours: Iterator[Frames], theirs: Iterator[Frames]) -> Iterator[tuple[Frames, Frames]]:
    done = 0
    while True:
        a, b = next(ours, None), next(theirs, None)
        counts = (len(a) if a else 0, len(b) if b else 0)
        if counts[0] != counts[1]:
            totals = [done + n + sum(len(x) for x in rest) for n, rest in zip(counts, (ours, theirs), strict=True)]
            raise MediaError(f"The clips differ in length: {totals[0]} and {totals[1]} frames.")
        if a is None or b is None:
            return
        done += counts[0]
        yield a, b


def _frames(first: int, columns: Columns, measured: Measurement) -> list[FrameScores]:
    """The scores of a batch, of what its scorer measured."""
    fmt = measured.reference
    values: dict[str, Sequence[float]] = dict(columns)
    counts: dict[str, int] = {}
    if measured.in_rgb:
        counts["samples_rgb"] = 3 * fmt.width * fmt.height
        values["psnr_rgb"] = [psnr(error, counts["samples_rgb"], 255) for error in columns["squared_error_rgb"]]
    if measured.of_planes:
        counts |= {"samples_y": math.prod(fmt.plane_shapes[0]), "samples_c": math.prod(fmt.plane_shapes[1])}
        for name, samples in zip("yuv", ("samples_y", "samples_c", "samples_c"), strict=True):
            errors = columns[f"squared_error_{name}"]
            values[f"psnr_{name}"] = [psnr(error, counts[samples], fmt.peak) for error in errors]
        planes = zip(*(values[f"psnr_{name}"] for name in "yuv"), strict=True)
        values["psnr_yuv"] = [(6 * y + u + v) / 8 for y, u, v in planes]
    decisive = ("squared_error_rgb",) if measured.in_rgb else tuple(f"squared_error_{name}" for name in "yuv")
    frames = []
    for index in range(len(columns[decisive[0]])):
        known: dict[str, Any] = {**counts, **{name: column[index] for name, column in values.items()}}
        frames.append(FrameScores(first + index, lossless=not any(known[name] for name in decisive), **known))
    return frames


class _VmafFiles:
    """Both clips as raw video in a scratch folder, for ffmpeg's libvmaf; RGB as 4:2:0."""

    def __init__(self, measurement: Measurement) -> None:
        fmt = measurement.reference
        self._measurement = measurement
        self._format = fmt.with_planes("420" if fmt.chroma == "rgb" else fmt.chroma, fmt.bit_depth)

    def __enter__(self) -> "_VmafFiles":
        self._stack = ExitStack()
        self._folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
        self._files = [self._stack.enter_context((self._folder / name).open("wb")) for name in ("test", "reference")]
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def written(self, pairs: Iterator[tuple[Frames, Frames]]) -> Iterator[tuple[Frames, Frames]]:
        """The pairs, each as soon as it is in the files."""
        for reference, test in pairs:
            for file, frames in zip(self._files, (self._measurement.converted(test), reference), strict=True):
                _write_planes(convert(frames, self._measurement.reference, self._format), file)
            yield reference, test

    def run(self, ffmpeg: str) -> list[float]:
        """VMAF of each frame (libvmaf's default model). Raises MediaError where this ffmpeg has no libvmaf."""
        for file in self._files:
            file.close()
        read = ["-f", "rawvideo", "-pix_fmt", _pixels(self._format)]
        read += ["-video_size", f"{self._format.width}x{self._format.height}", "-i"]
        command = [ffmpeg, "-nostdin", "-v", "error", *read, "test", *read, "reference",
                   "-lavfi", "libvmaf=log_fmt=json:log_path=vmaf.json", "-f", "null", "-"]  # fmt: skip
        done = subprocess.run(command, cwd=self._folder, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise MediaError(f"{ffmpeg} could not compute VMAF ({done.stderr.strip()[-200:]}); use one with libvmaf.")
        report = json.loads((self._folder / "vmaf.json").read_text())
        return [float(frame["metrics"]["vmaf"]) for frame in report["frames"]]


def _write_planes(frames: Frames, file: IO[bytes]) -> None:
    for index in range(len(frames)):
        for plane in frames.planes:
            file.write(np.ascontiguousarray(plane[index]).data)


def _pixels(fmt: VideoFormat) -> str:
    """ffmpeg's name of planar YUV or gray samples."""
    depth = "" if fmt.bit_depth == 8 else f"{fmt.bit_depth}le"
    return f"gray{depth}" if fmt.chroma == "gray" else f"yuv{fmt.chroma}p{depth}"


def summarize(scores: Sequence[FrameScores]) -> Summary:
    """The mean of each score over the frames; None where a frame lacks it."""
    means = {
        name: _mean([getattr(s, name) for s in scores]) for name in (f.name for f in fields(Summary)) if name in _SCORES
    }
    similarity = means["ms_ssim"]
    decibel = None if similarity is None else LOSSLESS_DB if similarity >= 1 else -10 * math.log10(1 - similarity)
    return Summary(**means, ms_ssim_db=decibel, lossless_frames=sum(s.lossless for s in scores))


_SCORES = ("psnr_rgb", "psnr_y", "psnr_u", "psnr_v", "psnr_yuv", "ms_ssim", "vmaf")


def _mean(values: Sequence[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return math.fsum(known) / len(known) if known and len(known) == len(values) else None


def write_frames_csv(path: Path, scores: Sequence[FrameScores]) -> None:
    """A row for each frame; what was not measured is empty."""
    names = [f.name for f in fields(FrameScores)]
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        for score in scores:
            row = [getattr(score, name) for name in names]
            writer.writerow(["" if v is None else int(v) if isinstance(v, bool) else v for v in row])
