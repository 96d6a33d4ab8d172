"""The processes of a job, started fresh as `python -m rdbench.runner.worker`.

They encode, decode, read the ledger, send frames to another process, or measure. Events go to the original standard
output as JSON lines (`progress`, `result`, `error`); whatever a codec prints goes to standard error, the job's log.
"""

import io
import json
import os
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from ..codec import Clip, Codec, Host, Progress, RatePoint, Source, Workspace
from ..errors import MediaError, RdbenchError
from ..registry import find_card, load_codec
from ..video import BATCH, Frames, Video
from ..video.checked import CheckedVideo
from ..video.conditions import find_conditions
from ..video.hashing import HashedVideo
from ..video.pipe import PipedVideo, send_failure, send_video
from .decoder_process import BITSTREAM, hidden_from, sealed_decoder
from .decoding import DecoderOptions, decode_timed, locate_ffmpeg
from .devices import choose_device
from .failure import describe_failure
from .reports import check_ledger, check_parts, check_report
from .sweep import Job
from .usage import measure_usage

PROGRESS_SECONDS = 0.2


class Events:
    """Writes JSON lines to a stream; progress at most every PROGRESS_SECONDS."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._last = 0.0

    def send(self, event: str, **values: Any) -> None:
        """One event."""
        self._stream.write(json.dumps({"event": event, **values}, default=str).encode() + b"\n")
        self._stream.flush()

    def progress(self, done: float, total: float, text: str) -> None:
        """The progress callback of a Workspace; the numbers may be those of NumPy or torch."""
        done, total, text = float(done), float(total), str(text)
        now = time.monotonic()
        if now - self._last >= PROGRESS_SECONDS or done >= total:
            self._last = now
            self.send("progress", done=done, total=total, text=text)


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


def resolve_device(device: str, codec: str) -> str:
    """The device that `choose_device` chooses, ready for use. Raises RdbenchError for a GPU that is not there."""
    device = choose_device(device, find_card(codec).kind)
    if device.startswith("cuda"):
        import torch

        if not torch.cuda.is_available():
            raise RdbenchError(f"There is no GPU for --device {device}; use --device cpu.")
        torch.zeros(1, device=device)  # creates the context, which is not part of any timed pass
    return device


def warm_up_training() -> None:
    """Does once what training does, because torch imports much of itself when that happens first: for seconds."""
    import torch

    from ..video import color  # noqa: F401 - frames are brought to RGB inside the clock

    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.AdamW([weight])
    weight.sum().backward()
    optimizer.step()
    optimizer.zero_grad()
    torch.save({}, io.BytesIO())


def prepare(codec: str, device: str, threads: int) -> str:
    """Sets torch's number of threads for codecs that use it; returns the device (see `resolve_device`)."""
    if find_card(codec).kind != "conventional":
        import torch

        torch.set_num_threads(threads)
    return resolve_device(device, codec)


def open_job(
    job: Job, folder: Path, progress: Progress, shared: Path | None = None
) -> tuple[Codec, Source, RatePoint, Workspace]:
    """The inputs of an encoder: the codec with its settings, the clip, the rate point, and a workspace in `folder`."""
    from ..video.readers import RgbVideo

    cls = load_codec(job.codec)
    codec = cls(cls.Settings(**job.settings))
    device = prepare(job.codec, job.device, job.threads)
    video = job.clip.open(job.ffmpeg, job.frames)
    if codec.kind != "conventional" and not codec.runs_outside:
        warm_up_training()
    elif video.format.chroma != "420":
        from ..video import color  # noqa: F401 - a codec may ask for another chroma, which takes torch
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


def decode(codec: str, bitstream: Path, options: DecoderOptions) -> dict[str, Any]:
    """Decodes under the clock; see `decode_timed`."""
    cls = load_codec(codec)
    result = decode_timed(cls, bitstream, options, prepare(codec, options.device, options.threads))
    return {**result, "parts": check_parts(result["parts"]), "report": check_report(result["report"])}


def send_frames(codec: str, bitstream: Path, options: DecoderOptions, out: IO[bytes]) -> int:
    """Decodes the bitstream and writes its frames for a PipedVideo; returns their number."""
    cls = load_codec(codec)
    device = prepare(codec, options.device, options.threads)
    with tempfile.TemporaryDirectory() as scratch:
        workspace = options.workspace(Path(scratch), device)
        return send_video(CheckedVideo(cls.decode(bitstream, workspace)), out)


def measure(job: Job, bitstream: Path, folder: Path, events: Events) -> dict[str, Any]:
    """Scores the frames that a fresh process decodes from a copy of the bitstream in an otherwise empty folder."""
    from ..measure import metrics

    reference = ReportingVideo(job.clip.open(job.ffmpeg, job.frames), job.frames, events)
    hidden = hidden_from(job, folder, bitstream.parent)
    with sealed_decoder("send", job.codec, DecoderOptions.of(job), bitstream, hidden) as decoder:
        with subprocess.Popen(decoder.command, cwd=decoder.folder, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            try:
                decoded = HashedVideo(_of_size(PipedVideo(process.stdout), reference))
                scores = metrics.compare(
                    reference,
                    decoded,
                    find_conditions(job.conditions),
                    job.metrics,
                    **({"ffmpeg": job.ffmpeg} if "vmaf" in job.metrics else {}),
                )
            except BaseException:
                process.kill()
                raise
        if process.returncode != 0:
            raise MediaError(f"The decoder ended with exit status {process.returncode}; see the reason in its log.")
    metrics.write_frames_csv(folder / "frames.csv", scores)
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


def _claim_stdout() -> IO[bytes]:
    """The original standard output, for events and frames; from here on, prints go to the log."""
    stream = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return stream


def _dispatch(arguments: list[str], stream: IO[bytes], events: Events) -> dict[str, Any] | None:
    verb, rest = arguments[0], arguments[1:]
    if verb in ("encode", "measure"):
        job = Job.from_json(Path(rest[0]).read_text())
        bitstream, folder = Path(rest[1]), Path(rest[2])
        if verb == "encode":
            return encode(job, bitstream, folder, events.progress, Path(rest[3]))
        return measure(job, bitstream, folder, events)
    codec, options = rest[0], DecoderOptions(**json.loads(rest[1]))
    if verb == "decode":
        return decode(codec, Path(BITSTREAM), options)
    if verb == "ledger":
        return {"ledger": check_ledger(load_codec(codec).ledger(Path(BITSTREAM)), Path(BITSTREAM).stat().st_size)}
    send_frames(codec, Path(BITSTREAM), options, stream)
    return None


def main() -> int:
    """Runs one verb; errors become an `error` event with one sentence, and exit status 1."""
    stream = _claim_stdout()
    events = Events(stream)
    try:
        result = _dispatch(sys.argv[1:], stream, events)
        if result is not None:
            events.send("result", **result)
    except KeyboardInterrupt:
        return 130
    except BaseException as error:
        traceback.print_exc()
        message = describe_failure(error)
        if isinstance(error, MemoryError) or "out of memory" in message.lower():
            message = f"It ran out of memory ({message}); use a smaller size, or a machine with more."
        with suppress(OSError):  # nobody reads any more
            if sys.argv[1] == "send":
                send_failure(message, stream)
            else:
                events.send("error", message=message)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
