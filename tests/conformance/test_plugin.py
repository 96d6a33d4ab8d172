"""The plugin through pytest itself, in a process of its own."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import make_y4m
from contract_toy import install_toy

from rdbench.conformance.checks import BY_NAME

Pytest = Callable[..., "subprocess.CompletedProcess[str]"]
DECLARATION = r"""
summary = "Raw frames"
threads_decide_bits = false

[version]
command = ["{ffmpeg}", "-version"]
pattern = 'ffmpeg version (\S+)'

[rate]
label = "q{rate}"
points = [16, 8]

[input]
format = "y4m"

[encode]
command = ["{ffmpeg}", "-i", "{input}", "-c:v", "mpeg4", "-q:v", "{rate}", "-f", "m4v", "{bitstream}"]

[decode]
command = ["{ffmpeg}", "-f", "m4v", "-i", "{bitstream}", "-f", "yuv4mpegpipe", "{output}"]

[output]
format = "y4m"
"""


@pytest.fixture
def run_pytest(tmp_path: Path) -> Pytest:
    """Runs pytest in an empty folder that has clip.y4m, with the toy, with a defect or without."""
    site, folder = tmp_path / "site", tmp_path / "outside"
    site.mkdir()
    folder.mkdir()
    make_y4m(folder / "clip.y4m", 32, 24, 4)

    def call(*arguments: str, defect: str | None = None) -> "subprocess.CompletedProcess[str]":
        if not (site / "contract_toy.py").exists():
            install_toy(site, defect)
        environment = {**os.environ, "PYTHONPATH": str(site), "COLUMNS": "200"}
        environment.pop("PYTEST_ADDOPTS", None)
        return subprocess.run(
            [Path(sys.executable).with_name("pytest"), "-p", "no:cacheprovider", *arguments],
            cwd=folder, env=environment, capture_output=True, text=True, timeout=280, check=False,
        )  # fmt: skip

    return call


def counts(output: str) -> dict[str, int]:
    """What pytest's last line counts."""
    return {word: int(number) for number, word in re.findall(r"(\d+) (\w+)", output.splitlines()[-1].split(" in ")[0])}


def test_a_codec_that_keeps_the_contract_passes(run_pytest: Pytest) -> None:
    done = run_pytest("-v", "--rdbench-codec", "toy", "--rdbench-clip", "clip.y4m")
    assert (done.returncode, counts(done.stdout.strip(" =\n"))) == (0, {"passed": len(BY_NAME)}), done.stdout
    assert set(re.findall(r"toy::(\w+) PASSED", done.stdout)) == set(BY_NAME)


def test_a_failed_check_is_explained_and_those_that_need_it_are_skipped(run_pytest: Pytest) -> None:
    done = run_pytest("-q", "-rs", "--rdbench-codec", "toy", "--rdbench-clip", "clip.y4m", defect="rate_points")
    assert done.returncode == 1
    found = counts(done.stdout)
    assert found["failed"] == 1
    assert found["skipped"] == sum(
        "rate_points" in check.needs or "encode" in check.needs for check in BY_NAME.values()
    )
    check = BY_NAME["rate_points"]
    assert (
        f"rate_points: {check.asks}\n  written in: {check.where}\n  toy: The labels keep, keep are not" in done.stdout
    )
    assert "It needs rate_points, which does not hold." in done.stdout


def test_options_and_a_declared_codec(run_pytest: Pytest, tmp_path: Path) -> None:
    """The options of the plugin, a codec by its file, and a codec with options; `-n 2` distributes them."""
    (tmp_path / "outside" / "mine.toml").write_text(DECLARATION)
    done = run_pytest(
        "-n", "2", "-q", "-rs", "--rdbench-codec", "./mine.toml", "--rdbench-codec", "toy[level=9]",
        "--rdbench-clip", "clip.y4m", "--rdbench-frames", "2", "--rdbench-preset", "none-such",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    found = counts(done.stdout)
    assert found["passed"] + found["skipped"] == 2 * len(BY_NAME)
    assert "This codec has no random access" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("toi",), "There is no codec 'toi'; did you mean toy?"),
        (("toy[levle=1]",), "levle"),
        (("toy", "--rdbench-clip", "no-such"), "no-such"),
        (("toy", "--rdbench-clip", "clip.y4m", "--rdbench-frames", "9"), "The clip has 4 frames, not 9"),
    ],
)
def test_what_cannot_be_checked_is_refused_in_one_sentence(
    run_pytest: Pytest, arguments: tuple[str, ...], sentence: str
) -> None:
    done = run_pytest("-q", "--rdbench-codec", *arguments)
    assert done.returncode == 2
    assert sentence in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert counts(done.stdout) == {"error": 1}


def test_an_unknown_rate_point_fails_the_checks_that_code_it(run_pytest: Pytest) -> None:
    done = run_pytest(
        "-q", "--rdbench-codec", "toy", "--rdbench-clip", "clip.y4m", "--rdbench-rate-point", "keep3"
    )  # fmt: skip
    assert done.returncode == 1
    assert "There is no rate point 'keep3'; there are keep2, keep4." in done.stdout


def test_unused_it_prints_and_imports_nothing(run_pytest: Pytest, tmp_path: Path) -> None:
    (tmp_path / "outside" / "test_own.py").write_text(
        "import sys\n\n\ndef test_own():\n"
        "    ours = {name for name in sys.modules if name.split('.')[0] in ('rdbench', 'numpy', 'torch')}\n"
        "    assert ours <= {'rdbench', 'rdbench.conformance', 'rdbench.conformance.plugin'}, ours\n"
    )
    shown = [
        re.sub(r"in [0-9.]+s", "", run_pytest(*options).stdout) for options in ((), ("-p", "no:rdbench"))
    ]  # fmt: skip
    assert "1 passed" in shown[0]
    assert [line for line in shown[0].splitlines() if not line.startswith("plugins:")] == [
        line for line in shown[1].splitlines() if not line.startswith("plugins:")
    ]


def test_ones_own_tests_run_beside(run_pytest: Pytest, tmp_path: Path) -> None:
    (tmp_path / "outside" / "test_own.py").write_text("def test_own():\n    pass\n")
    codec = ("--rdbench-codec", "toy", "--rdbench-clip", "clip.y4m")
    beside = run_pytest("-q", "test_own.py", *codec)
    assert counts(beside.stdout) == {"passed": 1 + len(BY_NAME)}, beside.stdout
    assert counts(run_pytest("-q", "--co", *codec).stdout.replace("tests collected", "collected"))["collected"] == len(
        BY_NAME
    )
