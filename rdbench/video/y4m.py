"""The header of y4m files (YUV4MPEG2)."""

import re
from fractions import Fraction
from pathlib import Path
from typing import IO

from ..errors import MediaError
from .video import Chroma, VideoFormat

HEADER_LIMIT = 4096
"""Longest line of a y4m header in bytes (our choice)."""
FRAME = b"FRAME\n"
"""The line before each frame of a y4m file, where it has no parameters."""
MAX_SIDE = 1 << 15
"""Largest width or height that a y4m header may give (our choice)."""
MAX_RATE = 10_000
"""Largest number of frames per second that a y4m header may give (our choice)."""


def read_header(file: IO[bytes], path: Path) -> str:
    """The first line of a y4m file. Raises MediaError for another file."""
    line = file.readline(HEADER_LIMIT)
    if not line.startswith(b"YUV4MPEG2 ") or not line.endswith(b"\n"):
        raise MediaError(f"{path} has no y4m header; it is damaged or no y4m file.")
    return line.decode("ascii", errors="replace")


def parse_y4m(line: str, path: Path) -> VideoFormat:
    """The format in the first line of a y4m file. Raises MediaError."""
    tags = {word[0]: word[1:] for word in reversed(line.split()[1:]) if not word.startswith("X")}
    try:
        width, height = int(tags["W"]), int(tags["H"])
        rate = _rate(tags.get("F", "0:0"))
    except (KeyError, ValueError, ZeroDivisionError) as error:
        raise MediaError(f"{path} has a y4m header without a proper size or rate; it is damaged.") from error
    if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE):
        raise MediaError(f"{path} gives a size of {width}x{height}, which no video has; it is damaged.")
    if not 0 < rate <= MAX_RATE or max(rate.numerator, rate.denominator) >= 1 << 31:
        raise MediaError(f"{path} gives a frame rate of {tags['F']}, which no video has; correct its header.")
    chroma, depth = _chroma(tags.get("C", "420"), path)
    return VideoFormat(width, height, chroma, depth, rate, "XCOLORRANGE=FULL" in line)


def _rate(text: str) -> Fraction:
    """The rate of a tag such as `30000:1001`; 25 for 0:0, which stands for an unknown one. Raises ValueError."""
    up, _, down = text.partition(":")
    over, under = int(up), int(down or 1)
    return Fraction(25) if over == under == 0 else Fraction(over, under)


def _chroma(name: str, path: Path) -> tuple[Chroma, int]:
    match = re.fullmatch(r"(420|422|444|mono)(?:jpeg|mpeg2|paldv)?(?:p?(9|10|12|14|16))?", name)
    if match is None:
        raise MediaError(f"{path} has the y4m color space C{name}, which is not supported; convert it to C420.")
    chroma: Chroma = {"420": "420", "422": "422", "444": "444", "mono": "gray"}[match[1]]  # type: ignore[assignment]
    return chroma, int(match[2] or 8)
