"""What a decoding process must see, and what it must not."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from stand_in import make_hm, waves

from rdbench.codec import Clip, Host, Source, Workspace
from rdbench.registry import create, parse_specs
from rdbench.runner.decoder_process import decoder_options, hidden_from, sealed_decoder
from rdbench.runner.decoding import DecoderOptions
from rdbench.runner.options import ClipOptions
from rdbench.runner.session import single_job
from rdbench.runner.sweep import Job
from rdbench.video import VideoFormat

OPTIONS = ClipOptions(preset="tiny", frames=2, seed=0, device="cpu", threads=1)


@pytest.fixture
def job() -> Job:
    """A job on the clip inside the Python installation."""
    return single_job("x265", "bunny@320x180", None, OPTIONS)


def test_the_clip_the_data_and_all_results_are_hidden(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RDBENCH_DATA", str(tmp_path / "data"))
    runs = tmp_path / "out" / "runs"
    folder = runs / "x265" / "bunny" / "bunny" / "crf22-abc"
    assert hidden_from(job, folder) == [Path(job.clip.path), tmp_path / "data", runs]
    assert hidden_from(job, tmp_path / "alone")[2:] == [tmp_path / "alone"]


def test_nothing_that_the_decoder_needs_is_covered(job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even where the data root is the folder above Python, ffmpeg, the programs and the results."""
    tools, stream = tmp_path / "data" / "tools" / "bin", tmp_path / "stream"
    tools.mkdir(parents=True)
    (tools / "decoder").touch()
    (tools.parent / "lib").mkdir()
    (tmp_path / "data" / "clip.yuv").touch()
    stream.touch()
    options = replace(decoder_options(job), programs={"path": str(tools / "decoder")})
    hidden = [tmp_path / "data", *hidden_from(job)[:1]]
    with sealed_decoder(("decode",), "x265", options, stream, hidden) as decoder:
        plan = json.loads(decoder.command[decoder.command.index("rdbench.runner.seal") + 1])
        assert os.listdir(decoder.folder) == ["bitstream.bin"]
        assert plan["covered"] == [str(tmp_path / "data" / "clip.yuv"), str(Path(job.clip.path).resolve())]
        assert plan["complete"]
        needed = {Path(path) for path in plan["needed"]}
        assert {Path(sys.prefix).resolve(), Path(options.ffmpeg or "").resolve().parent} <= needed
        assert any((path / "registry.py").exists() for path in needed)
        assert any((path / "menu.py").exists() for path in needed)
    assert not decoder.folder.exists()


def test_a_program_that_only_the_users_configuration_names_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HM's folder stands in config.toml, which the decoder cannot read."""
    make_hm(tmp_path / "hm")
    (tmp_path / "config" / "rdbench").mkdir(parents=True)
    (tmp_path / "config" / "rdbench" / "config.toml").write_text(f'hm = "{tmp_path / "hm"}"\n')
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("RDBENCH_HM", raising=False)
    fmt = VideoFormat(64, 48)
    codec, video = create(parse_specs("hm[profile=main]")[0]), waves(fmt, 3)
    programs, stream = dict(codec.programs), tmp_path / "stream"
    workspace = Workspace(tmp_path, host=Host(programs=programs))
    codec.encode(Source(video, video), codec.rate_point("qp32", Clip(fmt, 3)), stream, workspace)
    options = DecoderOptions("cpu", 1, None, programs)
    with sealed_decoder(("decode",), "hm", options, stream, []) as decoder:
        done = subprocess.run(decoder.command, cwd=decoder.folder, capture_output=True, text=True, check=False)
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["event"] == "result", done.stderr
    assert result["frames"] == 3
    assert result["seal"][0] == "environment"
