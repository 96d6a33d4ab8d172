"""Training recipes as data: stages with their losses, optimizers and schedules."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from torch import nn

from .losses import MIXES, Mix

OptimizerName = Literal["adam", "adamw", "adan", "muon"]
ADAM_BETAS = (0.9, 0.999)
"""Adam's default betas."""
ADAM_EPSILON = 1e-8
"""Adam's default epsilon."""
WARMUP_START = 0.1
"""Share of the learning rate at the start of a warm-up, unless a stage has its own (NeRV)."""


@dataclass(frozen=True)
class Stage:
    """A training stage; its learning rate rises linearly over the share `warmup`, then falls as a cosine."""

    name: str
    epochs: int
    lr: float
    warmup: float = 0.2
    """Share of the schedule's epochs."""
    warmup_ends: Literal["epoch", "step"] = "epoch"
    """Whether the warm-up is rounded down to whole epochs (NeRV, FFNeRV), or ends with any step (HNeRV, E-NeRV)."""
    floor: float = 0.0
    """Share of `lr` at the end of the cosine."""
    warmup_start: float = WARMUP_START
    """Share of `lr` at the start of the warm-up."""
    cosine_over: Literal["rest", "all"] = "rest"
    """Epochs that the cosine spans: those after the warm-up, or all, the warm-up included (HiNeRV)."""
    batch: int = 1
    """Frames in a step; with `by_patches`, as many patches as these frames have."""
    by_patches: bool = False
    """Whether a step samples patches from all frames instead of whole frames."""
    loss: Mix = MIXES["l1_ssim"]
    rate_weight: float = 0.0
    """lambda in D + lambda R, with R in bits per pixel as the compression scheme estimates it."""
    rate_area: Literal["clip", "frame"] = "clip"
    """Pixels that R is divided by: those of the clip, or of one frame, which makes R larger by the number of frames
    (HNeRV-Boost)."""
    optimizer: OptimizerName = "adam"
    muon_lr: float = 1.0
    """Learning rate of Muon's matrices, as a share of `lr`."""
    betas: tuple[float, ...] = ADAM_BETAS
    epsilon: float = ADAM_EPSILON
    """What Adam adds to the root of the second moment, in the units of the gradients."""
    weight_decay: float = 0.0
    decayed: Literal["all", "model", "layers"] = "all"
    """Parameters with weight decay: all, all but content (`Network.latents`), or the weights of linear layers and
    convolutions; never the parameters of a compression scheme."""
    fades: bool = False
    """Whether the weight decay falls linearly to zero over the schedule."""
    clip_norm: float | None = None
    """Largest norm of all gradients together."""
    ema: float | None = None
    """Decay of the exponential moving average of the weights that the stage ends with; None: no averaging."""
    trainable: str = ".*"
    """Regular expression that must match the whole name of a trained parameter; names of an encoder network begin with
    `encoder.`."""
    sparsity: float = 0.0
    """Share of weights that the compression scheme holds at zero."""
    noise: float = 0.0
    """Share of weights that are quantized in each step of quantization-aware training."""
    proxy: Literal["", "soft", "mixed"] = ""
    """Substitute for rounding in an end-to-end scheme: soft rounding, or rounding of a random share (NVRC)."""
    rate_every: int = 0
    """Number of distortion steps before one step for the rate, which has their weight together (NVRC); 0: every step
    minimizes both."""
    schedule_offset: int = 0
    """Epochs of the same schedule in earlier stages, whose optimizer state this stage continues with."""
    schedule_tail: int = 0
    """Epochs of the same schedule in later stages."""

    def learning_rate(self, epoch: float) -> float:
        """The learning rate at a fractional epoch."""
        total, epoch = self.schedule_offset + self.epochs + self.schedule_tail, self.schedule_offset + epoch
        warm = self.warmup * total if self.warmup_ends == "step" else int(self.warmup * total)
        if epoch < warm:
            return self.lr * (self.warmup_start + (1 - self.warmup_start) * epoch / warm)
        first = warm if self.cosine_over == "rest" else 0
        cosine = 0.5 * (1 + math.cos(math.pi * (epoch - first) / max(1, total - first)))
        return self.lr * (self.floor + (1 - self.floor) * cosine)

    def finetuned(self, epochs: int, lr_share: float) -> "Stage":
        """A fine-tuning stage after this one: no warm-up, and this share of its learning rate."""
        return replace(self, name="finetune", epochs=epochs, lr=self.lr * lr_share, warmup=0.0)

    def with_muon(self, share: float) -> "Stage":
        """The stage with Muon, whose matrices have this share of the learning rate, and without weight decay.

        All other parameters have Adam, with the stage's betas where these are Adam's two.
        """
        betas = self.betas if len(self.betas) == len(ADAM_BETAS) else ADAM_BETAS
        return replace(self, optimizer="muon", muon_lr=share, betas=betas, weight_decay=0.0)

    @property
    def mean_learning_rate(self) -> float:
        """The mean learning rate over the epochs of the stage."""
        return sum(self.learning_rate(epoch + 0.5) for epoch in range(self.epochs)) / self.epochs

    def progress(self, epoch: float) -> float:
        """The share of the schedule that has passed at a fractional epoch."""
        return (self.schedule_offset + epoch) / (self.schedule_offset + self.epochs + self.schedule_tail)

    def decay(self, epoch: float) -> float:
        """The weight decay at a fractional epoch."""
        return self.weight_decay * (1 - self.progress(epoch) if self.fades else 1)

    def chosen(self, parameters: Mapping[str, nn.Parameter]) -> list[nn.Parameter]:
        """The parameters that this stage trains."""
        return [p for name, p in parameters.items() if re.fullmatch(self.trainable, name)]
