"""Network, quantizers and entropy models fitted together (NVRC, sections 3.3 and 3.4), for NVRC and any other codec."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, Self

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from rdbench.codec import Clip

from ..compression.nvrc.scheme import HierarchicalScheme, Parts
from ..recipes.losses import MIXES, Mix
from ..recipes.stage import Stage
from .rate_distortion import InrSettings, RateObjective, plain_stages

L2 = 1e-6
"""Beside lambda D + R, falling to zero over stage 1."""
YUV_LAMBDA = 32
"""How many times larger lambda is for the YUV loss, which is a squared error (table 6)."""
S2_PER_PIXEL = 6_351_101 / (1920 * 1080)
"""Parameters of the scale whose lambdas are 1 and 2."""
LONG_CLIP = 150
"""Frames of the paper's shortest clips; lambdas are the same for its longest, of 600."""
ROUNDING_SHARE = 30 / 360
"""Epochs of stage 2, as a share of those before."""


class EndToEndSettings(InrSettings):
    """What the rate is, and what the ablations of table 3 switch off; any other codec has these defaults."""

    distortion: Literal["rgb", "yuv"] = "rgb"
    """D of the RGB frames, or of their YUV 4:4:4 (appendix A.2), for measuring under the conditions `yuv420`."""
    free: float = Field(0.0, ge=0, lt=1)
    """The share of stage 1's epochs, its first, without noise and rate, done once for all lambdas (our choice, for
    short fits)."""
    finetune_lr: float = Field(0.05, gt=0)
    """Of stage 2, as a share of the rate before."""
    rate_every: int = Field(8, ge=0)
    """K: steps for the distortion before one for the rate; 0: every step is for both."""
    log_lr_scale: float = Field(1.0, gt=0)
    """How many times faster logarithms of steps and deviations move than the optimizer's rate; short fits need it."""
    grids: Literal["auto", "context", "gaussian"] = "auto"
    """What models grids: context models (where they have enough values), or a Gaussian each (V2)."""
    layers: Literal["dual", "gaussian"] = "dual"
    """What models layers: Gaussians in two axes, or one for each tensor (V1; V3 with grids=gaussian)."""
    no_second_coding: bool = False
    """V4: the parameters of quantizers and models travel as float16."""
    fixed_grid_steps: bool = False
    """V5: e^-4 for all grids."""

    @model_serializer(mode="wrap")
    def _decisive(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without these where another compression is chosen, which does not read them."""
        values: dict[str, Any] = handler(self)
        if self.compression == "nvrc":
            return values
        idle = EndToEndSettings.model_fields.keys() - InrSettings.model_fields.keys()
        return {name: value for name, value in values.items() if name not in idle}


QUICK: dict[str, float] = {"free": 0.75, "rate_every": 2, "log_lr_scale": 5.0}
TINY: dict[str, float] = {"rate_every": 1, "log_lr_scale": 20.0}
"""What the presets add for short fits."""


def lambda_of(size: int, clip: Clip) -> float:
    """The lambda of a size that is named alone, to three digits: of parameters per pixel of a frame (our choice).

    For 1080p of 150 frames and more 0.21, 1.4, 5.8, 23 for S1 to S4, where the paper has the pairs 0.25 and 0.5, 1 and
    2, 4 and 8, 16 and 32. Shorter clips weigh the distortion more, since fewer pixels pay for the network.
    """
    share = size / (clip.format.width * clip.format.height) / S2_PER_PIXEL
    return float(f"{math.sqrt(2) * share**1.75 * max(1.0, LONG_CLIP / clip.frames) ** 2:.3g}")


class EndToEnd(RateObjective):
    """lambda D + R in all stages but free ones.

    As D + R / lambda, so that the limit on gradients does not act as another lambda. Of what an encoder makes, a step
    changes the frames that it sees alone.
    """

    scheme = HierarchicalScheme

    def __init__(self, settings: EndToEndSettings) -> None:
        self.settings = settings

    @classmethod
    def of(cls, settings: InrSettings) -> Self:
        """A codec that does not have these settings gets their defaults."""
        if isinstance(settings, EndToEndSettings):
            return cls(settings)
        return cls(EndToEndSettings.model_validate({"compression": "nvrc"}))

    def compression(self) -> HierarchicalScheme:
        """All of it, or what an ablation leaves."""
        s = self.settings
        grids = ("gaussian", "auto", "context").index(s.grids)
        parts = Parts(grids, s.layers == "dual", not s.no_second_coding, not s.fixed_grid_steps)
        return HierarchicalScheme(parts, s.log_lr_scale)

    def arrange(self, recipe: Sequence[Stage]) -> Sequence[Stage]:
        """As many epochs: those of pruning as the last plain stage's, those of quantization as stage 2's (our choice).

        Where nothing is quantized, stage 2 has NVRC's share.
        """
        *first, last = plain_stages(recipe)
        pruning = sum(stage.epochs for stage in recipe if stage.sparsity and not stage.noise)
        stages = [*first, replace(last, epochs=last.epochs + pruning)]
        rounded = [stage.epochs for stage in recipe if stage.noise]
        share = max(1, round(ROUNDING_SHARE * sum(stage.epochs for stage in stages)))
        return self.stages(stages, sum(rounded) if rounded else share)

    def stages(self, before: Sequence[Stage], epochs: int) -> Sequence[Stage]:
        """Of these the first share is free, the others have soft rounding, noise and the rate; then so many epochs
        with ever more weights rounded.
        """
        s = self.settings
        clipped = [
            replace(stage, clip_norm=1.0, loss=MIXES["yuv"] if s.distortion == "yuv" else stage.loss)
            for stage in before
        ]
        total = sum(stage.epochs for stage in clipped)
        free, rest = divided(clipped, min(round(s.free * total), total - 1))
        soft = [
            replace(
                stage, rate_weight=1.0, rate_every=s.rate_every, proxy="soft",
                weight_decay=L2, decayed="layers", fades=True,
            )
            for stage in rest
        ]  # fmt: skip
        last = replace(
            soft[-1], name="finetune", epochs=epochs, lr=soft[-1].lr * s.finetune_lr, warmup=0.0, floor=0.1,
            schedule_offset=0, weight_decay=0.0, proxy="mixed",
        )  # fmt: skip
        return *free, *soft, last

    def weigh(self, stage: Stage, weight: float) -> Stage:
        """Lambda weighs the distortion: the rate and the decay beside it have its inverse."""
        if not stage.rate_weight:
            return stage
        share = 1 / weight
        return replace(stage, rate_weight=share * stage.rate_weight, weight_decay=share * stage.weight_decay)

    def pairs(self, sizes: Sequence[int], loss: Mix) -> Sequence[tuple[int, float | None]]:
        """All sizes."""
        return [(size, None) for size in sizes]

    def lambda_for(self, size: int, clip: Clip) -> float | None:
        """That of `lambda_of`, for the loss."""
        return (YUV_LAMBDA if self.settings.distortion == "yuv" else 1) * lambda_of(size, clip)


def divided(stages: Sequence[Stage], epochs: int) -> tuple[list[Stage], list[Stage]]:
    """The first so many epochs, named `free`, and the others; a stage in both goes on where it was."""
    free, rest = list[Stage](), list[Stage]()
    for stage in stages:
        own = min(stage.epochs, epochs - sum(each.epochs for each in free))
        left = stage.epochs - own
        if own:
            name = f"free {stage.name}"
            free.append(replace(stage, name=name, epochs=own, schedule_tail=stage.schedule_tail + left))
        if left:
            rest.append(replace(stage, epochs=left, schedule_offset=stage.schedule_offset + own))
    return free, rest
