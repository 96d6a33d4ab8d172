"""`rdbench clean`: what it removes, and what it never does."""

import json
from pathlib import Path
from threading import Event

import pytest
from conftest import Cli
from filelock import FileLock

from rdbench.errors import UsageError
from rdbench.report.results import Record, write_record
from rdbench.runner.clean import clean
from rdbench.runner.locks import locked_folder


def make_job(out: Path, name: str, status: str | None, **files: int) -> Path:
    """A job's folder with a record of that status, and files of so many bytes; `work_x` lies in its work folder."""
    folder = out / "runs" / name / "files" / "clip" / f"all-{name}"
    (folder / "work").mkdir(parents=True)
    for file, size in files.items():
        (folder / file.replace("work_", "work/")).write_bytes(bytes(size))
    if status is not None:
        record = Record.model_validate(
            {"codec": name, "dataset": "files", "sequence": "clip", "rate_point": "all", "conditions": "rgb601/0",
             "width": 32, "height": 16, "frames": 3, "frame_rate": 25.0, "bit_depth": 8, "status": status, "id": name}
        )  # fmt: skip
        write_record(folder / "record.json", record)
    return folder


def files(out: Path) -> set[str]:
    """All files but locks, by the name of their job and their own."""
    found = (path.relative_to(out / "runs") for path in (out / "runs").rglob("*") if path.is_file())
    return {f"{path.parts[0]}/{'/'.join(path.parts[4:])}" for path in found if path.name != ".lock"}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A finished job, one that failed, and one that was interrupted."""
    out = tmp_path / "results"
    make_job(out, "done", "ok", **{"bitstream.bin": 10, "bitstream.bin.damaged": 11, "work_scratch": 12})
    make_job(out, "bad", "failed", **{"bitstream.bin": 100, "work_scratch": 200})
    make_job(out, "open", None, **{"log.txt": 1, "work_checkpoint.pt": 1000})
    shared = out / "runs" / "done" / "files" / "clip" / "shared-0123456789ab"
    shared.mkdir()
    (shared / "weights").write_bytes(bytes(5))
    return out


ALL = {
    "done/bitstream.bin", "done/bitstream.bin.damaged", "done/work/scratch", "done/record.json", "done/weights",
    "bad/bitstream.bin", "bad/work/scratch", "bad/record.json", "open/log.txt", "open/work/checkpoint.pt",
}  # fmt: skip
KEPT = {"done/bitstream.bin", "done/record.json", "done/weights", "open/log.txt"}
FAILED = {"bad/bitstream.bin", "bad/record.json"}


def test_work_folders_and_damaged_files_are_removed_and_said(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clean(out, failed=False, dry_run=False)
    assert files(out) == KEPT | FAILED
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 5
    assert lines[-1] == "Removed 4 files and folders, 1223 bytes; finished records stay."
    assert any("all-open/work: work folder: its job starts anew, 1000 bytes" in line for line in lines)


def test_failed_records_are_removed_on_request_with_their_empty_folders(out: Path) -> None:
    clean(out, failed=True, dry_run=False)
    assert files(out) == KEPT
    assert not (out / "runs" / "bad").exists()


def test_a_dry_run_removes_nothing(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clean(out, failed=True, dry_run=True)
    assert files(out) == ALL
    record = (out / "runs/bad/files/clip/all-bad/record.json").stat().st_size
    assert f"Would remove 4 files and folders, {1323 + record} bytes" in capsys.readouterr().out


def test_a_job_that_runs_is_left_alone(out: Path) -> None:
    with locked_folder(out / "runs/open/files/clip/all-open", Event()):
        clean(out, failed=True, dry_run=False)
    assert files(out) == KEPT | {"open/work/checkpoint.pt"}


def test_a_record_that_cannot_be_read_is_not_taken_for_a_failed_one(out: Path) -> None:
    path = out / "runs/done/files/clip/all-done/record.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema": 999, "status": "failed"}))
    clean(out, failed=True, dry_run=False)
    assert files(out) == KEPT


def test_a_link_is_not_followed(out: Path, tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").write_text("mine")
    folder = make_job(out, "linked", "failed")
    (folder / "work").rmdir()
    (folder / "work").symlink_to(tmp_path / "precious")
    (out / "runs/bad/files/clip/all-link").symlink_to(tmp_path / "precious")
    clean(out, failed=True, dry_run=False)
    assert (tmp_path / "precious" / "file").read_text() == "mine"


def test_a_folder_that_another_run_writes_to_or_without_results_is_refused(out: Path, tmp_path: Path) -> None:
    with FileLock(out / ".rdbench.lock"), pytest.raises(UsageError, match="Another run"):
        clean(out, failed=True, dry_run=False)
    assert files(out) == ALL
    with pytest.raises(UsageError, match="no results"):
        clean(tmp_path / "other", failed=True, dry_run=False)
    assert not (tmp_path / "other").exists()


def test_the_command(cli: Cli, out: Path) -> None:
    done = cli("clean", str(out), "--failed")
    assert done.returncode == 0, done.stderr
    assert files(out) == KEPT
    assert cli("clean", str(out.parent / "nothing")).returncode == 2
