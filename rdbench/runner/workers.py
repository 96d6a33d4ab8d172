"""Workers that start in milliseconds: forks of a process that has imported what they need (`worker_server.py`)."""

import json
import os
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ..errors import RdbenchError
from .launch import Process, StartWorker, Surroundings, WorkerCall, start_fresh_worker, worker_environment

_KILLED = -9


@dataclass(frozen=True)
class Expected:
    """Workers that will be needed: whether their work takes torch, and their number of threads."""

    torch: bool
    threads: int


@contextmanager
def prepared_workers(expected: Collection[Expected] = ()) -> Iterator[StartWorker]:
    """Starts workers as forks until the end of the block; where the system is not Linux, as fresh interpreters.

    Elsewhere libraries of the system may not survive a fork. What is `expected` is prepared at once, in the background.
    """
    if sys.platform != "linux":
        yield start_fresh_worker
        return
    servers = _Servers()
    for one in expected:
        servers.prepare(one.torch, worker_environment(one.threads))
    try:
        yield servers.start
    finally:
        servers.close()


class _ForkedWorker:
    """A worker that a server forked, behind its guard; see `launch.Process`."""

    def __init__(self, control: int, output: int, status: int) -> None:
        self.stdin: IO[bytes] | None = os.fdopen(control, "wb")
        self.stdout: IO[bytes] | None = os.fdopen(output, "rb")
        self.returncode: int | None = None
        self._status = os.fdopen(status, "rb", buffering=0)
        first = self._status.readline()
        if not first:
            self.close()
            raise OSError("the server of workers has ended")
        self.pid = int(first)

    def wait(self, timeout: float | None = None) -> int:
        """Waits for the end of the guard. Raises subprocess.TimeoutExpired."""
        if self.returncode is None:
            if not select.select([self._status], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("worker", timeout or 0)
            line = self._status.readline()
            self._status.close()
            self.returncode = os.waitstatus_to_exitcode(int(line)) if line else _KILLED
        return self.returncode

    def close(self) -> None:
        """Closes the pipes of a worker that never started."""
        for stream in (self.stdin, self.stdout, self._status):
            if stream is not None:
                stream.close()


@dataclass(frozen=True)
class _Server:
    connection: socket.socket
    process: "subprocess.Popen[bytes]"
    environment: dict[str, str]
    """What the server was started with; calls give the difference."""

    @classmethod
    def start(cls, torch: bool, environment: dict[str, str]) -> "_Server":
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with its:
            command = [sys.executable, "-P", "-m", "rdbench.runner.worker_server", str(its.fileno())]
            process = subprocess.Popen(
                [*command, *(["torch"] if torch else [])], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                env=environment, pass_fds=[its.fileno()], start_new_session=True,
            )  # fmt: skip
        return cls(ours, process, environment)

    def call(self, call: WorkerCall, surroundings: Surroundings) -> _ForkedWorker:
        """Starts a worker. Raises OSError where the server has ended."""
        control, output, status = os.pipe(), os.pipe(), os.pipe()
        theirs = (control[0], output[1], status[1])
        try:
            files = [control[0], output[1], surroundings.log, status[1], *surroundings.locks]
            socket.send_fds(self.connection, [self._describe(call, surroundings)], files)
        except BaseException:
            for descriptor in (control[1], output[0], status[0]):
                os.close(descriptor)
            raise
        finally:
            for descriptor in theirs:
                os.close(descriptor)
        return _ForkedWorker(control[1], output[0], status[0])

    def _describe(self, call: WorkerCall, surroundings: Surroundings) -> bytes:
        known, wanted = self.environment, surroundings.environment
        described = {
            "arguments": call.arguments,
            "folder": str(surroundings.folder or Path.cwd()),
            "environment": {name: value for name, value in wanted.items() if known.get(name) != value},
            "removed": [name for name in known if name not in wanted],
        }
        return json.dumps(described).encode()

    def end(self) -> None:
        """Ends the server, even one that still imports; workers that run go on until their own pipes close."""
        self.connection.close()
        self.process.kill()
        self.process.wait()


class _Servers:
    """A server for each set of imports and number of threads, started when it is first needed."""

    def __init__(self) -> None:
        self._running: dict[tuple[bool, str | None], _Server] = {}
        self._lock = threading.Lock()

    def prepare(self, torch: bool, environment: Mapping[str, str]) -> _Server:
        """The server for these imports and this number of threads, started if there is none."""
        key = _key(torch, environment)
        if key not in self._running:
            self._running[key] = _Server.start(torch, dict(environment))
        return self._running[key]

    def start(self, call: WorkerCall, surroundings: Surroundings) -> Process:
        """Starts a worker; a server that was ended from outside is replaced, once. Raises RdbenchError."""
        with self._lock:
            for _ in range(2):
                server = self.prepare(call.torch, surroundings.environment)
                try:
                    return server.call(call, surroundings)
                except OSError:
                    self._running.pop(_key(call.torch, surroundings.environment)).end()
        raise RdbenchError("The process that starts workers ends at once; see its message above and run again.")

    def close(self) -> None:
        """Ends all servers."""
        for server in self._running.values():
            server.end()
        self._running.clear()


def _key(torch: bool, environment: Mapping[str, str]) -> tuple[bool, str | None]:
    """What workers of one server share; libraries read the number of threads when they are imported."""
    return torch, environment.get("OMP_NUM_THREADS")
