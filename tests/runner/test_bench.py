"""rdbench bench: what is counted, what is refused."""

import json
import statistics

import pytest
import torch
from typer.testing import CliRunner

from rdbench.cli import app
from rdbench.codec import Timing
from rdbench.errors import UsageError
from rdbench.runner.bench import bench, measure_peak, measured_rate
from rdbench.runner.options import ClipOptions
from rdbench.runner.rates import FEWEST_STEPS
from rdbench.runner.session import single_job

OPTIONS = ClipOptions(preset="tiny", frames=4, seed=0, device="cpu", threads=1)


def times(what: str, codec: str, steps: int = 3) -> dict[str, Timing]:
    report = bench(what, single_job(codec, "bunny@160x90", None, OPTIONS), steps)
    return {timing.name: timing for timing in report.timings}


def test_a_fit_counts_three_passes_of_two_operations_for_each_multiplication() -> None:
    """Steps of one frame and of two, against the multiply-accumulates that a run records."""
    job = single_job("nerv[batch=2]", "bunny@160x90", None, OPTIONS)
    report = bench("fit", job, 4)
    assert [timing.name for timing in report.timings] == ["fit", "finetune"]
    timing = report.timings[0]
    assert (len(timing.seconds), timing.frames) == (4, 2)
    one = times("fit", "nerv")["fit"]
    assert timing.flops == 2 * (one.flops or 0)
    rendered = times("decode", "nerv")["render"]
    assert one.flops == pytest.approx(3 * (rendered.flops or 0) / 4)
    row = report.table().iloc[0]
    assert row["per_second"] == pytest.approx(1 / statistics.median(timing.seconds))
    assert row["frames_per_second"] == pytest.approx(2 * row["per_second"])
    assert row["percent_of_peak"] == pytest.approx(100 * 1e9 * row["gflop_per_second"] / report.peaks["float32"])
    assert 0 < row["percent_of_peak"] < 100


@pytest.mark.parametrize("codec", ["nerv", "x265"])
def test_decoding_is_taken_apart(codec: str) -> None:
    found = times("decode", codec)
    whole = statistics.median(found["decode"].seconds)
    assert found["decode"].frames == 4
    assert 0 < statistics.median(found["first frame"].seconds) <= whole
    assert found["middle frame"].frames == 1
    assert statistics.median(found["middle frame"].seconds) > 0
    parts = set(found) - {"decode", "first frame", "middle frame"}
    assert parts == ({"entropy_decode", "render"} if codec == "nerv" else set())
    for whole_run, *runs in zip(found["decode"].seconds, *(found[part].seconds for part in parts), strict=True):
        assert sum(runs) <= whole_run


def test_a_rate_needs_several_steps() -> None:
    job = single_job("nerv", "bunny@160x90", "20K", OPTIONS)
    assert measured_rate("fit", job, bench("fit", job, FEWEST_STEPS - 1)) is None
    report = bench("fit", job, FEWEST_STEPS)
    rate = measured_rate("fit", job, report)
    assert rate is not None
    assert (rate.codec, rate.width, rate.height, rate.size) == ("nerv", 160, 90, 20_000)
    seconds = sum(statistics.median(timing.seconds) for timing in report.timings)
    assert rate.macs_per_second == pytest.approx(sum(timing.flops or 0 for timing in report.timings) / 2 / seconds)


def test_the_peak_is_that_of_a_large_product() -> None:
    torch.set_num_threads(1)
    assert 1e9 < measure_peak("cpu", "float32") < 1e13


def test_the_command_prints_a_table_or_every_sample() -> None:
    command = ["bench", "fit", "nerv", "--dataset", "bunny@160x90", "--frames", "2", "--steps", "2", "--threads", "1"]
    table = CliRunner().invoke(app, command)
    assert table.exit_code == 0, table.output
    assert "percent_of_peak" in table.output
    assert "peak, a large matrix product" in table.output
    report = json.loads(CliRunner().invoke(app, [*command, "--format", "json"]).output)
    assert len(report["timings"][0]["seconds"]) == 2
    assert {"machine", "torch", "peaks", "device", "threads"} <= set(report)


@pytest.mark.parametrize(
    ("what", "codec", "steps", "words"),
    [
        ("fit", "x265", 3, "x265 has no fit; rdbench bench decode x265"),
        ("encode", "nerv", 3, "there are fit and decode"),
        ("fit", "nerv", 0, "at least 1"),
        ("fit", "nerv,x265", 3, "name one"),
    ],
)
def test_what_cannot_be_timed_is_named(what: str, codec: str, steps: int, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        bench(what, single_job(codec, "bunny@160x90", None, OPTIONS), steps)
