"""Estimated times in words."""

from dataclasses import replace

import pytest
from sample_jobs import make_job

from rdbench.runner.estimates import Planned, duration, totals


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0.0 s"),
        (3.71, "3.7 s"),
        (9.96, "10 s"),
        (40.4, "40 s"),
        (59.6, "1 min"),
        (600, "10 min"),
        (3599, "1 h"),
        (7800, "2 h 10 min"),
        (7200, "2 h"),
        (86_390, "1 day"),
        (90_000, "1 day 1 hour"),
        (1_396_800, "16 days 4 hours"),
        (99 * 86_400 + 86_399, "100 days"),
        (1274316.5 * 60, "885 days"),
        (1e8, "1,157 days"),
    ],
)
def test_durations(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_totals_by_codec_leave_out_what_is_done_and_count_what_is_unknown() -> None:
    slow = [make_job("nerv", f"{n}K", estimate=7200.0) for n in (50, 100)]
    quick = make_job("x265", "crf30", estimate=None)
    planned = [Planned(slow[0], True), Planned(slow[1], False), Planned(quick, False)]
    assert totals(planned) == [
        "nerv: 2 rate points, 1 of them done, about 2 h.",
        "x265: 1 rate point, 1 of unknown length.",
        "In all: 3 rate points, 1 of them done, 1 of unknown length, about 2 h of encoding, one job after another.",
    ]
    assert totals(planned[1:2]) == ["1 rate point, about 2 h of encoding, one job after another."]


def test_a_job_without_a_hash_shows_no_id() -> None:
    job = make_job("x265", "crf30", estimate=40.0)
    assert Planned(job, False).line.startswith(f"{job.id}  x265 ")
    assert Planned(job, False).line.endswith("about 40 s")
    assert Planned(job, True).line.endswith("done")
    unhashed = replace(job, clip_sha256=None)
    assert Planned(unhashed, False).line.startswith("-             x265 ")
    for name in ("id", "family", "identity"):
        with pytest.raises(ValueError, match="hashed"):
            getattr(unhashed, name)
