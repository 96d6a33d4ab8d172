"""Recipes as data: the stages of a fit, their losses, optimizers and schedules."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from .losses import MIXES, Mix

OptimizerName = Literal["adam", "adamw", "adan"]
WARMUP_START = 0.1
"""The share of the learning rate that a warm-up begins with, unless a stage says otherwise (NeRV)."""


@dataclass(frozen=True)
class Stage:
    """A part of a fit. The rate rises linearly over the `warmup` share of the epochs, then falls as a cosine."""

    name: str
    epochs: int
    lr: float
    warmup: float = 0.2
    floor: float = 0.0
    """The share of `lr` at the end of the cosine."""
    warmup_start: float = WARMUP_START
    """The share of `lr` that the warm-up begins with."""
    cosine_over: Literal["rest", "all"] = "rest"
    """What the cosine spans: the epochs after the warm-up, or all, so that those of the warm-up count (HiNeRV)."""
    batch: int = 1
    """Frames in a step; as many patches as these hold where `by_patches` is set."""
    by_patches: bool = False
    """Steps take patches from everywhere instead of whole frames."""
    loss: Mix = MIXES["l1_ssim"]
    rate_weight: float = 0.0
    """lambda of D + lambda R, R in bits per pixel as the compression scheme models it."""
    rate_area: Literal["clip", "frame"] = "clip"
    """Whose pixels these are: `frame` makes R as many times larger as there are frames (HNeRV-Boost)."""
    optimizer: OptimizerName = "adam"
    betas: tuple[float, ...] = (0.9, 0.999)
    weight_decay: float = 0.0
    decayed: Literal["all", "model", "layers"] = "all"
    """What it acts on: all that is fitted, all but content (`Network.latents`), or the weights of linear layers and
    convolutions; a scheme's own parameters never decay."""
    fades: bool = False
    """It falls linearly to zero over the schedule."""
    clip_norm: float | None = None
    """The largest norm of all gradients together."""
    ema: float | None = None
    """The stage ends with this exponential moving average of the weights."""
    trainable: str = ".*"
    """The parameters that this regular expression matches in full are fitted, others stay; those of an encoder
    network begin with `encoder.`."""
    sparsity: float = 0.0
    """The share of weights that the compression scheme holds at zero."""
    noise: float = 0.0
    """The share of weights that each step of a quantization-aware scheme sees quantized."""
    proxy: Literal["", "soft", "mixed"] = ""
    """What stands in for rounding in an entropy-constrained scheme that has a choice."""
    rate_every: int = 0
    """The rate gets a step of its own after so many steps for the distortion alone, weighted as much (NVRC); 0: every
    step is for both."""
    schedule_offset: int = 0
    """Epochs of the stage before, which has the same schedule and whose optimizer this one carries on."""
    schedule_tail: int = 0
    """Epochs of the stage that carries on."""

    def learning_rate(self, epoch: float) -> float:
        """The learning rate at a fractional epoch."""
        total, epoch = self.schedule_offset + self.epochs + self.schedule_tail, self.schedule_offset + epoch
        warm = int(self.warmup * total)
        if epoch < warm:
            return self.lr * (self.warmup_start + (1 - self.warmup_start) * epoch / warm)
        first = warm if self.cosine_over == "rest" else 0
        cosine = 0.5 * (1 + math.cos(math.pi * (epoch - first) / max(1, total - first)))
        return self.lr * (self.floor + (1 - self.floor) * cosine)

    @property
    def mean_learning_rate(self) -> float:
        """Over the epochs."""
        return sum(self.learning_rate(epoch + 0.5) for epoch in range(self.epochs)) / self.epochs

    def progress(self, epoch: float) -> float:
        """The share of the schedule that has passed at a fractional epoch."""
        return (self.schedule_offset + epoch) / (self.schedule_offset + self.epochs + self.schedule_tail)

    def schedule(self, optimizer: torch.optim.Optimizer, epoch: float) -> None:
        """Gives an optimizer of `make_optimizer` what a fractional epoch begins with."""
        decay = self.weight_decay * (1 - self.progress(epoch) if self.fades else 1)
        for group in optimizer.param_groups:
            group["lr"] = self.learning_rate(epoch)
            group["weight_decay"] = decay if group["decays"] else 0.0

    def chosen(self, parameters: Mapping[str, nn.Parameter]) -> list[nn.Parameter]:
        """Those of the named parameters that this stage fits."""
        return [p for name, p in parameters.items() if re.fullmatch(self.trainable, name)]


def make_optimizer(
    stage: Stage, others: Sequence[nn.Parameter], decaying: Sequence[nn.Parameter]
) -> torch.optim.Optimizer:
    """The optimizer of a stage; the fused form of Adam and AdamW, in which a step is one kernel."""
    groups = [
        {"params": own, "decays": decays, "weight_decay": stage.weight_decay if decays else 0.0}
        for own, decays in ((others, False), (decaying, True))
        if own
    ]
    options: dict[str, Any] = {"lr": stage.lr, "betas": stage.betas}
    if stage.optimizer == "adan":
        from pytorch_optimizer import Adan

        adan: torch.optim.Optimizer = Adan(groups, **options)
        return adan
    make = torch.optim.Adam if stage.optimizer == "adam" else torch.optim.AdamW
    return make(groups, fused=True, **options)
