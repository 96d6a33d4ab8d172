"""The frames of a page: within time and bytes, and a note for what cannot be shown."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from report.page.sample import write_records
from typer.testing import CliRunner

from rdbench.cli import app
from rdbench.report.page import ReportOptions, fails, report_data
from rdbench.runner.show import page
from rdbench.runner.show.page import FrameBudget, with_frames
from rdbench.runner.verify.rebuild import Places

pytestmark = pytest.mark.xdist_group("show")
PLACES = Places(device="cpu")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Records of two codecs on three small frames of Bunny."""
    place = tmp_path_factory.mktemp("page")
    command = [
        sys.executable, "-m", "rdbench.cli", "run", "--codecs", "x265[preset=ultrafast],x264[preset=ultrafast]",
        "--dataset", "bunny@160x90", "--frames", "3", "--rate-points", "crf32", "--threads", "1",
        "--metrics", "psnr", "--out", "results",
    ]  # fmt: skip
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return place / "results"


def data_of(*folders: Path) -> dict[str, Any]:
    return report_data(ReportOptions(folders, Path("report.html")))


def framed(data: dict[str, Any], folder: Path, budget: FrameBudget) -> tuple[dict[str, Any], list[str]]:
    """The section of the page, and the lines of progress."""
    lines: list[str] = []
    return with_frames(data, (folder,), budget, PLACES, lines.append)["fails"], lines


def test_a_pair_has_its_frames_and_the_data_are_ready_for_a_page(made: Path) -> None:
    section, lines = framed(data_of(made), made, FrameBudget(2))
    assert section["notes"] == []
    (pair,) = section["comparisons"]
    assert len(pair["shots"]) == 2
    labels = ["x265[preset=ultrafast]", "x264[preset=ultrafast]"]
    assert lines == [f"Frames 1/1: {labels[0]} and {labels[1]} on bunny"] or lines == [
        f"Frames 1/1: {labels[1]} and {labels[0]} on bunny"
    ]
    records = {json.loads(path.read_text())["id"]: json.loads(path.read_text()) for path in made.rglob("record.json")}
    for key, side in zip(pair["ids"], pair["sides"], strict=True):
        assert side["bpp"] == pytest.approx(records[key]["bpp"], rel=1e-5)
    assert json.loads(json.dumps(section)) == section


def test_no_frames_leave_the_data_as_they_are(made: Path) -> None:
    data = data_of(made)
    assert with_frames(data, (made,), FrameBudget(0), PLACES, print) == data


def test_what_takes_too_long_is_left_out_with_a_note(made: Path) -> None:
    section, lines = framed(data_of(made), made, FrameBudget(2, seconds=0))
    assert section["comparisons"] == []
    assert section["notes"] == [
        "Frames of 1 pair of codecs on a sequence were left out, since those of the others took 0 seconds; "
        "--frames-seconds gives it more."
    ]
    assert lines == []


def test_what_does_not_fit_the_page_is_left_out_with_a_note(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fails, "IMAGE_BYTES", 1000)
    section, _ = framed(data_of(made), made, FrameBudget(1))
    assert section["comparisons"] == []
    assert section["notes"][0].startswith("Frames of some pairs of codecs were left out to keep the page small")


def test_records_that_do_not_decode_are_a_note_and_no_crash(tmp_path: Path) -> None:
    write_records(tmp_path, {"alpha": 1.0, "<b>beta</b>": 0.7}, sequences=("A",), files=True)
    section, lines = framed(data_of(tmp_path), tmp_path, FrameBudget(2))
    assert section["comparisons"] == []
    assert len(section["notes"]) == len(lines) == 1
    assert "No frames of " in section["notes"][0]
    assert "bitstream.bin is not beside the record" in section["notes"][0]


def test_of_many_pairs_that_cannot_be_shown_the_page_names_a_few(tmp_path: Path) -> None:
    write_records(tmp_path, dict.fromkeys("abcdefgh", 1.0), sequences=("A",), files=True)
    section, lines = framed(data_of(tmp_path), tmp_path, FrameBudget(2))
    assert len(lines) == 7
    assert len(section["notes"]) == 5
    assert section["notes"][-1] == "The frames of 3 more pairs cannot be shown either."


def test_the_command_writes_frames_into_the_page_or_none(made: Path, tmp_path: Path) -> None:
    output = tmp_path / "page.html"
    done = CliRunner().invoke(app, ["report", str(made), "-o", str(output), "--frames", "2", "--device", "cpu"])
    assert done.exit_code == 0, done.output
    assert output.read_text().count("data:image/webp;base64,") >= 2 * 4
    assert done.stdout == f"Wrote {output}\n"
    done = CliRunner().invoke(app, ["report", str(made), "-o", str(output), "--frames", "0"])
    assert done.exit_code == 0, done.output
    assert "data:image/webp" not in output.read_text()


def test_an_unexpected_error_is_a_note_too(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr(page, "compare_points", broken)
    section, _ = framed(data_of(made), made, FrameBudget(2))
    assert section["notes"][0].endswith(": ZeroDivisionError: by zero")
