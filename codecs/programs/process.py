"""Programs that read and write files: run them side by side, watch their logs, end them all when one fails."""

import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

POLL_SECONDS = 0.5


@dataclass(frozen=True)
class Task:
    """A command line, the folder it runs in, and the file that takes all it prints."""

    command: Sequence[str]
    folder: Path
    log: Path


class ProgramFailed(Exception):
    """A task ended with another status than 0; negative: by that signal. OSError: it did not start."""

    def __init__(self, task: Task, status: int) -> None:
        super().__init__(f"{task.command[0]} ended with {describe_status(status)}")
        self.task, self.status = task, status


def describe_status(status: int) -> str:
    """As `exit status 1` or `signal SIGKILL`."""
    if status >= 0:
        return f"exit status {status}"
    with suppress(ValueError):
        return f"signal {signal.Signals(-status).name}"
    return f"signal {-status}"


def run_all(
    tasks: Sequence[Task], at_once: int, show: Callable[[], None] = lambda: None,
    environment: Mapping[str, str] | None = None,
) -> None:  # fmt: skip
    """Runs every task, `at_once` side by side. Raises ProgramFailed or OSError; no process is left behind."""
    waiting = list(reversed(tasks))
    running: list[tuple[Task, subprocess.Popen[bytes]]] = []
    try:
        while waiting or running:
            while waiting and len(running) < max(1, at_once):
                task = waiting.pop()
                running.append((task, _start(task, environment)))
            with suppress(subprocess.TimeoutExpired):
                running[0][1].wait(timeout=POLL_SECONDS)
            show()
            for task, process in list(running):
                if process.poll() is not None:
                    running.remove((task, process))
                    if process.returncode != 0:
                        raise ProgramFailed(task, process.returncode)
    finally:
        for _, process in running:
            process.kill()
            process.wait()


def _start(task: Task, environment: Mapping[str, str] | None) -> "subprocess.Popen[bytes]":
    with task.log.open("wb") as log:
        return subprocess.Popen(
            list(task.command), cwd=task.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
        )  # fmt: skip
