"""Fits whose loss weighs the rate by a scheme that a setting puts in the place of a codec's own, at `100K-lambda0.5`.

C-NeRV's is here, NVRC's in `end_to_end.py`.
"""

import re
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar, Literal, Self

from pydantic import Field

from rdbench.codec import Clip, RatePoint, Settings, Workspace

from ..compression.entropy_constrained import EntropyConstrained
from ..compression.scheme import Scheme
from ..recipes.losses import Mix
from ..recipes.stage import Stage
from .trainer import CHECKPOINT

LAMBDAS = (1.0, 0.5, 0.25, 0.1, 0.05)
"""Of bits per pixel of the clip, beside 0.7 L1 + 0.3 (1 - SSIM); T-NeRV goes up to 1 (the others are our choice)."""
UNITS = MappingProxyType({"l1": 0.4, "l2": 0.05, "ssim": 2.4, "ms_ssim": 2.0, "ms_ssim_5": 2.0, "spectrum": 0.0})
"""How much a term of a loss changes per dB, beside NeRV's loss, which has 1 (measured up to 23 dB on Bunny, rounded).

A lambda times that of its loss buys about the same quality. The spectrum's grows with the frame and is left out.
"""
RATE_SHARE = 0.2
"""Of all epochs, in which the rate counts (C-NeRV)."""
LABEL = re.compile(r"(.+)-lambda(\d{1,6}(?:\.\d{1,9})?)")


class InrSettings(Settings):
    """What all INR codecs can be told."""

    compression: Literal["own", "entropy-constrained", "nvrc"] = Field("own", exclude_if=lambda value: value == "own")
    """The paper's own, C-NeRV's or NVRC's; records do not name the first."""


class RateObjective(ABC):
    """A scheme whose rate is in the loss, and how a fit comes to weigh it.

    Where it is a codec's own, the codec's recipe is for a lambda of 1; where not, `arrange` makes such a recipe.
    """

    scheme: ClassVar[type[Scheme]]

    @classmethod
    @abstractmethod
    def of(cls, settings: InrSettings) -> Self:
        """As a codec's settings want it."""

    @abstractmethod
    def compression(self) -> Scheme:
        """A fresh scheme."""

    @abstractmethod
    def arrange(self, recipe: Sequence[Stage]) -> Sequence[Stage]:
        """The stages for a lambda of 1, from those of a codec's own compression."""

    @abstractmethod
    def weigh(self, stage: Stage, weight: float) -> Stage:
        """One of these at another lambda."""

    @abstractmethod
    def pairs(self, sizes: Sequence[int], loss: Mix) -> Sequence[tuple[int, float | None]]:
        """The default rate points beside this loss; None: the size's own lambda."""

    @abstractmethod
    def lambda_for(self, size: int, clip: Clip) -> float | None:
        """The lambda of a size that is named alone, if it has one."""


class LagrangianRate(RateObjective):
    """L = D + lambda R in the last stage (C-NeRV, T-NeRV)."""

    scheme = EntropyConstrained

    @classmethod
    def of(cls, settings: InrSettings) -> Self:
        """It has none."""
        return cls()

    def compression(self) -> EntropyConstrained:
        """C-NeRV's."""
        return EntropyConstrained()

    def arrange(self, recipe: Sequence[Stage]) -> Sequence[Stage]:
        """A stage like the last plain one, at its full rate again, makes up a fifth of all epochs (our choice)."""
        before = plain_stages(recipe)
        epochs = round(sum(stage.epochs for stage in before) * RATE_SHARE / (1 - RATE_SHARE))
        last = replace(
            before[-1],
            name="rate",
            epochs=max(1, epochs),
            warmup=0.0,
            schedule_offset=0,
            schedule_tail=0,
            rate_weight=1.0,
        )
        return *before, last

    def weigh(self, stage: Stage, weight: float) -> Stage:
        """Lambda weighs bits."""
        return replace(stage, rate_weight=weight * stage.rate_weight)

    def pairs(self, sizes: Sequence[int], loss: Mix) -> Sequence[tuple[int, float | None]]:
        """Lambdas that fit the loss, to three digits, at the size in the middle."""
        unit = sum(weight * UNITS[term] for weight, term in loss)
        return [(sizes[len(sizes) // 2], float(f"{unit * weight:.3g}")) for weight in LAMBDAS]

    def lambda_for(self, size: int, clip: Clip) -> float | None:
        """None has one."""
        return None


def lambda_label(size: str, weight: float | None) -> str:
    """`100K-lambda0.5`; the size where lambda follows from it."""
    return size if weight is None else f"{size}-lambda{weight:.9f}".rstrip("0").rstrip(".")


def split_label(label: str) -> tuple[str, float | None]:
    """Size and lambda of such a label; all of any other, and None."""
    match = LABEL.fullmatch(label)
    return (match[1], float(match[2])) if match and float(match[2]) else (label, None)


def plain_stages(stages: Sequence[Stage]) -> tuple[Stage, ...]:
    """Those that neither prune nor quantize nor weigh the rate."""
    return tuple(stage for stage in stages if not (stage.sparsity or stage.noise or stage.rate_weight))


def share_pretraining(
    stages: Sequence[Stage], point: RatePoint, workspace: Workspace, fit: Callable[[Workspace, Sequence[Stage]], None]
) -> None:
    """Does what precedes the rate once for all lambdas, as in T-NeRV (section 5.2), for `Fit` to carry on."""
    before = [stage for stage in stages if not stage.rate_weight]
    own: Path = workspace.folder / CHECKPOINT
    if not before or own.exists():
        return
    made = workspace.artifact(
        f"{point.settings['size']}", lambda folder: fit(replace(workspace, folder=folder), before)
    )
    partial = own.with_suffix(".copy")
    shutil.copyfile(made / CHECKPOINT, partial)
    partial.replace(own)
