"""ffmpeg: probes files, reads frames through it."""

import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import IO, Any

import numpy as np

from ..errors import MediaError
from .cache import cache_key, cached
from .ffmpeg_program import ffmpeg_version as ffmpeg_version
from .ffmpeg_program import find_ffmpeg as find_ffmpeg
from .pipe import format_from_dict, format_to_dict, split_planes
from .video import BATCH, Chroma, Frames, VideoFormat

_VIDEO_LINE = re.compile(r"Stream #0:\d+.*?: Video: (.*)")
_SIZE = re.compile(r"(?<![\w])(\d{1,5})x(\d{1,5})(?![\w])")
_RATE = re.compile(r"([\d.]+)(k?) (fps|tbr)")
_NTSC = {"23.98": Fraction(24000, 1001), "29.97": Fraction(30000, 1001), "59.94": Fraction(60000, 1001),
         "119.88": Fraction(120000, 1001), "14.99": Fraction(15000, 1001)}  # fmt: skip

MATRICES = {"bt709": "BT.709", "smpte170m": "BT.601", "bt470bg": "BT.601", "fcc": "FCC", "smpte240m": "SMPTE 240M",
            "bt2020nc": "BT.2020", "bt2020c": "BT.2020", "ycgco": "YCgCo"}  # fmt: skip
"""Conversion matrices by ffmpeg's names."""


def file_url(path: Path | str) -> str:
    """The path as ffmpeg takes it whatever characters it has: a colon would name a protocol, a dash an option."""
    return f"file:{path}"


@dataclass(frozen=True)
class VideoStream:
    """One video stream of a file: its format, and ffmpeg's name of the planar pixel format to read frames in."""

    format: VideoFormat
    pix_fmt: str
    matrix: str | None = None
    """ffmpeg's name of the conversion matrix that the stream is tagged with, as `bt709` or `smpte170m`."""
    alpha: bool = False
    """Whether the stream has an alpha plane, which is not among the frames that are read."""


def probe(path: Path, ffmpeg: str | None = None, stream: int = 0, arguments: tuple[str, ...] = ()) -> VideoStream:
    """The format of a video stream of the file (0: the first); cached on disk for each state of file and program.

    Raises MediaError for a file without one.
    """
    program = find_ffmpeg(ffmpeg)
    try:
        key = cache_key(f"stream {stream} {json.dumps(arguments)}", path, Path(shutil.which(program) or program))
    except OSError as error:
        raise MediaError(f"{path} cannot be read ({error.strerror}); check the file.") from error
    return _stream_from_json(cached(key, lambda: _stream_to_json(_probe(path, program, stream, arguments))))


def _stream_to_json(stream: VideoStream) -> str:
    return json.dumps({**stream.__dict__, "format": format_to_dict(stream.format)})


def _stream_from_json(text: str) -> VideoStream:
    values = json.loads(text)
    return VideoStream(**{**values, "format": format_from_dict(values["format"])})


def _probe(path: Path, program: str, stream: int, arguments: tuple[str, ...]) -> VideoStream:
    command = [program, "-hide_banner", "-nostdin", *arguments, "-i", file_url(path)]
    printed = subprocess.run(command, capture_output=True, check=False).stderr.decode(errors="replace")
    lines = [m[1] for line in printed.splitlines() if (m := _VIDEO_LINE.search(line)) and "attached pic" not in line]
    if not lines:
        reason = next((line for line in reversed(printed.splitlines()) if line.strip()), "no answer").strip()
        raise MediaError(f"{path} is no video that ffmpeg can read ({reason}); check the file.")
    if stream >= len(lines):
        raise MediaError(f"{path} has {len(lines)} video streams; there is no number {stream}.")
    return _parse_stream(lines[stream], path)


def _parse_stream(line: str, path: Path) -> VideoStream:
    size = _SIZE.search(line)
    pixel = re.search(
        r"\b(yuvj?4\d\dp\w*|gray\w*|gbr\w*|rgb\w*|bgr\w*|rgba\w*|argb|abgr|pal8|nv12|p010le|yuva4\w*)\b", line
    )
    if size is None or pixel is None:
        raise MediaError(f"{path} has a video stream that is not understood ({line[:80]}); convert it to y4m.")
    rates = {kind: _rate(value, thousand) for value, thousand, kind in _RATE.findall(line)}
    rate = rates.get("fps") or rates.get("tbr") or Fraction(25)
    chroma, depth, native = _pixel_format(pixel[1], path)
    full = "yuvj" in pixel[1] or re.search(r"\(pc[,)]", line) is not None or chroma == "rgb"
    format = VideoFormat(int(size[1]), int(size[2]), chroma, depth, rate, full)
    alpha = re.match(r"yuva|gbrap|rgba|bgra|argb|abgr", pixel[1]) is not None
    return VideoStream(format, native, _tagged_matrix(line[pixel.end() :]), alpha)


def _tagged_matrix(rest: str) -> str | None:
    """The matrix in what follows the pixel format, as in `(tv, bt709/unknown/unknown, progressive)`."""
    tags = re.match(r"\(([^)]*)\)", rest)
    names = [tag.strip().partition("/")[0] for tag in tags[1].split(",")] if tags else []
    return next((name for name in names if name in MATRICES), None)


def _rate(value: str, thousand: str) -> Fraction:
    return _NTSC.get(value, Fraction(value)) * (1000 if thousand else 1)


def _pixel_format(name: str, path: Path) -> tuple[Chroma, int, str]:
    """Chroma, bit depth and the planar pixel format that holds the same samples."""
    if name in ("nv12", "p010le"):
        return ("420", 8, "yuv420p") if name == "nv12" else ("420", 10, "yuv420p10le")
    depth = int(m[1]) if (m := re.search(r"(?:p|gray|rgb|bgr|gbrp)(9|10|12|14|16)(?:le|be)?$", name)) else 8
    if re.search(r"(rgb|bgr)a?(48|64)", name):
        depth = 16
    tail = "" if depth == 8 else f"{depth}le"
    if name.startswith("gray"):
        return "gray", depth, "gray" + tail
    if m := re.match(r"yuv[ja]?(420|422|444)p", name):
        chroma: Chroma = "420" if m[1] == "420" else "422" if m[1] == "422" else "444"
        return chroma, depth, f"yuv{'j' if name.startswith('yuvj') and depth == 8 else ''}{m[1]}p{tail}"
    if re.match(r"(gbr|rgb|bgr|rgba|argb|abgr|pal8)", name):
        return "rgb", depth, "gbrp" + tail
    raise MediaError(f"{path} has pixels of the format {name}, which is not supported; convert it to yuv420p.")


@contextmanager
def open_output(command: list[str], what: str, error: type[Exception] = MediaError) -> Iterator[IO[bytes]]:
    """The standard output of an ffmpeg that is started with this command and ended with the block.

    After the block, raises `error` when ffmpeg failed or printed any message.
    """
    with tempfile.TemporaryFile() as log, subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log
    ) as process:  # fmt: skip
        assert process.stdout is not None
        try:
            yield process.stdout
        except BaseException:
            process.kill()
            raise
        status = process.wait()
        log.seek(0)
        messages = log.read().decode(errors="replace").strip().splitlines()
        if status != 0 or messages:
            last = messages[-1].strip() if messages else f"exit status {status}"
            raise error(f"{what} cannot be read to its end ({last}); it is damaged or cut short.")


def read_frames(
    command: list[str], fmt: VideoFormat, what: str, size: int = BATCH, error: type[Exception] = MediaError
) -> Iterator[Frames]:
    """Frames from an ffmpeg that writes raw planar video to its standard output; gbrp is reordered to R, G, B.

    Raises `error` when ffmpeg fails, prints any message, or ends inside a frame.
    """
    with open_output(command, what, error) as output:
        while len(raw := read_exactly(output, size * fmt.frame_bytes)) > 0:
            if len(raw) % fmt.frame_bytes:
                raise error(f"{what} ends inside a frame; it is damaged or cut short.")
            yield _ordered(
                split_planes(np.frombuffer(raw, fmt.dtype).reshape(len(raw) // fmt.frame_bytes, -1), fmt), fmt
            )


def read_exactly(stream: IO[bytes], count: int) -> bytes:
    """The next `count` bytes; fewer where the stream ends."""
    parts, missing = [], count
    while missing and (part := stream.read(missing)):
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)


def _ordered(frames: Frames, fmt: VideoFormat) -> Frames:
    if fmt.chroma != "rgb":
        return frames
    g, b, r = frames.planes
    return Frames((r, g, b))


def raw_output(stream: Any, pix_fmt: str, ffmpeg: str, frames: int | None = None) -> list[str]:
    """The command line that decodes an ffmpeg-python input to raw planar frames on standard output.

    `frames` is the number of frames after which ffmpeg ends; None: all.
    """
    limit = {} if frames is None else {"frames:v": frames}
    output = stream.output("pipe:", format="rawvideo", pix_fmt=pix_fmt, fps_mode="passthrough", **limit)
    command: list[str] = output.global_args("-nostdin", "-v", "error").compile(cmd=ffmpeg)
    return command
