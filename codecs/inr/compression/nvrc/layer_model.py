"""The dual-axis model of layers' weights (NVRC, section 3.3.2): steps, means and deviations of rows and columns."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...entropy.exact import Floats, exact_exp

LEAST_SHARED = 128
"""Least number of weights that share a parameter; an axis with fewer for each has no parameters of its own."""


@dataclass(frozen=True)
class Axes:
    """The two axes of a weight: rows (its first axis) and columns (all other axes together)."""

    rows: int
    columns: int

    @classmethod
    def of(cls, shape: torch.Size) -> "Axes":
        """The axes of a weight of this shape."""
        return cls(shape[0], shape[1:].numel())

    def vectors(self, dual: bool = True) -> dict[str, tuple[int, int]]:
        """Shapes of the vectors of parameters that weights share; a single parameter where both axes are short."""
        shapes = {}
        if dual and self.columns >= LEAST_SHARED:
            shapes["row"] = (self.rows, 1)
        if dual and self.rows >= LEAST_SHARED:
            shapes["column"] = (1, self.columns)
        return shapes or {"all": (1, 1)}


def combined_log_step(vectors: dict[str, Tensor]) -> Tensor:
    """The mean of both axes' log steps, as in NVRC's code; the paper has their sum."""
    return torch.stack(torch.broadcast_tensors(*vectors.values())).mean(0)


def combined_normal(means: dict[str, Tensor], log_scales: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Means m_row s_column + m_column and deviations s_row s_column; with one axis, its means and deviations."""
    if len(means) == 1:
        ((key, mean),) = means.items()
        return mean, log_scales[key].exp()
    column = log_scales["column"].exp()
    return means["row"] * column + means["column"], log_scales["row"].exp() * column


def exact_steps(vectors: dict[str, Floats], bounds: tuple[float, float]) -> Floats:
    """`combined_log_step` in exact arithmetic, as steps."""
    values = list(vectors.values())
    total = values[0] if len(values) == 1 else (values[0] + values[1]) * 0.5
    return exact_exp(np.clip(total, *bounds))


def exact_normal(means: dict[str, Floats], log_scales: dict[str, Floats]) -> tuple[Floats, Floats]:
    """`combined_normal` in exact arithmetic."""
    scales = {key: exact_exp(np.clip(value, -20.0, 10.0)) for key, value in log_scales.items()}
    if len(means) == 1:
        ((key, mean),) = means.items()
        return mean, scales[key]
    shifted = means["row"] * scales["column"]
    return shifted + means["column"], scales["row"] * scales["column"]
