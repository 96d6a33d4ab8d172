"""Decodings under the clock: one cold, then warm ones within a budget; and one without a clock, for the hashes."""

import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..codec import Codec, Host, Precision, Workspace
from ..errors import MediaError, RdbenchError
from ..video.checked import CheckedVideo
from ..video.ffmpeg import find_ffmpeg
from ..video.hashing import hash_frames
from . import seal
from .reports import check_ledger
from .usage import measure_usage

DECODE_BUDGET_SECONDS = 5.0
"""Seconds for all warm decodings together (our choice)."""
MOST_DECODINGS = 5
"""Most warm decodings (our choice)."""


@dataclass(frozen=True)
class DecoderOptions:
    """What a decoder gets besides the bitstream."""

    device: str
    threads: int
    ffmpeg: str | None
    """The path of the program, found before any clock starts."""
    programs: dict[str, str]
    """Paths on this machine, as `Codec.programs` gives them."""
    precision: Precision = "float32"
    """Number format in which a network renders."""

    def workspace(self, folder: Path, device: str) -> Workspace:
        """A workspace with these options; `device` is the resolved one."""
        host = Host(self.ffmpeg, self.programs)
        return Workspace(folder, device, self.threads, host=host, precision=self.precision)


def locate_ffmpeg(given: str | None) -> str | None:
    """The path of the ffmpeg to use, so that nobody looks for it again; what was given where there is none.

    A codec that needs an ffmpeg says that it is missing; others run without.
    """
    with suppress(MediaError):
        return os.path.abspath(find_ffmpeg(given))
    return given


@dataclass(frozen=True)
class Decoding:
    """One decoding under the clock."""

    seconds: float
    """From the call of `decode` to the last frame in host memory."""
    first_frame_seconds: float | None
    """To the first batch of frames; None where there are no frames."""
    frames: int
    parts: dict[str, float]
    """Seconds by the codec's own stopwatch."""
    report: dict[str, Any]


def decode_once(cls: type[Codec], bitstream: Path, options: DecoderOptions, device: str) -> Decoding:
    """Decodes and discards the frames."""
    with tempfile.TemporaryDirectory() as scratch:
        workspace = options.workspace(Path(scratch), device)
        frames, first = 0, None
        start = time.perf_counter()
        for batch in CheckedVideo(cls.decode(bitstream, workspace), values=False).batches():
            first = time.perf_counter() - start if first is None else first
            frames += len(batch)
        seconds = time.perf_counter() - start
    return Decoding(seconds, first, frames, workspace.stopwatch.seconds, workspace.report)


def seek_once(cls: type[Codec], bitstream: Path, options: DecoderOptions, device: str, frame: int) -> float:
    """Seconds from the start of `decode` to one frame in host memory, by the codec's `span`."""
    with tempfile.TemporaryDirectory() as scratch:
        workspace = options.workspace(Path(scratch), device)
        start = time.perf_counter()
        for _ in CheckedVideo(cls.decode(bitstream, workspace), values=False).span(frame, frame + 1, 1):
            pass
        return time.perf_counter() - start


def decode_timed(cls: type[Codec], bitstream: Path, options: DecoderOptions, device: str) -> dict[str, Any]:
    """Decodes once cold, then warm as often as the budget allows, and once more for the hashes, without a clock.

    `seconds` is the median of the warm `samples`, or `cold_seconds` where the budget allows none; the other values are
    of the sample next to it. `energy` is in joules for one decoding. Raises RdbenchError where decodings differ.
    """
    with measure_usage(device, cls.runs_outside) as first_usage:
        cold = decode_once(cls, bitstream, options, device)
    usage, warm = first_usage, list[Decoding]()
    if cold.seconds <= DECODE_BUDGET_SECONDS:
        with measure_usage(device, cls.runs_outside) as usage:
            warm = _decode_warm(cls, bitstream, options, device, cold)
    chosen = _nearest_median(warm or [cold])
    seek = seek_once(cls, bitstream, options, device, cold.frames // 2)
    hashes = _hash_decoding(cls, bitstream, options, device)
    counts = sorted({decoding.frames for decoding in (cold, *warm)} | {len(hashes["frame_hashes"])})
    if len(counts) > 1:
        raise RdbenchError(
            f"Decodings of one bitstream gave {' and '.join(map(str, counts))} frames; the decoder must give the same "
            "each time."
        )
    peaks = [one.peak_memory_mb for one in (first_usage, usage) if one.peak_memory_mb is not None]
    return {
        "seconds": statistics.median(decoding.seconds for decoding in warm or [cold]),
        "samples": [decoding.seconds for decoding in warm],
        "cold_seconds": cold.seconds,
        "first_frame_seconds": chosen.first_frame_seconds,
        "seek_seconds": seek,
        "frames": cold.frames,
        "parts": chosen.parts,
        "report": chosen.report,
        "device": device,
        "ledger": check_ledger(cls.ledger(bitstream), bitstream.stat().st_size),
        "peak_memory_mb": max(peaks, default=None),
        "energy": None if usage.joules is None else usage.joules / max(1, len(warm)),
        "seal": seal.enforced(os.environ),
        **hashes,
    }


def _decode_warm(
    cls: type[Codec], bitstream: Path, options: DecoderOptions, device: str, cold: Decoding
) -> list[Decoding]:
    """Decodings as long as one more, of the time of the last, would end within the budget."""
    warm: list[Decoding] = []
    spent, last = 0.0, cold.seconds
    while len(warm) < MOST_DECODINGS and spent + last <= DECODE_BUDGET_SECONDS:
        warm.append(decode_once(cls, bitstream, options, device))
        last = warm[-1].seconds
        spent += last
    return warm


def _nearest_median(decodings: Sequence[Decoding]) -> Decoding:
    median = statistics.median(decoding.seconds for decoding in decodings)
    return min(decodings, key=lambda decoding: abs(decoding.seconds - median))


def _hash_decoding(cls: type[Codec], bitstream: Path, options: DecoderOptions, device: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as scratch:
        hashed = hash_frames(CheckedVideo(cls.decode(bitstream, options.workspace(Path(scratch), device))))
    return {"frames_sha256": hashed.sha256, "frame_hashes": hashed.frame_hashes}
