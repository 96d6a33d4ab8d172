"""The ffmpeg program: found, and asked for its version and its encoders."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rdbench.errors import MediaError
from rdbench.video.ffmpeg_program import ffmpeg_encoders, ffmpeg_version, find_ffmpeg

STAND_IN = """#!/bin/sh
echo "$@" >> {calls}
case "$1" in
-version) echo "ffmpeg version {version} Copyright (c) the FFmpeg developers" ;;
*) printf 'Encoders:\\n V..... = Video\\n ------\\n V....D libx264   libx264 H.264\\n A..... aac   AAC\\n' ;;
esac
"""
ASK = """
import sys
from rdbench.video.ffmpeg_program import ffmpeg_version
print(ffmpeg_version(sys.argv[1]), "numpy" in sys.modules)
"""


def stand_in(path: Path, version: str) -> Path:
    """A program that answers like ffmpeg and writes down its arguments."""
    path.write_text(STAND_IN.format(calls=path.with_name("calls"), version=version))
    path.chmod(0o755)
    return path


def test_the_given_one_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = stand_in(tmp_path / "one", "1"), stand_in(tmp_path / "other", "2")
    monkeypatch.setenv("RDBENCH_FFMPEG", str(other))
    assert find_ffmpeg(str(one)) == str(one)
    assert find_ffmpeg() == str(other)
    monkeypatch.delenv("RDBENCH_FFMPEG")
    assert Path(find_ffmpeg()).is_file()
    with pytest.raises(MediaError, match="There is no ffmpeg at none"):
        find_ffmpeg("none")


def test_encoders_are_named_as_ffmpeg_lists_them(tmp_path: Path) -> None:
    assert ffmpeg_encoders(str(stand_in(tmp_path / "ffmpeg", "7.1"))) - {"="} == {"libx264", "aac"}
    assert {"libx264", "libx265", "libvvenc"} <= ffmpeg_encoders(find_ffmpeg())


def test_what_is_no_ffmpeg(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="does not work as an ffmpeg"):
        ffmpeg_version(str(tmp_path / "none"))


def test_the_version_is_asked_once_for_each_state_of_the_program(tmp_path: Path) -> None:
    """Each in a process of its own, which needs no numpy for it."""
    program = tmp_path / "ffmpeg"
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    answers = []
    for version in ("7.1", "7.1", "8.0-another"):
        if not answers or not answers[-1].startswith(version):
            stand_in(program, version)
        command = [sys.executable, "-c", ASK, str(program)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        answers.append(done.stdout.strip())
    assert answers == ["7.1 False", "7.1 False", "8.0-another False"]
    assert (tmp_path / "calls").read_text().splitlines() == 2 * ["-version"]
