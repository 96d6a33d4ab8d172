"""The training loop: the stages of a recipe, checkpoints between epochs, and the curve of quality over time."""

import csv
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from rdbench.codec import FIT_COLUMNS, FIT_CURVE, Workspace
from rdbench.errors import RdbenchError, UsageError

from ..compression.scheme import Scheme
from ..networks.encoder import Encoder
from ..networks.network import Network
from ..recipes.optimizers import apply_schedule, layer_matrices, make_optimizer
from ..recipes.stage import Stage
from .blocks import choose_blocks, chooses_blocks
from .checkpoint import Checkpoint
from .compiled import Compiled, Measured
from .execution import Choice as ExecutionChoice
from .execution import Eager, Execution, Log, StageWork, resolve_execution
from .graphs import Graphed, obstacle
from .precision import Choice, resolve
from .steps import Passes, Samples, Steps

CHECKPOINT = "checkpoint.pt"

EXECUTIONS: Mapping[ExecutionChoice, Callable[[StageWork, Log], Execution]] = MappingProxyType(
    {"auto": Measured, "false": Eager, "true": Compiled, "graphs": Graphed}
)
"""Ways to execute the steps of a stage."""
ENCODER_BATCH = 8
"""Frames per call of the encoder when the final embeddings are stored (our choice)."""


@dataclass
class Curve:
    """Rows of stage, epoch, seconds, and PSNR in dB of that epoch's training outputs."""

    rows: list[tuple[str, int, float, float]] = field(default_factory=list)

    def write(self, path: Path) -> None:
        """The rows as CSV."""
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([FIT_COLUMNS, *self.rows])


class Trainer:
    """Trains a network stage by stage; a killed training resumes from its checkpoint and ends with the same weights."""

    def __init__(
        self,
        network: Network,
        scheme: Scheme,
        frames: Tensor,
        workspace: Workspace,
        stages: Sequence[Stage],
        encoder: Encoder | None = None,
        precision: Choice = "auto",
        execution: ExecutionChoice = "auto",
    ) -> None:
        """Raises UsageError where the execution that is asked for cannot execute a stage."""
        self.network, self.scheme, self.workspace, self.stages = network, scheme, workspace, stages
        self.encoder = encoder
        if encoder is not None and any(stage.by_patches for stage in stages):
            raise ValueError("An encoder network takes whole frames; its stages cannot take patches.")
        self.samples = Samples(frames, network)
        self.device = frames.device
        self.precision = resolve(precision, self.device.type)
        """The number format of most operations."""
        self.steps = Steps(network, scheme, self.samples, encoder, self.precision)
        self.log = Log()
        """What was compiled and decided, by earlier processes too."""
        self._execution = resolve_execution(execution, self.device.type)
        for stage in stages if execution == "graphs" else ():
            if (reason := obstacle(stage)) is not None:
                raise UsageError(
                    f"compile=graphs cannot record the steps of {stage.name}, {reason}; use compile=true, or omit it."
                )
        self.curve, self._seconds = Curve(), 0.0
        self.inherited = 0.0
        """Seconds of training in the resumed checkpoint, by any process."""
        self.checkpoint = Checkpoint(workspace.folder / CHECKPOINT)
        """What a killed training resumes from."""

    def run(self) -> None:
        """Trains the network, stage after stage. Raises RdbenchError where the loss diverges.

        A checkpoint of the first stages alone, as shared pre-training leaves it, is resumed too.
        """
        saved = self._resume()
        first = int(saved["stage"]) if saved else 0
        previous = None
        with self.checkpoint:
            for number in range(first, len(self.stages)):
                previous = self._run_stage(number, saved if number == first else None, previous)
        self.curve.write(self.workspace.folder / FIT_CURVE)

    def _run_stage(
        self, number: int, saved: dict[str, Any] | None, previous: torch.optim.Optimizer | None
    ) -> torch.optim.Optimizer:
        """Returns the optimizer, whose state the next stage may continue with."""
        stage = self.stages[number]
        copied = () if saved else self.network.enter(stage)
        self.scheme.enter(self.network, stage)
        optimizer, average = self.start(stage)
        if previous is not None and stage.schedule_offset and not saved:
            known = [p for group in optimizer.param_groups for p in group["params"] if p in previous.state]
            optimizer.state.update({parameter: previous.state[parameter] for parameter in known})
            self._copy_moments(optimizer, copied)
        if saved:
            self.scheme.load_state(saved["scheme"])
            optimizer.load_state_dict(saved["optimizer"])
            average.load_state(saved["average"])
        before, started = self._seconds, time.perf_counter()
        done = sum(earlier.epochs for earlier in self.stages[:number])
        first = int(saved["epoch"]) if saved else 0
        execution = self.execution(stage, optimizer, average, first)
        for epoch in range(first, stage.epochs):
            psnr = self._epoch(stage, optimizer, execution, epoch)
            self._seconds = before + time.perf_counter() - started
            self.curve.rows.append((stage.name, epoch + 1, round(self._seconds, 3), round(psnr, 4)))
            if epoch + 1 == stage.epochs:
                average.finish()
                self._store_embeddings(stage)
            if epoch + 1 == stage.epochs or self.checkpoint.due:
                self.save(number, epoch + 1, optimizer, average)
            text = f"{stage.name} {epoch + 1}/{stage.epochs}, {psnr:.2f} dB{self._rate_so_far()}"
            self.workspace.progress(done + epoch + 1, sum(each.epochs for each in self.stages), text)
        return optimizer

    def _rate_so_far(self) -> str:
        """The estimated bits a pixel where the rate is part of the loss, for the progress line."""
        bits = self.steps.bits
        return "" if bits is None else f", {float(bits) / self.samples.pixels('clip'):.4f} bpp"

    def _copy_moments(self, optimizer: torch.optim.Optimizer, names: Sequence[str]) -> None:
        """Broadcasts row 0's optimizer moments to all rows of these parameters."""
        parameters = dict(self.network.named_parameters())
        for name in names:
            for moment in optimizer.state[parameters[name]].values():
                if isinstance(moment, Tensor) and moment.shape == parameters[name].shape:
                    moment.copy_(moment[:1].expand_as(moment).clone())

    def start(self, stage: Stage) -> tuple[torch.optim.Optimizer, "Average"]:
        """The optimizer and the moving average of a stage."""
        trainable, own = self._trainable(), self.scheme.parameters()
        parameters = [*stage.chosen(trainable), *own]
        decaying = self._decaying(stage, trainable)
        others, own_decaying = ([p for p in parameters if (p in decaying) == decays] for decays in (False, True))
        optimizer = make_optimizer(stage, others, own_decaying, layer_matrices(self._networks()))
        return optimizer, Average(parameters, stage.ema)

    def execution(
        self, stage: Stage, optimizer: torch.optim.Optimizer, average: "Average", first: int = 0
    ) -> Execution:  # fmt: skip
        """The execution of a stage's steps from epoch `first` on, each followed by the average's update.

        On CUDA, blocks are computed by what a measurement finds fastest, unless `compile` is `false`.
        """

        def take(passes: Passes, chosen: Tensor, number: int) -> Tensor:
            error = self.steps.take(stage, optimizer, passes, chosen, number)
            average.update()
            return error

        count, total = self.samples.count(stage.by_patches), sum(each.epochs for each in self.stages)
        batch = min(self.samples.batch(stage), count)
        done = first + sum(each.epochs for each in self.stages[: self.stages.index(stage)])
        work = StageWork(
            stage, take, self.steps.passes(stage), optimizer, self.device, batch,
            steps=(stage.epochs - first) * (count // batch),
            announce=lambda text: self.workspace.progress(done, total, text),
        )  # fmt: skip
        if chooses_blocks(self.network, self.device.type, self._execution):
            self._choose_blocks(work)
        return EXECUTIONS[self._execution](work, self.log)

    def _choose_blocks(self, work: StageWork) -> None:
        """Chooses the implementation of the network's blocks for a stage; its time counts as compiling."""
        before, chosen = work.clock(), torch.arange(work.batch, device=self.device)
        choose_blocks(self.network, lambda: self.steps.rehearse(work.stage, chosen), self.log)
        self.log.seconds += work.clock() - before

    def _networks(self) -> Sequence[nn.Module]:
        return [self.network] if self.encoder is None else [self.network, self.encoder]

    def _decaying(self, stage: Stage, trainable: Mapping[str, nn.Parameter]) -> set[Tensor]:
        """The parameters with weight decay."""
        if not stage.weight_decay:
            return set()
        if stage.decayed == "layers":
            modules = (module for network in self._networks() for module in network.modules())
            return {module.weight for module in modules if isinstance(module, nn.Linear | nn.Conv2d)}
        content = self.network.latents if stage.decayed == "model" else ()
        return {parameter for name, parameter in trainable.items() if name not in content}

    def _trainable(self) -> dict[str, nn.Parameter]:
        """Trainable parameters by name; those that an encoder computes are left out."""
        own = dict(self.network.named_parameters())
        if self.encoder is None:
            return own
        named = {f"encoder.{name}": parameter for name, parameter in self.encoder.named_parameters()}
        return {name: p for name, p in own.items() if name not in self.encoder.makes} | named

    def _epoch(self, stage: Stage, optimizer: torch.optim.Optimizer, execution: Execution, epoch: int) -> float:
        """One pass over all samples in an order that follows from seed, stage and epoch; returns the PSNR in dB."""
        torch.manual_seed(_seed(self.workspace.seed, stage.name, epoch))
        count = self.samples.count(stage.by_patches)
        order = torch.randperm(count).to(self.device)
        error = torch.zeros((), device=self.device)
        batch = self.samples.batch(stage)
        for start in range(0, count, batch):
            apply_schedule(stage, optimizer, epoch + start / count)
            chosen = order[start : start + batch]
            self.scheme.advance(stage.progress(epoch + start / count))
            if self.encoder is not None:
                self.encoder.advance(stage, stage.progress(epoch + start / count))
            number = epoch * -(-count // batch) + start // batch + 1
            error += execution.take(chosen, number) * len(chosen) / count
        mean = float(error)
        if not math.isfinite(mean):
            raise RdbenchError(
                f"The training diverged in epoch {epoch + 1} of {stage.name}; try another --seed or a lower lr."
            )
        return -10 * math.log10(max(mean, 1e-10))

    def step(self, stage: Stage, optimizer: torch.optim.Optimizer, chosen: Tensor, number: int) -> Tensor:
        """Takes a step of a stage outside a training, operation by operation, as `Steps.take`."""
        return self.steps.take(stage, optimizer, self.steps.passes(stage), chosen, number)

    @torch.no_grad()
    def _store_embeddings(self, stage: Stage) -> None:
        """Stores the embeddings of all frames, after which the encoder is not needed."""
        if self.encoder is not None:
            passes, frames = self.steps.passes(stage), torch.arange(len(self.samples.frames), device=self.device)
            for at in range(0, len(frames), ENCODER_BATCH):
                self.steps.tensors(passes, frames[at : at + ENCODER_BATCH])

    def save(self, number: int, epoch: int, optimizer: torch.optim.Optimizer, average: "Average") -> None:
        """Saves a checkpoint after an epoch of the stage with this number."""
        self.checkpoint.save(
            {
                "recipe": repr(tuple(self.stages[: number + 1])), "stage": number, "epoch": epoch,
                "seconds": self._seconds,
                "curve": self.curve.rows, "network": self.network.state_dict(), "scheme": self.scheme.state(),
                "optimizer": optimizer.state_dict(), "average": average.state(),
                "encoder": self.encoder.state_dict() if self.encoder else {},
                "scaler": self.steps.scaler.state_dict(), "execution": self.log.state(),
            }
        )  # fmt: skip

    def _resume(self) -> dict[str, Any] | None:
        """The checkpoint, None without one; loads its weights. Raises RdbenchError for one of another recipe."""
        saved = self.checkpoint.load(self.device)
        if saved is None:
            return None
        if saved.get("recipe") != repr(tuple(self.stages[: int(saved["stage"]) + 1])):
            raise self.checkpoint.misfit()
        try:
            self.network.load_state_dict(saved["network"])
            if self.encoder is not None:
                self.encoder.load_state_dict(saved["encoder"])
        except (RuntimeError, KeyError) as error:
            raise self.checkpoint.misfit() from error
        self.curve.rows = [tuple(row) for row in saved["curve"]]
        self._seconds = self.inherited = float(saved["seconds"])
        self.log.load_state(saved.get("execution", {}))
        if saved.get("scaler"):
            self.steps.scaler.load_state_dict(saved["scaler"])
        return saved


class Average:
    """The exponential moving average of parameters; without a decay the parameters themselves."""

    def __init__(self, parameters: Sequence[Tensor], decay: float | None) -> None:
        self._parameters, self._decay = [p.detach() for p in parameters], decay
        self._means = [p.clone() for p in self._parameters] if decay is not None else []

    def update(self) -> None:
        """Updates the averages after a step."""
        if self._decay is not None:
            torch._foreach_lerp_(self._means, self._parameters, 1 - self._decay)

    def finish(self) -> None:
        """Replaces the parameters with their averages."""
        if self._decay is not None:
            torch._foreach_copy_(self._parameters, self._means)

    def state(self) -> list[Tensor]:
        """The averages, for a checkpoint."""
        return self._means

    def load_state(self, state: Sequence[Tensor]) -> None:
        """Restores averages that `state` returned."""
        self._means = list(state)


def _seed(seed: int, stage: str, epoch: int) -> int:
    return (seed * 1_000_003 + sum(stage.encode()) * 7_919 + epoch) % (1 << 63)
