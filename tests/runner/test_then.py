"""The command at the end of a run: what it gets, how its end is reported, and that it changes nothing."""

from pathlib import Path

import pytest
from conftest import Cli

from rdbench.runner.then import Finished, run_then


def test_the_command_gets_what_became_of_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    command = 'echo "$RDBENCH_OUT $RDBENCH_MEASURED $RDBENCH_FAILED $RDBENCH_STATUS $RDBENCH_SECONDS" > said'
    line = run_then(command, Finished(Path("out"), 3, 1, 12.4))
    assert line == f"--then {command}: exit status 0."
    assert (tmp_path / "said").read_text() == f"{tmp_path}/out 3 1 1 12\n"


@pytest.mark.parametrize(
    ("command", "end"),
    [("exit 3", "exit status 3."), ("kill -9 $$", "ended by signal 9."), ("no-such-program", "exit status 127."),
     ("a\0b", "it cannot be run (embedded null byte).")],
)  # fmt: skip
def test_its_end_is_reported_in_a_line(command: str, end: str) -> None:
    assert run_then(command, Finished(Path("out"), 1, 0, 1.0)).endswith(f": {end}")


def test_its_end_does_not_change_that_of_the_run(cli: Cli, small_clip: Path, tmp_path: Path) -> None:
    run = ("run", "--dataset", str(small_clip), "--out", "out")
    done = cli(*run, "--codecs", "toy", "--then", "exit 9")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "--then exit 9: exit status 9.")
    failed = cli(*run, "--codecs", "toy[crash]", "--then", "echo $RDBENCH_STATUS > status")
    assert (failed.returncode, (tmp_path / "status").read_text()) == (1, "1\n")
    assert failed.stdout.count("the toy broke") == 2  # once for each of the two rate points
    assert "FAILED: ValueError: the toy broke (toy[crash=true]" in failed.stdout
    assert "2 of 2 rate points failed: the lines with FAILED say why" in failed.stdout
