"""Two rate points side by side: which frames, what both codecs show there, and how good it is."""

import csv
import math
import stat
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ...errors import RdbenchError, UsageError
from ...measure import metrics
from ...report.crops import Choice, Comparison, Image, Shot, Side, choose_frames
from ...report.results import Record
from ...video.color import to_rgb
from ...video.conditions import Conditions, find_conditions
from ...video.readers import MemoryVideo
from ..files import BITSTREAM, FRAMES
from ..sweep import Job
from ..verify.findings import shown
from ..verify.rebuild import Places
from ..verify.record_checks import BYTES_OF_A_ROW
from .decoded import Pictures, decoded_frames, make_job, reference_frames
from .points import Point

COLUMNS = {"rgb": ("psnr_rgb", "PSNR RGB"), "yuv": ("psnr_yuv", "PSNR YUV")}
"""The quality that is printed, by the domain of the test conditions, and its name."""
METRICS = {"psnr": "PSNR", "ms_ssim": "MS-SSIM"}
"""By what frames may be chosen, and its name."""
NEARLY = 0.05
"""Relative difference of bits that is not worth a note (our choice)."""


def compare_points(
    a: Point, b: Point, choices: Sequence[int] | int, places: Places, seconds: float | None = None, by: str = "psnr"
) -> Comparison:
    """The comparison of two records: of the frames with the numbers `choices`, or of so many that are chosen.

    Frames are chosen by the values beside the records, PSNR or MS-SSIM (`by`); what is shown is decoded here, and its
    PSNR measured anew. `seconds` is the limit of each decoding. Raises RdbenchError where a record cannot be shown.
    """
    jobs = [make_job(point, places) for point in (a, b)]
    conditions = find_conditions(jobs[0].conditions)
    column, metric = COLUMNS[conditions.domain]
    chosen = _choices(a, b, choices, column if by == "psnr" else by)
    numbers = sorted(choice.frame for choice in chosen)
    reference = reference_frames(jobs[0], numbers)
    decoded = [decoded_frames(point, job, numbers, seconds) for point, job in zip((a, b), jobs, strict=True)]
    qualities = [_quality(reference, pictures, conditions, column, jobs[0]) for pictures in decoded]
    images = [_images(pictures, conditions) for pictures in (reference, *decoded)]
    shots = tuple(
        Shot(choice, images[0][at], (images[1][at], images[2][at]), (qualities[0][at], qualities[1][at]))
        for choice in chosen for at in (numbers.index(choice.frame),)
    )  # fmt: skip
    sides = _side(a, column), _side(b, column)
    return Comparison(shown(a.record.dataset), shown(a.record.sequence), metric, METRICS[by], sides, shots)


def _choices(a: Point, b: Point, wanted: Sequence[int] | int, column: str) -> list[Choice]:
    if not isinstance(wanted, int):
        return [_asked_for(number, a.record) for number in dict.fromkeys(wanted)]
    values = [frame_values(point, column) for point in (a, b)]
    return choose_frames(values[0], values[1], wanted)


def _asked_for(number: int, record: Record) -> Choice:
    if not 0 <= number < record.frames:
        raise UsageError(
            f"There is no frame {number}; {shown(record.sequence)} has frames 0 to {record.frames - 1} here."
        )
    return Choice(number)


def frame_values(point: Point, column: str) -> list[float]:
    """The values of each frame beside the record. Raises RdbenchError where the file does not have them all."""
    path, count = point.folder / FRAMES, point.record.frames
    try:
        if not stat.S_ISREG(path.lstat().st_mode) or path.stat().st_size > BYTES_OF_A_ROW * (count + 1):
            raise ValueError("it is no file of that many rows")
        with path.open(newline="") as file:
            values = [float(row.get(column) or "nan") for row in csv.DictReader(file)]
        if len(values) != count or not all(math.isfinite(value) for value in values):
            raise ValueError(f"it has no {column} for each of {count} frames")
    except (OSError, ValueError, csv.Error) as error:
        raise RdbenchError(
            f"{point.name}: {path} cannot be used to choose frames ({shown(str(error))}); name frames with --frame."
        ) from error
    return values


def _quality(
    reference: Pictures, decoded: Pictures, conditions: Conditions, column: str, job: Job
) -> list[float]:  # fmt: skip
    """The PSNR of each frame, in dB, by the code that measures records."""
    videos = [MemoryVideo(pictures.format, pictures.frames) for pictures in (reference, decoded)]
    scores = metrics.compare(videos[0], videos[1], conditions, ("psnr",), job.ffmpeg, threads=job.threads)
    return [float(getattr(score, column)) for score in scores]


def _images(pictures: Pictures, conditions: Conditions) -> list[Image]:
    """The frames as 8-bit RGB, by the conversion of the test conditions."""
    planes = to_rgb(pictures.frames, pictures.format, conditions).planes
    stacked: Any = np.stack(planes, axis=-1)
    return list(stacked)


def _side(point: Point, column: str) -> Side:
    """The rate is that of the bitstream's file, which `make_job` found to be the record's."""
    record = point.record
    pixels = record.frames * record.width * record.height
    bits = 8 * (point.folder / BITSTREAM).stat().st_size
    quality = getattr(record, column)
    return Side(shown(record.codec), shown(record.rate_point), bits / pixels, math.nan if quality is None else quality)


def renamed(comparison: Comparison, labels: tuple[str, str]) -> Comparison:
    """The comparison with other names of the codecs."""
    sides = tuple(replace(side, codec=label) for side, label in zip(comparison.sides, labels, strict=True))
    return replace(comparison, sides=(sides[0], sides[1]))


def rate_note(comparison: Comparison) -> str | None:
    """A sentence where the bits are not nearly equal; None where they are within NEARLY."""
    a, b = comparison.sides
    ratio = b.bpp / a.bpp
    if abs(ratio - 1) <= NEARLY:
        return None
    more = f"{abs(ratio - 1) * 100:.0f} % {'more' if ratio > 1 else 'fewer'} bits"
    return f"These are the nearest rate points: {b.codec} {b.rate_point} has {more} than {a.codec} {a.rate_point}."
