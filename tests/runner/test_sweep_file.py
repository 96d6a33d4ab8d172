"""`--save-sweep`: what was asked for, written down, gives the same options and the same jobs."""

import string
from pathlib import Path
from typing import Any

import pytest
from conftest import Cli
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rdbench.errors import UsageError
from rdbench.runner.options import EXECUTORS, LARGEST_SEED, SweepOptions, read_sweep
from rdbench.runner.sweep import plan
from rdbench.runner.sweep_file import save_sweep

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=12)
COUNT = st.integers(1, 1000)
WORD = st.text(string.ascii_letters + "._%", min_size=1, max_size=8)
SEED = st.integers(0, LARGEST_SEED)
OPTIONS: dict[str, st.SearchStrategy[Any]] = {
    "codecs": TEXT, "dataset": TEXT | st.lists(TEXT, min_size=1, max_size=3), "frames": COUNT,
    "rate_points": COUNT.map(str) | WORD.map(lambda word: f"{word},crf3"), "preset": TEXT,
    "set": st.lists(TEXT, min_size=1, max_size=3), "conditions": TEXT, "metrics": TEXT, "seed": SEED,
    "seeds": st.lists(SEED.map(str), min_size=1, max_size=3).map(",".join),
    "device": st.sampled_from(["auto", "cpu", "cuda", "cuda:12"]), "threads": COUNT,
    "precision": st.sampled_from(["float32", "bfloat16", "float16"]),
    "timeout": st.floats(1e-300, 1e9), "data_root": TEXT, "ffmpeg": TEXT, "out": TEXT.map(Path),
    "executor": st.sampled_from(EXECUTORS), "jobs": COUNT, "gpu_memory": COUNT,
    "slurm": st.lists(WORD.filter(lambda word: word[0] not in "._%").map(lambda word: f"{word[0]}={word}"), min_size=1),
    "anchor": TEXT,
}  # fmt: skip


def test_the_strategies_cover_every_option() -> None:
    assert OPTIONS.keys() == SweepOptions.model_fields.keys()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200, deadline=None)
@given(st.fixed_dictionaries({}, optional=OPTIONS), st.text(st.characters(exclude_categories=["Cs"])))
def test_any_options_come_back(tmp_path: Path, values: dict[str, Any], command: str) -> None:
    options, path = SweepOptions(**values), tmp_path / "sweep.toml"
    path.unlink(missing_ok=True)
    save_sweep(path, options, command)
    assert read_sweep(path) == options
    assert path.read_text(encoding="utf-8").startswith("# ")


@pytest.mark.parametrize(
    "values",
    [
        {"codecs": "x264,x265[preset=fast,bframes=0]", "rate_points": "2", "frames": 2},
        {"codecs": "nerv[epochs=3]", "set": ["nerv.bits=6"], "seeds": "0,3", "rate_points": "20K,30K"},
        {"codecs": "cnerv,nvrc", "rate_points": "20K", "threads": 1, "conditions": "yuv420", "metrics": "psnr"},
    ],
)  # fmt: skip
def test_the_jobs_are_the_same(tmp_path: Path, small_clip: Path, values: dict[str, Any]) -> None:
    options = SweepOptions(dataset=str(small_clip), **values)
    save_sweep(tmp_path / "s.toml", options, "rdbench run")
    asked, written = (plan(each.sweep(1), "a") for each in (options, read_sweep(tmp_path / "s.toml")))
    assert len(asked) > 1
    assert [job.id for job in written] == [job.id for job in asked]


def test_a_file_that_says_something_else_stays(tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    path.write_text("# mine\ncodecs = ['x264', 'x265']\n")
    save_sweep(path, SweepOptions(codecs="x264,x265"), "rdbench run")
    with pytest.raises(UsageError, match=r"s\.toml is another sweep already"):
        save_sweep(path, SweepOptions(codecs="x264"), "rdbench run")
    assert path.read_text().startswith("# mine")
    with pytest.raises(UsageError, match="cannot be written"):
        save_sweep(tmp_path / "none" / "s.toml", SweepOptions(codecs="x264"), "rdbench run")
    with pytest.raises(UsageError, match="which is UTF-8"):
        save_sweep(tmp_path / "t.toml", SweepOptions(out=Path("a\udc80")), "rdbench run")


def test_a_saved_sweep_runs_and_finds_everything_done(cli: Cli, small_clip: Path, tmp_path: Path) -> None:
    words = ("--codecs", "toy", "--dataset", str(small_clip), "--out", "out", "--threads", "1")
    assert cli("run", *words, "--save-sweep", "sweep.toml").returncode == 0
    lines = (tmp_path / "sweep.toml").read_text().splitlines()
    assert lines[0].startswith("# rdbench run --codecs toy ")
    assert {'codecs = "toy"', 'out = "out"', "threads = 1"} <= set(lines)
    again = cli("run", "sweep.toml")
    assert again.stdout.count("(was there)") == 2, again.stdout
