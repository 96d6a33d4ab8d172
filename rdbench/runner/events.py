"""What processes say to the one that started them: JSON lines on the original standard output."""

import json
import os
import time
from typing import IO, Any

PROGRESS_SECONDS = 0.2
"""Shortest time between two reports of progress (our choice)."""


class Events:
    """Writes JSON lines to a stream; progress at most every PROGRESS_SECONDS."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._last = 0.0

    def send(self, event: str, **values: Any) -> None:
        """One event."""
        self._stream.write(json.dumps({"event": event, **values}, default=str).encode() + b"\n")
        self._stream.flush()

    def progress(self, done: float, total: float, text: str) -> None:
        """The progress callback of a Workspace; the numbers may be those of NumPy or torch."""
        done, total, text = float(done), float(total), str(text)
        now = time.monotonic()
        if now - self._last >= PROGRESS_SECONDS or done >= total:
            self._last = now
            self.send("progress", done=done, total=total, text=text)


def claim_stdout() -> IO[bytes]:
    """The original standard output, for events and frames; from here on, prints go to the log."""
    stream = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return stream
