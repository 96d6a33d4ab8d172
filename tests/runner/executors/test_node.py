"""A job on a machine without a shared disk: its clip, what it shares, and what comes back."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import make_y4m

from rdbench.runner.executors.node import Files, clip_files, keep, read_files, run_on_node, write_files
from rdbench.runner.options import SweepOptions
from rdbench.runner.resume import job_folder, shared_folder
from rdbench.runner.sweep import Job, plan

X264 = "x264[preset=ultrafast]"


def jobs_of(codecs: str, dataset: str, points: str, frames: int = 2) -> list[Job]:
    options = SweepOptions(
        codecs=codecs, dataset=dataset, rate_points=points, metrics="psnr", threads=1, frames=frames, device="cpu"
    )
    return plan(options.sweep(1), "rdbench run")


def elsewhere(job: Job, path: str = "/nowhere/clip.y4m") -> Job:
    """The job of a machine where the clip has another path."""
    return replace(job, sequence={**job.sequence, "path": path})


def sent(files: Files | None) -> Callable[[], Files]:
    assert files is not None
    kept = files
    return lambda: kept


def test_without_a_shared_disk_the_files_come_back(small_clip: Path, tmp_path: Path) -> None:
    (job,) = jobs_of(X264, str(small_clip), "crf30")
    outcome = run_on_node(job.to_json(), tmp_path / "absent", "token")
    assert not (tmp_path / "absent").exists()
    record = keep(job, tmp_path / "out", outcome)
    assert (record.status, record.id) == ("ok", job.id)
    folder = job_folder(tmp_path / "out", job)
    assert 8 * (folder / "bitstream.bin").stat().st_size == record.bits
    assert {"bitstream.bin.sha256", "frames.csv", "log.txt", "record.json"} <= {path.name for path in folder.iterdir()}


def test_a_shared_output_folder_gets_the_files_itself(small_clip: Path, tmp_path: Path) -> None:
    (job,) = jobs_of(X264, str(small_clip), "crf30")
    out = tmp_path / "out"
    out.mkdir()
    (out / "token").touch()
    assert run_on_node(job.to_json(), out, "token").files == {}
    assert keep(job, out, run_on_node(job.to_json(), out, "token")).status == "ok"


def test_a_clip_that_is_not_there_is_asked_for_and_sent(small_clip: Path, tmp_path: Path) -> None:
    (job,) = jobs_of(X264, str(small_clip), "crf30")
    description = elsewhere(job).to_json()
    assert run_on_node(description, tmp_path / "absent", "token").lacks_clip
    outcome = run_on_node(
        elsewhere(job, str(small_clip.name)).to_json(), tmp_path / "absent", "token", clip=sent(clip_files(small_clip))
    )
    record = keep(job, tmp_path / "out", outcome)
    assert (record.status, record.id, record.clip_sha256) == ("ok", job.id, job.clip_sha256)


def test_another_clip_at_the_same_path_is_not_used(small_clip: Path, tmp_path: Path) -> None:
    (job,) = jobs_of(X264, str(small_clip), "crf30")
    other = make_y4m(tmp_path / "other.y4m", 64, 48, 5)
    assert run_on_node(elsewhere(job, str(other)).to_json(), tmp_path / "absent", "token").lacks_clip


@pytest.mark.slow
def test_a_clip_is_found_by_the_manifest_of_the_machine(tmp_path: Path) -> None:
    (job,) = jobs_of(X264, "bunny@160x90", "crf30")
    record = keep(job, tmp_path / "out", run_on_node(elsewhere(job).to_json(), tmp_path / "absent", "token"))
    assert (record.status, record.id) == ("ok", job.id)


@pytest.mark.slow
def test_what_one_job_made_goes_to_those_that_share_it(tmp_path: Path) -> None:
    clip = make_y4m(tmp_path / "clip.y4m", 96, 64, 2)
    jobs = jobs_of("cnerv[epochs=2]", str(clip), "20K-lambda1,20K-lambda2")
    out = tmp_path / "out"
    first = run_on_node(jobs[0].to_json(), tmp_path / "absent", "token")
    assert keep(jobs[0], out, first).error is None
    folder = shared_folder(out, jobs[0]) / "20000"
    assert (folder / "done").exists()
    artifact = read_files(folder)
    assert artifact["checkpoint.pt"] == first.artifact["checkpoint.pt"]
    second = run_on_node(jobs[1].to_json(), tmp_path / "absent", "token", artifact=sent(artifact))
    assert keep(jobs[1], out, second).error is None
    assert second.artifact == {}
    curves = [outcome.files["fit.csv"].decode().splitlines() for outcome in (first, second)]
    assert curves[0][1] == curves[1][1]  # its time and its PSNR: trained once


def test_a_folder_of_images_is_sent_whole_and_a_large_clip_not_at_all(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    for name in ("1.png", "2.png"):
        (folder / name).write_bytes(name.encode())
    files = clip_files(folder)
    assert files == {"frames/1.png": b"1.png", "frames/2.png": b"2.png"}
    write_files(tmp_path / "there", files)
    assert read_files(tmp_path / "there" / "frames") == {"1.png": b"1.png", "2.png": b"2.png"}
    monkeypatch.setattr("rdbench.runner.executors.node.LARGEST_CLIP", 9)
    assert clip_files(folder) is None
