"""The speed of a fit, for `rdbench bench fit`."""

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
"""Samples of a stage; steps inside one follow each other without waiting for the device."""
PASSES = 3
"""A step costs three forward passes: the backward pass computes gradients of inputs and of weights."""


def time_stages(fit: Trainer, steps: int, macs: int) -> list[Timing]:
    """Seconds per step of each stage; `macs` are the multiply-accumulates of a frame, loss and optimizer aside."""
    return [_time_stage(fit, stage, steps, macs) for stage in fit.stages]


def _time_stage(fit: Trainer, stage: Stage, steps: int, macs: int) -> Timing:
    fit.network.enter(stage)
    fit.scheme.enter(fit.network, stage)
    optimizer, average = fit.start(stage)
    count = fit.samples.count(stage.by_patches)
    order = torch.randperm(count).to(fit.device)
    batch = min(fit.samples.batch(stage), count)
    chosen = [order[at : at + batch] for at in range(0, count - batch + 1, batch)]

    def step(number: int) -> None:
        fit.step(stage, optimizer, chosen[number % len(chosen)], number + 1)
        average.update()

    cycle = max(1, stage.rate_every)  # samples are of whole cycles: each has its share of steps for the rate
    cycles = -(-steps // cycle)
    for number in range(max(WARMUP_STEPS, cycle)):
        step(number)
    blocks = min(BLOCKS, cycles)
    edges = [cycle * round(block * cycles / blocks) for block in range(blocks + 1)]
    samples: list[float] = []
    for first, last in pairwise(edges):
        synchronize(fit.device)
        started = time.perf_counter()
        for number in range(first, last):
            step(number)
        synchronize(fit.device)
        samples.append((time.perf_counter() - started) / (last - first))
    frames = batch / (math.prod(fit.network.grid) if stage.by_patches else 1)
    flops = 2 * PASSES * macs * frames
    return Timing(stage.name, tuple(samples), frames, flops, "bfloat16" if fit.device.type == "cuda" else "float32")
