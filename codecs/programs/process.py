"""Runs programs that read and write files in parallel, and ends all of them when one fails."""

import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from rdbench.errors import EncoderError
from rdbench.processes import describe_status

from .bounded_log import BoundedLog

POLL_SECONDS = 0.5
"""Seconds between two calls of `show` (our choice)."""


@dataclass(frozen=True)
class Task:
    """A command line, its working folder, and the file for everything that it prints."""

    command: Sequence[str]
    folder: Path
    log: Path
    bounded: bool = False
    """Whether only the beginning and the end of a long log are kept."""


@dataclass(frozen=True)
class _Running:
    task: Task
    process: "subprocess.Popen[bytes]"
    log: BoundedLog | None

    def finish(self) -> int | None:
        """The status of a process that has ended, and whose log is complete then; None while it runs."""
        status = self.process.poll()
        if status is not None and self.log is not None:
            self.log.finish()
        return status


class ProgramFailed(Exception):
    """A task ended with a status other than 0 (negative: the signal that ended it)."""

    def __init__(self, task: Task, status: int) -> None:
        super().__init__(f"{task.command[0]} ended with {describe_status(status)}")
        self.task, self.status = task, status


def run_all(
    tasks: Sequence[Task], at_once: int, show: Callable[[], None] = lambda: None,
    environment: Mapping[str, str] | None = None,
) -> None:  # fmt: skip
    """Runs every task, at most `at_once` in parallel, and calls `show` regularly; no process outlives the call.

    Raises ProgramFailed, or OSError for a program that does not start.
    """
    waiting = list(reversed(tasks))
    running: list[_Running] = []
    try:
        while waiting or running:
            while waiting and len(running) < max(1, at_once):
                running.append(_start(waiting.pop(), environment))
            with suppress(subprocess.TimeoutExpired):
                running[0].process.wait(timeout=POLL_SECONDS)
            show()
            for one in list(running):
                if (status := one.finish()) is not None:
                    running.remove(one)
                    if status != 0:
                        raise ProgramFailed(one.task, status)
    finally:
        for one in running:
            one.process.kill()
            one.process.wait()
            one.finish()


def _start(task: Task, environment: Mapping[str, str] | None) -> _Running:
    with task.log.open("wb") as log:
        process = subprocess.Popen(
            list(task.command), cwd=task.folder, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if task.bounded else log, stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
        )  # fmt: skip
    return _Running(task, process, BoundedLog(process.stdout, task.log) if process.stdout is not None else None)


def read_printed(command: Sequence[str], timeout: float, remedy: str) -> str:
    """Everything that a program prints, whatever its exit status. Raises EncoderError where it cannot be run."""
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout, check=False)
    except (OSError, subprocess.SubprocessError) as error:
        raise EncoderError(f"{command[0]} cannot be run ({error}); {remedy}.") from error
    return (done.stdout + done.stderr).decode(errors="replace")
