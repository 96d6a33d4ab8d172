"""Decoded frames between two processes: a JSON line with the format, then raw planes, then an end mark.

Instead of the format, a frame or the end mark there may be a mark of failure, and a JSON line with its reason.
"""

import json
from collections.abc import Iterator
from fractions import Fraction
from typing import IO, Any

import numpy as np

from ..errors import MediaError
from .video import BATCH, Frames, Video, VideoFormat

FAILURE = b"X"
LONGEST_LINE = 1 << 16
"""Bytes of the longest line that is read."""


def format_to_dict(fmt: VideoFormat) -> dict[str, Any]:
    """A video format as plain values; `format_from_dict` reads them."""
    return {**fmt.__dict__, "frame_rate": str(fmt.frame_rate)}


def format_from_dict(values: dict[str, Any]) -> VideoFormat:
    """The format that `format_to_dict` wrote."""
    return VideoFormat(**{**values, "frame_rate": Fraction(values["frame_rate"])})


def send_video(video: Video, stream: IO[bytes]) -> int:
    """Writes every frame of the video; returns how many there were."""
    stream.write(json.dumps(format_to_dict(video.format)).encode() + b"\n")
    count = 0
    for batch in video.batches():
        for index in range(len(batch)):
            stream.write(b"F")
            for plane in batch.planes:
                stream.write(np.ascontiguousarray(plane[index]).data)
        count += len(batch)
    stream.write(b"E")
    stream.flush()
    return count


def send_failure(reason: str, stream: IO[bytes]) -> None:
    """Ends what `send_video` began, or did not begin, with the reason why there are no more frames."""
    stream.write(FAILURE + json.dumps(reason).encode() + b"\n")
    stream.flush()


class PipedVideo(Video):
    """The frames that `send_video` writes in another process; they can be read once."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        header = stream.readline(LONGEST_LINE)
        if header.startswith(FAILURE):
            raise MediaError(_reason(header[1:]))
        if not header.endswith(b"\n"):
            raise MediaError("The decoder ended before its first frame; see the reason in its log.")
        self.format = format_from_dict(json.loads(header))
        self.frames = None

    def batches(self, size: int = BATCH) -> Iterator[Frames]:
        """The frames as they arrive. Raises MediaError when the sender fails, or stops before its end mark."""
        waiting: list[bytes] = []
        while (mark := self._stream.read(1)) == b"F":
            raw = self._stream.read(self.format.frame_bytes)
            if len(raw) != self.format.frame_bytes:
                break
            waiting.append(raw)
            if len(waiting) == size:
                yield self._join(waiting)
                waiting = []
        if waiting:
            yield self._join(waiting)
        if mark == FAILURE:
            raise MediaError(_reason(self._stream.readline(LONGEST_LINE)))
        if mark != b"E":
            raise MediaError("The decoder ended before its last frame; see the reason in its log.")

    def _join(self, raw: list[bytes]) -> Frames:
        return split_planes(np.frombuffer(b"".join(raw), self.format.dtype).reshape(len(raw), -1), self.format)


def _reason(line: bytes) -> str:
    try:
        return str(json.loads(line))
    except ValueError:
        return "The decoder failed; see the reason in its log."


def split_planes(samples: "np.ndarray[Any, Any]", fmt: VideoFormat) -> Frames:
    """`[T, samples of a frame]` -> planes `[T, h, w]`."""
    planes, offset = [], 0
    for h, w in fmt.plane_shapes:
        planes.append(samples[:, offset : offset + h * w].reshape(-1, h, w))
        offset += h * w
    return Frames(tuple(planes))
