"""A log of bounded length: of what a program prints, the first and the last part are kept."""

import os
import threading
import time
from pathlib import Path
from typing import IO

HEAD_BYTES = TAIL_BYTES = 1 << 20
"""Bytes that are kept of the beginning and of the end (our choice)."""
SAVE_SECONDS = 0.5
"""Shortest time between two writings of the end, which is what progress is read from (our choice)."""


class BoundedLog:
    """Copies a stream into a file in a thread of its own, as it comes."""

    def __init__(self, stream: IO[bytes], path: Path) -> None:
        self._stream, self._path = stream, path
        self._room, self._dropped, self._tail = HEAD_BYTES, 0, bytearray()
        self._saved = time.monotonic()
        self._thread = threading.Thread(target=self._copy, daemon=True)
        self._thread.start()

    def finish(self) -> None:
        """Waits until the file is complete; for 2 s at most, since a program that was left behind may print on."""
        self._thread.join(timeout=2)

    def _copy(self) -> None:
        with self._stream, self._path.open("wb", buffering=0) as file:
            while chunk := os.read(self._stream.fileno(), 1 << 16):
                head = chunk[: self._room]
                if head:
                    file.write(head)
                    self._room -= len(head)
                self._keep(chunk[len(head) :])
                if self._tail and time.monotonic() - self._saved >= SAVE_SECONDS:
                    self._save(file)
            if self._tail:
                self._save(file)

    def _keep(self, chunk: bytes) -> None:
        self._tail += chunk
        if len(self._tail) > 2 * TAIL_BYTES:
            self._shorten()

    def _shorten(self) -> None:
        surplus = max(0, len(self._tail) - TAIL_BYTES)
        self._dropped += surplus
        del self._tail[:surplus]

    def _save(self, file: IO[bytes]) -> None:
        self._shorten()
        gap = f"\n[{self._dropped} bytes are left out here]\n".encode() if self._dropped else b""
        file.seek(HEAD_BYTES)
        file.truncate()
        file.write(gap + self._tail)
        self._saved = time.monotonic()
