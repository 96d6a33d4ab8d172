"""What an earlier run left: finished jobs under other numbers of threads, records that lack a metric."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from rdbench.clips.dataset import Sequence
from rdbench.report.results import RECORD, Record, write_record
from rdbench.runner.resume import finished_record, job_folder, kept_record, missing_metrics, with_earlier_threads
from rdbench.runner.sweep import Job, digest
from rdbench.video import VideoFormat
from rdbench.video.pipe import format_to_dict

JOB = Job(
    codec="x264", name="x264", codec_version="libx264 1 abcdef01", settings={"preset": "fast"},
    sequence=Sequence("clip", "files", "/nowhere/clip.y4m").to_dict(),
    format=format_to_dict(VideoFormat(320, 180, "420", 8, Fraction(25))), clip_sha256="0" * 64, frames=8,
    point="crf28", point_settings={"crf": 28}, conditions="rgb601", seed=0, command="rdbench run", threads=4,
)  # fmt: skip


def finish(out: Path, job: Job, **changes: Any) -> None:
    values: dict[str, Any] = {
        "codec": job.name, "dataset": "files", "sequence": "clip", "rate_point": job.point, "conditions": "rgb601/0",
        "width": 320, "height": 180, "frames": 8, "frame_rate": 25.0, "bit_depth": 8, "status": "ok", "id": job.id,
        "psnr_rgb": 30.0, "ms_ssim": 0.9, "ms_ssim_db": 10.0, "threads": job.threads,
    }  # fmt: skip
    write_record(job_folder(out, job) / RECORD, Record(**{**values, **changes}))


def interrupt(out: Path, job: Job) -> None:
    (job_folder(out, job) / "work").mkdir(parents=True)


@pytest.mark.parametrize(
    "change",
    [
        {"threads": 2}, {"device": "cuda"}, {"precision": "bfloat16"}, {"codec_version": "libx264 1 abcdef02"},
        {"settings": {"preset": "slow"}}, {"clip_sha256": "1" * 64}, {"frames": 7}, {"conditions": "yuv420"},
        {"seed": 1}, {"point_settings": {"crf": 29}},
    ],
)  # fmt: skip
def test_whatever_decides_the_bits_is_part_of_the_id(change: dict[str, Any]) -> None:
    other = replace(JOB, **change)
    assert other.id != JOB.id
    assert (other.family != JOB.family) == ("point_settings" not in change)


@pytest.mark.parametrize(
    "change",
    [{"jobs": 2}, {"command": "rdbench run --jobs 2"}, {"timeout": 5.0}, {"metrics": ("psnr",)}, {"preset": "quick"},
     {"threads_given": True}, {"ffmpeg": "ffmpeg"}, {"device": "cpu:0"}],
)  # fmt: skip
def test_what_does_not_decide_the_bits_is_not(change: dict[str, Any]) -> None:
    assert replace(JOB, **change).id == JOB.id


def test_threads_count_only_where_they_decide_the_bits() -> None:
    free = replace(JOB, threads_decide_bits=False)
    assert replace(free, threads=1).id == free.id


def test_a_codec_file_is_identified_by_its_name_and_version_not_by_its_place() -> None:
    assert replace(JOB, codec="/a/mine.toml").id == replace(JOB, codec="/b/mine.toml").id != JOB.id


def test_the_id_is_the_hash_of_the_identity() -> None:
    assert digest(JOB.identity) == JOB.id
    assert JOB.identity["threads"] == 4
    assert Job.from_json(JOB.to_json()) == JOB


def test_a_finished_job_is_not_repeated_for_other_threads(tmp_path: Path) -> None:
    before = replace(JOB, threads=1)
    finish(tmp_path, before)
    found = with_earlier_threads(JOB, tmp_path)
    assert found == before
    assert finished_record(tmp_path, found) is not None


def test_threads_that_the_user_asks_for_are_obeyed(tmp_path: Path) -> None:
    finish(tmp_path, replace(JOB, threads=1))
    asked = replace(JOB, threads_given=True)
    assert with_earlier_threads(asked, tmp_path) == asked


def test_another_seed_or_rate_point_is_not_mistaken_for_an_earlier_run(tmp_path: Path) -> None:
    finish(tmp_path, replace(JOB, threads=1, seed=1))
    finish(tmp_path, replace(JOB, threads=1, point_settings={"crf": 29}))
    assert with_earlier_threads(JOB, tmp_path) == JOB


def test_an_interrupted_job_continues_with_its_threads_unless_they_are_more_than_its_share(tmp_path: Path) -> None:
    fewer, more = replace(JOB, threads=2), replace(JOB, threads=8)
    interrupt(tmp_path, more)
    assert with_earlier_threads(JOB, tmp_path) == JOB
    interrupt(tmp_path, fewer)
    assert with_earlier_threads(JOB, tmp_path) == fewer
    finish(tmp_path, more)
    assert with_earlier_threads(JOB, tmp_path) == more  # finished: nothing is left to run
    finish(tmp_path, JOB)
    assert with_earlier_threads(JOB, tmp_path) == JOB


def test_a_failed_job_is_not_finished(tmp_path: Path) -> None:
    finish(tmp_path, replace(JOB, threads=1), status="failed", error="no")
    assert with_earlier_threads(JOB, tmp_path).id != JOB.id  # tried again with its number of threads
    assert finished_record(tmp_path, replace(JOB, threads=1)) is None


def test_a_record_that_was_moved_under_another_id_is_not_kept(tmp_path: Path) -> None:
    finish(tmp_path, JOB, id="0123456789ab")
    assert kept_record(tmp_path, JOB) is None


@pytest.mark.parametrize(
    ("metrics", "there", "lacking"),
    [
        (("psnr", "ms_ssim"), {"ms_ssim": None}, ("ms_ssim",)),
        (("psnr", "ms_ssim", "vmaf"), {"ms_ssim": None}, ("ms_ssim", "vmaf")),
        (("psnr", "ms_ssim"), {}, ()),
        (("psnr",), {"ms_ssim": None}, ()),
        (("psnr", "ms_ssim"), {"ms_ssim": None, "height": 160}, ()),  # too small for five scales
        (("psnr", "vmaf"), {"vmaf": 80.0}, ()),
    ],
)
def test_missing_metrics(
    tmp_path: Path, metrics: tuple[str, ...], there: dict[str, Any], lacking: tuple[str, ...]
) -> None:
    job = replace(JOB, metrics=metrics)
    finish(tmp_path, job, **there)
    record = kept_record(tmp_path, job)
    assert record is not None
    assert missing_metrics(record, job) == lacking
    assert (finished_record(tmp_path, job) is None) == bool(lacking)
