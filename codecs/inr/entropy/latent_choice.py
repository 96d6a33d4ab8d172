"""Latents in one section, each coded adaptively (`frame_contexts.py`) or under a static model, whichever is smaller.

choice u8 for each tensor | where both occur: length of the adaptive part u32 | adaptive part | static part
"""

import math
import struct
from collections.abc import Sequence

from rdbench.errors import BitstreamError

from . import frame_contexts
from .ans import DAMAGED_SYMBOLS
from .tensor_models import Model, Values, decode_under, encode_under

Choice = tuple[bool, ...]
"""For each tensor whether it is coded adaptively."""
LENGTH = struct.Struct("<I")
MOST_CHANNELS = 1024
"""Channels from which on they are one plane, so that a damaged stream takes no minute (ours have up to some 100)."""


def planes(shape: Sequence[int]) -> tuple[int, ...]:
    """The shape of a tensor of latents as `[T, C, h, w]`; one of other axes is one plane for each time step."""
    return tuple(shape) if len(shape) == 4 and shape[1] < MOST_CHANNELS else (shape[0], 1, 1, math.prod(shape[1:]))


class AdaptiveLatents:
    """Tensors of latents, coded adaptively, to be compared with their static codes. `[T, ...]` each."""

    def __init__(self, tensors: Sequence[Values]) -> None:
        self._coded = [frame_contexts.code(tensor.reshape(planes(tensor.shape))) for tensor in tensors]

    def choices(self, static_bits: Sequence[float]) -> list[Choice]:
        """The choices that may be the smallest: all static, all adaptive, and each tensor by itself.

        `static_bits`: of the values of each tensor under its static model.
        """
        each = tuple(coded.bits < bits for coded, bits in zip(self._coded, static_bits, strict=True))
        return list(dict.fromkeys([(False,) * len(each), each, (True,) * len(each)]))

    def section(self, choice: Choice, static: bytes) -> bytes:
        """The section, with the payload of the static tensors."""
        chosen = [coded for coded, adaptive in zip(self._coded, choice, strict=True) if adaptive]
        adaptive = frame_contexts.pack(chosen) if chosen else b""
        length = LENGTH.pack(len(adaptive)) if any(choice) and not all(choice) else b""
        return bytes(choice) + length + adaptive + static


def read_section(
    section: bytes, shapes: Sequence[Sequence[int]], low: int, high: int
) -> tuple[list[Values | None], bytes]:
    """The tensors that are coded adaptively, None for each static one, and the payload of the static ones.

    `shapes` are those of all tensors; values are from `low` to `high`. Raises BitstreamError.
    """
    choice, rest = section[: len(shapes)], section[len(shapes) :]
    if len(choice) != len(shapes) or any(one > 1 for one in choice):
        raise BitstreamError(DAMAGED_SYMBOLS)
    if not any(choice):
        return [None] * len(shapes), rest
    length = len(rest)
    if not all(choice):
        if len(rest) < LENGTH.size or LENGTH.unpack_from(rest)[0] > len(rest) - LENGTH.size:
            raise BitstreamError(DAMAGED_SYMBOLS)
        length, rest = LENGTH.unpack_from(rest)[0], rest[LENGTH.size :]
    chosen = [shape for shape, adaptive in zip(shapes, choice, strict=True) if adaptive]
    tensors = iter(frame_contexts.unpack(rest[:length], [planes(shape) for shape in chosen], low, high))
    return [next(tensors) if adaptive else None for adaptive in choice], rest[length:]


def encode_latents(tensors: Sequence[Values], models: Sequence[Model]) -> tuple[bytes, Choice]:
    """The section of tensors `[T, ...]` that each have a static model, and which of them are coded adaptively."""
    latents = AdaptiveLatents(tensors)
    choices = latents.choices([model.bits(values.ravel()) for values, model in zip(tensors, models, strict=True)])

    def section(choice: Choice) -> bytes:
        static = [place for place, adaptive in enumerate(choice) if not adaptive]
        payload = encode_under([tensors[place].ravel() for place in static], [models[place] for place in static])
        return latents.section(choice, payload)

    return min(((section(choice), choice) for choice in choices), key=lambda one: len(one[0]))


def decode_latents(
    section: bytes, shapes: Sequence[Sequence[int]], models: Sequence[Model], bound: int
) -> list[Values]:
    """The tensors that `encode_latents` wrote; `bound` is their largest magnitude. Raises BitstreamError."""
    tensors, payload = read_section(section, shapes, -bound, bound)
    static = [place for place, tensor in enumerate(tensors) if tensor is None]
    parts = [(math.prod(shapes[place]), models[place]) for place in static]
    decoded = dict(zip(static, decode_under(payload, parts), strict=True))
    return [decoded[place] if tensor is None else tensor for place, tensor in enumerate(tensors)]
