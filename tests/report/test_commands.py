"""The commands that show results take the same options to choose, name and sort."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from rdbench.cli import app
from rdbench.errors import UsageError

FOLDER = Path(__file__).parents[2] / "results" / "published"
CHOICE = [
    str(FOLDER), "--dataset", "uvg", "--where", 'conditions == "rgb601/published" and sequence in ("Jockey", "Beauty")',
    "--label", "hinerv-original=HiNeRV, 6 bits",
]  # fmt: skip


def call(*arguments: str) -> str:
    done = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_results_have_the_rows_columns_labels_and_order_asked_for() -> None:
    shown = call("results", *CHOICE, "--codecs", "hinerv-original", "--columns", "label,sequence,bpp", "--sort", "-bpp")
    lines = shown.splitlines()
    assert lines[0].split() == ["label", "sequence", "bpp"]
    rates = [float(line.split()[-1]) for line in lines[2:]]
    assert len(rates) == 10
    assert rates == sorted(rates, reverse=True)
    assert all(line.startswith("HiNeRV, 6 bits") for line in lines[2:])
    assert all(
        line.startswith("HiNeRV") for line in call("results", *CHOICE, "--codecs", "HiNeRV, 6 bits").splitlines()[2:]
    )
    assert "bit_depth" in call("results", *CHOICE, "--all").splitlines()[0]


def test_bd_rates_stand_by_sequence_under_the_new_label() -> None:
    lines = call("bdrate", *CHOICE, "--anchor", "vtm-17.0-ra", "--layout", "sequences", "--sort", "Beauty").splitlines()
    assert lines[0].split() == ["codec", "Beauty", "Jockey", "mean"]
    beauty = {line.split("   ")[0]: line for line in lines[2:]}
    # The mean rows of `bdrate` at the head of this project's README are over these curves
    assert "-17.6" in beauty["HiNeRV, 6 bits"]
    assert "83.1" in beauty["HiNeRV, 6 bits"]


def test_a_plot_takes_published_curves_by_name(tmp_path: Path) -> None:
    output = tmp_path / "rd.svg"
    call("plot", *CHOICE, "--codecs", "hinerv-original", "--published", "vtm", "--per-sequence", "-o", str(output))
    text = output.read_text()
    assert "vtm-17.0-ra (published)" in text
    assert "HiNeRV, 6 bits" in text
    assert "uvg: Jockey" in text
    assert "hevc-medium" not in text


def test_a_wrong_condition_stops_each_command(tmp_path: Path) -> None:
    for command in (["results"], ["bdrate", "--anchor", "c3"], ["plot", "-o", str(tmp_path / "rd.png")]):
        with pytest.raises(UsageError, match="did you mean sequence"):
            call(*command, str(FOLDER), "--where", "seqence == 'Jockey'")
