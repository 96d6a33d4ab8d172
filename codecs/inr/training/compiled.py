"""Steps whose passes are compiled by torch.compile, and the choice between these and others by a measurement."""

import statistics

import torch
from torch import Tensor

from rdbench.errors import RdbenchError

from .execution import WARMUP_STEPS, Eager, Execution, Log, StageWork
from .steps import Passes

BACKEND = "inductor"
"""The compiler behind torch.compile."""
TIMED_STEPS = 10
"""Steps of each kind of which `auto` compares the medians (our choice)."""
EXPECTED_COMPILE_SECONDS = 60.0
"""Seconds that `auto` expects a stage to take to compile (our choice; not measured on a GPU)."""
EXPECTED_SAVING = 0.3
"""Share of a step's time that `auto` expects to save (our choice; not measured on a GPU)."""


class CompilationError(RdbenchError):
    """A step that cannot be compiled here."""


class Compiled(Execution):
    """Forward passes and loss, and with them the backward pass, by torch.compile for whole batches.

    A smaller batch, the last of an epoch, is executed as it is written. Shapes are static, and a graph has to be whole:
    what torch would compile in pieces, or again and again, is an error.
    """

    def __init__(self, work: StageWork, log: Log) -> None:
        self._work, self._log = work, log
        self._passes: Passes | None = None

    @property
    def ready(self) -> bool:
        """Whether the first step has compiled them."""
        return self._passes is not None

    def take(self, chosen: Tensor, number: int) -> Tensor:
        """A step; the first one compiles. Raises CompilationError."""
        if len(chosen) != self._work.batch:
            return self._work.take(self._work.passes, chosen, number)
        if self._passes is None:
            return self._compile(chosen, number)
        return self._work.take(self._passes, chosen, number)

    def _compile(self, chosen: Tensor, number: int) -> Tensor:
        name, before = self._work.stage.name, self._work.clock()
        self._work.announce(f"{name}: compiling")
        torch.compiler.reset()  # what other stages compiled counts against the limit of recompilations
        try:
            passes = compiled(self._work.passes)
            error = self._work.take(passes, chosen, number)
        except torch.OutOfMemoryError:
            raise
        except Exception as reason:  # compilers raise many kinds
            raise _explained(reason, name) from reason
        self._passes, seconds = passes, self._work.clock() - before
        self._log.seconds += seconds
        self._log.stages[name] = f"compiled in {seconds:.1f} s"
        return error


def compiled(passes: Passes) -> Passes:
    """The passes by torch.compile, which compiles them when they are first called."""
    return Passes(
        torch.compile(passes.encode, fullgraph=True, dynamic=False, backend=BACKEND),
        torch.compile(passes.distort, fullgraph=True, dynamic=False, backend=BACKEND),
    )


def _explained(reason: Exception, stage: str) -> CompilationError:
    words = " ".join(str(reason).split())
    return CompilationError(
        f"The steps of {stage} cannot be compiled ({type(reason).__name__}: {words:.200}); install a C++ compiler such "
        "as g++ where none is found, or omit compile=true."
    )


class Measured(Execution):
    """The faster of both kinds of steps, as `auto` chooses: all of these steps are steps of the training."""

    def __init__(self, work: StageWork, log: Log) -> None:
        self._work, self._log = work, log
        self._eager, self._compiled = Eager(work, log), Compiled(work, log)
        self._current: Execution = self._compiled if log.decided.get(work.stage.name) else self._eager
        self._samples: list[float] = []
        self._eager_seconds = 0.0

    @property
    def ready(self) -> bool:
        """Whether the choice has been made."""
        return self._work.stage.name in self._log.decided

    def take(self, chosen: Tensor, number: int) -> Tensor:
        """A step, timed as long as the choice has not been made."""
        try:
            if self.ready or len(chosen) != self._work.batch:
                return self._current.take(chosen, number)
            before = self._work.clock()
            error = self._current.take(chosen, number)
        except CompilationError as reason:
            self._decide(False, f"not compiled: {reason}")
            return self._eager.take(chosen, number)
        self._samples.append(self._work.clock() - before)
        if len(self._samples) == WARMUP_STEPS + TIMED_STEPS:
            seconds, self._samples = statistics.median(self._samples[WARMUP_STEPS:]), []
            self._compare(seconds)
        return error

    def _compare(self, seconds: float) -> None:
        """Goes on from the median time of the current kind of steps."""
        if self._current is self._eager:
            self._eager_seconds = seconds
            if pays(seconds, self._work.steps):
                self._current = self._compiled
            else:
                self._decide(False, f"not compiled, {1000 * seconds:.1f} ms a step are too few to win it back")
            return
        took = self._log.stages[self._work.stage.name]
        times = f"{1000 * seconds:.1f} ms a step, {1000 * self._eager_seconds:.1f} ms not compiled"
        faster = seconds < self._eager_seconds
        self._decide(faster, f"{took}, {'used' if faster else 'not used'}: {times}")

    def _decide(self, compile_it: bool, phrase: str) -> None:
        self._current = self._compiled if compile_it else self._eager
        self._log.decided[self._work.stage.name] = compile_it
        self._log.stages[self._work.stage.name] = phrase


def pays(eager_seconds: float, steps: int) -> bool:
    """Whether compiling is expected to be won back by this many steps of this many seconds."""
    return EXPECTED_SAVING * eager_seconds * steps > EXPECTED_COMPILE_SECONDS
