"""Estimated times in words."""

from dataclasses import replace

import pytest
from sample_jobs import make_job

from rdbench.runner import answers
from rdbench.runner.costs import Basis, Disk, disk, with_estimate
from rdbench.runner.estimates import Planned, advice, amount, basis_lines, duration, totals
from rdbench.runner.rates import Rate, device_name


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


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (0, "1 MB"),
        (1e6, "1.0 MB"),
        (1.01e6, "1.1 MB"),
        (12.1e6, "13 MB"),
        (999e6, "1000 MB"),
        (3.21e9, "3.3 GB"),
        (4e12, "4.0 TB"),
    ],
)
def test_amounts_are_rounded_up(size: float, words: str) -> None:
    assert amount(size) == words


def test_disk_and_memory_of_what_waits_are_in_the_totals() -> None:
    jobs = [make_job("nerv", f"{n}K", estimate=3600.0) for n in (50, 100)]
    costs = [Disk(2_000_000, 5_000_000), Disk(3_000_000, 9_000_000)]
    planned = [
        Planned(job, False, memory_mb=memory, disk=cost)
        for job, cost, memory in zip(jobs, costs, (1024.0, 2048.0), strict=True)
    ]
    assert totals(planned) == [
        "2 rate points, about 2 h of encoding, one job after another, at most 5.0 MB of disk and 9.0 MB more for a job "
        "while it runs, about 2.0 GiB of memory for the largest job."
    ]
    assert "disk" not in totals([replace(one, done=True) for one in planned])[0]


def test_disk_is_an_upper_estimate_of_what_is_known() -> None:
    sized = replace(make_job("nerv", "50K"), point_settings={"size": 50_000}, frames=10)
    assert disk(sized) == Disk(4 * 50_000 + (1 << 20) + 3000, 64 * 50_000)
    other = make_job("x265", "crf30")
    assert disk(other) == Disk(320 * 180 * 4 // 8 + (1 << 20) + 1200, 2 * 4 * 320 * 180 * 3 // 2)


def test_advice_only_above_a_day_and_with_a_gpu_for_networks() -> None:
    day = 86_400.0
    short = Planned(make_job("nerv", "50K", estimate=day - 1), False)
    assert advice([short]) is None
    long = Planned(make_job("nerv", "50K", estimate=20 * day), False, macs=989e12 * 0.005 * 7200)
    assert advice([replace(long, done=True)]) is None
    words = advice([long]) or ""
    assert "the 20 days of training on this CPU may take an H100 about 2 h (estimated from 1% of its" in words
    assert "--preset quick" in words
    conventional = Planned(make_job("vtm", "qp22", estimate=20 * day, preset="quick"), False)
    assert advice([conventional]) == "To shorten it: fewer frames (--frames), fewer rate points (--rate-points 2)."


def test_what_times_are_based_on_is_said_once() -> None:
    rate = Rate("CPU", "nerv", 320, 180, 1.5e9)
    jobs = [make_job("nerv", name, estimate=1.0) for name in ("1K", "2K")]
    lines = basis_lines([Planned(job, False, Basis(rate=rate)) for job in jobs])
    assert len(lines) == 1
    assert "nerv: by its rate" in lines[0]
    assert "320x180 on CPU, 1.5 billion" in lines[0]
    assert "1% of the stated peak of A100" in basis_lines([Planned(jobs[0], False, Basis(stated="A100"))])[0]
    assert basis_lines([Planned(jobs[0], False), Planned(jobs[0], True, Basis(rate=rate))]) == []


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> float:
    """Multiply-accumulates that x265 is taken to need."""
    from rdbench import registry

    monkeypatch.setattr(registry.load_codec("x265"), "encode_macs", lambda self, clip, point: 7.2e12)
    answers._macs.cache_clear()
    return 7.2e12


def test_a_measured_rate_gives_the_time_and_a_stated_peak_only_where_there_is_none(counted: float) -> None:
    job = replace(make_job("x265", "crf30", estimate=5.0), settings={})
    assert with_estimate(job, []) == (job, Basis())
    rate = Rate(device_name("cpu", 1), "x265", 320, 180, 1e9)
    priced, basis = with_estimate(job, [rate])
    assert (priced.estimate, basis) == (counted / 1e9, Basis(rate=rate))
    on_gpu = replace(job, device="cuda", estimate=None)
    priced, basis = with_estimate(on_gpu, [rate])
    assert basis == Basis(stated="H100")
    assert priced.estimate == pytest.approx(counted / (989e12 * 0.005))
    answers._macs.cache_clear()
