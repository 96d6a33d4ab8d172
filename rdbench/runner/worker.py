"""The work of a job's processes: encode, decode, measure. `python -m rdbench.runner.worker VERB ...`.

Events go to the original standard output as JSON lines (`progress`, `stage`, `result`, `error`); whatever a codec
prints goes to standard error, the job's log. Decoding itself is done by `decoder.py`, sealed.
"""

import subprocess
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import filelock  # noqa: F401 - Workspace.artifact would import it under the clock

from ..codec import Clip, Codec, Host, Progress, RatePoint, Source, Workspace
from ..errors import MediaError, RdbenchError
from ..registry import load_codec
from ..video import BATCH, Frames, Video
from ..video.conditions import find_conditions
from ..video.hashing import HashedVideo
from ..video.pipe import PipedVideo
from .decoder_process import decoder_options, read_result, running_decoder
from .decoding import locate_ffmpeg
from .events import Events, claim_stdout
from .failure import describe_process_failure
from .faster import decisive_psnr, decode_faster
from .files import FRAMES
from .preparation import prepare, warm_up_training
from .reports import check_parts, check_report
from .sweep import Job
from .usage import measure_usage


class ReportingVideo(Video):
    """A video that reports its progress as it is read."""

    def __init__(self, video: Video, total: int, events: Events) -> None:
        self.format, self.frames = video.format, video.frames
        self._video, self._total, self._events = video, total, events

    def batches(self, size: int = BATCH) -> Iterator[Frames]:
        """The video's own batches."""
        done = 0
        for batch in self._video.batches(size):
            yield batch
            done += len(batch)
            self._events.progress(done, self._total, "measure")


def open_job(
    job: Job, folder: Path, progress: Progress, shared: Path | None = None
) -> tuple[Codec, Source, RatePoint, Workspace]:
    """The inputs of an encoder: the codec with its settings, the clip, the rate point, and a workspace in `folder`."""
    from ..video.readers import RgbVideo

    cls = load_codec(job.codec)
    codec = cls(cls.Settings(**job.settings))
    device = prepare(cls.kind, job.device, job.threads)
    video = job.clip.open(job.ffmpeg, job.frames)
    if codec.kind != "conventional" and not codec.runs_outside:
        warm_up_training()
    source = Source(video, RgbVideo(video, find_conditions(job.conditions)))
    point = codec.rate_point(job.point, Clip(video.format, job.frames, tuple(job.clip.sizes)))
    host = Host(locate_ffmpeg(job.ffmpeg), job.programs)
    workspace = Workspace(folder, device, job.threads, job.seed, host, progress, shared=shared)
    return codec, source, point, workspace


def encode(job: Job, bitstream: Path, folder: Path, progress: Progress, shared: Path | None = None) -> dict[str, Any]:
    """Encodes the job's clip; timed from the frames being readable to the bitstream being closed.

    The time includes the work of earlier processes that this one reuses (`Stopwatch.borrowed`).
    """
    codec, source, point, workspace = open_job(job, folder, progress, shared)
    with measure_usage(workspace.device, codec.runs_outside) as usage:
        start = time.perf_counter()
        codec.encode(source, point, bitstream, workspace)
        seconds = time.perf_counter() - start + workspace.stopwatch.borrowed
    return {
        "seconds": seconds,
        "parts": check_parts(workspace.stopwatch.seconds),
        "report": check_report(workspace.report),
        "device": workspace.device,
        "peak_memory_mb": usage.peak_memory_mb,
        "energy": usage.joules,
    }


def decode_and_measure(job: Job, bitstream: Path, folder: Path, events: Events) -> dict[str, Any]:
    """Decodes under the clock, and then scores the frames that another process decodes; both start fresh and sealed.

    `decoded` is the result of `decode_timed`, `measured` that of `measure`. Raises RdbenchError.
    """
    with running_decoder(("decode", "send"), job, decoder_options(job), bitstream, folder) as process:
        decoded = read_result(process, folder)
        if decoded["frames"] != job.frames:
            raise RdbenchError(f"The decoder gave {decoded['frames']} frames where {job.frames} were encoded.")
        events.send("stage", name="measure")
        measured = _score(job, process, folder, events)
    return {"decoded": decoded, "measured": {**measured, "faster": _faster(job, bitstream, folder, measured, events)}}


def measure(job: Job, bitstream: Path, folder: Path, events: Events) -> dict[str, Any]:
    """Scores the frames that a fresh process decodes from a copy of the bitstream in an otherwise empty folder."""
    with running_decoder(("send",), job, decoder_options(job), bitstream, folder) as process:
        measured = _score(job, process, folder, events)
    return {**measured, "faster": _faster(job, bitstream, folder, measured, events)}


def _faster(
    job: Job, bitstream: Path, folder: Path, measured: dict[str, Any], events: Events
) -> dict[str, Any]:  # fmt: skip
    """What a record has of a second decoding in the number format that the user asked for; empty without one."""
    if job.rendering == "float32":
        return {}
    events.send("stage", name=f"decode in {job.rendering}")
    return decode_faster(job, bitstream, folder).fields(decisive_psnr(measured["summary"]))


def faster(job: Job, bitstream: Path, folder: Path, events: Events) -> dict[str, Any]:
    """The fields of a `FastDecoding`, for a result that lacks nothing else."""
    events.send("stage", name=f"decode in {job.rendering}")
    return asdict(decode_faster(job, bitstream, folder))


def _score(job: Job, process: "subprocess.Popen[bytes]", folder: Path, events: Events) -> dict[str, Any]:
    """Scores the frames that the decoder sends."""
    from ..measure import metrics

    assert process.stdout is not None
    reference = ReportingVideo(job.clip.open(job.ffmpeg, job.frames), job.frames, events)
    decoded = HashedVideo(_of_size(PipedVideo(process.stdout), reference))
    scores = metrics.compare(
        reference, decoded, find_conditions(job.conditions), job.metrics, job.ffmpeg,
        threads=job.threads, device=job.device,
    )  # fmt: skip
    metrics.write_frames_csv(folder / FRAMES, scores)
    return {
        "summary": asdict(metrics.summarize(scores)),
        "frames_sha256": decoded.sha256,
        "frame_hashes": decoded.frame_hashes,
    }


def _of_size(decoded: Video, reference: Video) -> Video:
    """The decoded video. Raises MediaError where its frames are not of the reference's size."""
    sizes = [f"{video.format.width}x{video.format.height}" for video in (decoded, reference)]
    if sizes[0] != sizes[1]:
        raise MediaError(f"The decoder gave frames of {sizes[0]}, expected {sizes[1]}.")
    return decoded


def _dispatch(arguments: Sequence[str], events: Events) -> dict[str, Any]:
    verb, *paths = arguments
    job = Job.from_json(Path(paths[0]).read_text())
    bitstream, folder = Path(paths[1]), Path(paths[2])
    if verb == "encode":
        return encode(job, bitstream, folder, events.progress, Path(paths[3]))
    work = {"decode": decode_and_measure, "measure": measure, "faster": faster}[verb]
    return work(job, bitstream, folder, events)


def main(arguments: Sequence[str]) -> int:
    """Runs one verb; errors become an `error` event with one sentence, and exit status 1."""
    stream = claim_stdout()
    events = Events(stream)
    try:
        events.send("result", **_dispatch(arguments, events))
    except KeyboardInterrupt:
        return 130
    except BaseException as error:
        traceback.print_exc()
        with suppress(OSError):  # nobody reads any more
            events.send("error", message=describe_process_failure(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
