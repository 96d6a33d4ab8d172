"""The chosen frames of a record: decoded again in a sealed process, and those of its clip."""

import json
import os
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from ...errors import MediaError, RdbenchError
from ...processes import read_log_tail
from ...video import Frames, Video, VideoFormat
from ...video.chosen import Chosen, seeks
from ...video.pipe import PipedVideo
from ..decoder import PICK
from ..decoder_process import decoder_options, hidden_from, sealed_decoder
from ..files import BITSTREAM, LOG
from ..launch import Process, Surroundings, end_process, start_command
from ..sweep import Job
from ..verify.findings import finding_of
from ..verify.rebuild import Places, find_clip, find_tool, rebuild_job
from ..verify.record_checks import check_bitstream
from .points import Point

END_SECONDS = 5
"""Time for a decoder to end by itself before it is killed (our choice)."""


@dataclass(frozen=True)
class Pictures:
    """Some frames of one video, in ascending order of their numbers."""

    format: VideoFormat
    frames: Frames


def make_job(point: Point, places: Places) -> Job:
    """The job behind a record. Raises RdbenchError where codec, clip or bitstream is not here or not as recorded."""
    try:
        for finding in check_bitstream(point.record, point.folder / BITSTREAM):
            raise RdbenchError(finding.text)
        tool = find_tool(point.record, places)
        job = rebuild_job(point.record, tool, find_clip(point.record, places), places)
    except RdbenchError as error:
        raise RdbenchError(f"{point.name} cannot be shown: {finding_of(error).text}") from error
    return job


def reference_frames(job: Job, numbers: Sequence[int]) -> Pictures:
    """Frames of the job's clip."""
    video = job.clip.open(job.ffmpeg, job.frames)
    return _collect(Chosen(video, numbers, seeks(video)), numbers)


def decoded_frames(point: Point, job: Job, numbers: Sequence[int], seconds: float | None) -> Pictures:
    """Frames of the record's bitstream, decoded sealed. Raises RdbenchError with the reason, or after the time limit.

    Nothing of the bitstream is trusted: its frames are counted, and they must be of the clip's size.
    """
    with tempfile.TemporaryDirectory() as scratch, (Path(scratch) / LOG).open("w+b") as log:
        try:
            with _decoder(point, job, numbers, seconds, log) as process:
                assert process.stdout is not None
                return _collect(_piped(process.stdout, job.video_format), numbers)
        except MediaError as error:
            log.flush()
            last = read_log_tail(Path(scratch) / LOG, lines=1) if "its log" in str(error) else ""
            raise RdbenchError(f"{point.name} does not decode: {error} {last}".rstrip()) from error


@contextmanager
def _decoder(
    point: Point, job: Job, numbers: Sequence[int], seconds: float | None, log: IO[bytes]
) -> Iterator[Process]:
    """A decoder that ends with the block, or earlier at its time limit. Raises MediaError where it took too long."""
    task = PICK + ",".join(str(number) for number in sorted(set(numbers)))
    hidden = hidden_from(job, point.folder)
    with sealed_decoder((task,), job.codec, decoder_options(job), point.folder / BITSTREAM, hidden) as decoder:
        environment = {**os.environ, "OMP_NUM_THREADS": str(job.threads), "OMP_WAIT_POLICY": "PASSIVE"}
        process = start_command(decoder.command, Surroundings(environment, log.fileno(), folder=decoder.folder))
        late = threading.Event()

        def expire() -> None:
            late.set()
            end_process(process, END_SECONDS)

        timer = threading.Timer(seconds, expire) if seconds is not None else None
        try:
            if timer is not None:
                timer.start()
            yield process
        except MediaError as error:
            if late.is_set():
                raise MediaError(f"it took longer than {seconds:g} seconds, and was ended.") from error
            raise
        finally:
            if timer is not None:
                timer.cancel()
            end_process(process, END_SECONDS)


def _piped(stream: IO[bytes], expected: VideoFormat) -> Video:
    """The frames that arrive. Raises MediaError where they are not of the size of the clip's frames."""
    try:
        video = PipedVideo(stream)
        sizes = [f"{fmt.width}x{fmt.height}" for fmt in (video.format, expected)]
    except (ValueError, TypeError, KeyError, json.JSONDecodeError) as error:
        raise MediaError("what it sends is no video; see its log.") from error
    if sizes[0] != sizes[1]:
        raise MediaError(f"it has frames of {sizes[0]}, and the clip {sizes[1]}.")
    return video


def _collect(video: Video, numbers: Sequence[int]) -> Pictures:
    """All frames of the video, which must be as many as there are numbers. Raises MediaError."""
    batches: list[Frames] = []
    count, wanted = 0, len(set(numbers))
    for batch in video.batches():
        batches.append(batch)
        count += len(batch)
        if count > wanted:
            break  # whoever sends may never end
    if count != wanted:
        raise MediaError(f"it has {count} of the {wanted} frames that were asked for.")
    planes = zip(*(batch.planes for batch in batches), strict=True)
    return Pictures(video.format, Frames(tuple(np.concatenate(plane) for plane in planes)))
