"""`rdbench plan`: hashes nothing, does without the data where a manifest says enough, and knows what is done."""

import os
import re
from pathlib import Path

import pytest
from conftest import Cli

from rdbench.video.ffmpeg import find_ffmpeg


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user-cache"))


def test_a_clip_without_a_hash_has_no_id_until_a_run(cli: Cli, small_clip: Path) -> None:
    options = ("--codecs", "toy", "--dataset", str(small_clip), "--rate-points", "all", "--out", "out")
    planned = cli("plan", *options)
    assert planned.returncode == 0, planned.stderr
    assert planned.stdout.startswith("-             toy ")
    assert "Note: files:small: not hashed yet" in planned.stdout
    assert cli("run", *options).returncode == 0
    again = cli("plan", *options)
    assert re.match(r"[0-9a-f]{12}  toy .* done\n", again.stdout), again.stdout
    assert "Note" not in again.stdout
    assert again.stdout.endswith("1 rate point, 1 of them done.\n")


def test_missing_data_are_planned_with_a_note(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    planned = cli("plan", "--codecs", "x264,x265", "--dataset", "uvg:Jockey,Beauty", "--data-root", "empty")
    assert planned.returncode == 0, planned.stderr
    lines = planned.stdout.splitlines()
    assert all(line.startswith("-") for line in lines[:24])
    assert lines[24].startswith("Note: uvg:Jockey,Beauty are not here. Looked in ")
    assert "rdbench datasets fetch uvg" in lines[24]
    assert [line.split(", about")[0] for line in lines[25:]] == [
        "x264: 12 rate points", "x265: 12 rate points", "In all: 24 rate points"
    ]  # fmt: skip
    done = cli("run", "--codecs", "x264", "--dataset", "uvg:Jockey", "--data-root", "empty", "--out", "out")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "is not at" in done.stderr


@pytest.mark.parametrize("command", ["plan", "run"])
def test_more_frames_than_there_are_is_one_sentence(cli: Cli, bunny: Path, command: str) -> None:
    done = cli(command, "--codecs", "toy", "--dataset", str(bunny), "--frames", "133")
    assert done.returncode == 2, done.stdout
    assert done.stderr.splitlines()[-1] == (
        "rdbench: bigbuckbunny has 132 frames, not 133; give at most 132."
    )  # fmt: skip


def test_a_job_on_a_cut_decodes_its_frames_only(cli: Cli, bunny: Path, tmp_path: Path) -> None:
    """Every start of ffmpeg on the source has the limit, and the file is probed once for all processes."""
    program, calls = tmp_path / "ffmpeg", tmp_path / "calls"
    program.write_text(f'#!/bin/sh\necho "$@" >> {calls}\nexec {find_ffmpeg()} "$@"\n')
    program.chmod(0o755)
    options = ("--codecs", "toy", "--dataset", str(bunny), "--frames", "3", "--metrics", "psnr", "--rate-points", "all")
    done = cli("run", *options, "--out", "out", "--ffmpeg", str(program))
    assert done.returncode == 0, done.stdout + done.stderr
    started = calls.read_text().splitlines()
    decodings = [line for line in started if "pipe:" in line]
    assert decodings
    assert all(re.search(r"-frames:v 3 ", line) for line in decodings), decodings
    assert len(decodings) <= 4, "hashed, encoded (video and RGB), measured"
    assert len([line for line in started if str(bunny) in line and "pipe:" not in line]) == 1
    assert sum(line == "-version" for line in started) == 1
    assert os.access(tmp_path / "user-cache", os.R_OK)
