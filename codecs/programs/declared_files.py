"""Files exchanged with a declared codec's programs: raw planes, y4m, images, and our header of the bitstream."""

import struct
import subprocess
from fractions import Fraction
from pathlib import Path

from rdbench.codec import Source
from rdbench.errors import BitstreamError, MediaError, UsageError
from rdbench.video import Chroma, Video, VideoFormat
from rdbench.video.ffmpeg_program import find_ffmpeg
from rdbench.video.readers import ImageFolder, RawVideo, open_video, write_raw, write_y4m

from .declaration import FileKind, InputPart

_HEADER = struct.Struct(">4sHHBBII")
"""Magic number, width, height, chroma, depth (highest bit: full range), frame rate as a fraction."""
_MAGIC = b"RDBD"
_CHROMAS: tuple[Chroma, ...] = ("420", "422", "444", "gray")
HEADER_BYTES = _HEADER.size


def write_header(fmt: VideoFormat) -> bytes:
    """The 18-byte header with the format of the raw planes that the decoder will write; it counts as rate."""
    depth = fmt.bit_depth | (128 if fmt.full_range else 0)
    rate = fmt.frame_rate.limit_denominator(1 << 20)
    return _HEADER.pack(
        _MAGIC, fmt.width, fmt.height, _CHROMAS.index(fmt.chroma), depth, rate.numerator, rate.denominator
    )


def split_header(raw: bytes, name: str) -> tuple[VideoFormat, bytes]:
    """The format in the header, and the bytes after it. Raises BitstreamError."""
    if len(raw) <= HEADER_BYTES or not raw.startswith(_MAGIC):
        raise BitstreamError(f"This is no bitstream of the declared codec {name}, or it is cut short; encode it again.")
    _, width, height, chroma, depth, numerator, denominator = _HEADER.unpack_from(raw)
    if not (width and height and chroma < len(_CHROMAS) and 8 <= depth & 127 <= 16 and numerator and denominator):
        raise BitstreamError(f"The header of this bitstream of {name} is damaged; encode it again.")
    rate = Fraction(numerator, denominator)
    return VideoFormat(width, height, _CHROMAS[chroma], depth & 127, rate, depth > 127), raw[HEADER_BYTES:]


def target_format(wanted: InputPart, source: Source, name: str) -> VideoFormat:
    """The format of the encoder's input: the source's chroma and depth, or the nearest that it accepts."""
    fmt, multiple = source.video.format, wanted.multiple
    if fmt.width % multiple or fmt.height % multiple:
        raise UsageError(f"{name} codes multiples of {multiple} only, not {fmt.width}x{fmt.height}; crop the clip.")
    if wanted.format == "png":
        return source.rgb.format
    chroma: Chroma = fmt.chroma if fmt.chroma in wanted.chroma else wanted.chroma[0]
    if fmt.chroma == "gray" and chroma != "gray":
        raise UsageError(f"{name} does not code gray video; take another codec.")
    depth = next((depth for depth in sorted(wanted.depth) if depth >= fmt.bit_depth), max(wanted.depth))
    target = fmt.with_planes(chroma, depth)
    if target.cuts_chroma:
        raise UsageError(f"{name} codes even sizes only, not {fmt.width}x{fmt.height}; crop the clip to an even size.")
    return target


def default_name(kind: FileKind, stem: str) -> str:
    """The name of a file (for images: the pattern of their names) where the declaration gives none."""
    return "im%05d.png" if kind == "png" else f"{stem}.{kind}"


def write_input(wanted: InputPart, video: Video, scratch: Path, ffmpeg: str | None) -> tuple[Path, int]:
    """Writes the file (or the numbered images) for the encoder; returns its path and the number of frames."""
    fmt = video.format
    name = wanted.name or default_name(wanted.format, "in")
    values = {"width": fmt.width, "height": fmt.height, "fps": fmt.whole_frame_rate, "chroma": fmt.chroma,
              "depth": fmt.bit_depth}  # fmt: skip
    folder = scratch / "input"
    folder.mkdir(exist_ok=True)
    path = folder / name.format(**values)
    if path.parent != folder:
        raise UsageError(f"The input's name {name!r} points outside its folder; give a plain file name.")
    if wanted.format == "y4m":
        return path, write_y4m(path, video)
    if wanted.format == "yuv":
        return path, write_raw(path, video)
    return path, _write_images(path, video, ffmpeg)


def _write_images(pattern: Path, video: Video, ffmpeg: str | None) -> int:
    """Writes lossless RGB images, numbered from 1 (as DCVC and HNeRV expect); returns their number."""
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
        raise MediaError(f"The images {pattern} cannot be written; check the free space on the disk.")
    return count


def read_output(kind: FileKind, path: Path, fmt: VideoFormat | None, ffmpeg: str | None) -> Video:
    """The video that the decoder wrote. Raises MediaError."""
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
