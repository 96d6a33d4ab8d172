"""Bare streams of coded video, decoded by one ffmpeg that also says what they hold."""

import subprocess
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import IO

import ffmpeg as ffmpeg_python
import numpy as np

from ..errors import MediaError
from .ffmpeg import file_url, find_ffmpeg, open_output, read_exactly
from .pipe import split_planes
from .video import BATCH, Frames, Video, VideoFormat
from .y4m import FRAME, HEADER_LIMIT, parse_y4m


class ElementaryStream(Video):
    """The frames of a bare stream of YUV video, in its own planes, through ffmpeg with `threads` decoding threads.

    One ffmpeg writes the frames as y4m, and its header describes them: the stream is not read before `batches` or
    `format` is needed. `demuxer` is ffmpeg's name of the stream's syntax. Raises MediaError without an ffmpeg.
    """

    def __init__(
        self, path: Path, demuxer: str, ffmpeg: str | None = None, threads: int = 1,
        error: type[Exception] = MediaError,
    ) -> None:  # fmt: skip
        self.frames = None
        self._path, self._demuxer, self._error = path, demuxer, error
        strict: dict[str, str | None] = {"err_detect": "explode", "xerror": None}
        strict |= {"noautorotate": None, "threads": str(threads)}
        source = ffmpeg_python.input(file_url(path), format=demuxer, **strict)["v:0"]
        # `strict` allows y4m its later pixel formats: more than 8 bit, and gray
        output = source.output("pipe:", format="yuv4mpegpipe", strict=-1, fps_mode="passthrough")
        self._command = output.global_args("-nostdin", "-v", "error").compile(cmd=find_ffmpeg(ffmpeg))

    @cached_property
    def format(self) -> VideoFormat:  # type: ignore[override]
        """The format of the frames; reads the beginning of the stream, unless `batches` already did."""
        with subprocess.Popen(
            self._command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            line = process.stdout.readline(HEADER_LIMIT)
            process.kill()
            reason = process.stderr.read().decode(errors="replace").strip() if not line else ""
        return self._parse(line, reason)

    def _parse(self, line: bytes, reason: str = "") -> VideoFormat:
        """Raises the stream's error for a line that is no header."""
        if not line:
            shown = f" ({reason.splitlines()[-1].strip()})" if reason else ""
            raise self._error(f"{self._path} is no whole {self._demuxer} stream{shown}; encode it again.")
        try:
            return parse_y4m(line.decode("ascii", errors="replace"), self._path)
        except MediaError as error:
            raise self._error(str(error)) from error

    def batches(self, size: int = BATCH) -> Iterator[Frames]:
        """The frames in display order. Raises the stream's error where it is damaged or has no frames."""
        with open_output(self._command, str(self._path), self._error) as output:
            line = output.readline(HEADER_LIMIT)
            if line:
                self.format = self._parse(line)
                yield from self._batches(output, self.format, size)
        if not line:
            self._parse(line)

    def _batches(self, output: IO[bytes], fmt: VideoFormat, size: int) -> Iterator[Frames]:
        whole, count = len(FRAME) + fmt.frame_bytes, 0
        while raw := read_exactly(output, size * whole):
            count += len(raw) // whole
            blocks = np.frombuffer(memoryview(raw)[: len(raw) // whole * whole], np.uint8).reshape(-1, whole)
            if len(raw) % whole or any(block[: len(FRAME)].tobytes() != FRAME for block in blocks):
                raise self._error(f"{self._path} ends inside a frame; it is damaged or cut short.")
            yield split_planes(blocks[:, len(FRAME) :].view(fmt.dtype), fmt)
        if not count:
            raise self._error(f"{self._path} has no frames; it is damaged or cut short.")
