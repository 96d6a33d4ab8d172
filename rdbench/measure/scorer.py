"""What is measured of a pair of frames, and who measures it: a `Scorer`, here with NumPy on the CPU."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ..errors import MediaError
from ..video import Frames, Plane, VideoFormat
from ..video.color import convert, to_rgb
from ..video.conditions import Conditions
from . import SMALLEST_MS_SSIM_SIDE
from .ms_ssim import ms_ssim, squared_error

Columns = dict[str, list[float]]
"""A value for each frame, by the name of the score: `squared_error_rgb`, `_y`, `_u`, `_v` and `ms_ssim`."""


@dataclass(frozen=True)
class Measurement:
    """Two formats of one size, the test conditions, and whether MS-SSIM is asked for."""

    reference: VideoFormat
    test: VideoFormat
    conditions: Conditions
    with_ms_ssim: bool

    @property
    def in_rgb(self) -> bool:
        """Whether the planes that count are R, G and B of 8 bits; those of the reference otherwise."""
        return self.conditions.domain == "rgb"

    @property
    def of_planes(self) -> bool:
        """Whether Y, U and V are measured. Raises MediaError where the conditions need them and there are none."""
        has_planes = self.reference.chroma not in ("gray", "rgb")
        if not self.in_rgb and not has_planes:
            raise MediaError(f"A {self.reference.chroma} source has no YUV planes to measure; use --conditions rgb601.")
        return has_planes and (not self.in_rgb or self.reference.chroma == self.test.chroma)

    @property
    def similarity(self) -> bool:
        """Whether there is an MS-SSIM: it was asked for, and the frames are large enough for five scales."""
        return self.with_ms_ssim and min(self.reference.width, self.reference.height) >= SMALLEST_MS_SSIM_SIDE

    @property
    def peak(self) -> int:
        """The largest sample value of the planes that count."""
        return 255 if self.in_rgb else self.reference.peak

    def converted(self, test: Frames) -> Frames:
        """The test's frames in the planes of the reference. Raises MediaError where that would invent chroma."""
        return convert(test, self.test, self.reference, self.conditions.matrix)


class Scorer(Protocol):
    """Measures pairs of frames, some pairs at a time, in any thread."""

    size: int
    """Frames that are best measured at once."""
    workers: int
    """Threads that `score` may be called from at the same time to advantage."""

    def score(self, reference: Frames, test: Frames) -> Columns:
        """The values of each frame. Squared errors are exact."""


class NumpyScorer:
    """Measures a frame at a time in each of some threads; in these, NumPy lets the others run nearly all the time."""

    size = 1

    def __init__(self, measurement: Measurement, threads: int) -> None:
        self._measurement, self.workers = measurement, threads

    def score(self, reference: Frames, test: Frames) -> Columns:
        """The values of each frame."""
        asked, columns = self._measurement, Columns()
        counted: tuple[Frames, Frames] | None = None
        if asked.in_rgb:
            counted = to_rgb(reference, asked.reference, asked.conditions), to_rgb(test, asked.test, asked.conditions)
            errors = [_errors(x, y) for x, y in zip(counted[0].planes, counted[1].planes, strict=True)]
            columns["squared_error_rgb"] = [sum(planes) for planes in zip(*errors, strict=True)]
        if asked.of_planes:
            converted = asked.converted(test)
            for name, x, y in zip("yuv", reference.planes, converted.planes, strict=True):
                columns[f"squared_error_{name}"] = _errors(x, y)
            counted = counted or (_luma(reference), _luma(converted))
        if asked.similarity and counted is not None:
            columns["ms_ssim"] = _similarities(counted[0].planes, counted[1].planes, asked.peak)
        return columns


def _luma(frames: Frames) -> Frames:
    return Frames(frames.planes[:1])


def _errors(x: Plane, y: Plane) -> list[float]:
    return [float(squared_error(p, q)) for p, q in zip(x, y, strict=True)]


def _similarities(x: Sequence[Plane], y: Sequence[Plane], peak: int) -> list[float]:
    """The mean over the planes of each frame's MS-SSIM."""
    pairs = list(zip(x, y, strict=True))
    return [float(np.mean([ms_ssim(p[index], q[index], peak) for p, q in pairs])) for index in range(len(x[0]))]
