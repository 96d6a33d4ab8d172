"""What remains of a run, by a clock of the test."""

from sample_jobs import make_job

from rdbench.runner.remaining import Remaining
from rdbench.runner.sweep import Job


class Clock:
    """Seconds that the test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def _jobs(*estimates: float | None, codec: str = "x265") -> list[Job]:
    return [make_job(codec, f"crf{number}", estimate=seconds) for number, seconds in enumerate(estimates)]


def test_estimates_count_until_something_is_measured_and_are_corrected_then() -> None:
    clock, jobs = Clock(), _jobs(100, 100, 300)
    run = Remaining(jobs, clock)
    assert run.text() == "0 of 3 jobs, about 8 min left"
    run.start(jobs[0])
    clock.now = 200.0
    run.finish(jobs[0], worked=True)
    assert run.text() == "1 of 3 jobs, about 13 min left"  # twice the estimated 400 s


def test_a_running_job_is_judged_by_the_speed_of_its_stage() -> None:
    clock, jobs = Clock(), _jobs(None)
    run = Remaining(jobs, clock)
    run.start(jobs[0])
    assert run.text() == "0 of 1 jobs"
    clock.now = 1000.0
    run.progress(jobs[0], 50, 100)  # resumed: half of it was there
    clock.now = 1100.0
    run.progress(jobs[0], 60, 100)
    assert run.text() == "0 of 1 jobs, about 7 min left"  # 40 of 100 at 0.1 a second
    clock.now = 1500.0
    run.progress(jobs[0], 1, 10)  # the next stage
    clock.now = 1502.0
    run.progress(jobs[0], 2, 10)
    assert run.text() == "0 of 1 jobs, about 16 s left"


def test_a_running_job_says_something_of_the_waiting_ones_of_its_codec() -> None:
    clock, jobs = Clock(), _jobs(10, 20)
    run = Remaining(jobs, clock)
    run.start(jobs[0])
    run.progress(jobs[0], 0, 100)
    clock.now = 50.0
    run.progress(jobs[0], 50, 100)
    assert run.text() == "0 of 2 jobs, about 4 min left"  # 50 s, and 20 s times 100 / 10


def test_jobs_side_by_side_share_the_rest_but_none_ends_before_itself() -> None:
    clock, jobs = Clock(), _jobs(100, 100, 100, 100)
    run = Remaining(jobs, clock)
    for job in jobs[:2]:
        run.start(job)
    assert run.text() == "0 of 4 jobs, about 3 min left"
    for job in jobs[1:]:
        run.finish(job, worked=False)
    assert run.text() == "3 of 4 jobs, about 2 min left"


def test_what_is_unknown_makes_it_a_lower_bound_and_failures_teach_nothing() -> None:
    clock = Clock()
    jobs = [*_jobs(100), *_jobs(None, None, codec="vtm")]
    run = Remaining(jobs, clock)
    assert run.text() == "0 of 3 jobs, at least 2 min left"
    run.start(jobs[1])
    clock.now = 5.0
    run.finish(jobs[1], worked=False)
    assert run.text() == "1 of 3 jobs, at least 2 min left"
    run.finish(jobs[0], worked=False)
    assert run.text() == "2 of 3 jobs"
    run.finish(jobs[2], worked=False)
    assert run.text() == "3 of 3 jobs"
