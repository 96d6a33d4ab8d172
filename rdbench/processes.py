"""What an error sentence says about a program that failed: how it ended, and the end of its log."""

import signal
from contextlib import suppress
from pathlib import Path


def describe_status(status: int) -> str:
    """The return code of a process in words: `exit status 1`, or `signal SIGKILL` where it is negative."""
    if status >= 0:
        return f"exit status {status}"
    with suppress(ValueError):
        return f"signal {signal.Signals(-status).name}"
    return f"signal {-status}"


def describe_end(name: str, status: int, log: Path) -> str:
    """Why a stage of a job ended without a result, by its return code and its log."""
    if status == -signal.SIGKILL:
        return f"{name} was killed by the system, most likely because memory ran out; use fewer --jobs."
    return f"{name} ended with {describe_status(status)}: {read_log_tail(log)}"


def read_log_tail(path: Path, lines: int = 8) -> str:
    """The last lines of a log, joined by ` | `; empty where there is no log."""
    text = read_end(path, 8192)
    return " | ".join(line.strip() for line in text.splitlines()[-lines:] if line.strip())


def read_end(path: Path, count: int) -> str:
    """The last `count` bytes of a file as text; empty where there is no file."""
    if not path.exists():
        return ""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - count))
        return file.read(count).decode(errors="replace")
