"""End-to-end training of network, quantizers and entropy models (NVRC, sections 3.3 and 3.4), for any codec."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, Self

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from rdbench.codec import Clip

from ..compression.nvrc.scheme import HierarchicalScheme, Parts
from ..recipes.losses import MIXES, Mix
from ..recipes.stage import Stage
from .rate_distortion import InrSettings, RateObjective, plain_stages

L2 = 1e-6
"""L2 weight decay beside lambda D + R, falling to zero over stage 1."""
YUV_LAMBDA = 32
"""Factor on lambda for the YUV loss, which is a squared error (table 6)."""
S2_PER_PIXEL = 6_351_101 / (1920 * 1080)
"""Parameters per pixel of a frame at the paper's scale S2, whose lambdas are 1 and 2."""
LONG_CLIP = 150
"""Frames of the paper's shortest clips; its lambdas are the same for the longest, of 600."""
ROUNDING_SHARE = 30 / 360
"""Epochs of stage 2, as a share of the epochs before it."""


class EndToEndSettings(InrSettings):
    """Settings of rate and distortion, and the ablations of table 3; other codecs use the defaults."""

    distortion: Literal["rgb", "yuv"] = "rgb"
    """Color space of the distortion D: RGB, or YUV 4:4:4 (appendix A.2) for measuring under the conditions `yuv420`.
    The network outputs RGB, and the loss converts it to YUV in full range (our choice; in the paper it outputs YUV)."""
    free: float = Field(0.0, ge=0, lt=1)
    """Share of stage 1's epochs, the first ones, without noise and rate, trained once for all lambdas (our choice, for
    short trainings)."""
    finetune_lr: float = Field(0.05, gt=0)
    """Learning rate of stage 2, as a share of stage 1's."""
    rate_every: int = Field(8, ge=0)
    """K: distortion steps before one step for the rate; 0: every step minimizes both."""
    log_lr_scale: float = Field(1.0, gt=0)
    """Learning-rate multiplier of log-steps and log-scales; short trainings need more than the paper's 1."""
    grids: Literal["auto", "context", "gaussian"] = "auto"
    """Entropy model of grids: context models (`auto`: where grids have enough values), or a Gaussian each (V2)."""
    layers: Literal["dual", "gaussian"] = "dual"
    """Entropy model of layers: dual-axis Gaussians, or one Gaussian per tensor (V1; V3 with grids=gaussian)."""
    no_second_coding: bool = False
    """V4: quantizer and entropy-model parameters are stored as float16."""
    fixed_grid_steps: bool = False
    """V5: a quantization step of e^-4 for all grids."""

    @model_validator(mode="before")
    @classmethod
    def _renamed(cls, values: Any) -> Any:
        """Accepts `pace`, the former name of `log_lr_scale`, for one release."""
        if not isinstance(values, dict) or "pace" not in values:
            return values
        warnings.warn("The option pace is now log_lr_scale; the next release drops the old name.", FutureWarning, 2)
        return {"log_lr_scale" if name == "pace" else name: value for name, value in values.items()}

    @model_serializer(mode="wrap")
    def _decisive(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leaves these settings out where another compression is chosen, which ignores them."""
        values: dict[str, Any] = handler(self)
        if self.compression == EndToEnd.name:
            return values
        idle = EndToEndSettings.model_fields.keys() - InrSettings.model_fields.keys()
        return {name: value for name, value in values.items() if name not in idle}


QUICK: dict[str, float] = {"free": 0.75, "rate_every": 2, "log_lr_scale": 5.0}
TINY: dict[str, float] = {"rate_every": 1, "log_lr_scale": 20.0}
"""Settings that the presets `quick` and `tiny` add for short trainings."""


def lambda_of(size: int, clip: Clip) -> float:
    """The lambda of a size without a lambda of its own, from parameters per pixel, to three digits (our choice).

    For 1080p of 150 frames and more 0.21, 1.4, 5.8, 23 for S1 to S4, where the paper has the pairs 0.25 and 0.5, 1 and
    2, 4 and 8, 16 and 32. Shorter clips weigh the distortion more, since fewer pixels pay for the network.
    """
    share = size / (clip.format.width * clip.format.height) / S2_PER_PIXEL
    return float(f"{math.sqrt(2) * share**1.75 * max(1.0, LONG_CLIP / clip.frames) ** 2:.3g}")


class EndToEnd(RateObjective):
    """lambda D + R in all stages but the first share, `free`.

    Computed as D + R / lambda with Adam's epsilon over lambda too, which gives the same steps as lambda D + R, but for
    gradient clipping, which thus does not act as another lambda (our choice). Where an encoder network makes
    embeddings, a step changes those of its own frames alone.
    """

    name = "nvrc"
    identifier = 2
    scheme = HierarchicalScheme

    def __init__(self, settings: EndToEndSettings) -> None:
        self.settings = settings

    @classmethod
    def of(cls, settings: InrSettings) -> Self:
        """The objective with the codec's EndToEndSettings, or with their defaults."""
        if isinstance(settings, EndToEndSettings):
            return cls(settings)
        return cls(EndToEndSettings.model_validate({"compression": cls.name}))

    def compression(self) -> HierarchicalScheme:
        """The whole scheme, or the parts that an ablation keeps."""
        s = self.settings
        grids = ("gaussian", "auto", "context").index(s.grids)
        parts = Parts(grids, s.layers == "dual", not s.no_second_coding, not s.fixed_grid_steps)
        return HierarchicalScheme(parts, s.log_lr_scale)

    def with_rate(self, recipe: Sequence[Stage]) -> Sequence[Stage]:
        """Keeps the number of epochs: pruning's go to the last plain stage, quantization's to stage 2 (our choice).

        Where the recipe has no quantization, stage 2 has NVRC's share.
        """
        *first, last = plain_stages(recipe)
        pruning = sum(stage.epochs for stage in recipe if stage.sparsity and not stage.noise)
        stages = [*first, replace(last, epochs=last.epochs + pruning)]
        rounded = [stage.epochs for stage in recipe if stage.noise]
        share = max(1, round(ROUNDING_SHARE * sum(stage.epochs for stage in stages)))
        return self.stages(stages, sum(rounded) if rounded else share)

    def stages(self, before: Sequence[Stage], epochs: int) -> Sequence[Stage]:
        """The stages of NVRC: the first share `free` unchanged, the rest with soft rounding, noise and the rate, then
        stage 2 of so many epochs, in which more and more weights are rounded.
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

    def at_lambda(self, stage: Stage, weight: float) -> Stage:
        """Lambda weighs the distortion: the rate, the decay beside it and Adam's epsilon have its inverse."""
        if not stage.rate_weight:
            return stage
        share = 1 / weight
        return replace(
            stage, rate_weight=share * stage.rate_weight, weight_decay=share * stage.weight_decay,
            epsilon=share * stage.epsilon,
        )  # fmt: skip

    def default_pairs(self, sizes: Sequence[int], loss: Mix) -> Sequence[tuple[int, float | None]]:
        """All sizes; lambda follows from each."""
        return [(size, None) for size in sizes]

    def lambda_for(self, size: int, clip: Clip, loss: Mix) -> float:
        """`lambda_of` the size, times YUV_LAMBDA for the YUV loss."""
        return (YUV_LAMBDA if self.settings.distortion == "yuv" else 1) * lambda_of(size, clip)


def divided(stages: Sequence[Stage], epochs: int) -> tuple[list[Stage], list[Stage]]:
    """Splits stages after so many epochs; a stage in both parts continues its schedule and optimizer state.

    The stages of the first part are named `free ...`.
    """
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
