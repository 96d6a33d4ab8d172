"""Our training step and the original's, of the same network, in turns; for `step_times.py` and the kit for a GPU."""

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
from originals import ORIGINALS, Loop, Outputs, Task
from torch import Tensor, nn

from rdbench.codec import Clip, Source, Workspace
from rdbench.codecs.inr.codec import InrCodec
from rdbench.codecs.inr.networks.network import count_parameters, to_device
from rdbench.codecs.inr.prepared import Prepared
from rdbench.codecs.inr.rendering import synchronize
from rdbench.registry import create, parse_specs

Step = Callable[[Tensor], object]
"""A training step with samples `[B]`."""
MEGABYTE = 1 << 20
Wrap = Callable[[nn.Module], Any]
"""Makes what is called in place of a network."""
MOST_WARMUP = 20
"""Steps until all that is done once is done, such as recording a graph."""
ORIGINAL, COMPILED, METRICS = "original", "original compiled", "metrics"
"""Names of the sides that are not ours."""


@dataclass(frozen=True)
class Case:
    """A network and how its steps are timed."""

    codec: str
    size: str
    """Rate point that our network is built for, before it is made equal to the original's."""
    device: str
    batch: int = 1
    blocks: int = 7
    """Blocks of steps that each side takes, in turns."""
    steps: int = 2
    """Steps in a block."""
    warmup: int = 3
    """Steps of each side before the first block."""


def prepared(case: Case, source: Source, workspace: Workspace) -> Prepared:
    """Frames and our network, of the configuration that the original has too; its recipe is the paper's."""
    codec = make_codec(case, {})
    clip = Clip(source.video.format, source.video.frames or 1)
    ready = codec.prepare(source, codec.rate_point(case.size, clip), workspace)
    config = ORIGINALS[case.codec].alike(ready.config)
    if (config.rows * config.step, config.columns * config.step) != tuple(ready.frames.shape[2:]):
        frame = f"{clip.format.width}x{clip.format.height}"
        raise ValueError(f"{case.codec} pads frames of {frame}, which the original cannot; give another size.")
    network = codec.build(config, ready.clip)
    to_device(network, case.device)
    encoder = codec.encoder(network, ready.clip)
    if encoder is not None:
        to_device(encoder, case.device)
    return replace(ready, network=network, config=config, encoder=encoder)


def make_codec(case: Case, options: Mapping[str, str]) -> InrCodec:
    """Our codec with the paper's recipe."""
    (spec,) = parse_specs(case.codec)
    own = {"batch": str(case.batch), "optimizer": "paper", "compile": "false", "precision": "float32", **options}
    return cast(InrCodec, create(spec.with_options(own), "paper"))


class Ours:
    """Steps of our longest stage, beginning with the prepared weights."""

    def __init__(self, case: Case, ready: Prepared, workspace: Workspace, options: Mapping[str, str]) -> None:
        codec = make_codec(case, options)
        own = replace(ready, precision=codec.settings.precision, execution=codec.settings.compile)
        point = codec.rate_point(case.size, Clip(ready.clip.format, len(ready.frames)))
        stage = max(codec.stages(point), key=lambda each: each.epochs)
        self.trainer = own.trainer(codec.chosen_compression(), workspace, [stage])
        self.trainer.network.enter(stage)
        self.trainer.scheme.enter(self.trainer.network, stage)
        optimizer, average = self.trainer.start(stage)
        self._execution, self._number = self.trainer.execution(stage, optimizer, average), 0
        self.samples = self.trainer.samples.count(stage.by_patches)
        self.batch = min(self.trainer.samples.batch(stage), self.samples)
        self.grid = self.trainer.network.grid if stage.by_patches else (1, 1)

    @property
    def ready(self) -> bool:
        """Whether all that is done once is done, such as compiling."""
        return self._execution.ready

    def step(self, chosen: Tensor) -> object:
        """Takes a step."""
        self._number += 1
        return self._execution.take(chosen, self._number)

    def batches(self) -> Sequence[Tensor]:
        """All samples in a random order, as whole batches."""
        order = torch.randperm(self.samples).to(self.trainer.device)
        return [order[at : at + self.batch] for at in range(0, self.samples - self.batch + 1, self.batch)]

    def parameters(self) -> int:
        """Trained parameters: embeddings that an encoder computes are left out, the encoder is counted."""
        network, encoder = self.trainer.network, self.trainer.encoder
        own = sum(p.numel() for name, p in network.named_parameters() if name not in network.per_frame)
        return own + (count_parameters(encoder) if encoder is not None else 0)


def trained(network: nn.Module) -> int:
    """Parameters that have a gradient after a step: originals also declare some that they never use."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.grad is not None)


class Turns:
    """Sides that take turns with blocks of steps; seconds are CPU time on a CPU, and the clock's on a GPU."""

    def __init__(self, sides: Mapping[str, Step], batches: Sequence[Tensor], device: str) -> None:
        self._sides, self._batches, self._device = dict(sides), batches, torch.device(device)
        self._taken = dict.fromkeys(sides, 0)
        self.seconds: dict[str, list[float]] = {name: [] for name in sides}
        self.megabytes: dict[str, float] = {}
        """Largest GPU memory of a block beyond what was allocated before it."""

    def clock(self) -> float:
        """Seconds, after all that the device has to do."""
        synchronize(self._device)
        return time.process_time() if self._device.type == "cpu" else time.perf_counter()

    def take(self, name: str, steps: int) -> float:
        """Takes steps of a side; returns the seconds of one."""
        began = self.clock()
        for _ in range(steps):
            self._sides[name](self._batches[self._taken[name] % len(self._batches)])
            self._taken[name] += 1
        return (self.clock() - began) / steps

    def run(self, case: Case) -> None:
        """All blocks; the order of the sides is reversed from block to block."""
        for name in self._sides:
            self.take(name, case.warmup)
        for block in range(case.blocks):
            for name in list(self._sides)[:: 1 if block % 2 == 0 else -1]:
                with self._watched(name):
                    self.seconds[name].append(self.take(name, case.steps))

    @contextmanager
    def _watched(self, name: str) -> Iterator[None]:
        """Notes the largest GPU memory of a block; nothing on a CPU."""
        if self._device.type != "cuda":
            yield
            return
        torch.cuda.reset_peak_memory_stats(self._device)
        before = torch.cuda.memory_allocated(self._device)
        yield
        largest = (torch.cuda.max_memory_allocated(self._device) - before) / MEGABYTE
        self.megabytes[name] = max(largest, self.megabytes.get(name, 0.0))

    def milliseconds(self, name: str) -> float:
        """Median milliseconds of a step."""
        return 1000 * statistics.median(self.seconds[name])


def original_loop(case: Case, ready: Prepared, grid: tuple[int, int], folder: Path, wrap: Wrap) -> Loop:
    """The original's training of the same network on the same frames."""
    original = ORIGINALS[case.codec]
    repository = folder.resolve() / original.repository
    if not repository.is_dir():
        raise ValueError(f"There is no {original.repository} among the originals.")
    return original.build(Task(repository, ready.config, ready.frames.float() / 255, grid, wrap))


def compare(
    case: Case, source: Source, originals: Path, choices: Mapping[str, Mapping[str, str]]
) -> Iterator[Mapping[str, Any]]:  # fmt: skip
    """A row for each choice of our settings, by name: our step beside the original's, all of them in turns.

    A choice that fails has its error in its row. Raises ValueError where the original has no such network, where it is
    missing, or where the counts of trained parameters differ.
    """
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder), case.device)
        ready = prepared(case, source, workspace)
        sides, errors = dict[str, Ours](), dict[str, str]()
        for name, options in choices.items():
            try:
                sides[name] = started(case, ready, workspace, options)
            except Exception as error:  # a compiler or a device may fail in many ways, and the others are timed still
                errors[name] = f"{type(error).__name__}: {error}"[-500:]
        if sides:
            yield from _rows(case, ready, sides, originals)
        yield from ({"name": name, "error": error} for name, error in errors.items())


def started(case: Case, ready: Prepared, workspace: Workspace, options: Mapping[str, str]) -> Ours:
    """Our training after its first steps, with all that is done once."""
    own = replace(ready, network=deepcopy(ready.network), encoder=deepcopy(ready.encoder))
    side = Ours(case, own, workspace, options)
    batches = side.batches()
    for number in range(MOST_WARMUP):
        if number >= case.warmup and side.ready:
            break
        side.step(batches[number % len(batches)])
    return side


def _rows(
    case: Case, ready: Prepared, sides: Mapping[str, Ours], originals: Path
) -> Iterator[Mapping[str, Any]]:  # fmt: skip
    first = next(iter(sides.values()))
    wraps: dict[str, Wrap] = {ORIGINAL: lambda network: network}
    if ORIGINALS[case.codec].compiles and ready.frames.is_cuda:
        wraps[COMPILED] = torch.compile
    loops = {name: original_loop(case, ready, first.grid, originals, wrap) for name, wrap in wraps.items()}
    steps = {**_steps(loops[ORIGINAL]), **{name: loop.step for name, loop in loops.items() if name != ORIGINAL}}
    turns = Turns({**{name: side.step for name, side in sides.items()}, **steps}, first.batches(), case.device)
    turns.run(case)
    if first.parameters() != (theirs := trained(loops[ORIGINAL].network)):
        raise ValueError(f"Our network has {first.parameters()} trained parameters, the original's {theirs}.")
    for name in sides:
        yield {"name": name, "values": {"parameters": theirs, "batch": first.batch, **_values(turns, name)}}


def _steps(loop: Loop) -> Mapping[str, Step]:
    """The original's step, and the metrics that its loop computes after each."""
    kept: list[Outputs] = []

    def step(chosen: Tensor) -> None:
        outputs, targets = loop.step(chosen)
        kept[:] = [([each.detach() for each in outputs], targets)]

    return {ORIGINAL: step, METRICS: lambda chosen: loop.measure(kept[0])}


def _values(turns: Turns, name: str) -> Mapping[str, float]:
    """What a row shows of one of our sides."""
    ours, original, metrics = (turns.milliseconds(each) for each in (name, ORIGINAL, METRICS))
    values = {
        "ours, ms": ours, "original, ms": original, "ours / original": ours / original,
        "its metrics, ms": metrics, "ours / original with metrics": ours / (original + metrics),
    }  # fmt: skip
    if COMPILED in turns.seconds:
        compiled = turns.milliseconds(COMPILED)
        values |= {"original compiled, ms": compiled, "ours / original compiled": ours / compiled}
    for label, side in (("ours", name), ("original", ORIGINAL)):
        if side in turns.megabytes:
            values[f"{label}, MiB"] = turns.megabytes[side]
    return values
