"""Learned probability models of integers, and the tables that travel in their place.

A density is the univariate one of Ballé et al. (ICLR 2018, appendix 6.1): a monotone network whose output is the
logit of the cumulative distribution. A table holds -log2 of the probabilities in steps of 1/4 bit, which costs about
0.002 bit a symbol; both sides turn it into frequencies by shifts of four constants, so any machine decodes the same.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from rdbench.errors import BitstreamError

from ..bitstream import pack_integers, unpack_integers
from .ans import DAMAGED
from .tensor_models import Counts, Model, decode_tensors, encode_tensors, signed, unsigned

LARGEST = 255
"""No symbol is larger in magnitude (our choice)."""
SYMBOLS = 2 * LARGEST + 1
WIDTHS = (1, 3, 3, 3, 1)
LOGISTIC = 0.55
"""Scale of a logistic distribution of deviation 1."""
LEAST_PROBABILITY = 2.0**-100
STEPS_PER_BIT = 4
DEEPEST = 20 * STEPS_PER_BIT
ROOTS = (16777216, 14107901, 11863283, 9975792)
"""2^24 times 2^(-n/4)."""


class Densities(nn.Module):
    """So many densities side by side, which begin as logistic ones of these deviations, in symbols.

    Parameters are held divided by `log_lr_scale`: they move so much faster than the optimizer's rate.
    """

    def __init__(self, deviations: Tensor, log_lr_scale: float) -> None:
        super().__init__()
        self._log_lr_scale = log_lr_scale
        count, layers = len(deviations), len(WIDTHS) - 1
        scale = (LOGISTIC * deviations.clamp(min=0.2)) ** (1 / layers)
        random = torch.Generator().manual_seed(0)  # not the fit's, which a checkpoint does not hold
        self.slopes, self.shifts, self.bends = nn.ParameterList(), nn.ParameterList(), nn.ParameterList()
        for before, after in pairwise(WIDTHS):
            slope = (1 / (scale * after)).expm1().log()[:, None, None].expand(count, after, before)
            shift = torch.rand(count, after, 1, generator=random) - 0.5 if after > 1 else torch.zeros(count, after, 1)
            self.slopes.append(nn.Parameter((slope / log_lr_scale).clone()))
            self.shifts.append(nn.Parameter(shift.to(deviations.device) / log_lr_scale))
            self.bends.append(nn.Parameter(torch.zeros_like(self.shifts[-1])))

    def bits(self) -> Tensor:
        """-log2 of the probability of each symbol from -LARGEST to LARGEST: `[count, SYMBOLS]`."""
        edges = torch.arange(SYMBOLS + 1, device=self.slopes[0].device) - (LARGEST + 0.5)
        x = edges.expand(len(self.slopes[0]), 1, -1)
        for number, (slope, shift, bend) in enumerate(zip(self.slopes, self.shifts, self.bends, strict=True)):
            x = functional.softplus(slope * self._log_lr_scale) @ x + shift * self._log_lr_scale
            if number + 2 < len(WIDTHS):
                x = x + (bend * self._log_lr_scale).tanh() * x.tanh()
        logits = x[:, 0]
        sign = 1 - 2 * (logits[:, 1:] + logits[:, :-1] > 0).float()  # both sigmoids where they are small
        shares = ((sign * logits[:, 1:]).sigmoid() - (sign * logits[:, :-1]).sigmoid()).abs()
        return -shares.clamp(min=LEAST_PROBABILITY).log2()


def table_of(bits: npt.NDArray[np.float64], low: int, high: int) -> Counts:
    """The steps below the most probable symbol, for symbols from low to high; `bits` begin at -LARGEST."""
    own = bits[low + LARGEST : high + LARGEST + 1]
    steps: Counts = np.rint((own - own.min()) * STEPS_PER_BIT).clip(0, DEEPEST).astype(np.int64)
    return steps


def model_of(low: int, table: Counts) -> Model:
    """The frequencies that a table stands for."""
    roots = np.array(ROOTS, np.int64)
    return Model(low, roots[table % STEPS_PER_BIT] >> (table // STEPS_PER_BIT))


def pack_tables(tables: Sequence[tuple[int, Counts]]) -> dict[str, bytes]:
    """Lowest symbols and tables, these as differences from symbol to symbol."""
    ranges = pack_integers([n for low, table in tables for n in (unsigned(low), len(table) - 1)])
    differences = [np.diff(table, prepend=0).astype(np.int32) for _, table in tables]
    models, payload = encode_tensors([np.concatenate([np.zeros(0, np.int32), *differences])])
    return {"ranges": ranges, "table_model": models, "tables": payload}


def unpack_tables(sections: Mapping[str, bytes], count: int) -> Iterator[Model]:
    """The models of so many tables. Raises BitstreamError."""
    numbers = unpack_integers(sections["ranges"])
    lows, spans = [signed(n) for n in numbers[::2]], numbers[1::2]
    outside = any(low < -LARGEST or low + span > LARGEST for low, span in zip(lows, spans, strict=False))
    if len(numbers) != 2 * count or outside:
        raise BitstreamError(DAMAGED)
    differences = decode_tensors(sections["table_model"], sections["tables"], [sum(spans) + count], DEEPEST)
    for low, span in zip(lows, spans, strict=True):
        table, differences = np.cumsum(differences[: span + 1], dtype=np.int64), differences[span + 1 :]
        if table.min() < 0 or table.max() > DEEPEST:
            raise BitstreamError(DAMAGED)
        yield model_of(low, table)
