"""A process that imports what workers need once, and forks a worker for each call that comes through a socket.

Started as `python -m rdbench.runner.worker_server SOCKET [torch]` by `workers.py`. It does nothing but import and fork,
so that every worker begins as a fresh interpreter does after its imports: it has seen no clip and no other job, and no
GPU. With `torch`, it also has what torch imports only when a training begins, which takes seconds.
"""

import gc
import importlib
import json
import os
import signal
import socket
import sys
from typing import Any

from . import guard, worker

LONGEST_CALL = 1 << 20
"""Bytes of the longest call."""
MOST_FILES = 16
"""Most descriptors with one call."""
TORCH_MODULES = ("torch", "torch._dynamo", "torch.optim")
"""Modules that training imports; torch imports `_dynamo` when the first optimizer is made."""


def serve(connection: socket.socket) -> None:
    """Forks a supervised worker for each call until the connection ends."""
    while True:
        message, files, _, _ = socket.recv_fds(connection, LONGEST_CALL, MOST_FILES)
        if not message:
            return
        if os.fork() == 0:
            try:
                connection.close()
                _supervise_worker(json.loads(message), files)
            finally:
                os._exit(127)
        for descriptor in files:
            os.close(descriptor)


def _supervise_worker(call: dict[str, Any], files: list[int]) -> None:
    """Becomes the guard of a worker: writes its own process number to the status pipe, and at the end the status."""
    control, output, log, status, *_ = files  # the others are locks, which stay open
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for descriptor, standard in ((control, 0), (output, 1), (log, 2)):
        os.dup2(descriptor, standard)
        os.close(descriptor)
    for name in call["removed"]:
        os.environ.pop(name, None)
    os.environ.update(call["environment"])
    os.chdir(call["folder"])
    os.write(status, b"%d\n" % os.getpid())
    ended = guard.supervise(lambda: guard.fork_child(lambda: _work(call["arguments"], status)))
    os.write(status, b"%d\n" % ended)
    os._exit(0)


def _work(arguments: list[str], status: int) -> None:
    os.close(status)
    code = worker.main(arguments)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def main() -> None:
    """Imports, then serves."""
    connection = socket.socket(fileno=int(sys.argv[1]))
    os.set_inheritable(connection.fileno(), False)
    for name in TORCH_MODULES if "torch" in sys.argv[2:] else ():
        importlib.import_module(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel forgets guards that have ended
    gc.freeze()
    serve(connection)


if __name__ == "__main__":
    main()
