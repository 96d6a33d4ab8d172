"""Benchmark of a training step of every INR codec: two versions of the code, or two settings, in alternation.

    OMP_NUM_THREADS=1 python tests/benchmarks/steps.py --before OTHER/.venv/bin/python
    OMP_NUM_THREADS=1 python tests/benchmarks/steps.py --after-options precision=bfloat16 --codecs nerv,hinerv

A process for each side trains a network on an artificial clip; the sides take turns with blocks of a few steps, so that
a machine that is busy meanwhile slows both. Prints, for each codec, the median milliseconds of CPU time for a step of
either side and their ratio, the ratio of the wall-clock times, and the training loss of either side after the same
number of steps, which shows whether a change is exact.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CODECS = (
    "nerv", "enerv", "psnerv", "nervpp", "hnerv", "dnerv", "hnerv-boost", "ffnerv", "cnerv", "tnerv", "hinerv",
    "tenerv", "canerv", "nvrc",
)  # fmt: skip
WARMUP_STEPS = 3
HERE = str(Path(__file__).resolve())


@dataclass(frozen=True)
class Case:
    """What both sides train."""

    size: str
    width: int
    height: int
    frames: int
    preset: str
    stage: str
    """Name of the timed stage; empty for the one with the most epochs."""


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--codecs", default=",".join(CODECS))
    parser.add_argument("--before", default=sys.executable, help="the Python of the other version's environment")
    parser.add_argument("--before-options", default="", help="settings of the first side, as a=b,c=d")
    parser.add_argument("--after-options", default="", help="settings of the second side")
    parser.add_argument("--size", default="80K", help="a rate point; codecs with a lambda get 0.5")
    parser.add_argument("--clip", default="320x180", help="width and height")
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--preset", default="quick")
    parser.add_argument("--stage", default="", help="name of the stage; by default the longest")
    parser.add_argument("--blocks", type=int, default=7)
    parser.add_argument("--steps", type=int, default=4, help="steps in a block")
    parser.add_argument("--worker", default="", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def stepper(spec_text: str, case: Case) -> Callable[[], float]:
    """A function that takes one training step and returns the mean squared error before it."""
    import numpy as np
    import torch

    from rdbench.codec import Clip, Source, Workspace
    from rdbench.codecs.inr.codec import InrCodec
    from rdbench.registry import create, parse_specs
    from rdbench.video import Frames, VideoFormat
    from rdbench.video.conditions import find_conditions
    from rdbench.video.readers import MemoryVideo, RgbVideo

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    t, y, x = np.mgrid[: case.frames, : case.height, : case.width]
    luma = (128 + 60 * np.sin(x / 9 + t / 3) * np.cos(y / 7 - t / 5)).astype(np.uint8)
    chroma = (128 + 20 * np.sin(x / 31 + y / 17))[:, ::2, ::2].astype(np.uint8)
    video = MemoryVideo(VideoFormat(case.width, case.height), Frames((luma, chroma, chroma)))
    codec = create(parse_specs(spec_text)[0], case.preset)
    assert isinstance(codec, InrCodec)
    label = f"{case.size}-lambda0.5" if codec.objective else case.size
    point = codec.rate_point(label, Clip(video.format, case.frames))
    workspace = Workspace(Path(tempfile.mkdtemp()))
    ready = codec.prepare(Source(video, RgbVideo(video, find_conditions("rgb601"))), point, workspace)
    trainer = ready.trainer(codec.chosen_compression(), workspace, codec.stages(point))
    longest = max(trainer.stages, key=lambda stage: stage.epochs)
    stage = next((each for each in trainer.stages if each.name == case.stage), longest)
    trainer.network.enter(stage)
    trainer.scheme.enter(trainer.network, stage)
    optimizer, average = trainer.start(stage)
    count, batch = trainer.samples.count(stage.by_patches), trainer.samples.batch(stage)
    torch.manual_seed(0)
    order, done = torch.randperm(count), 0

    def step() -> float:
        nonlocal done
        first = done * batch % (count - count % batch)
        done += 1
        error = trainer.step(stage, optimizer, order[first : first + batch], done)
        average.update()
        return float(error)

    return step


def work(spec_text: str, case: Case) -> None:
    """Takes as many steps as each line of the input says, and prints seconds of CPU and of the clock, and the error."""
    step = stepper(spec_text, case)
    for line in sys.stdin:
        wall, cpu = time.perf_counter(), time.process_time()
        error = [step() for _ in range(int(line))][-1]
        print(json.dumps([time.process_time() - cpu, time.perf_counter() - wall, error]), flush=True)


class Side:
    """A process that trains one side."""

    def __init__(self, python: str, name: str, options: str, arguments: Sequence[str]) -> None:
        spec = f"{name}[{options}]" if options else name
        self._process = subprocess.Popen(
            [python, HERE, *arguments, "--worker", spec], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.samples: list[tuple[float, float]] = []
        self.error = float("nan")

    def take(self, steps: int, timed: bool = True) -> None:
        """Takes steps, and keeps their mean seconds of CPU and of the clock."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{steps}\n")
        self._process.stdin.flush()
        answer: list[Any] = json.loads(self._process.stdout.readline())
        cpu, wall, self.error = answer
        if timed:
            self.samples.append((cpu / steps, wall / steps))

    def median(self, kind: int) -> float:
        """Median milliseconds of a step: of CPU time (0) or of the clock (1)."""
        return 1000 * statistics.median(sample[kind] for sample in self.samples)

    def close(self) -> None:
        """Ends the process."""
        self._process.communicate()


def compare(name: str, options: argparse.Namespace, arguments: Sequence[str]) -> str:
    """The row of a codec."""
    sides = [
        Side(options.before, name, options.before_options, arguments),
        Side(sys.executable, name, options.after_options, arguments),
    ]
    for side in sides:
        side.take(WARMUP_STEPS, timed=False)
    for block in range(options.blocks):
        for side in sides if block % 2 == 0 else reversed(sides):
            side.take(options.steps)
    before, after = sides
    for side in sides:
        side.close()
    cpu, wall = ((before.median(kind), after.median(kind)) for kind in (0, 1))
    return (
        f"{name:12} | {cpu[0]:9.1f} | {cpu[1]:8.1f} | {cpu[1] / cpu[0]:5.2f} | {wall[1] / wall[0]:10.2f} | "
        f"{before.error:.6f} | {after.error:.6f}"
    )


def main() -> None:
    """Prints a row for each codec; as a worker, trains one side."""
    options = parse()
    width, height = (int(side) for side in options.clip.split("x"))
    case = Case(options.size, width, height, options.frames, options.preset, options.stage)
    if options.worker:
        work(options.worker, case)
        return
    print("codec        | before ms | after ms | ratio | wall ratio | loss before | after", flush=True)
    passed = [f"--{name}={getattr(options, name)}" for name in ("size", "clip", "frames", "preset", "stage")]
    for name in options.codecs.split(","):
        print(compare(name, options, passed), flush=True)


if __name__ == "__main__":
    main()
