"""A second decoding in a faster number format, held against the frames that float32 defines."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import MediaError
from ..video import BATCH, Frames, Video
from ..video.conditions import find_conditions
from ..video.hashing import HashedVideo
from ..video.pipe import PipedVideo
from .decoder_process import decoder_options, read_result, running_decoder
from .sweep import Job


class ComparedVideo(Video):
    """A video whose samples are compared with those of another one while they are read."""

    def __init__(self, video: Video, other: Video) -> None:
        self.format, self.frames = video.format, video.frames
        self._video, self._other = video, other
        self.largest = 0
        """The largest difference of a sample so far, in levels."""

    def batches(self, size: int = BATCH) -> Iterator[Frames]:
        """The video's own batches. Raises MediaError where the two differ in format or length."""
        others = self._other.batches(size)
        for batch in self._video.batches(size):
            other = next(others, None)
            shapes = [None if one is None else [plane.shape for plane in one.planes] for one in (batch, other)]
            if other is None or shapes[0] != shapes[1]:
                raise MediaError("Two decodings of one bitstream differ in the size or the number of their frames.")
            for ours, theirs in zip(batch.planes, other.planes, strict=True):
                apart = np.abs(ours.astype(np.int32) - theirs)
                self.largest = max(self.largest, int(apart.max(initial=0)))
            yield batch


@dataclass(frozen=True)
class FastDecoding:
    """What was measured of a decoding in a faster number format."""

    values: dict[str, Any]
    """Fields of a record: the format, times, and the largest difference from float32's frames."""
    psnr: float
    """That of its frames."""
    frames_sha256: str
    """The hash of float32's frames, which it was compared with."""

    def fields(self, psnr: float) -> dict[str, Any]:
        """All fields of a record; `psnr` is that of float32's frames."""
        return {**self.values, "fast_psnr_difference": self.psnr - psnr}


def decode_faster(job: Job, bitstream: Path, folder: Path) -> FastDecoding:
    """A decoding in the job's number format for rendering.

    It is timed in a sealed process as the decoding in float32 is; frames of both are then decoded side by side.
    """
    from ..measure import metrics

    options = decoder_options(job)
    fast = replace(options, precision=job.rendering)
    with running_decoder(("decode", "send"), job, fast, bitstream, folder) as ours:
        decoded = read_result(ours, folder)
        with running_decoder(("send",), job, options, bitstream, folder) as theirs:
            assert ours.stdout is not None
            assert theirs.stdout is not None
            exact = HashedVideo(PipedVideo(theirs.stdout))
            frames = ComparedVideo(PipedVideo(ours.stdout), exact)
            reference = job.clip.open(job.ffmpeg, job.frames)
            conditions = find_conditions(job.conditions)
            scores = metrics.compare(
                reference, frames, conditions, ("psnr",), job.ffmpeg, threads=job.threads, device=job.device
            )
    values = {
        "fast_precision": job.rendering,
        "fast_decode_seconds": decoded["seconds"],
        "fast_decode_fps": job.frames / decoded["seconds"],
        "fast_render_fps": decoded["report"].get("render_fps"),
        "fast_largest_difference": frames.largest,
    }
    return FastDecoding(values, decisive_psnr(asdict(metrics.summarize(scores))), exact.sha256)


def decisive_psnr(summary: dict[str, Any]) -> float:
    """The PSNR in RGB, or where the conditions measure planes, that of (6Y + U + V)/8."""
    value = summary["psnr_rgb"] if summary["psnr_rgb"] is not None else summary["psnr_yuv"]
    return float(value)
