"""PSNR, MS-SSIM and VMAF: per frame and plane, then per sequence, always from rounded frames."""

import csv
import json
import math
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from pytorch_msssim import ms_ssim as torch_ms_ssim

from ..errors import MediaError
from ..video import Frames, Plane, Video, VideoFormat
from ..video.color import convert, to_rgb
from ..video.conditions import Conditions
from ..video.ffmpeg import find_ffmpeg
from ..video.readers import MemoryVideo, write_y4m
from . import DEFAULT_METRICS, SMALLEST_MS_SSIM_SIDE

LOSSLESS_DB = 100.0
"""PSNR in dB of a frame without any error, by convention."""

Doubles = npt.NDArray[np.float64]


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
) -> list[FrameScores]:
    """The scores of each frame of the test against the reference. Raises MediaError where they do not match."""
    ours, theirs = reference.format, test.format
    if (ours.width, ours.height) != (theirs.width, theirs.height):
        raise MediaError(
            f"The clips differ in size: {ours.width}x{ours.height} and {theirs.width}x{theirs.height}; compare "
            "clips of one size."
        )
    scores: list[FrameScores] = []
    with tempfile.TemporaryDirectory() as scratch:
        wants_vmaf = "vmaf" in metrics
        sink = _VmafFiles(Path(scratch), ours) if wants_vmaf else None
        for a, b in _paired(reference, test):
            scores += _score_batch(a, b, ours, theirs, conditions, metrics, len(scores))
            if sink:
                sink.write(a, convert_to(b, theirs, ours, conditions))
        if sink:
            values = sink.run(find_ffmpeg(ffmpeg))
            scores = [replace(score, vmaf=value) for score, value in zip(scores, values, strict=True)]
    return scores


def _paired(reference: Video, test: Video) -> Iterator[tuple[Frames, Frames]]:
    ours, theirs = reference.batches(), test.batches()
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


def convert_to(frames: Frames, fmt: VideoFormat, target: VideoFormat, conditions: Conditions) -> Frames:
    """The frames in the target's chroma and depth; RGB stays RGB where the target is RGB."""
    return convert(frames, fmt, target, conditions.matrix)


def _score_batch(
    a: Frames, b: Frames, ours: VideoFormat, theirs: VideoFormat, conditions: Conditions, metrics: Sequence[str],
    first: int,
) -> list[FrameScores]:  # fmt: skip
    columns: dict[str, Doubles] = {}
    if conditions.domain == "rgb":
        x, y = to_rgb(a, ours, conditions), to_rgb(b, theirs, conditions)
        peak, samples = 255, 3 * ours.width * ours.height
        columns["squared_error_rgb"] = np.sum([_errors(p, q) for p, q in zip(x.planes, y.planes, strict=True)], axis=0)
        columns["psnr_rgb"] = np.array([psnr(e, samples, peak) for e in columns["squared_error_rgb"]])
    else:
        x, peak, samples = a, ours.peak, None
        y = a
    same_planes = ours.chroma == theirs.chroma and ours.chroma in ("420", "422", "444")
    if ours.chroma not in ("rgb", "gray") and (conditions.domain == "yuv" or same_planes):
        planes = convert_to(b, theirs, ours, conditions)
        y = planes if conditions.domain == "yuv" else y
        columns |= _plane_columns(a, planes, ours)
    elif conditions.domain == "yuv":
        raise MediaError(f"A {ours.chroma} source has no YUV planes to measure; use --conditions rgb601.")
    if "ms_ssim" in metrics and min(ours.width, ours.height) >= SMALLEST_MS_SSIM_SIDE:
        count = 3 if conditions.domain == "rgb" else 1
        columns["ms_ssim"] = np.mean(
            [_ms_ssim(p, q, peak) for p, q in zip(x.planes[:count], y.planes[:count], strict=True)], axis=0
        )
    return [_frame(first + i, {k: float(v[i]) for k, v in columns.items()}, samples, ours) for i in range(len(a))]


def _plane_columns(a: Frames, b: Frames, fmt: VideoFormat) -> dict[str, Doubles]:
    columns: dict[str, Doubles] = {}
    for name, p, q in zip("yuv", a.planes, b.planes, strict=True):
        columns[f"squared_error_{name}"] = _errors(p, q)
        samples = p.shape[1] * p.shape[2]
        columns[f"psnr_{name}"] = np.array([psnr(e, samples, fmt.peak) for e in columns[f"squared_error_{name}"]])
    columns["psnr_yuv"] = (6 * columns["psnr_y"] + columns["psnr_u"] + columns["psnr_v"]) / 8
    return columns


def _frame(index: int, values: dict[str, float], samples: int | None, fmt: VideoFormat) -> FrameScores:
    decisive = [v for k, v in values.items() if k == "squared_error_rgb"] or [
        v for k, v in values.items() if k.startswith("squared_error")
    ]
    counts: dict[str, int] = {} if samples is None else {"samples_rgb": samples}
    if "psnr_y" in values:
        counts |= {"samples_y": math.prod(fmt.plane_shapes[0]), "samples_c": math.prod(fmt.plane_shapes[1])}
    known: dict[str, Any] = {**counts, **values}
    return FrameScores(index, lossless=not any(decisive), **known)


def _errors(p: Plane, q: Plane) -> Doubles:
    """The sum of squared errors of each frame; exact integers."""
    difference = p.astype(np.int32) - q.astype(np.int32)
    sums: Doubles = np.einsum("thw,thw->t", difference, difference, dtype=np.int64).astype(np.float64)
    return sums


def _ms_ssim(p: Plane, q: Plane, peak: int) -> Doubles:
    """MS-SSIM of each frame of one plane, in float64 (float32 sums lose 4e-4 on large frames)."""
    values = []
    for x, y in zip(p, q, strict=True):
        pair = [torch.from_numpy(z.astype(np.float64))[None, None] for z in (x, y)]
        values.append(float(torch_ms_ssim(pair[0], pair[1], data_range=peak, size_average=True)))
    return np.array(values)


class _VmafFiles:
    """Both clips as y4m in a scratch folder, then ffmpeg's libvmaf on them."""

    def __init__(self, folder: Path, fmt: VideoFormat) -> None:
        self._paths = (folder / "test.y4m", folder / "reference.y4m")
        self._folder = folder
        self._from, self._format = fmt, fmt.with_planes("420" if fmt.chroma == "rgb" else fmt.chroma, fmt.bit_depth)
        self._parts: tuple[list[Frames], list[Frames]] = ([], [])
        self._files = [path.open("wb") for path in self._paths]
        self._headed = False

    def write(self, reference: Frames, test: Frames) -> None:
        """A batch of both."""
        for path, file, frames in zip(self._paths, self._files, (test, reference), strict=True):
            planes = convert(frames, self._from, self._format)
            part = path.with_suffix(".part")
            write_y4m(part, MemoryVideo(self._format, planes))
            raw = part.read_bytes()
            file.write(raw if not self._headed else raw[raw.index(b"\n") + 1 :])
        self._headed = True

    def run(self, ffmpeg: str) -> list[float]:
        """VMAF of each frame (libvmaf's default model). Raises MediaError where this ffmpeg has no libvmaf."""
        for file in self._files:
            file.close()
        command = [ffmpeg, "-nostdin", "-v", "error", "-i", "test.y4m", "-i", "reference.y4m",
                   "-lavfi", "libvmaf=log_fmt=json:log_path=vmaf.json", "-f", "null", "-"]  # fmt: skip
        done = subprocess.run(command, cwd=self._folder, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise MediaError(f"{ffmpeg} could not compute VMAF ({done.stderr.strip()[-200:]}); use one with libvmaf.")
        report = json.loads((self._folder / "vmaf.json").read_text())
        return [float(frame["metrics"]["vmaf"]) for frame in report["frames"]]


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
