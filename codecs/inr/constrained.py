"""The rate points of a codec whose loss weighs the rate, `100K-lambda0.5`, and the stages that lead to them.

All lambdas of a size share the stages before the rate counts, as in T-NeRV (section 5.2).
"""

import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from pydantic import Field

from rdbench.codec import RatePoint, Settings, Workspace

from .fit import CHECKPOINT
from .losses import Mix
from .recipe import Stage

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

    compression: Literal["own", "entropy-constrained"] = Field("own", exclude_if=lambda value: value == "own")
    """The paper's own, or C-NeRV's; records name only the latter."""


def lambdas(loss: Mix) -> list[float]:
    """Those of the default rate points beside this loss, to three digits."""
    unit = sum(weight * UNITS[term] for weight, term in loss)
    return [float(f"{unit * weight:.3g}") for weight in LAMBDAS]


def lambda_label(size: str, weight: float) -> str:
    """`100K-lambda0.5`."""
    return f"{size}-lambda{weight:.9f}".rstrip("0").rstrip(".")


def split_label(label: str) -> tuple[str, float] | None:
    """Size and lambda of such a label, None for what is none."""
    match = LABEL.fullmatch(label)
    return (match[1], float(match[2])) if match and float(match[2]) else None


def plain_stages(stages: Sequence[Stage]) -> tuple[Stage, ...]:
    """Those that neither prune nor quantize nor weigh the rate."""
    return tuple(stage for stage in stages if not (stage.sparsity or stage.noise or stage.rate_weight))


def last_fifth(stages: Sequence[Stage]) -> Stage:
    """A stage like the last one, at its full rate again, that makes up a fifth of all epochs (our choice)."""
    epochs = round(sum(stage.epochs for stage in stages) * RATE_SHARE / (1 - RATE_SHARE))
    return replace(stages[-1], name="rate", epochs=max(1, epochs), warmup=0.0, passed=0, to_come=0)


def share_pretraining(
    stages: Sequence[Stage], point: RatePoint, workspace: Workspace, fit: Callable[[Workspace, Sequence[Stage]], None]
) -> None:
    """Does what precedes the rate once for all lambdas, and leaves its checkpoint to be carried on by `Fit`."""
    before = [stage for stage in stages if not stage.rate_weight]
    own: Path = workspace.folder / CHECKPOINT
    if own.exists():
        return
    made = workspace.artifact(
        f"{point.settings['size']}", lambda folder: fit(replace(workspace, folder=folder), before)
    )
    partial = own.with_suffix(".copy")
    shutil.copyfile(made / CHECKPOINT, partial)
    partial.replace(own)
