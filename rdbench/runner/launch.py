"""How a stage of a job gets its process: a fresh interpreter behind a guard, here; `workers.py` forks one instead."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from . import guard


class Process(Protocol):
    """A running stage: the guard that leads its process group. `subprocess.Popen` is one."""

    pid: int
    returncode: int | None
    """Exit status, or minus the number of a signal; None until `wait` has seen the end."""
    stdin: IO[bytes] | None
    """The pipe that keeps the process alive: closing it ends the process."""
    stdout: IO[bytes] | None

    def wait(self, timeout: float | None = None) -> int:
        """Waits for the end. Raises subprocess.TimeoutExpired."""


@dataclass(frozen=True)
class Surroundings:
    """What the process of a stage gets besides its arguments."""

    environment: Mapping[str, str]
    log: int
    """Descriptor of the open log, which becomes standard error."""
    locks: tuple[int, ...] = ()
    """Descriptors that the process keeps open: the locks of the folders in which it works."""
    folder: Path | None = None
    """Working folder; None: this process's own."""


@dataclass(frozen=True)
class WorkerCall:
    """The call of a worker: the verb with its arguments, and whether the work takes torch."""

    arguments: tuple[str, ...]
    torch: bool = False


StartWorker = Callable[[WorkerCall, Surroundings], Process]


def worker_environment(threads: int) -> dict[str, str]:
    """The environment of a worker with so many threads, whatever its GPU."""
    return {**os.environ, "OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "PASSIVE"}


def start_command(command: Sequence[str], surroundings: Surroundings) -> Process:
    """Starts the command as a child of a guard (`guard.py`)."""
    return subprocess.Popen(
        [sys.executable, "-I", "-S", os.fspath(guard.__file__), *command], cwd=surroundings.folder,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=surroundings.log, env=dict(surroundings.environment),
        start_new_session=True, pass_fds=surroundings.locks,
    )  # fmt: skip


def start_fresh_worker(call: WorkerCall, surroundings: Surroundings) -> Process:
    """Starts a worker in an interpreter of its own, which imports what it needs."""
    return start_command([sys.executable, "-P", "-m", "rdbench.runner.worker", *call.arguments], surroundings)


def end_process(process: Process, seconds: float) -> None:
    """Ends the process and everything it started: by SIGTERM, and by SIGKILL where it is still there after a time."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, sign)
        except (ProcessLookupError, PermissionError):
            break
        try:
            process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            continue
    process.wait()
