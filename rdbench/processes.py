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


def read_log_tail(path: Path, lines: int = 8) -> str:
    """The last lines of a log, joined by ` | `; empty where there is no log."""
    if not path.exists():
        return ""
    with path.open("rb") as log:
        log.seek(max(0, path.stat().st_size - 8192))
        text = log.read().decode(errors="replace")
    return " | ".join(line.strip() for line in text.splitlines()[-lines:] if line.strip())
