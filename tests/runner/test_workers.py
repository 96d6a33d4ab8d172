"""Workers that are forks of a prepared process behave as fresh interpreters do, and leave nothing behind."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import IO

import pytest

from rdbench.runner.job import run_job
from rdbench.runner.launch import Process, StartWorker, Surroundings, WorkerCall, start_fresh_worker
from rdbench.runner.options import ClipOptions
from rdbench.runner.session import single_job
from rdbench.runner.stage import JobError, StageRunner, Stopped
from rdbench.runner.sweep import Job
from rdbench.runner.workers import prepared_workers

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="workers are forked on Linux only")
OPTIONS = ClipOptions(preset="tiny", frames=2, seed=0, device="cpu", threads=1)
VARYING = {
    "encode_seconds", "encode_fps", "decode_seconds", "decode_fps", "decode_samples", "decode_cold_seconds",
    "first_frame_seconds", "seek_seconds", "peak_memory_mb", "load", "started", "parts", "render_fps",
}  # fmt: skip


@pytest.fixture(scope="module")
def start() -> Iterator[StartWorker]:
    """Starts workers as forks."""
    with prepared_workers() as start:
        yield start


@pytest.fixture
def log(tmp_path: Path) -> Iterator[IO[bytes]]:
    """A log file."""
    with (tmp_path / "log").open("w+b") as file:
        yield file


def job() -> Job:
    """Two frames of x265."""
    return single_job("x265", "bunny@160x90", None, OPTIONS)


def around(log: IO[bytes], **more: str) -> Surroundings:
    """This process's environment and more."""
    return Surroundings({**os.environ, "OMP_NUM_THREADS": "1", **more}, log.fileno())


def parent(process: int) -> int:
    """The process number of its parent."""
    return int(Path(f"/proc/{process}/stat").read_bytes().rpartition(b")")[2].split()[1])


def child_of(process: Process) -> int:
    """The worker of a guard, once it is there."""
    children, deadline = Path(f"/proc/{process.pid}/task/{process.pid}/children"), time.monotonic() + 10
    while not (found := children.read_text().split()) and time.monotonic() < deadline:
        time.sleep(0.01)
    return int(found[0])


def endless(start: StartWorker, log: IO[bytes], folder: Path, torch: bool = False, **more: str) -> Process:
    """A worker that waits for its job's description in a pipe that nobody writes to."""
    pipe = folder / "pipe"
    if not pipe.exists():
        os.mkfifo(pipe)
    return start(WorkerCall(("encode", str(pipe), "bitstream", "folder", "shared"), torch), around(log, **more))


def end(process: Process) -> None:
    """Ends a worker by its pipe."""
    assert process.stdin is not None
    process.stdin.close()
    process.wait(timeout=30)


def test_a_record_is_that_of_fresh_interpreters(start: StartWorker, tmp_path: Path) -> None:
    records = []
    for way, name in ((start, "forked"), (start_fresh_worker, "fresh")):
        record = run_job(job(), tmp_path / name, lambda *values: None, threading.Event(), None, way)
        assert record.status == "ok", record.error
        kept = {key: value for key, value in record.model_dump().items() if key not in VARYING}
        records.append(json.loads(json.dumps(kept).replace(str(tmp_path / name), "out")))
    assert records[0] == records[1]


def test_an_error_is_an_event_and_its_traceback_is_in_the_log(start: StartWorker, log: IO[bytes]) -> None:
    process = start(WorkerCall(("encode", "/nowhere/job.json", "bitstream", "folder", "shared")), around(log))
    assert process.stdout is not None
    event = json.loads(process.stdout.readline())
    assert event["event"] == "error"
    assert "/nowhere/job.json" in event["message"]
    assert process.wait(timeout=30) == 1
    log.seek(0)
    assert b"Traceback" in log.read()


def test_a_worker_has_the_environment_and_the_folder_that_it_is_given(
    start: StartWorker, log: IO[bytes], tmp_path: Path
) -> None:
    """Of another call of the same server than the first, which brought the server's own environment."""
    end(endless(start, log, tmp_path, FIRST="first"))
    surroundings = replace(around(log, SECOND="second"), folder=tmp_path)
    environment = {name: value for name, value in surroundings.environment.items() if name != "HOME"}
    process = start(
        WorkerCall(("encode", "pipe", "bitstream", "folder", "shared")), replace(surroundings, environment=environment)
    )
    script = tmp_path / "ffmpeg"
    script.write_text(f"#!/bin/sh\nenv > {tmp_path}/env; pwd > {tmp_path}/pwd; exit 1\n")
    script.chmod(0o755)
    (tmp_path / "folder").mkdir()
    with (tmp_path / "pipe").open("w") as pipe:
        pipe.write(replace(job(), ffmpeg=str(script)).to_json())
    assert process.wait(timeout=30) == 1
    seen = dict(line.split("=", 1) for line in (tmp_path / "env").read_text().splitlines() if "=" in line)
    assert seen["SECOND"] == "second"
    assert not {"FIRST", "HOME"} & seen.keys()
    assert (tmp_path / "pwd").read_text().strip() == str(tmp_path.resolve())


def test_many_workers_start_at_once(start: StartWorker, log: IO[bytes]) -> None:
    call = WorkerCall(("encode", "/nowhere/job.json", "bitstream", "folder", "shared"))

    def run(number: int) -> int:
        return start(call, around(log)).wait(timeout=60)

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(run, range(24))) == [1] * 24


def test_closing_its_pipe_ends_a_worker(start: StartWorker, log: IO[bytes], tmp_path: Path) -> None:
    process = endless(start, log, tmp_path)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=0.2)
    end(process)
    assert process.returncode not in (0, None)


def test_a_killed_worker_is_seen_as_killed(start: StartWorker, log: IO[bytes], tmp_path: Path) -> None:
    process = endless(start, log, tmp_path)
    child = child_of(process)
    os.kill(child, signal.SIGKILL)
    assert process.wait(timeout=30) == -signal.SIGKILL


def test_a_killed_guard_takes_its_worker_with_it(start: StartWorker, log: IO[bytes], tmp_path: Path) -> None:
    process = endless(start, log, tmp_path)
    child = child_of(process)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait(timeout=30) == -signal.SIGKILL
    deadline = time.monotonic() + 10
    while Path(f"/proc/{child}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{child}").exists()


def test_a_server_that_was_killed_is_replaced(start: StartWorker, log: IO[bytes], tmp_path: Path) -> None:
    first = endless(start, log, tmp_path)
    server = parent(first.pid)
    end(first)
    os.kill(server, signal.SIGKILL)
    second = endless(start, log, tmp_path)
    assert parent(second.pid) != server
    end(second)


def test_torch_is_there_only_where_it_is_asked_for(start: StartWorker, log: IO[bytes], tmp_path: Path) -> None:
    found = []
    for torch in (False, True):
        process = endless(start, log, tmp_path, torch)
        found.append("libtorch" in Path(f"/proc/{parent(process.pid)}/maps").read_text())
        end(process)
    assert found == [False, True]


def test_servers_end_with_the_block(log: IO[bytes], tmp_path: Path) -> None:
    with prepared_workers() as start:
        process = endless(start, log, tmp_path)
        server = parent(process.pid)
        end(process)
    assert not Path(f"/proc/{server}").exists()


@pytest.mark.parametrize("way", ["timeout", "stop"])
def test_a_forked_stage_ends_in_time(way: str, start: StartWorker, tmp_path: Path) -> None:
    limited = replace(job(), timeout=1.0 if way == "timeout" else None)
    stop = threading.Event()
    stages = StageRunner(limited, tmp_path, lambda *values: None, stop, None, start)
    os.mkfifo(tmp_path / "pipe")
    if way == "stop":
        threading.Timer(1.0, stop.set).start()
    began = time.monotonic()
    with pytest.raises(JobError if way == "timeout" else Stopped):
        stages.run_worker("encode", *(tmp_path / name for name in ("pipe", "bitstream", "folder", "shared")))
    assert time.monotonic() - began < 15
