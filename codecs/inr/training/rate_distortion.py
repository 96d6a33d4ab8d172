"""Rate-distortion training with the scheme chosen by `compression=`: objectives, and rate points as `100K-lambda0.5`.

C-NeRV's objective D + lambda R is here, NVRC's in `end_to_end.py`; `objectives.py` lists both.
"""

import re
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field

from rdbench.codec import Clip, RatePoint, Settings, Workspace

from ..compression.entropy_constrained import EntropyConstrained
from ..compression.scheme import Scheme
from ..recipes.losses import Mix
from ..recipes.stage import Stage
from .execution import Choice as ExecutionChoice
from .precision import Choice
from .trainer import CHECKPOINT

PAPER: Literal["paper"] = "paper"
"""The value of `optimizer` that means the optimizer of the codec's own paper."""
OWN = "own"
"""The value of `compression` that means the compression of the codec's own paper."""
LAMBDAS = (1.0, 0.5, 0.25, 0.1, 0.05)
"""Default weights of the clip's bits per pixel, beside the loss 0.7 L1 + 0.3 (1 - SSIM); T-NeRV's go up to 1, the
others are our choice."""
UNITS = MappingProxyType(
    {"l1": 0.4, "l2": 0.05, "ssim": 2.4, "ms_ssim": 2.0, "ms_ssim_5": 2.0, "spectrum": 0.0, "edges": 0.0}
)
"""Change of a loss term per dB, relative to NeRV's loss, which has 1 (measured up to 23 dB on Bunny, rounded).

A lambda times the unit of its loss buys about the same quality. The spectrum's unit grows with the frame, and that of
edges is not measured; both count as zero.
"""
RATE_SHARE = 0.2
"""Share of all epochs in which the rate is part of the loss (C-NeRV)."""
LABEL = re.compile(r"(.+)-lambda(\d{1,6}(?:\.\d{1,9})?)")


def _as_text(value: Any) -> Any:
    """`true` for True and `false` for False, as files of jobs may have them."""
    return str(value).lower() if isinstance(value, bool) else value


class InrSettings(Settings):
    """Settings of every INR codec."""

    compression: str = Field(OWN, exclude_if=lambda value: value == OWN)
    """`own`, the paper's; `entropy-constrained`, C-NeRV's; or `nvrc`, NVRC's. The last two have the rate in the loss.
    Records leave `own` out."""
    precision: Choice = Field("auto", exclude_if=lambda value: value == "auto")
    """Number format of the training: `auto` is bfloat16 on CUDA, float32 on a CPU; the head and the loss stay in
    float32. Records have the one that was used, and leave `auto` out of the settings."""
    compile: Annotated[ExecutionChoice, BeforeValidator(_as_text)] = Field(
        "auto", exclude_if=lambda value: value == "auto"
    )
    """Execution of the steps: `true` compiles them, `graphs` replays whole steps as CUDA graphs, `false` does neither;
    `auto` compiles on a GPU where that is won back. On a GPU all but `false` also compute blocks in fused kernels where
    a measurement finds them faster. Records leave `auto` out of the settings."""
    optimizer: Literal["paper", "muon"] = Field(PAPER, exclude_if=lambda value: value == PAPER)
    """`paper`, the paper's own, or Muon on the matrices of layers with Adam on the rest; records leave `paper` out."""
    muon_lr: float = Field(1.0, gt=0, exclude_if=lambda value: value == 1.0)
    """Learning rate of Muon's matrices, as a share of `lr`; records leave 1 out."""


class RateObjective(ABC):
    """Adds lambda * R to the training stages, with R estimated by a compression scheme.

    A codec whose own paper has this objective writes its recipe for a lambda of 1; for the others `with_rate` turns
    the recipe into one.
    """

    name: ClassVar[str]
    """The value of `compression` that chooses the objective."""
    identifier: ClassVar[int]
    """The number of its scheme in bitstreams, from 1; 0 is the scheme of the codec's own paper."""
    scheme: ClassVar[type[Scheme]]

    @classmethod
    @abstractmethod
    def of(cls, settings: InrSettings) -> Self:
        """The objective with a codec's settings."""

    @abstractmethod
    def compression(self) -> Scheme:
        """A new instance of the scheme."""

    @abstractmethod
    def with_rate(self, recipe: Sequence[Stage]) -> Sequence[Stage]:
        """The stages for a lambda of 1, from a recipe for the codec's own compression."""

    @abstractmethod
    def at_lambda(self, stage: Stage, weight: float) -> Stage:
        """A stage for a lambda of 1, changed to another lambda."""

    @abstractmethod
    def default_pairs(self, sizes: Sequence[int], loss: Mix) -> Sequence[tuple[int, float | None]]:
        """Default rate points for this loss: pairs of size and lambda, None where lambda follows from the size."""

    @abstractmethod
    def lambda_for(self, size: int, clip: Clip, loss: Mix) -> float:
        """The lambda of a rate point that names its size alone, for a codec with this loss."""


class LagrangianRate(RateObjective):
    """L = D + lambda R in the last stage (C-NeRV, T-NeRV)."""

    name = "entropy-constrained"
    identifier = 1
    scheme = EntropyConstrained

    @classmethod
    def of(cls, settings: InrSettings) -> Self:
        """The objective; it has no settings."""
        return cls()

    def compression(self) -> EntropyConstrained:
        """C-NeRV's scheme."""
        return EntropyConstrained()

    def with_rate(self, recipe: Sequence[Stage]) -> Sequence[Stage]:
        """Appends a stage for a fifth of all epochs, like the last plain one, from its full `lr` again (our choice)."""
        before = plain_stages(recipe)
        epochs = round(sum(stage.epochs for stage in before) * RATE_SHARE / (1 - RATE_SHARE))
        last = replace(
            before[-1], name="rate", epochs=max(1, epochs), warmup=0.0, schedule_offset=0, schedule_tail=0,
            rate_weight=1.0,
        )  # fmt: skip
        return *before, last

    def at_lambda(self, stage: Stage, weight: float) -> Stage:
        """Lambda multiplies the rate."""
        return replace(stage, rate_weight=weight * stage.rate_weight)

    def default_pairs(self, sizes: Sequence[int], loss: Mix) -> Sequence[tuple[int, float | None]]:
        """Every size with every lambda of the loss; reports take the upper convex hull (T-NeRV, section 5.2)."""
        return [(size, weight) for size in sizes for weight in self._lambdas(loss)]

    def lambda_for(self, size: int, clip: Clip, loss: Mix) -> float:
        """The middle one of the default lambdas (our choice): 0.25 beside NeRV's loss."""
        return self._lambdas(loss)[len(LAMBDAS) // 2]

    def _lambdas(self, loss: Mix) -> list[float]:
        """LAMBDAS in the units of the loss, to three digits."""
        unit = sum(weight * UNITS[term] for weight, term in loss)
        return [float(f"{unit * weight:.3g}") for weight in LAMBDAS]


def lambda_label(size: str, weight: float | None) -> str:
    """`100K-lambda0.5`; the size alone where lambda follows from it."""
    return size if weight is None else f"{size}-lambda{weight:.9f}".rstrip("0").rstrip(".")


def split_label(label: str) -> tuple[str, float | None]:
    """Size and lambda of a label `100K-lambda0.5`; the whole of any other label, and None."""
    match = LABEL.fullmatch(label)
    return (match[1], float(match[2])) if match and float(match[2]) else (label, None)


def plain_stages(stages: Sequence[Stage]) -> tuple[Stage, ...]:
    """The stages without pruning, quantization and rate."""
    return tuple(stage for stage in stages if not (stage.sparsity or stage.noise or stage.rate_weight))


def pretraining_key(stages: Sequence[Stage], point: RatePoint) -> str | None:
    """The key of the artifact that `share_pretraining` makes; None where every stage has the rate in its loss."""
    return None if all(stage.rate_weight for stage in stages) else f"{point.settings['size']}"


def share_pretraining(
    stages: Sequence[Stage], point: RatePoint, workspace: Workspace, train: Callable[[Workspace, Sequence[Stage]], None]
) -> None:
    """Trains the stages before the rate once for all lambdas (T-NeRV, section 5.2); the trainer resumes from there."""
    before = [stage for stage in stages if not stage.rate_weight]
    own: Path = workspace.folder / CHECKPOINT
    key = pretraining_key(stages, point)
    if key is None or own.exists():
        return
    shared = workspace.artifact(key, lambda folder: train(replace(workspace, folder=folder), before))
    partial = own.with_suffix(".copy")
    shutil.copyfile(shared / CHECKPOINT, partial)
    partial.replace(own)
