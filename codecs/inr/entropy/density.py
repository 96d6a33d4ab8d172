"""Learned probability models of integers, and the tables that are transmitted in their place.

A density is the univariate one of Ballé et al. (ICLR 2018, appendix 6.1): a monotone network whose output is the
logit of the cumulative distribution. A table holds -log2 of the probabilities in steps of 1/4 bit, which costs about
0.002 bit a symbol; encoder and decoder turn it into frequencies by shifts of four constants, so any machine decodes
the same symbols.
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
from .ans import DAMAGED_SYMBOLS, Counts
from .integers import unzigzag, zigzag
from .tensor_models import Model, decode_tensors, encode_tensors

LARGEST_SYMBOL = 255
"""Largest magnitude of a symbol (our choice)."""
SYMBOLS = 2 * LARGEST_SYMBOL + 1
"""Number of symbols, from -LARGEST_SYMBOL to LARGEST_SYMBOL."""
WIDTHS = (1, 3, 3, 3, 1)
"""Widths of the density's network, from its input to its output."""
LOGISTIC = 0.55
"""Scale of a logistic distribution of deviation 1."""
LEAST_PROBABILITY = 2.0**-100
STEPS_PER_BIT = 4
"""Steps of a table in one bit."""
LARGEST_ENTRY = 20 * STEPS_PER_BIT
"""Largest entry of a table; less probable symbols have it too."""
ROOTS = (16777216, 14107901, 11863283, 9975792)
"""2^24 times 2^(-n/4) for n = 0 to 3."""


class Densities(nn.Module):
    """A density for each of these deviations (in symbols), initialized as the logistic distribution that has it.

    Parameters are stored divided by `log_lr_scale`, so their learning rate is that many times the optimizer's.
    """

    def __init__(self, deviations: Tensor, log_lr_scale: float) -> None:
        super().__init__()
        self._log_lr_scale = log_lr_scale
        count, layers = len(deviations), len(WIDTHS) - 1
        scale = (LOGISTIC * deviations.clamp(min=0.2)) ** (1 / layers)
        random = torch.Generator().manual_seed(0)  # not the training's, which a checkpoint does not hold
        self.slopes, self.shifts, self.bends = nn.ParameterList(), nn.ParameterList(), nn.ParameterList()
        for before, after in pairwise(WIDTHS):
            slope = (1 / (scale * after)).expm1().log()[:, None, None].expand(count, after, before)
            shift = torch.rand(count, after, 1, generator=random) - 0.5 if after > 1 else torch.zeros(count, after, 1)
            self.slopes.append(nn.Parameter((slope / log_lr_scale).clone()))
            self.shifts.append(nn.Parameter(shift.to(deviations.device) / log_lr_scale))
            self.bends.append(nn.Parameter(torch.zeros_like(self.shifts[-1])))

    def bits(self) -> Tensor:
        """-log2 of the probability of each symbol from -LARGEST_SYMBOL to LARGEST_SYMBOL: `[count, SYMBOLS]`."""
        edges = torch.arange(SYMBOLS + 1, device=self.slopes[0].device) - (LARGEST_SYMBOL + 0.5)
        x = edges.expand(len(self.slopes[0]), 1, -1)
        for number, (slope, shift, bend) in enumerate(zip(self.slopes, self.shifts, self.bends, strict=True)):
            x = functional.softplus(slope * self._log_lr_scale) @ x + shift * self._log_lr_scale
            if number + 2 < len(WIDTHS):
                x = x + (bend * self._log_lr_scale).tanh() * x.tanh()
        logits = x[:, 0]
        sign = 1 - 2 * (logits[:, 1:] + logits[:, :-1] > 0).float()  # take the difference where both sigmoids are small
        shares = ((sign * logits[:, 1:]).sigmoid() - (sign * logits[:, :-1]).sigmoid()).abs()
        return -shares.clamp(min=LEAST_PROBABILITY).log2()


def table_of(bits: npt.NDArray[np.float64], low: int, high: int) -> Counts:
    """Steps below the most probable symbol, for the symbols low to high; `bits` begin at -LARGEST_SYMBOL."""
    in_range = bits[low + LARGEST_SYMBOL : high + LARGEST_SYMBOL + 1]
    steps: Counts = np.rint((in_range - in_range.min()) * STEPS_PER_BIT).clip(0, LARGEST_ENTRY).astype(np.int64)
    return steps


def model_of(low: int, table: Counts) -> Model:
    """The model with the frequencies of a table, whose first entry is for the symbol `low`."""
    roots = np.array(ROOTS, np.int64)
    return Model(low, roots[table % STEPS_PER_BIT] >> (table // STEPS_PER_BIT))


def pack_tables(tables: Sequence[tuple[int, Counts]]) -> dict[str, bytes]:
    """Sections with the lowest symbols and the tables, these as differences from symbol to symbol."""
    ranges = pack_integers([n for low, table in tables for n in (zigzag(low), len(table) - 1)])
    differences = [np.diff(table, prepend=0).astype(np.int32) for _, table in tables]
    models, payload = encode_tensors([np.concatenate([np.zeros(0, np.int32), *differences])])
    return {"ranges": ranges, "table_model": models, "tables": payload}


def unpack_tables(sections: Mapping[str, bytes], count: int) -> Iterator[Model]:
    """The models of `count` tables. Raises BitstreamError."""
    numbers = unpack_integers(sections["ranges"])
    lows, spans = [unzigzag(n) for n in numbers[::2]], numbers[1::2]
    outside = any(low < -LARGEST_SYMBOL or low + span > LARGEST_SYMBOL for low, span in zip(lows, spans, strict=False))
    if len(numbers) != 2 * count or outside:
        raise BitstreamError(DAMAGED_SYMBOLS)
    differences = decode_tensors(sections["table_model"], sections["tables"], [sum(spans) + count], LARGEST_ENTRY)
    for low, span in zip(lows, spans, strict=True):
        table, differences = np.cumsum(differences[: span + 1], dtype=np.int64), differences[span + 1 :]
        if table.min() < 0 or table.max() > LARGEST_ENTRY:
            raise BitstreamError(DAMAGED_SYMBOLS)
        yield model_of(low, table)
