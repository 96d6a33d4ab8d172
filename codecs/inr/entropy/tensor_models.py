"""Tensors of small integers in one ANS payload, each under a static model of its own.

A model is the share of zeros and the decay of the other values with their magnitude (Laplace or Gaussian), or a table
of counts. All its numbers are integers, and frequencies follow from them in integer arithmetic, so that any machine
decodes the same values.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rdbench.errors import BitstreamError

from ..bitstream import pack_integers, unpack_integers
from .ans import DAMAGED_SYMBOLS, TABLE_TOTAL, AnsDecoder, AnsEncoder, CoderModel, Counts, make_table
from .integers import unzigzag, zigzag

Values = npt.NDArray[np.int32]
LAPLACE, GAUSS, TABLE = range(3)
"""Kinds of models, as they are transmitted."""
DECAY_BITS = 20
"""Fractional bits of a transmitted decay."""
CURVE_BITS = 30
"""Fractional bits of the curves that frequencies follow."""
_NO_BOUND = 1 << 31


@dataclass(frozen=True)
class Model:
    """Frequencies of the values from `low` up; a single value takes no bits."""

    low: int
    counts: Counts

    def bits(self, values: Values) -> float:
        """Bits that these values take."""
        occurring = np.bincount(values - self.low, minlength=len(self.counts))
        shares = self.counts / self.counts.sum()
        return -float((occurring[occurring > 0] * np.log2(shares[occurring > 0])).sum())


def single_value(value: int) -> Model:
    """The model of a tensor that has only this value."""
    return Model(value, np.ones(1, np.int64))


def encode_under(tensors: Sequence[Values], models: Sequence[Model]) -> bytes:
    """The tensors in one payload, each under its model."""
    encoder = AnsEncoder()
    for values, model in zip(reversed(tensors), reversed(models), strict=True):
        encoder.push((values - model.low).astype(np.int32), CoderModel(model.counts))
    return encoder.finish()


def decode_under(payload: bytes, parts: Sequence[tuple[int, Model]]) -> list[Values]:
    """As many values as given for each model. Raises BitstreamError."""
    decoder = AnsDecoder(payload)
    decoded = [(decoder.pop(size, CoderModel(model.counts)) + model.low).astype(np.int32) for size, model in parts]
    decoder.finish()
    return decoded


def encode_tensors(tensors: Sequence[Values]) -> tuple[bytes, bytes]:
    """The models, each the cheapest for its tensor, and the payload."""
    chosen = [choose_model(values) for values in tensors]
    payload = encode_under(tensors, [model for _, model in chosen])
    return pack_integers([n for numbers, _ in chosen for n in numbers]), payload


def decode_tensors(models: bytes, payload: bytes, sizes: Sequence[int], bound: int) -> Values:
    """All values of the tensors one after the other; `bound` is their largest magnitude. Raises BitstreamError."""
    numbers = iter(unpack_integers(models))
    parts = [(size, read_model(numbers, bound) if size else single_value(0)) for size in sizes]
    if next(numbers, None) is not None:
        raise BitstreamError(DAMAGED_SYMBOLS)
    if not payload and any(len(model.counts) > 1 for _, model in parts):
        raise BitstreamError(DAMAGED_SYMBOLS)  # a range ends with values that occur, so two of them are coded
    return np.concatenate([np.zeros(0, np.int32), *decode_under(payload, parts)])


def choose_model(values: Values) -> tuple[list[int], Model]:
    """The cheapest model and the numbers that `read_model` reads; no numbers for no values."""
    if not values.size:
        return [], single_value(0)
    low, high = int(values.min()), int(values.max())
    head = [zigzag(low), high - low]
    if low == high:
        return head, single_value(low)
    nonzero = np.abs(values[values != 0]).astype(np.float64)
    zeros = round(TABLE_TOTAL * (1 - nonzero.size / values.size))
    decays = (1 - 1 / max(nonzero.mean(), 1.01), math.exp(-0.5 / float(np.square(nonzero).mean())))
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


def read_model(numbers: Iterator[int], bound: int) -> Model:
    """The model that begins here, of values up to `bound` in magnitude. Raises BitstreamError."""
    try:
        low, span = unzigzag(next(numbers)), next(numbers)
        if low < -bound or low + span > bound:
            raise BitstreamError(DAMAGED_SYMBOLS)
        if span == 0:
            return single_value(low)
        kind = next(numbers)
        if kind == TABLE:
            return Model(low, _checked([next(numbers) for _ in range(span + 1)]))
        zeros, decay = next(numbers), next(numbers)
    except StopIteration:
        raise BitstreamError(DAMAGED_SYMBOLS) from None
    if kind > TABLE or zeros > TABLE_TOTAL or decay > 1 << DECAY_BITS:
        raise BitstreamError(DAMAGED_SYMBOLS)
    return Model(low, _frequencies(low, span, kind == GAUSS, zeros, decay))


def _checked(counts: list[int]) -> Counts:
    if not any(counts) or max(counts) > 2 * TABLE_TOTAL:
        raise BitstreamError(DAMAGED_SYMBOLS)
    return np.array(counts, np.int64)


def _frequencies(low: int, span: int, gauss: bool, zeros: int, decay: int) -> Counts:
    """`zeros` for zero; the rest falls as exp(-a k) or exp(-a k^2), where the decay is exp(-a); at least 1 each."""
    factor = decay << (CURVE_BITS - DECAY_BITS)
    square, curve = factor * factor >> CURVE_BITS, [0, 1 << CURVE_BITS]
    if gauss:
        factor = factor * square >> CURVE_BITS  # exp(-3 a): from k = 1 to k = 2
    for _ in range(max(-low, low + span) - 1):
        curve.append(curve[-1] * factor >> CURVE_BITS)
        factor = factor * square >> CURVE_BITS if gauss else factor
    shape = [curve[abs(value)] for value in range(low, low + span + 1)]
    total, rest = max(1, sum(shape)), TABLE_TOTAL - zeros
    counts = [max(1, share * rest // total) for share in shape]
    if low <= 0 <= low + span:
        counts[-low] = max(1, zeros)
    return np.array(counts, np.int64)
