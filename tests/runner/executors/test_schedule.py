"""The order in which jobs start: free slots, and rate points that share a pre-training."""

import threading
from pathlib import Path

import pytest
from filelock import FileLock
from sample_jobs import make_job

from rdbench.runner.answers import shared_key
from rdbench.runner.executors.schedule import Schedule, SharedWork, need_of
from rdbench.runner.executors.slots import Need, Slots
from rdbench.runner.locks import locked_folder
from rdbench.runner.nvml import VisibleGpu
from rdbench.runner.resume import job_folder, shared_folder
from rdbench.runner.sweep import Job

SHARING = [make_job("cnerv", f"100K-lambda{weight}") for weight in (1, 2, 3)]


def schedule_of(jobs: list[Job], out: Path, parallel: int = 8) -> Schedule:
    return Schedule(jobs, out, Slots((), 64, parallel), lambda job: Need(job.threads))


def finish(out: Path, job: Job) -> None:
    folder = shared_folder(out, job) / "100000"
    folder.mkdir(parents=True)
    (folder / "done").touch()


def test_one_job_makes_what_several_share_while_the_others_hold_no_slot(tmp_path: Path) -> None:
    other = make_job("x264", "crf30")
    schedule = schedule_of([*SHARING, other], tmp_path, parallel=2)
    first, second = schedule.start()
    assert (first[0].point, second[0]) == ("100K-lambda1", other)
    schedule.end(*second)
    assert schedule.start() == []
    finish(tmp_path, SHARING[0])  # while the first still runs
    assert [job.point for job, _ in schedule.start()] == ["100K-lambda2"]
    assert not schedule.empty


def test_after_a_failure_the_next_one_makes_it(tmp_path: Path) -> None:
    schedule = schedule_of(SHARING, tmp_path)
    (first,) = schedule.start()
    schedule.end(*first)
    assert [job.point for job, _ in schedule.start()] == ["100K-lambda2"]
    assert schedule.start() == []


def test_what_an_earlier_run_made_holds_nobody_up(tmp_path: Path) -> None:
    finish(tmp_path, SHARING[0])
    assert len(schedule_of(SHARING, tmp_path).start()) == 3


def test_jobs_that_share_nothing_start_together(tmp_path: Path) -> None:
    alike = [make_job("nerv", f"{size}K") for size in (50, 100)]
    seeds = [make_job("cnerv", "100K-lambda1", seed=seed) for seed in (0, 1)]
    sizes = [make_job("cnerv", f"{size}K-lambda1", seed=2) for size in (50, 100)]
    jobs = [*alike, *seeds, *sizes]
    assert [job for job, _ in schedule_of(jobs, tmp_path).start()] == jobs


@pytest.mark.parametrize(
    ("codec", "point", "expected"),
    [("cnerv", "100K-lambda1", "100000"), ("nerv", "100K", None), ("x264", "crf30", None), ("gone", "1", None)],
)
def test_the_codec_says_what_it_shares(codec: str, point: str, expected: str | None) -> None:
    assert shared_key(make_job(codec, point)) == expected


def test_the_artifact_is_the_one_that_the_encoder_asks_for(tmp_path: Path) -> None:
    work = SharedWork(tmp_path)
    work.start(SHARING[0])
    assert work.is_made_elsewhere(SHARING[1])
    (tmp_path / "runs").mkdir()
    finish(tmp_path, SHARING[0])
    assert not work.is_made_elsewhere(SHARING[1])
    assert shared_folder(tmp_path, SHARING[0]) == shared_folder(tmp_path, SHARING[2])


def test_a_need_is_the_codecs_expectation_or_what_the_user_says() -> None:
    job = make_job("nerv", "100K", device="cuda", threads=3)
    expected = need_of(job)
    assert (expected.threads, expected.device) == (3, "cuda")
    assert expected.memory_mb is not None
    assert 500 < expected.memory_mb < 2000
    assert need_of(job, 4096.0).memory_mb == 4096.0
    assert need_of(make_job("x264", "crf30", threads=2)) == Need(2)
    assert need_of(make_job("gone", "1", device="cuda")) == Need(1, "cuda", None)


def test_as_many_jobs_share_a_gpu_as_its_memory_permits(tmp_path: Path) -> None:
    jobs = [make_job("nerv", f"{size}K", device="cuda") for size in (50, 60, 70, 80)]
    one = need_of(jobs[0]).memory_mb
    assert one is not None
    slots = Slots((VisibleGpu("1", 2.5 * one),), 64, 8)
    assert [slot.entry for _, slot in Schedule(jobs, tmp_path, slots, need_of).start()] == ["1", "1"]


def test_what_another_run_does_waits_and_the_next_job_starts(tmp_path: Path) -> None:
    first, second = make_job("x264", "crf30"), make_job("x264", "crf20")
    schedule = schedule_of([first, second], tmp_path, parallel=1)
    with locked_folder(job_folder(tmp_path, first), threading.Event()):
        (started,) = schedule.start()
        assert started[0] == second
        schedule.end(*started)
        assert schedule.start() == []
        assert not schedule.empty
    assert [job for job, _ in schedule.start()] == [first]


def test_what_another_run_makes_is_waited_for(tmp_path: Path) -> None:
    folder = shared_folder(tmp_path, SHARING[0]) / "100000"
    folder.mkdir(parents=True)
    with FileLock(folder / ".lock"):
        assert schedule_of(SHARING, tmp_path).start() == []
    assert len(schedule_of(SHARING, tmp_path).start()) == 1
