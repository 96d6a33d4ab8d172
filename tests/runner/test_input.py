"""Values that no sweep can have: one sentence each, never a traceback, from a file and from the command line."""

import math
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any

import pytest
from conftest import Cli
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rdbench.errors import UsageError
from rdbench.runner.options import SweepOptions, read_sweep

LARGE = 10**30
TEXT = '"bunny"'
WRONG = {
    "codecs": ["4", "true", "[]", '""', '["x264", 4]', '"a\\u0000b"', "{x264 = 4}"],
    "dataset": ["4", "[]", '""', '["bunny", 4]', '"a\\u0000b"', "1979-05-27"],
    "frames": ["0", "-1", "2.0", "true", '"8"', "[8]", "nan"],
    "rate_points": ["0", "-1", "true", "4.0", "[]", '""', '"0"', '"99999999999"', "{}"],
    "preset": ["4", "[]", '""', "true"],
    "set": ["4", "[4]", "{x264 = 4}", '[""]'],
    "conditions": ["601", '""', "[]"],
    "metrics": ["4", "[]", '""', '["psnr", 4]'],
    "seed": ["-1", "1.0", "true", '"0"', "[0]", "9223372036854775808"],
    "seeds": ["-1", "[0, -1]", "[0.5]", '"0;1"', "true", "[true]", '"²"', '"9223372036854775808"', "[]", '","'],
    "precision": ["4", "true", '"float8"', '""'],
    "device": ["4", '"gpu"', '"cuda:"', '"cuda:-1"', '"cuda:x"', '"cuda:²"', '"mps"', '"CPU"', '"cpu\\n"'],
    "threads": ["0", "-1", "1.5", "true", '"4"', "1000000000000000000000000000000"],
    "timeout": ["0", "-1", "nan", "inf", "-inf", "1e300", "true", '"60"', "[60]"],
    "data_root": ["4", '""', '"a\\u0000b"', "[]"],
    "ffmpeg": ["4", '""', "false"],
    "out": ["4", '""', '"a\\u0000b"', "[]"],
    "anchor": ["4", "true", '""', "[]", '"a\\u0000b"'],
    "executor": ['"slurms"', "4", '""'],
    "jobs": ["0", "-1", "1.5", "true", '"2"'],
    "gpu_memory": ["0", "-1", "1.5", "true", '"2"', "99999999999"],
    "slurm": ["4", "[4]", '"gpu"', '["time=60", "=1"]', '"partition="', "{partition = 1}", '"-p=gpu"'],
}


def read(folder: Path, text: str) -> SweepOptions:
    path = folder / "sweep.toml"
    path.write_text(text, encoding="utf-8")
    return read_sweep(path)


def is_one_sentence(text: str) -> bool:
    return text.endswith(".") and "\n" not in text and len(text) < 600 and "Traceback" not in text


def test_every_key_has_wrong_values() -> None:
    assert set(WRONG) == set(SweepOptions.model_fields)


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in WRONG.items() for value in values])
def test_a_wrong_value_is_refused_by_its_key(tmp_path: Path, key: str, value: str) -> None:
    with pytest.raises(UsageError, match=rf"cannot have {key} = .*; give ") as refused:
        read(tmp_path, f"{key} = {value}\n")
    assert is_one_sentence(str(refused.value))


@pytest.mark.parametrize(
    ("line", "field", "expected"),
    [
        ("rate_points = 4", "rate_points", "4"),
        ('rate-points = ["crf27", "crf32"]', "rate_points", "crf27,crf32"),
        ("rate_points = [27, 32]", "rate_points", "27,32"),
        ("seeds = [0, 1]", "seeds", "0,1"),
        ("seeds = 7", "seeds", "7"),
        ('codecs = ["nerv", "x265[preset=medium,bframes=0]"]', "codecs", "nerv,x265[preset=medium,bframes=0]"),
        ('dataset = ["bunny@160x90", "carphone"]', "dataset", ("bunny@160x90", "carphone")),
        ('dataset = "uvg:Jockey,Beauty"', "dataset", ("uvg:Jockey,Beauty",)),
        ('metrics = ["psnr", "vmaf"]', "metrics", "psnr,vmaf"),
        ('set = ["nerv.epochs=3"]', "set", ("nerv.epochs=3",)),
        ('device = "cuda:1"', "device", "cuda:1"),
        ("timeout = 60", "timeout", 60.0),
        ('out = "kept"', "out", Path("kept")),
    ],
)
def test_right_values(tmp_path: Path, line: str, field: str, expected: object) -> None:
    assert getattr(read(tmp_path, line), field) == expected


def test_datasets_are_kept_apart_and_named_once(tmp_path: Path) -> None:
    options = read(tmp_path, 'codecs = "x264"\ndataset = ["bunny", "carphone", "bunny"]\n')
    assert options.sweep(1).datasets == ("bunny", "carphone")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("frmes = 8", "unknown key 'frmes'; did you mean frames"),
        ("thread = 8", "did you mean threads"),
        ("[sweep]\nframes = 8", "unknown key 'sweep'"),
        ("rate-points = 4\nrate_points = 5", "rate_points twice"),
        ("frames = ", "cannot be read"),
        ("frames = " + "[" * 100_000, "simplify it"),
        (f"frames = {'9' * 5000}", "simplify it"),
    ],
)
def test_a_wrong_file_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as refused:
        read(tmp_path, text)
    assert "sweep.toml" in str(refused.value)


def test_a_file_that_is_not_text_or_not_there(tmp_path: Path) -> None:
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    for name in ("bytes.toml", "missing.toml", "."):
        with pytest.raises(UsageError, match="cannot be read"):
            read_sweep(tmp_path / name)


scalars = st.one_of(
    st.text(max_size=20),
    st.integers(-LARGE, LARGE),
    st.floats(),
    st.booleans(),
    st.datetimes(timezones=st.just(UTC)),
    st.dates(),
    st.times(),
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
)


def toml(value: Any) -> str:
    """The value as TOML."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"' + "".join(c if c.isalnum() and c.isascii() else _escaped(c) for c in value) + '"'
    if isinstance(value, float) and not math.isfinite(value):
        return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"
    if isinstance(value, list):
        return f"[{', '.join(toml(part) for part in value)}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{toml(key)} = {toml(part)}' for key, part in value.items())}}}"
    return value.isoformat() if isinstance(value, date | time | datetime) else repr(value)


def _escaped(character: str) -> str:
    code = ord(character)
    return "?" if 0xD800 <= code < 0xE000 else f"\\U{code:08x}"


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(key=st.sampled_from(sorted(SweepOptions.model_fields)), value=values)
def test_any_value_of_any_key_is_accepted_or_refused(tmp_path: Path, key: str, value: Any) -> None:
    problem, options = "", SweepOptions()
    try:
        options = read(tmp_path, f"{key} = {toml(value)}\n")
    except UsageError as refused:
        problem = str(refused)
    assert not problem or is_one_sentence(problem)
    complete = SweepOptions(codecs="x264", dataset="bunny").over(options)
    assert complete.sweep(complete.run_options().jobs).seeds


@pytest.mark.parametrize(
    "arguments",
    [
        ["--rate-points", "²"],
        ["--rate-points", "0"],
        ["--rate-points", "-4"],
        ["--rate-points", "9" * 5000],
        ["--rate-points", ""],
        ["--seeds", "²"],
        ["--seed", "-1"],
        ["--seed", str(LARGE)],
        ["--threads", "0"],
        ["--threads", str(LARGE)],
        ["--device", "gpu"],
        ["--device", "cuda:-1"],
        ["--frames", "0"],
        ["--codecs", "~no-such-user/mine.toml"],
        ["--dataset", "~no-such-user"],
        ["--dataset", "a" * 5000],
        ["--data-root", "a" * 5000, "--dataset", "uvg"],
        ["--ffmpeg", "a" * 5000],
        ["--conditions", "²"],
        ["--metrics", ",,"],
        ["--preset", "²"],
        ["--set", "x264.=²"],
    ],
)
def test_plan_refuses_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], small_clip: Path, arguments: list[str]
) -> None:
    given_by_all = ["rdbench", "plan", "--codecs", "x264", "--dataset", str(small_clip)]
    assert_refused([*given_by_all, *arguments], monkeypatch, capsys)


@pytest.mark.parametrize(
    "arguments",
    [["--timeout", "0"], ["--timeout", "nan"], ["--timeout", "1e300"], ["--jobs", "0"], ["--executor", "slurms"]],
)
def test_run_refuses_before_anything_is_written(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    small_clip: Path,
    tmp_path: Path,
    arguments: list[str],
) -> None:
    out = tmp_path / "out"
    words = ["rdbench", "run", "--codecs", "x264", "--dataset", str(small_clip), "--out", str(out), *arguments]
    assert_refused(words, monkeypatch, capsys)
    assert not out.exists()


@pytest.mark.parametrize("arguments", [["--device", "gpu"], ["--threads", "0"], ["--threads", "-3"]])
def test_decode_refuses(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: list[str]
) -> None:
    (tmp_path / "b").write_bytes(b"RDBS")
    words = ["rdbench", "decode", str(tmp_path / "b"), "-o", str(tmp_path / "o.y4m"), *arguments]
    error = assert_refused(words, monkeypatch, capsys)
    assert arguments[0] in error


def assert_refused(words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """Runs the command line in this process; returns the sentence."""
    from rdbench.cli import main

    monkeypatch.setattr("sys.argv", words)
    with pytest.raises(SystemExit) as end:
        main()
    error = capsys.readouterr().err.strip()
    assert end.value.code in (1, 2)
    assert error.startswith("rdbench: "), error
    assert is_one_sentence(error.replace("a" * 1000, "")), error
    return error


def test_several_datasets_make_one_sweep(cli: Cli, small_clip: Path, tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text(f'codecs = ["toy"]\ndataset = ["{small_clip}", "bunny@160x90"]\nframes = 2\n')
    planned = cli("plan", "s.toml")
    assert planned.returncode == 0, planned.stderr
    table = planned.stdout.partition("Note:")[0]
    assert table.count(":small ") == 2
    assert table.count("bunny@160x90:") == 2


def test_more_rate_points_than_there_are_is_said(cli: Cli, small_clip: Path) -> None:
    planned = cli("plan", "--codecs", "toy", "--dataset", str(small_clip), "--rate-points", "9")
    assert planned.returncode == 0, planned.stderr
    assert "toy has 2 rate points, not 9; all of them are used." in planned.stderr
    assert "2 rate points, 2 of unknown length, at most " in planned.stdout
    assert "not 2" not in cli("plan", "--codecs", "toy", "--dataset", str(small_clip), "--rate-points", "2").stderr
