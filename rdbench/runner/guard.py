"""Runs the work of a stage in a child process and ends it, with all that it started, when the run is gone.

A command is run by `python -I -S guard.py command...`, so that nothing of rdbench is imported; a worker that
`worker_server.py` forks is supervised by the same functions. The guard's standard input is a pipe whose other end only
the process of the run holds: the kernel closes that end when the run dies, even by SIGKILL. The guard leads the process
group of its child, and exits as the child does.
"""

import ctypes
import os
import resource
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

GRACE_SECONDS = 2.0
"""Time between SIGTERM and SIGKILL for the command and what it started (our choice)."""
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36


def _control(option: int, value: int) -> None:
    """Calls prctl, which only Linux has; elsewhere nothing happens."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, ctypes.c_ulong(value), 0, 0, 0)


def fork_child(work: Callable[[], None]) -> int:
    """Forks a process without standard input that does the work; the kernel ends it should the guard die first."""
    guard, child = os.getpid(), os.fork()
    if child:
        return child
    try:
        _control(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == guard:
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            work()
    finally:
        os._exit(127)


def _run(command: list[str]) -> None:
    """Puts the command in the place of this process."""
    for sign in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores both, and a program would inherit that
        signal.signal(sign, signal.SIG_DFL)
    try:
        os.execvp(command[0], command)
    except OSError as error:
        os.write(2, f"{command[0]} cannot be run ({error.strerror}).\n".encode())


def _descendants() -> Iterator[int]:
    """The processes below this one, with those that left its group; none where there is no /proc."""
    parents: dict[int, int] = {}
    for name in os.listdir("/proc") if os.path.isdir("/proc") else ():
        with suppress(OSError, ValueError, IndexError), open(f"/proc/{name}/stat", "rb") as file:
            # the second field is the program's name in parentheses, which may itself contain any character
            parents[int(name)] = int(file.read().rpartition(b")")[2].split()[1])
    for process in parents:
        above: int | None = parents[process]
        while above is not None and above != os.getpid():
            above = parents.get(above)
        if above is not None:
            yield process


def _reap(child: int) -> int | None:
    """Collects all processes that have ended; returns the status of `child` where it is among them."""
    status = None
    with suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            if ended[0] == child:
                status = ended[1]
    return status


def _wait(child: int, wakeup: int) -> int | None:
    """The status of the child; None where it is to be ended, by the end of the pipe or by SIGTERM."""
    while True:
        if (status := _reap(child)) is not None:
            return status
        ready = select.select([0, wakeup], [], [])[0]
        if 0 in ready and not os.read(0, 1):
            return None
        if wakeup in ready and signal.SIGTERM in os.read(wakeup, 64):
            return None


def _end(child: int) -> int | None:
    """Ends everything: SIGTERM, then SIGKILL after GRACE_SECONDS; returns the status of the child."""
    os.killpg(0, signal.SIGTERM)
    status, deadline = None, time.monotonic() + GRACE_SECONDS
    while status is None and time.monotonic() < deadline:
        time.sleep(0.02)
        status = _reap(child)
    return status


def _sweep() -> None:
    """Ends what is left below this process; what is started meanwhile is found in the next round."""
    for _ in range(20):
        left = [process for process in _descendants() if process != os.getpid()]
        if not left:
            return
        for process in left:
            with suppress(OSError):
                os.kill(process, signal.SIGKILL)
        time.sleep(0.02)
        _reap(0)


def _exit_like(status: int) -> None:
    """Exits with the status of the command, or by the signal that ended it."""
    if os.WIFSIGNALED(status):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        sign = os.WTERMSIG(status)
        if sign != signal.SIGKILL:
            signal.signal(sign, signal.SIG_DFL)
        os.kill(os.getpid(), sign)
    sys.exit(os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else 1)


def supervise(start: Callable[[], int]) -> int:
    """The status (as of `waitpid`) of the child that `start` forks; when it returns, nothing of the child is left.

    This process must lead its own process group.
    """
    _control(_PR_SET_CHILD_SUBREAPER, 1)
    read, write = os.pipe()
    os.set_blocking(write, False)
    child = start()
    for sign in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(sign, lambda *_: None)
    signal.set_wakeup_fd(write)
    status = _wait(child, read)
    if status is not None:
        _sweep()
        return status
    status = _end(child)
    _sweep()
    if status is None or not os.path.isdir("/proc"):
        os.killpg(0, signal.SIGKILL)  # this process is in the group, too
    return status or 0


def main() -> None:
    """Runs the command to its end, or ends it."""
    _exit_like(supervise(lambda: fork_child(lambda: _run(sys.argv[1:]))))


if __name__ == "__main__":
    main()
