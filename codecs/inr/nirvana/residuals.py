"""How the latents of a group are coded: each layer in the cheapest of four modes, with real arithmetic coding.

The modes are the latents or their differences to the last group's, under their histogram or under the learned
distribution. Differences under the learned distribution are our addition: two bits of a mode allow four. A histogram is
a table, or the parameters of a Laplace or Gaussian one where these take fewer bytes (our choice). Frequencies follow
from transmitted integers in arithmetic that is exact, so that any machine decodes the same latents.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rdbench.errors import BitstreamError, RdbenchError

from ..bitstream import pack_integers, unpack_integers
from ..entropy.ans import DAMAGED_SYMBOLS
from ..entropy.exact import Floats, exact_exp
from ..entropy.integers import unzigzag, zigzag
from ..entropy.tensor_models import Model, Values, choose_model, decode_under, encode_under, read_model, single_value
from .latents import PARAMETERS

HISTOGRAM, LEARNED, DIFFERENCE, LEARNED_DIFFERENCE = range(4)
"""Modes of a layer."""
LARGEST_LATENT = 1 << 12
"""Largest magnitude of a latent or a difference (our choice)."""
TOTAL = 1 << 20
"""The frequency that stands for probability 1; every integer of a model has at least frequency 1."""
LARGEST_LOGIT = 40.0
Stages = npt.NDArray[np.float16]
"""Parameters of a learned distribution, `[stages, PARAMETERS]`, as they are transmitted."""


def learned_model(stages: Stages, low: int, high: int) -> Model:
    """The model of the integers low to high under a learned distribution; the same on any machine."""
    x: Floats = np.arange(low, high + 2, dtype=np.float64) - 0.5
    for number, (slope, shift, gate) in enumerate(stages.astype(np.float64)):
        x = np.clip(x * slope, -(2.0**20), 2.0**20) + shift
        if number + 1 < len(stages):
            tanh = 1.0 - 2.0 / (exact_exp(np.clip(2.0 * x, -LARGEST_LOGIT, LARGEST_LOGIT)) + 1.0)
            x = x + gate * tanh
    edges = 1.0 / (1.0 + exact_exp(-np.clip(x, -LARGEST_LOGIT, LARGEST_LOGIT)))
    return Model(low, np.maximum(1, np.rint(np.diff(edges) * TOTAL)).astype(np.int64))


@dataclass(frozen=True)
class LayerCode:
    """A layer's values as they are coded, their model, and the integers that describe it."""

    values: Values
    model: Model
    numbers: Sequence[int]

    @property
    def bits(self) -> float:
        """Bits of the values and of the description."""
        return 8 * len(pack_integers(self.numbers)) + self.model.bits(self.values)


def encode_layers(
    latents: Sequence[Values], reference: Sequence[Values] | None, learned: Sequence[Stages]
) -> tuple[bytes, bytes]:
    """Modes and models, and the payload. Raises RdbenchError for latents beyond LARGEST_LATENT."""
    before = [None] * len(latents) if reference is None else reference
    layers = [_cheapest(*layer) for layer in zip(latents, before, learned, strict=True)]
    payload = encode_under([layer.values for layer in layers], [layer.model for layer in layers])
    return pack_integers([number for layer in layers for number in layer.numbers]), payload


def decode_layers(
    tables: bytes, payload: bytes, sizes: Sequence[int], reference: Sequence[Values] | None, stages: int
) -> list[Values]:
    """The latents that `encode_layers` wrote. Raises BitstreamError."""
    numbers = iter(unpack_integers(tables))
    modes: list[int] = []
    parts: list[tuple[int, Model]] = []
    for size in sizes:
        mode, model = _read_layer(numbers, stages, reference is not None)
        modes.append(mode)
        parts.append((size, model))
    if next(numbers, None) is not None or (not payload and any(len(model.counts) > 1 for _, model in parts)):
        raise BitstreamError(DAMAGED_SYMBOLS)
    decoded = decode_under(payload, parts)
    before: Sequence[Values | None] = [None] * len(sizes) if reference is None else reference
    restored = [
        v + b if m >= DIFFERENCE and b is not None else v for v, b, m in zip(decoded, before, modes, strict=True)
    ]
    if any(np.abs(values).max(initial=0) > LARGEST_LATENT for values in restored):
        raise BitstreamError(DAMAGED_SYMBOLS)
    return restored


def _cheapest(latents: Values, before: Values | None, stages: Stages) -> LayerCode:
    if np.abs(latents).max(initial=0) > LARGEST_LATENT // 2:
        raise RdbenchError("Training gave latents beyond all bounds; try another --seed or a lower lr.")
    options = [_histogram(HISTOGRAM, latents), _learned(LEARNED, latents, stages)]
    if before is not None:
        difference = latents - before
        options += [_histogram(DIFFERENCE, difference), _learned(LEARNED_DIFFERENCE, difference, stages)]
    return min(options, key=lambda layer: layer.bits)


def _histogram(mode: int, values: Values) -> LayerCode:
    numbers, model = choose_model(values)
    return LayerCode(values, model, [mode, *numbers])


def _learned(mode: int, values: Values, stages: Stages) -> LayerCode:
    low, high = int(values.min()), int(values.max())
    numbers = [mode, zigzag(low), high - low, *stages.astype("<f2").view("<u2").flatten().tolist()]
    return LayerCode(values, learned_model(stages, low, high), numbers)


def _read_layer(numbers: Iterator[int], count: int, has_reference: bool) -> tuple[int, Model]:
    """The mode and the model of a layer. Raises BitstreamError."""
    try:
        mode = next(numbers)
        if mode > LEARNED_DIFFERENCE or (mode >= DIFFERENCE and not has_reference):
            raise BitstreamError(DAMAGED_SYMBOLS)
        if mode in (HISTOGRAM, DIFFERENCE):
            return mode, read_model(numbers, LARGEST_LATENT)
        low, span = unzigzag(next(numbers)), next(numbers)
        raw = [next(numbers) for _ in range(count * PARAMETERS)]
    except StopIteration:
        raise BitstreamError(DAMAGED_SYMBOLS) from None
    if low < -LARGEST_LATENT or low + span > LARGEST_LATENT or max(raw) >= 1 << 16:
        raise BitstreamError(DAMAGED_SYMBOLS)
    stages = np.array(raw, "<u2").view("<f2").reshape(count, PARAMETERS)
    if not np.isfinite(stages).all():
        raise BitstreamError(DAMAGED_SYMBOLS)
    return mode, learned_model(stages, low, low + span) if span else single_value(low)
