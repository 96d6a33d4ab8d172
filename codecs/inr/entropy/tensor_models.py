"""Tensors of small integers in one stream of the range coder, each under a static model of its own.

A model is the share of zeros and how the other values fall off with their magnitude (as a Laplace or a Gauss curve),
or a table of counts. All numbers are integers, and frequencies follow from them in integer arithmetic, so that any
machine decodes the same values.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import constriction
import numpy as np
import numpy.typing as npt

from rdbench.errors import BitstreamError

from ..bitstream import pack_integers, unpack_integers
from .ans import DAMAGED, PRECISION, make_table

Values = npt.NDArray[np.int32]
Counts = npt.NDArray[np.int64]
LAPLACE, GAUSS, TABLE = range(3)
DECAY_BITS = 20
FIXED = 30
"""Bits behind the point of the curves."""


@dataclass(frozen=True)
class Model:
    """Frequencies of the values from `low` up; a single value needs no bits."""

    low: int
    counts: Counts

    def bits(self, values: Values) -> float:
        """What the values cost."""
        occurring = np.bincount(values - self.low, minlength=len(self.counts))
        shares = self.counts / self.counts.sum()
        return -float((occurring[occurring > 0] * np.log2(shares[occurring > 0])).sum())

    def categorical(self) -> constriction.stream.model.Categorical:
        """For the coder."""
        return constriction.stream.model.Categorical(
            self.counts.astype(np.float64) / float(self.counts.sum()), perfect=False
        )


def encode_under(tensors: Sequence[Values], models: Sequence[Model]) -> bytes:
    """The tensors in one stream, each under its model."""
    coder = constriction.stream.stack.AnsCoder()
    for values, model in zip(reversed(tensors), reversed(models), strict=True):
        if len(model.counts) > 1 and values.size:
            coder.encode_reverse((values - model.low).astype(np.int32), model.categorical())
    return bytes(coder.get_compressed().astype("<u4").tobytes())


def decode_under(payload: bytes, parts: Sequence[tuple[int, Model]]) -> list[Values]:
    """So many values under each model. Raises BitstreamError."""
    if len(payload) % 4:
        raise BitstreamError(DAMAGED)
    words = np.frombuffer(payload, "<u4").astype(np.uint32)
    coded = any(size and len(model.counts) > 1 for size, model in parts)
    if coded != bool(words.size) or (coded and words[-1] == 0):  # a zero at the end is never written
        raise BitstreamError(DAMAGED)
    coder = constriction.stream.stack.AnsCoder(words)
    decoded: list[Values] = []
    for size, model in parts:
        alone = len(model.counts) == 1 or not size
        ranks = np.zeros(size, np.int32) if alone else coder.decode(model.categorical(), size)
        decoded.append((ranks + model.low).astype(np.int32))
    if not coder.is_empty():
        raise BitstreamError(DAMAGED)
    return decoded


def encode_tensors(tensors: Sequence[Values]) -> tuple[bytes, bytes]:
    """The models and the payload."""
    fitted = [fit_model(values) for values in tensors]
    payload = encode_under(tensors, [model for _, model in fitted])
    return pack_integers([n for numbers, _ in fitted for n in numbers]), payload


def decode_tensors(models: bytes, payload: bytes, sizes: Sequence[int], bound: int) -> Values:
    """All values one after the other, none beyond the bound. Raises BitstreamError."""
    numbers = iter(unpack_integers(models))
    nothing = Model(0, np.ones(1, np.int64))
    parts = [(size, read_model(numbers, bound) if size else nothing) for size in sizes]
    if next(numbers, None) is not None:
        raise BitstreamError(DAMAGED)
    return np.concatenate([np.zeros(0, np.int32), *decode_under(payload, parts)])


def fit_model(values: Values) -> tuple[list[int], Model]:
    """The cheapest model and the numbers that `read_model` reads; no numbers for no values."""
    if not values.size:
        return [], Model(0, np.ones(1, np.int64))
    low, high = int(values.min()), int(values.max())
    head = [unsigned(low), high - low]
    if low == high:
        return head, Model(low, np.ones(1, np.int64))
    others = np.abs(values[values != 0]).astype(np.float64)
    zeros = round(PRECISION * (1 - others.size / values.size))
    decays = (1 - 1 / max(others.mean(), 1.01), math.exp(-0.5 / float(np.square(others).mean())))
    table = make_table((values - low).astype(np.int32), high - low + 1).tolist()
    options = [
        *(
            [kind, zeros, round(decay * (1 << DECAY_BITS))]
            for kind, decay in zip((LAPLACE, GAUSS), decays, strict=True)
        ),
        [TABLE, *table],
    ]

    def cost(numbers: list[int]) -> float:
        return 8 * len(pack_integers(numbers)) + read_model(iter([*head, *numbers]), _NO_BOUND).bits(values)

    best = [*head, *min(options, key=cost)]
    return best, read_model(iter(best), _NO_BOUND)


_NO_BOUND = 1 << 31


def read_model(numbers: Iterator[int], bound: int) -> Model:
    """The model that begins here. Raises BitstreamError."""
    try:
        low, span = signed(next(numbers)), next(numbers)
        if low < -bound or low + span > bound:
            raise BitstreamError(DAMAGED)
        if span == 0:
            return Model(low, np.ones(1, np.int64))
        kind = next(numbers)
        if kind == TABLE:
            return Model(low, _checked([next(numbers) for _ in range(span + 1)]))
        zeros, decay = next(numbers), next(numbers)
    except StopIteration:
        raise BitstreamError(DAMAGED) from None
    if kind > TABLE or zeros > PRECISION or decay > 1 << DECAY_BITS:
        raise BitstreamError(DAMAGED)
    return Model(low, _frequencies(low, span, kind == GAUSS, zeros, decay))


def _checked(counts: list[int]) -> Counts:
    if not any(counts) or max(counts) > 2 * PRECISION:
        raise BitstreamError(DAMAGED)
    return np.array(counts, np.int64)


def _frequencies(low: int, span: int, gauss: bool, zeros: int, decay: int) -> Counts:
    """Zero as often as told, the rest as exp(-a k) or exp(-a k^2), where the decay is exp(-a); never nothing."""
    factor = decay << (FIXED - DECAY_BITS)
    square, curve = factor * factor >> FIXED, [0, 1 << FIXED]
    if gauss:
        factor = factor * square >> FIXED  # exp(-3 a): from k = 1 to k = 2
    for _ in range(max(-low, low + span) - 1):
        curve.append(curve[-1] * factor >> FIXED)
        factor = factor * square >> FIXED if gauss else factor
    shape = [curve[abs(value)] for value in range(low, low + span + 1)]
    total, rest = max(1, sum(shape)), PRECISION - zeros
    counts = [max(1, share * rest // total) for share in shape]
    if low <= 0 <= low + span:
        counts[-low] = max(1, zeros)
    return np.array(counts, np.int64)


def unsigned(value: int) -> int:
    """0, -1, 1, -2 ... as 0, 1, 2, 3 ..."""
    return 2 * value if value >= 0 else -2 * value - 1


def signed(value: int) -> int:
    """What `unsigned` was given."""
    return value >> 1 if value % 2 == 0 else -((value + 1) >> 1)
