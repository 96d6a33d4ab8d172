"""How the steps of a stage are executed: one operation after the other, compiled, or replayed as a CUDA graph.

A setting of every INR codec, `compile`. Compiled steps differ from others in the last bits, so the setting is part of a
result's identity; what was measured and decided is in the record and in the checkpoint. On a GPU only `false` measures
nothing, so that one seed gives one bitstream.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from ..networks.layers.block_choice import PLAIN
from ..networks.layers.block_choice import Choice as BlockChoice
from ..recipes.stage import Stage
from ..rendering import synchronize
from .steps import Passes

Choice = Literal["auto", "false", "true", "graphs"]
"""`false`: operation by operation. `true`: forward pass and loss by torch.compile. `graphs`: whole steps as CUDA
graphs, for small networks, whose operations take less time than starting them. `auto`: compiled on a GPU where that is
won back within the stage, else `false`. All but `false` also choose the implementation of blocks (`blocks.py`)."""
WARMUP_STEPS = 3
"""Steps before steps are timed, or before one is recorded (our choice)."""
Take = Callable[[Passes, Tensor, int], Tensor]
"""Takes a step with these passes: samples `[B]` and the step's number -> the mean squared error before it."""


@dataclass
class Log:
    """What was compiled and decided in a training, for its record and its checkpoint."""

    seconds: float = 0.0
    """Seconds of compiling and recording."""
    stages: dict[str, str] = field(default_factory=dict)
    """A phrase on each stage whose steps were compiled, recorded, or measured for it."""
    decided: dict[str, bool] = field(default_factory=dict)
    """Whether `auto` compiles a stage."""
    blocks: dict[str, BlockChoice] = field(default_factory=dict)
    """The implementation of the blocks of each shape (`blocks.py`)."""

    def state(self) -> dict[str, Any]:
        """Everything, for a checkpoint."""
        blocks = {shape: (choice.name, choice.reason) for shape, choice in self.blocks.items()}
        return {
            "seconds": self.seconds, "stages": dict(self.stages), "decided": dict(self.decided), "blocks": blocks
        }  # fmt: skip

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restores what `state` returned; nothing for a checkpoint without it."""
        self.seconds = float(state.get("seconds", 0.0))
        self.stages, self.decided = dict(state.get("stages", {})), dict(state.get("decided", {}))
        self.blocks = {shape: BlockChoice(*choice) for shape, choice in state.get("blocks", {}).items()}

    def text(self) -> str:
        """All phrases, as `fit: compiled in 40.1 s`; empty where nothing was measured or compiled."""
        phrases = [f"{stage}: {phrase}" for stage, phrase in self.stages.items()]
        if {choice.name for choice in self.blocks.values()} == {PLAIN} and len(reasons := self._reasons()) == 1:
            return "; ".join([*phrases, f"blocks plain: {reasons.pop()}"])
        blocks = (f"blocks {shape} {choice.name}: {choice.reason}" for shape, choice in self.blocks.items())
        return "; ".join([*phrases, *blocks])

    def _reasons(self) -> set[str]:
        return {choice.reason for choice in self.blocks.values()}


@dataclass(frozen=True)
class StageWork:
    """What is executed: a stage, its steps and their optimizer."""

    stage: Stage
    take: Take
    passes: Passes
    optimizer: torch.optim.Optimizer
    device: torch.device
    batch: int
    """Samples of a whole batch; the last one of an epoch may be smaller."""
    steps: int
    """Steps that are left in the stage."""
    announce: Callable[[str], None] = lambda text: None
    """Shows what is being done while it takes long."""

    def clock(self) -> float:
        """Seconds, after all that the device has to do."""
        synchronize(self.device)
        return time.perf_counter()


class Execution(ABC):
    """A way to execute the steps of a stage."""

    @property
    def ready(self) -> bool:
        """Whether all that is done once is done."""
        return True

    @abstractmethod
    def take(self, chosen: Tensor, number: int) -> Tensor:
        """Takes step `number` with the samples `[B]`; the error is valid until the next step."""


class Eager(Execution):
    """One operation after the other."""

    def __init__(self, work: StageWork, log: Log) -> None:
        """The log stays as it is."""
        self._work = work

    def take(self, chosen: Tensor, number: int) -> Tensor:
        """A step as it is written."""
        return self._work.take(self._work.passes, chosen, number)


def resolve_execution(choice: Choice, device_type: str) -> Choice:
    """The way on this type of device: on a CPU, `auto` is `false` and costs nothing."""
    return "false" if choice == "auto" and device_type == "cpu" else choice
