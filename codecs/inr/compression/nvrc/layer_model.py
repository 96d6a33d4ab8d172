"""Layers' weights in two axes (NVRC, section 3.3.2): steps, means and deviations of rows and of columns."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...entropy.exact import Floats, exact_exp

FEWEST = 128
"""Weights that share a number of an axis; with fewer there is none along it."""


@dataclass(frozen=True)
class Axes:
    """Of a weight seen as rows (its first axis) and columns (the others together)."""

    rows: int
    columns: int

    @classmethod
    def of(cls, shape: torch.Size) -> "Axes":
        """Of a weight of this shape."""
        return cls(shape[0], shape[1:].numel())

    def vectors(self, dual: bool = True) -> dict[str, tuple[int, int]]:
        """The shapes of the numbers that weights share; a single one where both axes are short."""
        found = {}
        if dual and self.columns >= FEWEST:
            found["row"] = (self.rows, 1)
        if dual and self.rows >= FEWEST:
            found["column"] = (1, self.columns)
        return found or {"all": (1, 1)}


def combined_log_step(vectors: dict[str, Tensor]) -> Tensor:
    """The mean of both axes' log steps, as in the original's code; its paper has the sum."""
    return torch.stack(torch.broadcast_tensors(*vectors.values())).mean(0)


def combined_normal(means: dict[str, Tensor], log_scales: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Means and deviations: with both axes m_row s_column + m_column, and s_row s_column."""
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
