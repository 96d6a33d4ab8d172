"""The lock of a job's folder: nobody writes there while others do, and it ends with who holds it."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from rdbench.runner.interrupt import Stopped
from rdbench.runner.job import run_job
from rdbench.runner.locks import is_locked, locked_folder
from rdbench.runner.options import ClipOptions
from rdbench.runner.resume import job_folder
from rdbench.runner.session import single_job
from rdbench.runner.stage import StageRunner
from rdbench.runner.sweep import Job

HOLDER = """
import sys, threading
from pathlib import Path
from rdbench.runner.locks import locked_folder
with locked_folder(Path(sys.argv[1]), threading.Event()):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def job(small_clip: Path) -> Job:
    """A job of a few seconds."""
    return single_job("x264", str(small_clip), None, ClipOptions(device="cpu", threads=1))


def hold(folder: Path) -> "subprocess.Popen[str]":
    """Another process that holds the lock."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def ignore(done: float, total: float, text: str) -> None:
    """No progress."""


def test_a_job_waits_for_the_run_that_does_it_and_is_not_done_again(job: Job, tmp_path: Path) -> None:
    folder, records = job_folder(tmp_path, job), []
    other = hold(folder)
    waiting = threading.Thread(
        target=lambda: records.append(run_job(job, tmp_path, ignore, threading.Event())), daemon=True
    )
    waiting.start()
    time.sleep(1)
    assert is_locked(folder)
    assert [path.name for path in folder.iterdir()] == [".lock"]
    other.kill()
    other.wait()
    waiting.join(timeout=60)
    assert [record.status for record in records] == ["ok"]
    assert not is_locked(folder)
    log = (folder / "log.txt").read_bytes()
    assert [run_job(job, tmp_path, ignore, threading.Event())] == records
    assert (folder / "log.txt").read_bytes() == log


def test_who_waits_can_be_stopped(job: Job, tmp_path: Path) -> None:
    stop = threading.Event()
    with locked_folder(job_folder(tmp_path, job), threading.Event()):
        threading.Timer(0.5, stop.set).start()
        with pytest.raises(Stopped):
            run_job(job, tmp_path, ignore, stop)


def test_the_process_of_a_stage_holds_the_lock_too(job: Job, tmp_path: Path) -> None:
    """So that nobody writes there before the worker of a run that was killed is gone."""
    stop, sleeping = threading.Event(), [sys.executable, "-c", "import time; time.sleep(60)"]
    stages, ended = StageRunner(job, tmp_path, ignore, stop, None), threading.Event()

    def run() -> None:
        with pytest.raises(Stopped):
            stages.run("encode", sleeping)
        ended.set()

    with locked_folder(tmp_path, stop):
        thread = threading.Thread(target=run)
        thread.start()
        time.sleep(1)
    assert is_locked(tmp_path)
    stop.set()
    thread.join(timeout=10)
    assert ended.is_set()
    assert not is_locked(tmp_path)


def test_a_lock_ends_with_its_process(tmp_path: Path) -> None:
    process = hold(tmp_path / "job")
    assert is_locked(tmp_path / "job")
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not is_locked(tmp_path / "job")
    assert not is_locked(tmp_path / "none")
