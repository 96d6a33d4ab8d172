"""A stage's process is ended with all that it started, also where it is sealed."""

import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from rdbench.runner.options import ClipOptions
from rdbench.runner.seal import make_plan, sealed_command
from rdbench.runner.session import single_job
from rdbench.runner.stage import JobError, StageRunner, Stopped

OPTIONS = ClipOptions(preset="tiny", frames=2, seed=0, device="cpu", threads=1)
SCRIPT = """
import json, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time\\nwhile 1: print(end='.', flush=True); time.sleep(.05)"],
                         stdout=open(sys.argv[1], "w"))
time.sleep(60)
"""


def runner(tmp_path: Path, stop: threading.Event, timeout: float | None = None) -> StageRunner:
    """A runner in the folder."""
    job = replace(single_job("x265", "bunny@160x90", None, OPTIONS), timeout=timeout)
    return StageRunner(job, tmp_path, lambda done, total, text: None, stop, None)


def command(tmp_path: Path, *words: str) -> list[str]:
    """The words, sealed."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    return sealed_command(make_plan(scratch, [], []), [sys.executable, *words])


@pytest.mark.parametrize("way", ["timeout", "stop"])
def test_a_sealed_stage_ends_with_everything_that_it_started(way: str, tmp_path: Path) -> None:
    stop, beat = threading.Event(), tmp_path / "beat"
    stages = runner(tmp_path, stop, timeout=2.0 if way == "timeout" else None)
    if way == "stop":
        threading.Timer(2.0, stop.set).start()
    with pytest.raises(JobError if way == "timeout" else Stopped):
        stages.run("decode", command(tmp_path, "-c", SCRIPT, str(beat)))
    count = beat.stat().st_size
    assert count > 0
    time.sleep(0.5)
    assert beat.stat().st_size == count


def test_the_reason_is_that_of_the_sealed_process(tmp_path: Path) -> None:
    stages = runner(tmp_path, threading.Event())
    with pytest.raises(JobError, match="killed by the system"):
        stages.run("decode", command(tmp_path, "-c", "import os; os.kill(os.getpid(), 9)"))
