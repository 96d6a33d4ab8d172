"""The end of a run: which anchor, where everything is, and how to go on."""

from pathlib import Path

from conftest import Cli


def test_an_anchor_is_named_before_anything_runs_and_a_chosen_one_is_said(
    cli: Cli, small_clip: Path, tmp_path: Path
) -> None:
    run = ("run", "--codecs", "toy,x264[preset=ultrafast]", "--dataset", str(small_clip), "--rate-points", "2",
           "--out", "my out")  # fmt: skip
    wrong = cli(*run, "--anchor", "x265")
    assert wrong.returncode == 2
    assert "The anchor 'x265' is none of these codecs" in wrong.stderr
    assert "rate point" not in wrong.stdout
    usual = cli(*run)
    assert usual.returncode == 0, usual.stderr
    assert "rate point" in usual.stdout
    assert "; --anchor NAME chooses another." in usual.stdout
    assert "rdbench report 'my out' -o report.html" in usual.stdout
    assert "rdbench bdrate 'my out' --anchor " in usual.stdout
    assert "Page for the browser: my out/report.html" in usual.stdout
    assert "x264[preset=ultrafast]" in (tmp_path / "my out" / "report.html").read_text()
    given = cli(*run, "--anchor", "x264[preset=ultrafast]")
    assert "x264[preset=ultrafast]" in given.stdout
    assert "--anchor NAME" not in given.stdout
    assert "--anchor 'x264[preset=ultrafast]' --layout sequences" in given.stdout
