"""Slots: the cores and GPUs of a machine, and which of them a job may take now. Nothing here runs anything."""

from collections.abc import Sequence
from dataclasses import dataclass

from ..nvml import VisibleGpu


@dataclass(frozen=True)
class Need:
    """What a job occupies while it runs."""

    threads: int
    device: str = "cpu"
    """`cpu`, `cuda` for any GPU, or `cuda:1` for a certain one of those that are visible."""
    memory_mb: float | None = None
    """MiB of GPU memory; None where unknown: the job then gets a GPU for itself."""


@dataclass(frozen=True)
class Slot:
    """What a job has taken; give it back when the job ends."""

    need: Need
    gpu: int | None
    """The GPU by its place in the list of visible ones; None for a job on cores alone."""
    entry: str | None
    """What CUDA_VISIBLE_DEVICES has to be for the job; None where it stays as the user set it."""


class Slots:
    """The machine's cores and GPUs, for at most `parallel` jobs side by side.

    Jobs on one GPU do not need more memory together than was free on it, and all jobs together have no more threads
    than there are cores. A job that asks for more than the whole machine has runs alone, so that none waits forever.
    """

    def __init__(self, gpus: Sequence[VisibleGpu], cores: int, parallel: int) -> None:
        self._gpus = list(gpus) or [VisibleGpu("", None)]  # a GPU that the driver does not list, if there is one
        self._listed, self._cores, self._parallel = bool(gpus), cores, parallel
        self._taken: list[Slot] = []

    @property
    def full(self) -> bool:
        """Whether `parallel` jobs run, so that no other can start whatever it needs."""
        return len(self._taken) >= self._parallel

    def take(self, need: Need) -> Slot | None:
        """A slot for the job; None where it has to wait until another is given back."""
        if self.full:
            return None
        threads = sum(slot.need.threads for slot in self._taken)
        if self._taken and threads + need.threads > self._cores:
            return None
        slot = Slot(need, None, None) if need.device == "cpu" else self._on_gpu(need)
        if slot is not None:
            self._taken.append(slot)
        return slot

    def give_back(self, slot: Slot) -> None:
        """Frees what the job had taken."""
        self._taken.remove(slot)

    def _on_gpu(self, need: Need) -> Slot | None:
        """On the GPU with the fewest of our jobs, of these the one with the most memory left."""
        certain = need.device.removeprefix("cuda").removeprefix(":")
        if certain:  # the job counts the visible GPUs itself, and fails by itself where there is no such
            number = int(certain)
            there = self._on(number)
            full = there and (number >= len(self._gpus) or not self._has_room(number, need))
            return None if full else Slot(need, number, None)
        free = [number for number in range(len(self._gpus)) if self._has_room(number, need)]
        if not free and any(slot.gpu is not None for slot in self._taken):
            return None
        # Where no GPU has enough memory, the one with the most is tried: the estimate may be too high.
        candidates = free or range(len(self._gpus))
        best = min(candidates, key=lambda number: (len(self._on(number)), -self._left(number), number))
        return Slot(need, best, self._gpus[best].entry if self._listed else None)

    def _on(self, number: int) -> list[Slot]:
        return [slot for slot in self._taken if slot.gpu == number]

    def _left(self, number: int) -> float:
        """MiB that our jobs leave free; 0 where that is unknown."""
        used = sum(slot.need.memory_mb or 0.0 for slot in self._on(number))
        known = self._gpus[number].free_mb if number < len(self._gpus) else None
        return (known or 0.0) - used

    def _has_room(self, number: int, need: Need) -> bool:
        needs = [slot.need.memory_mb for slot in self._on(number)]
        if None in (*needs, need.memory_mb) or self._gpus[number].free_mb is None:
            return not needs
        return need.memory_mb is not None and need.memory_mb <= self._left(number)
