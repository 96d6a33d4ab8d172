"""Optimizers of training stages, and the schedule that sets their learning rate and weight decay."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from .stage import Stage


def make_optimizer(
    stage: Stage, others: Sequence[nn.Parameter], decaying: Sequence[nn.Parameter]
) -> torch.optim.Optimizer:
    """The optimizer of a stage, with weight decay on `decaying` alone; Adam and AdamW in their fused form."""
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


def apply_schedule(stage: Stage, optimizer: torch.optim.Optimizer, epoch: float) -> None:
    """Sets the learning rate and the weight decay of an optimizer of `make_optimizer` at a fractional epoch."""
    for group in optimizer.param_groups:
        group["lr"] = stage.learning_rate(epoch)
        group["weight_decay"] = stage.decay(epoch) if group["decays"] else 0.0
