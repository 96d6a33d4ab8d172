"""The stages of a job as processes: start one, read its events, end it when it takes too long or the user stops."""

import json
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from ..codec import Progress
from ..errors import RdbenchError
from ..processes import describe_end
from ..registry import find_card
from .files import LOG, WORK
from .interrupt import Stopped as Stopped
from .interrupt import requested
from .launch import (
    Process,
    StartWorker,
    Surroundings,
    WorkerCall,
    end_process,
    start_command,
    start_fresh_worker,
    worker_environment,
)
from .locks import descriptors
from .sweep import Job

Event = dict[str, Any]
"""A JSON line of a worker process: `event` (`progress`, `stage`, `result` or `error`) and its values."""
END_SECONDS = 3
"""Time between SIGTERM and SIGKILL for a stage (our choice)."""


class JobError(RdbenchError):
    """A stage of a job failed; the message goes into the record."""


class StageRunner:
    """Runs the stages of one job, each in its own process, with a log, a time limit and a stop event.

    A guard (`guard.py`) ends the process and what it started should this one die; it holds the lock of the folder.
    """

    def __init__(
        self, job: Job, folder: Path, progress: Progress, stop: threading.Event, gpu: str | None,
        start: StartWorker = start_fresh_worker,
    ) -> None:  # fmt: skip
        self.job, self.folder, self._progress, self._stop, self._start = job, folder.resolve(), progress, stop, start
        visible = {} if gpu is None else {"CUDA_VISIBLE_DEVICES": str(gpu)}
        self.environment = worker_environment(job.threads) | visible

    def write_job(self) -> Path:
        """Writes the job's description for a worker process; returns the file."""
        path = self.folder / WORK / "job.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(self.job.to_json())
        return path

    def run_worker(self, verb: str, *arguments: Path) -> Event:
        """Runs a verb of the worker (`worker.py`) and returns its `result` event. Raises JobError, or Stopped."""
        encodes = verb == "encode" and find_card(self.job.codec).kind != "conventional"
        torch = encodes or self.job.device != "cpu"  # a GPU measures with it, too
        call = WorkerCall((verb, *map(str, arguments)), torch)
        return self._run(verb, " ".join(call.arguments), lambda around: self._start(call, around), None)

    def run(self, name: str, command: list[str], cwd: Path | None = None) -> Event:
        """Runs the command of a stage and returns its `result` event. Raises JobError with the reason, or Stopped."""
        return self._run(name, " ".join(command), lambda around: start_command(command, around), cwd)

    def _run(self, name: str, title: str, start: Callable[[Surroundings], Process], cwd: Path | None) -> Event:
        log_path = self.folder / LOG
        with log_path.open("ab") as log:
            log.write(f"== {name}: {title}\n".encode())
            log.flush()
            process = start(Surroundings(self.environment, log.fileno(), descriptors(self.folder), cwd))
        stage = _RunningStage(name, process, self.job.timeout, self._progress)
        try:
            stage.wait(self._stop)
        finally:
            stage.end()
        return stage.result(log_path)


class _RunningStage:
    """A process whose events are read while it runs; it may go on to a further stage, which has its own time limit."""

    def __init__(self, name: str, process: Process, timeout: float | None, progress: Progress) -> None:
        assert process.stdout is not None
        self._name, self._process, self._timeout, self._progress = name, process, timeout, progress
        self._deadline = self._new_deadline()
        self._events: list[Event] = []
        self._reader = threading.Thread(target=self._read_events, args=(process.stdout,), daemon=True)
        self._reader.start()

    def _new_deadline(self) -> float | None:
        return time.monotonic() + self._timeout if self._timeout else None

    def _read_events(self, stream: IO[bytes]) -> None:
        for line in stream:
            event = json.loads(line)
            if event["event"] == "progress":
                self._progress(event["done"], event["total"], event["text"] or self._name)
            elif event["event"] == "stage":
                self._name, self._deadline = event["name"], self._new_deadline()
            else:
                self._events.append(event)

    def wait(self, stop: threading.Event) -> None:
        """Waits for the end of the process. Raises JobError after the time limit, and Stopped."""
        while True:
            self._reader.join(0.2)  # its end is seen at once, that of a process only by polling
            try:
                self._process.wait(timeout=0.2 if not self._reader.is_alive() else 0.001)
                return
            except subprocess.TimeoutExpired:
                pass
            if stop.is_set() or requested():
                raise Stopped
            if self._deadline is not None and time.monotonic() > self._deadline:
                raise JobError(f"{self._name} took longer than --timeout {self._timeout:g} seconds and was ended.")

    def end(self) -> None:
        """Ends the process and everything it started."""
        end_process(self._process, END_SECONDS)
        self._reader.join(timeout=10)
        if self._process.stdin is not None:
            self._process.stdin.close()

    def result(self, log: Path) -> Event:
        """The `result` event. Raises JobError with the reason where there is none."""
        if self._events and self._events[-1]["event"] == "result":
            return self._events[-1]
        raise JobError(_reason(self._name, self._events, self._process.returncode or 0, log))


def _reason(name: str, events: list[Event], status: int, log: Path) -> str:
    if events and events[-1]["event"] == "error":
        return str(events[-1]["message"])
    return describe_end(name, status, log)
