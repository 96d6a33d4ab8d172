"""Checkpoints of a training: written in the background, read with torch's weights-only reader."""

import copy
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rdbench.errors import RdbenchError


class Checkpoint:
    """One file, replaced as a whole; at most one write is pending."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._pending: Future[None] | None = None

    def load(self, device: torch.device) -> dict[str, Any] | None:
        """The last saved state, None without one. Raises RdbenchError for a damaged file."""
        if not self.path.exists():
            return None
        try:
            return dict(torch.load(self.path, map_location=device, weights_only=True))
        except Exception as error:  # torch raises many kinds for a damaged file
            raise self.misfit() from error

    def misfit(self) -> RdbenchError:
        """The error for a checkpoint of another training."""
        return RdbenchError(f"The checkpoint {self.path} is damaged or of another recipe; delete it and run again.")

    def save(self, state: Mapping[str, Any]) -> None:
        """Copies the state now and writes it in the background."""
        self.wait()
        self._pending = self._pool.submit(self._write, _on_cpu(state))

    def wait(self) -> None:
        """Waits until the last state is on disk. Raises the error of writing it."""
        if self._pending is not None:
            self._pending.result()
            self._pending = None

    def _write(self, state: Any) -> None:
        partial = self.path.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(self.path)


def _on_cpu(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, Mapping):
        return {key: _on_cpu(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_on_cpu(item) for item in value]
    return copy.copy(value)
