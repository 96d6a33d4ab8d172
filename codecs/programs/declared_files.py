"""The files between rdbench and a declared codec's programs: raw planes, y4m, images, and our small header."""

import struct
import subprocess
from fractions import Fraction
from pathlib import Path

from rdbench.codec import Source
from rdbench.errors import BitstreamError, MediaError, UsageError
from rdbench.video import Chroma, Video, VideoFormat
from rdbench.video.ffmpeg import find_ffmpeg
from rdbench.video.readers import ImageFolder, RawVideo, open_video, write_raw, write_y4m

from .declaration import FileKind, InputPart

_HEADER = struct.Struct(">4sHHBBII")
"""Mark, width, height, chroma, depth (highest bit: full range), frame rate as a fraction."""
_MARK = b"RDBD"
_CHROMAS: tuple[Chroma, ...] = ("420", "422", "444", "gray")
HEADER_BYTES = _HEADER.size


def write_header(fmt: VideoFormat) -> bytes:
    """18 bytes that tell the format of the raw planes which the decoder will write; they count as bits."""
    depth = fmt.bit_depth | (128 if fmt.full_range else 0)
    rate = fmt.frame_rate.limit_denominator(1 << 20)
    return _HEADER.pack(
        _MARK, fmt.width, fmt.height, _CHROMAS.index(fmt.chroma), depth, rate.numerator, rate.denominator
    )


def split_header(raw: bytes, name: str) -> tuple[VideoFormat, bytes]:
    """The format and the rest. Raises BitstreamError."""
    if len(raw) <= HEADER_BYTES or not raw.startswith(_MARK):
        raise BitstreamError(f"This is no bitstream of the declared codec {name}, or it is cut short; encode it again.")
    _, width, height, chroma, depth, numerator, denominator = _HEADER.unpack_from(raw)
    if not (width and height and chroma < len(_CHROMAS) and 8 <= depth & 127 <= 16 and numerator and denominator):
        raise BitstreamError(f"The header of this bitstream of {name} is damaged; encode it again.")
    rate = Fraction(numerator, denominator)
    return VideoFormat(width, height, _CHROMAS[chroma], depth & 127, rate, depth > 127), raw[HEADER_BYTES:]


def target_format(wanted: InputPart, source: Source, name: str) -> VideoFormat:
    """What the encoder gets: the source's own chroma and depth where it takes them, else the next best it takes."""
    fmt, multiple = source.video.format, wanted.multiple
    if fmt.width % multiple or fmt.height % multiple:
        raise UsageError(f"{name} codes multiples of {multiple} only, not {fmt.width}x{fmt.height}; crop the clip.")
    if wanted.format == "png":
        return source.rgb.format
    chroma: Chroma = fmt.chroma if fmt.chroma in wanted.chroma else wanted.chroma[0]
    if fmt.chroma == "gray" and chroma != "gray":
        raise UsageError(f"{name} does not code gray video; take another codec.")
    depth = next((depth for depth in sorted(wanted.depth) if depth >= fmt.bit_depth), max(wanted.depth))
    odd = (fmt.width % 2 and chroma in ("420", "422")) or (fmt.height % 2 and chroma == "420")
    if odd:
        raise UsageError(f"{name} codes even sizes only, not {fmt.width}x{fmt.height}; crop the clip to an even size.")
    full = fmt.full_range and fmt.chroma != "rgb"
    return VideoFormat(fmt.width, fmt.height, chroma, depth, fmt.frame_rate, full)


def write_input(wanted: InputPart, video: Video, scratch: Path, ffmpeg: str | None) -> tuple[Path, int]:
    """The file (or the numbered images) for the encoder, and the number of frames."""
    fmt = video.format
    name = wanted.name or {"yuv": "in.yuv", "y4m": "in.y4m", "png": "im%05d.png"}[wanted.format]
    values = {"width": fmt.width, "height": fmt.height, "fps": max(1, round(fmt.frame_rate)), "chroma": fmt.chroma,
              "depth": fmt.bit_depth}  # fmt: skip
    folder = scratch / "input"
    folder.mkdir(exist_ok=True)
    path = folder / name.format(**values)
    if path.parent != folder:
        raise UsageError(f"The input's name {name!r} leaves its folder; give a plain name.")
    if wanted.format == "y4m":
        return path, write_y4m(path, video)
    if wanted.format == "yuv":
        return path, write_raw(path, video)
    return path, _write_images(path, video, ffmpeg)


def _write_images(pattern: Path, video: Video, ffmpeg: str | None) -> int:
    """Lossless RGB images, numbered from 1 (DCVC's and HNeRV's custom)."""
    fmt = video.format
    command = [find_ffmpeg(ffmpeg), "-v", "error", "-f", "rawvideo", "-video_size", f"{fmt.width}x{fmt.height}",
               "-pixel_format", "gbrp", "-i", "pipe:0", "-pix_fmt", "rgb24", f"file:{pattern}"]  # fmt: skip
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        count = 0
        for batch in video.batches():
            for red, green, blue in zip(*batch.planes, strict=True):
                process.stdin.write(b"".join(plane.tobytes() for plane in (green, blue, red)))
            count += len(batch)
    if process.returncode != 0:
        raise MediaError(f"The images {pattern} cannot be written; see that the disk has room.")
    return count


def read_output(kind: FileKind, path: Path, fmt: VideoFormat | None, ffmpeg: str | None) -> Video:
    """What the decoder wrote. Raises MediaError."""
    if kind == "png":
        return ImageFolder(path.parent, ffmpeg)
    if kind == "y4m":
        return open_video(path, ffmpeg)
    assert fmt is not None
    if not path.is_file():
        raise MediaError(f"There is no file {path}; the decoder wrote none.")
    frames, rest = divmod(path.stat().st_size, fmt.frame_bytes)
    if rest or not frames:
        raise MediaError(f"{path} holds {frames} frames and a part of one.")
    return RawVideo(path, fmt, frames)
