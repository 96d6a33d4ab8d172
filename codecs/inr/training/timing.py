"""The speed of training, for `rdbench bench fit`."""

import math
import time
from itertools import pairwise

import torch

from rdbench.codec import Timing

from ..recipes.stage import Stage
from ..rendering import synchronize
from .trainer import Trainer

WARMUP_STEPS = 3
BLOCKS = 10
"""Timed samples of a stage; inside one, steps follow each other without synchronizing the device."""
PASSES = 3
"""Cost of a step in forward passes: the backward pass computes gradients of inputs and of weights."""


def time_stages(trainer: Trainer, steps: int, macs: int) -> list[Timing]:
    """Seconds per step of each stage; `macs`: multiply-accumulates of a frame, without loss and optimizer."""
    return [_time_stage(trainer, stage, steps, macs) for stage in trainer.stages]


def _time_stage(trainer: Trainer, stage: Stage, steps: int, macs: int) -> Timing:
    trainer.network.enter(stage)
    trainer.scheme.enter(trainer.network, stage)
    optimizer, average = trainer.start(stage)
    count = trainer.samples.count(stage.by_patches)
    order = torch.randperm(count).to(trainer.device)
    batch = min(trainer.samples.batch(stage), count)
    chosen = [order[at : at + batch] for at in range(0, count - batch + 1, batch)]

    execution = trainer.execution(stage, optimizer, average)

    def step(number: int) -> None:
        execution.take(chosen[number % len(chosen)], number + 1)

    cycle = max(1, stage.rate_every)  # each sample has whole cycles, so its share of steps for the rate
    cycles = -(-steps // cycle)
    number = 0
    while number < max(WARMUP_STEPS, cycle) or not execution.ready:
        step(number)
        number += 1
    blocks = min(BLOCKS, cycles)
    edges = [cycle * round(block * cycles / blocks) for block in range(blocks + 1)]
    samples: list[float] = []
    for first, last in pairwise(edges):
        synchronize(trainer.device)
        started = time.perf_counter()
        for number in range(first, last):
            step(number)
        synchronize(trainer.device)
        samples.append((time.perf_counter() - started) / (last - first))
    frames = batch / (math.prod(trainer.network.grid) if stage.by_patches else 1)
    flops = 2 * PASSES * macs * frames
    return Timing(stage.name, tuple(samples), frames, flops, trainer.precision)
