"""Processes with a time limit: commands, and workers that do one case after the other and say what they find.

Nothing in here raises an error for what a process does: each outcome is a row of the ledger.
"""

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from ledger import DIFFERS, FAILED, LIMIT, NO_TIME, OK, Ledger, Row

WORKER = Path(__file__).with_name("worker.py")
STARTUP_SECONDS = 90.0
"""Most seconds until a worker has imported torch and begins."""
LEAST_SECONDS = 5.0
"""With less time left nothing is started."""
INTERRUPT_SECONDS = 5.0
"""Seconds that a command has to end by itself after its limit."""
TAIL = 700
"""Characters of a process's last words in a row."""


@dataclass(frozen=True)
class Case:
    """A piece of work for a worker: the function `do`, its arguments, and a limit in seconds."""

    name: str
    do: str
    limit: float
    arguments: Mapping[str, Any] = field(default_factory=dict)


class Place:
    """Where processes run: the ledger, the variables, a scratch folder, and the time at which all must have ended."""

    def __init__(self, ledger: Ledger, variables: Mapping[str, str], scratch: Path, end: float, log: Path) -> None:
        self.ledger, self.variables, self.scratch, self.end, self._log = ledger, variables, scratch, end, log

    def left(self) -> float:
        """Seconds until the end."""
        return self.end - time.monotonic()

    @contextlib.contextmanager
    def started(self, command: Sequence[str], **pipes: Any) -> Iterator["subprocess.Popen[str]"]:
        """A process whose standard error goes to the log; it and all that it started end with the block."""
        with self._log.open("a") as log:
            log.write(f"$ {' '.join(command)[:2000]}\n")
            log.flush()
            process = subprocess.Popen(
                command, cwd=self.scratch, env=dict(self.variables), stderr=log, text=True, start_new_session=True,
                **pipes,
            )  # fmt: skip
            try:
                yield process
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def said(self, start: int) -> str:
        """The end of what was logged after position `start`."""
        with self._log.open("rb") as log:
            log.seek(start)
            return " ".join(log.read().decode(errors="replace").split())[-TAIL:]

    def log_size(self) -> int:
        """The position of the log's end."""
        return self._log.stat().st_size if self._log.exists() else 0


@dataclass(frozen=True)
class Finished:
    """How a command ended: a status, its seconds, and its last words where it failed."""

    status: str
    seconds: float
    error: str = ""


def run_command(place: Place, command: Sequence[str], limit: float, output: Path) -> Finished:
    """Runs a command, its standard output into a file, for at most `limit` seconds."""
    limit, started, at = min(limit, place.left()), time.monotonic(), place.log_size()
    if limit < LEAST_SECONDS:
        return Finished(NO_TIME, 0.0)
    with output.open("w") as out, place.started(command, stdout=out) as process:
        try:
            code = process.wait(limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGINT)  # pytest still writes its report
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(INTERRUPT_SECONDS)
            return Finished(LIMIT, time.monotonic() - started, output.read_text()[-TAIL:])
    seconds = time.monotonic() - started
    if code == 0:
        return Finished(OK, seconds)
    return Finished(FAILED, seconds, f"exit status {code}: {place.said(at)} {output.read_text()[-TAIL:]}")


def run_cases(place: Place, part: str, cases: Sequence[Case], limit: float) -> None:
    """Does the cases in one process, and those after a case that ends it or exceeds its limit in another."""
    end = time.monotonic() + min(limit, place.left())
    waiting = list(cases)
    while waiting and end - time.monotonic() >= LEAST_SECONDS:
        done = _run_worker(place, part, waiting, end)
        waiting = waiting[max(1, done) :]
    for case in waiting:
        place.ledger.add(Row(part, case.name, NO_TIME))


def _run_worker(place: Place, part: str, cases: Sequence[Case], end: float) -> int:
    """The number of cases that are finished with, the one at which the worker stopped included."""
    at = place.log_size()
    work = json.dumps([{"do": case.do, "arguments": dict(case.arguments)} for case in cases])
    command = [sys.executable, str(WORKER)]
    with place.started(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        lines = _lines_of(process.stdout)
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(work)
            process.stdin.close()
        watch = _Watch(place, part, cases, end, at)
        while watch.number < len(cases):
            try:
                line = lines.get(timeout=max(0.0, watch.deadline - time.monotonic()))
            except queue.Empty:
                return watch.stopped(LIMIT)
            if line is None:
                return watch.stopped(FAILED, f"the process ended with {process.wait()}: {place.said(at)}")
            watch.hear(json.loads(line))
    return watch.number


def _lines_of(stream: IO[str]) -> "queue.Queue[str | None]":
    """The lines as they come, then None."""
    lines: queue.Queue[str | None] = queue.Queue()

    def read() -> None:
        for line in stream:
            lines.put(line)
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    return lines


class _Watch:
    """What a worker has said so far."""

    def __init__(self, place: Place, part: str, cases: Sequence[Case], end: float, at: int) -> None:
        self._place, self._part, self._cases, self._end, self._at = place, part, cases, end, at
        self.number = 0
        """The case in progress."""
        self._progress: dict[str, Any] = {}
        self._began = time.monotonic()
        self.deadline = min(end, self._began + STARTUP_SECONDS)

    def hear(self, message: Mapping[str, Any]) -> None:
        """Takes one line: `begin` of a case, `progress`, a `row`, or its `end`."""
        now, case = time.monotonic(), self._cases[self.number]
        heard: dict[str, Callable[[], None]] = {
            "begin": lambda: self._begin(now),
            "progress": lambda: self._progress.update(message["values"]),
            "row": lambda: self._row(case, message, now),
            "end": self._next,
        }
        heard[message["kind"]]()

    def _begin(self, now: float) -> None:
        self._began, self._progress = now, {}
        self.deadline = min(self._end, now + self._cases[self.number].limit)

    def _row(self, case: Case, message: Mapping[str, Any], now: float) -> None:
        name = " ".join(filter(None, [case.name, message.get("name", "")]))
        status = FAILED if message.get("error") else OK if message.get("holds", True) else DIFFERS
        values, error = message.get("values", {}), message.get("error", "")
        self._place.ledger.add(Row(self._part, name, status, now - self._began, values, error))
        self._began = now

    def _next(self) -> None:
        self.number += 1
        self.deadline = min(self._end, time.monotonic() + STARTUP_SECONDS)

    def stopped(self, status: str, error: str = "") -> int:
        """Adds a row with how far the case came."""
        seconds, name = time.monotonic() - self._began, self._cases[self.number].name
        self._place.ledger.add(Row(self._part, name, status, seconds, self._progress, error))
        return self.number + 1
