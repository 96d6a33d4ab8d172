"""The ffmpeg program: where it is, its version, its encoders."""

import json
import os
import re
import shutil
import subprocess
import sys
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from ..errors import MediaError
from .cache import cache_key, cached, find_cached, write_cached


def find_ffmpeg(path: str | None = None) -> str:
    """The ffmpeg to use: the one given, RDBENCH_FFMPEG, or the one of imageio-ffmpeg. Raises MediaError."""
    wanted = path or os.environ.get("RDBENCH_FFMPEG")
    if wanted:
        program = shutil.which(wanted)
        if program is None:
            raise MediaError(f"There is no ffmpeg at {wanted}; give its path with --ffmpeg, or leave the option out.")
        return program
    return _bundled_ffmpeg()


def _bundled_ffmpeg() -> str:
    """The ffmpeg of imageio-ffmpeg, which starts it to see whether it works; cached for the installed package."""
    package = find_spec("imageio_ffmpeg")
    origin = package.origin if package is not None else None
    if origin is None:
        raise MediaError("imageio-ffmpeg is not installed; reinstall rdbench, or give an ffmpeg with --ffmpeg PATH.")
    surroundings = [sys.prefix, os.environ.get("PATH"), os.environ.get("IMAGEIO_FFMPEG_EXE")]
    key = cache_key(f"program {json.dumps(surroundings)}", Path(origin))
    known = find_cached(key)
    if known is not None and shutil.which(known) is not None:
        return known
    import imageio_ffmpeg

    try:
        program = str(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError as error:
        raise MediaError("imageio-ffmpeg has no ffmpeg for this machine; give one with --ffmpeg PATH.") from error
    write_cached(key, program)
    return program


@lru_cache(maxsize=8)
def ffmpeg_version(path: str) -> str:
    """The version of an ffmpeg, as `9.0.2`; cached on disk for each state of the program."""
    program = shutil.which(path)
    if program is None:
        return _read_version(path)
    return cached(cache_key("version", Path(program)), lambda: _read_version(path))


def _read_version(path: str) -> str:
    words = _query(path, "-version").split()
    return words[2] if words[:2] == ["ffmpeg", "version"] else "unknown"


@lru_cache(maxsize=8)
def ffmpeg_encoders(path: str) -> frozenset[str]:
    """The names of the encoders that an ffmpeg has; asked each time, as they may come from libraries beside it."""
    lines = (line.split() for line in _query(path, "-encoders").splitlines())
    return frozenset(words[1] for words in lines if len(words) > 1 and re.fullmatch(r"[VASFXBD.]{6}", words[0]))


def _query(path: str, option: str) -> str:
    try:
        return subprocess.run(
            [path, "-hide_banner", option] if option != "-version" else [path, option],
            capture_output=True, text=True, timeout=60, check=True,
        ).stdout  # fmt: skip
    except (OSError, subprocess.SubprocessError) as error:
        raise MediaError(f"{path} does not work as an ffmpeg ({error}); give another with --ffmpeg.") from error
