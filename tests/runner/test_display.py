"""The line that a run prints for a finished job."""

from io import StringIO
from typing import Any

import pytest
from rich.console import Console
from sample_jobs import BASIC, make_job

from rdbench.report.results import Record
from rdbench.runner import display
from rdbench.runner.display import Display, line_interval


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (
            {"bpp": 0.5, "psnr_rgb": 30.0, "encode_seconds": 2.0, "decode_seconds": 0.25},
            "[1/1] x264 files:clip crf30: 0.5000 bpp, 30.00 dB, encode 2.0 s, decode 0.25 s (was there)",
        ),
        ({"status": "failed", "error": "No room."}, "[1/1] FAILED: No room. (x264 files:clip crf30)"),
        ({"bpp": 0.5}, "[1/1] x264 files:clip crf30: 0.5000 bpp (was there)"),  # a record of somebody else's making
    ],
)
def test_a_finished_job_is_a_line(values: dict[str, Any], words: str) -> None:
    known = {
        "codec": "x264", "dataset": "files", "sequence": "clip", "rate_point": "crf30", "conditions": "rgb601/0",
        "width": 320, "height": 180, "frames": 4, "frame_rate": 25.0, "bit_depth": 8, "status": "ok", "id": "a",
    }  # fmt: skip
    output = StringIO()
    with Display(Console(file=output, width=200), [BASIC]) as display:
        display.finished(BASIC, Record(**{**known, **values}), True)
    assert words in output.getvalue()


def test_a_log_of_weeks_stays_readable() -> None:
    """A job that reports each second for thirty days."""
    elapsed, lines = 0.0, 0
    while elapsed < 30 * 86_400:
        elapsed += line_interval(elapsed)
        lines += 1
    assert lines < 250
    assert line_interval(0.0) == 10.0
    assert line_interval(0.0, jobs=4) == 40.0


def test_lines_say_what_remains_over_all_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(display, "line_interval", lambda elapsed, jobs: 0.0)
    output, jobs = StringIO(), [make_job("nerv", name, estimate=3600.0) for name in ("50K", "100K")]
    with Display(Console(file=output, width=200), jobs) as shown:
        shown.progress(jobs[0])(0, 100, "fit 0/100, 20.00 dB")
    assert "nerv clip 50K: fit 0/100, 20.00 dB (0 %); 0 of 2 jobs, about 2 h left" in output.getvalue()
