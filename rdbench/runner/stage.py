"""The stages of a job as processes: start one, read its events, end it when it takes too long or the user stops."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from ..codec import Progress
from ..errors import RdbenchError
from ..processes import describe_status, read_log_tail
from . import guard
from .interrupt import Stopped as Stopped
from .interrupt import requested
from .locks import descriptors
from .sweep import Job

Event = dict[str, Any]
"""A JSON line of a worker process: `event` (`progress`, `result` or `error`) and its values."""


class JobError(RdbenchError):
    """A stage of a job failed; the message goes into the record."""


class StageRunner:
    """Runs the stages of one job, each in its own process, with a log, a time limit and a stop event.

    A guard (`guard.py`) ends the process and what it started should this one die; it holds the lock of the folder.
    """

    def __init__(self, job: Job, folder: Path, progress: Progress, stop: threading.Event, gpu: str | None) -> None:
        self.job, self.folder, self._progress, self._stop = job, folder.resolve(), progress, stop
        self.environment = {
            **os.environ,
            "OMP_NUM_THREADS": str(job.threads),
            "OMP_WAIT_POLICY": "PASSIVE",
            **({"CUDA_VISIBLE_DEVICES": str(gpu)} if gpu is not None else {}),
        }

    def write_job(self) -> Path:
        """Writes the job's description for a worker process; returns the file."""
        path = self.folder / "work" / "job.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(self.job.to_json())
        return path

    def run(self, name: str, command: list[str], cwd: Path | None = None) -> Event:
        """Runs the command of a stage and returns its `result` event. Raises JobError with the reason, or Stopped."""
        log_path = self.folder / "log.txt"
        deadline = time.monotonic() + self.job.timeout if self.job.timeout else None
        with log_path.open("ab") as log:
            log.write(f"== {name}: {' '.join(command)}\n".encode())
            log.flush()
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", guard.__file__, *command], cwd=cwd, stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, stderr=log, env=self.environment, start_new_session=True,
                pass_fds=descriptors(self.folder),
            )  # fmt: skip
        events: list[Event] = []
        reader = threading.Thread(target=self._read_events, args=(name, process, events), daemon=True)
        reader.start()
        try:
            self._wait(name, process, deadline)
        finally:
            _end(process)
            reader.join(timeout=10)
        if events and events[-1]["event"] == "result":
            return events[-1]
        raise JobError(_reason(name, events, process.returncode, log_path))

    def _read_events(self, name: str, process: "subprocess.Popen[bytes]", events: list[Event]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            event = json.loads(line)
            if event["event"] == "progress":
                self._progress(event["done"], event["total"], event["text"] or name)
            else:
                events.append(event)

    def _wait(self, name: str, process: "subprocess.Popen[bytes]", deadline: float | None) -> None:
        while True:
            try:
                process.wait(timeout=0.2)
                return
            except subprocess.TimeoutExpired:
                pass
            if self._stop.is_set() or requested():
                raise Stopped
            if deadline is not None and time.monotonic() > deadline:
                raise JobError(f"{name} took longer than --timeout {self.job.timeout:g} seconds and was ended.")


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Ends the process and everything it started."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, sign)
        except (ProcessLookupError, PermissionError):
            break
        try:
            process.wait(timeout=3)
        except subprocess.TimeoutExpired:
            continue
    process.wait()
    if process.stdin is not None:
        process.stdin.close()


def _reason(name: str, events: list[Event], status: int, log: Path) -> str:
    if events and events[-1]["event"] == "error":
        return str(events[-1]["message"])
    if status == -signal.SIGKILL:
        return f"{name} was killed by the system, most likely because memory ran out; use fewer --jobs."
    return f"{name} ended with {describe_status(status)}: {read_log_tail(log)}"
