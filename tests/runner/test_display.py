"""The line that a run prints for a finished job."""

from io import StringIO
from typing import Any

import pytest
from rich.console import Console
from sample_jobs import BASIC

from rdbench.report.results import Record
from rdbench.runner.display import Display


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (
            {"bpp": 0.5, "psnr_rgb": 30.0, "encode_seconds": 2.0, "decode_seconds": 0.25},
            "crf30: 0.5000 bpp, 30.00 dB, encode 2.0 s, decode 0.25 s (was there)",
        ),
        ({"bpp": 0.5}, "crf30: 0.5000 bpp (was there)"),  # a record of somebody else's making
        ({"status": "failed", "error": "no"}, "crf30: FAILED: no"),
    ],
)
def test_a_finished_job_is_a_line(values: dict[str, Any], words: str) -> None:
    known = {
        "codec": "x264", "dataset": "files", "sequence": "clip", "rate_point": "crf30", "conditions": "rgb601/0",
        "width": 320, "height": 180, "frames": 4, "frame_rate": 25.0, "bit_depth": 8, "status": "ok", "id": "a",
    }  # fmt: skip
    output = StringIO()
    with Display(Console(file=output, width=200), 1) as display:
        display.finished(BASIC, Record(**{**known, **values}), True)
    assert f"[1/1] x264 files:clip {words}" in output.getvalue()
