"""Checkpoints of a training: written in the background, read with torch's weights-only reader."""

import copy
import os
import sys
import time
import zipfile
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from rdbench.errors import RdbenchError

NEEDED = ("recipe", "stage", "epoch", "seconds", "curve", "network", "scheme", "optimizer", "average")
"""What every checkpoint of the trainer has."""
CHECKPOINT_SECONDS = 20.0
"""Seconds between checkpoints: the most work that is lost when a process is killed (our choice)."""
MOST_TIME = 0.05
"""Largest share of a training's time that it waits while large states are written (our choice)."""
LARGEST_COPY = 1 << 30
"""Bytes of a state from which on it is written while the training waits: a copy would take as much memory again."""


class Checkpoint:
    """One file, replaced as a whole; at most one write is pending."""

    def __init__(self, path: Path, needed: Sequence[str] = NEEDED) -> None:
        """`needed`: the names without which a state is damaged."""
        self.path, self._needed = path, needed
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._pending: Future[None] | None = None
        self._saved_at, self._waited = time.perf_counter(), 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Ends the pending write, so that a training that fails leaves its last state whole and no writer behind."""
        self.wait()

    @property
    def due(self) -> bool:
        """Whether it is time to save again: after CHECKPOINT_SECONDS, later where the training waited for the last."""
        return time.perf_counter() - self._saved_at > max(CHECKPOINT_SECONDS, self._waited / MOST_TIME)

    def load(self, device: torch.device) -> dict[str, Any] | None:
        """The last saved state, None without one. A file that cannot be read is set aside, which the log says."""
        if not self.path.exists():
            return None
        try:
            return self._read(device)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # torch raises many kinds for a damaged file
            reason = f"{type(error).__name__}: {' '.join(str(error).split()):.200}"
        aside = self.path.with_name(self.path.name + ".damaged")
        os.replace(self.path, aside)
        print(f"{self.path} is damaged ({reason}); it is now {aside.name}, and the training starts again.",
              file=sys.stderr)  # fmt: skip
        return None

    def _read(self, device: torch.device) -> dict[str, Any]:
        """The state in the file. Raises an exception of any class where it is damaged."""
        with zipfile.ZipFile(self.path) as archive:  # torch does not compare the checksums in its files
            if (name := archive.testzip()) is not None:
                raise ValueError(f"the checksum of {name} is wrong")
        saved = dict(torch.load(self.path, map_location=device, weights_only=True))
        if missing := [name for name in self._needed if name not in saved]:
            raise ValueError(f"{missing[0]} is missing")
        return saved

    def misfit(self) -> RdbenchError:
        """The error for a checkpoint of another training."""
        return RdbenchError(f"The checkpoint {self.path} is of another recipe; delete it and run again.")

    def save(self, state: Mapping[str, Any]) -> None:
        """Copies the state now and writes it in the background; writes a large one now."""
        self.wait()
        began, large = time.perf_counter(), _bytes(state) > LARGEST_COPY
        if large:
            self._write(state)
        else:
            self._pending = self._pool.submit(self._write, _on_cpu(state))
        self._saved_at = time.perf_counter()
        self._waited = self._saved_at - began if large else 0.0

    def wait(self) -> None:
        """Waits until the last state is on disk. Raises the error of writing it."""
        if self._pending is not None:
            self._pending.result()
            self._pending = None

    def _write(self, state: Any) -> None:
        partial = self.path.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(self.path)


def _bytes(value: Any) -> int:
    """Bytes of all tensors in a state."""
    if isinstance(value, Tensor):
        return value.nbytes
    items = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return sum(map(_bytes, items))


def _on_cpu(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, Mapping):
        return {key: _on_cpu(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_on_cpu(item) for item in value]
    return copy.copy(value)
