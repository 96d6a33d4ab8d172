"""Whole training steps as CUDA graphs; on a CPU, which has none, the same code without a recording."""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from rdbench.errors import RdbenchError

from ..recipes.optimizers import hold_rates
from ..recipes.stage import Stage
from .execution import WARMUP_STEPS, Execution, Log, StageWork

REPLAYABLE = ("adam", "adamw")
"""Optimizers whose whole state is on the device."""


class Graph(Protocol):
    """A recorded piece of work."""

    def warm_up(self, work: Callable[[], None]) -> None:
        """Does the work as often as it takes before it can be recorded, once per call."""

    def record(self, work: Callable[[], None]) -> None:
        """Records the work without doing it."""

    def replay(self) -> None:
        """Does the work."""


class CudaGraph:
    """A CUDA graph; the memory of what is computed inside belongs to it."""

    def __init__(self, device: torch.device) -> None:
        self._device, self._graph = device, torch.cuda.CUDAGraph()

    def warm_up(self, work: Callable[[], None]) -> None:
        """Does the work on a stream of its own, as CUDA demands before a recording."""
        stream, current = torch.cuda.Stream(self._device), torch.cuda.current_stream(self._device)
        stream.wait_stream(current)
        with torch.cuda.stream(stream):
            work()
        current.wait_stream(stream)

    def record(self, work: Callable[[], None]) -> None:
        """Records the work."""
        with torch.cuda.device(self._device), torch.cuda.graph(self._graph):
            work()

    def replay(self) -> None:
        """Starts all of it at once."""
        self._graph.replay()


class PlainGraph:
    """The same on a CPU, which has no graphs: a replay does the work as it is written."""

    def __init__(self, device: torch.device) -> None:
        self._work: Callable[[], None] = lambda: None

    def warm_up(self, work: Callable[[], None]) -> None:
        """Does the work."""
        work()

    def record(self, work: Callable[[], None]) -> None:
        """Keeps the work."""
        self._work = work

    def replay(self) -> None:
        """Does the work."""
        self._work()


class Graphed(Execution):
    """Whole steps, optimizer and average included, each recorded once for a size of batch and then replayed.

    A step reads the samples and the learning rate from tensors that keep their place, and computes what a step does
    that is not recorded. The random numbers of a replay are new ones. The first few steps of each size are not
    recorded: they create what the optimizer and the network keep.
    """

    def __init__(self, work: StageWork, log: Log) -> None:
        """Raises RdbenchError where the stage cannot be recorded."""
        if (reason := obstacle(work.stage)) is not None:
            raise RdbenchError(f"compile=graphs cannot record the stage {work.stage.name}, {reason}; omit it.")
        self._work, self._log = work, log
        self._kind: Callable[[torch.device], Graph] = CudaGraph if work.device.type == "cuda" else PlainGraph
        self._recorded: dict[int, _Recorded] = {}
        hold_rates(work.optimizer, work.device)

    @property
    def ready(self) -> bool:
        """Whether the step of a whole batch is recorded."""
        return self._work.batch in self._recorded and self._recorded[self._work.batch].complete

    def take(self, chosen: Tensor, number: int) -> Tensor:
        """A step; of each size, the first ones are not recorded."""
        recorded = self._recorded.get(len(chosen))
        if recorded is None:
            recorded = self._recorded[len(chosen)] = _Recorded(
                self._work, self._kind(self._work.device), torch.empty_like(chosen)
            )
        recorded.chosen.copy_(chosen)
        if not recorded.complete:
            before = self._work.clock()
            recorded.prepare()
            self._log.seconds += self._work.clock() - before if recorded.complete else 0.0
            self._log.stages[self._work.stage.name] = "whole steps recorded"
        return recorded.take()


class _Recorded:
    """The step of one size of batch: not recorded for WARMUP_STEPS steps, then recorded."""

    def __init__(self, work: StageWork, graph: Graph, chosen: Tensor) -> None:
        self._work, self._graph, self.chosen = work, graph, chosen
        self._error = torch.zeros((), device=work.device)
        self._steps = 0
        self.complete = False

    def _step(self) -> None:
        self._error.copy_(self._work.take(self._work.passes, self.chosen, 1))

    def prepare(self) -> None:
        """Records the step where enough steps were taken."""
        if self._steps == WARMUP_STEPS:
            self._graph.record(self._step)
            self.complete = True

    def take(self) -> Tensor:
        """A step with what is in `chosen`."""
        self._steps += 1
        if self.complete:
            self._graph.replay()
        else:
            self._graph.warm_up(self._step)
        return self._error


def obstacle(stage: Stage) -> str | None:
    """Why a stage's steps cannot be replayed, as a clause; None where they can."""
    if stage.optimizer not in REPLAYABLE:
        return f"whose optimizer {stage.optimizer} keeps numbers on the host"
    if stage.proxy or stage.rate_every:
        return "whose rounding and steps for the rate follow the number of the step"
    if stage.weight_decay and stage.fades:
        return "whose weight decay changes from step to step"
    return None
