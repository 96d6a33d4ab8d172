"""HNeRV's quantizer: one range for a tensor, or one for each index of an axis, whichever has the smallest error.

It follows pruning and fine-tuning; embeddings have their own number of bits. From the paper's code: the candidates,
float32 for a whole tensor's range and float16 for the others. Our choice: pruned weights are a symbol of their own (as
in the supplement's table 16), embeddings and weights each have a table, where the paper has one Huffman table, and with
arithmetic coding embeddings are coded along time instead where that is smaller (`entropy/latent_choice.py`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn

from rdbench.errors import BitstreamError, RdbenchError

from ..bitstream import pack_integers, unpack_integers
from ..entropy.ans import CODERS, Symbols
from ..entropy.latent_choice import AdaptiveLatents, Choice, read_section
from ..entropy.tensor_models import Values
from ..networks.network import Network, allocate_parameters
from .float16 import Array
from .limits import DAMAGED_SECTIONS, DAMAGED_SETTINGS, DIVERGED, LARGEST_WEIGHT, check_network_size
from .post_training import MOST_BITS, PostTraining

LARGEST_OVERHEAD = 0.02
"""Largest number of ranges along an axis, as a share of the tensor's elements (HNeRV's code)."""


@dataclass(frozen=True)
class Quantized:
    """A tensor as symbols (0: exactly zero; q + 1 else), and the ranges along an axis."""

    symbols: Symbols
    axis: int
    """0 for one range of the whole tensor, else 1 + the axis."""
    low: Array
    scale: Array

    @property
    def ranges(self) -> bytes:
        """The pairs (min, scale), as they are stored in the bitstream."""
        pairs: bytes = np.stack([self.low, self.scale], axis=1).astype(number_type(self.axis)).tobytes()
        return pairs

    def planes(self, shape: Sequence[int]) -> Values:
        """The symbols at their places in the tensor of this shape."""
        if self.axis == 0:
            return self.symbols.reshape(shape)
        others = [length for axis, length in enumerate(shape) if axis != self.axis - 1]
        return np.moveaxis(self.symbols.reshape(shape[self.axis - 1], *others), 0, self.axis - 1)


def number_type(axis: int) -> str:
    """The number format of the ranges along an axis, as numpy names it."""
    return "<f2" if axis else "<f4"


def axes_for(shape: Sequence[int]) -> list[int]:
    """The candidate axes of a tensor of this shape, as in `Quantized.axis`."""
    return [0, *(1 + axis for axis, length in enumerate(shape) if length * LARGEST_OVERHEAD > 1)]


def lines(values: Array, axis: int) -> Array:
    """The values as `[elements, ranges]`, where the elements of a column share a range."""
    rows = values.reshape(-1, 1) if axis == 0 else np.moveaxis(values, axis - 1, 0)
    return rows.reshape(rows.shape[0], -1)


def along(planes: Values, axis: int) -> Symbols:
    """The symbols of a tensor in the order of `Quantized.symbols`."""
    symbols: Symbols = lines(planes, axis).reshape(-1)
    return symbols


def quantize_along(values: Array, axis: int, bits: int) -> tuple[Quantized, float]:
    """q = round((w - min) / scale) in 0..2^bits - 1, with scale = (max - min) / (2^bits - 1); and the mean error."""
    columns = lines(values, axis)
    zero = columns == 0
    low = np.where(zero, np.inf, columns).min(axis=0)
    high = np.where(zero, -np.inf, columns).max(axis=0)
    low, high = np.where(np.isfinite(low), low, 0), np.where(np.isfinite(high), high, 0)
    low = low.astype(number_type(axis))
    scale = ((high - low.astype(np.float64)).clip(0) / ((1 << bits) - 1)).astype(number_type(axis))
    step = np.where(scale > 0, scale, 1).astype(np.float64)
    q = np.rint((columns - low.astype(np.float64)) / step).clip(0, (1 << bits) - 1)
    symbols = np.where(zero, 0, q + 1).astype(np.int32)
    error = np.abs(_values(symbols, low, scale) - columns).mean()
    return Quantized(symbols.reshape(-1), axis, low, scale), float(error)


def quantize(tensor: Tensor, bits: int) -> Quantized:
    """The tensor along the axis with the smallest error. Raises RdbenchError for weights beyond LARGEST_WEIGHT."""
    values = tensor.detach().cpu().double().numpy()
    if not np.abs(values).max() <= LARGEST_WEIGHT:
        raise RdbenchError(DIVERGED)
    candidates = [quantize_along(values, axis, bits) for axis in axes_for(tensor.shape)]
    return min(candidates, key=lambda candidate: candidate[1])[0]


def dequantize(coded: Quantized, shape: torch.Size) -> Tensor:
    """The float32 tensor; exact, so the same everywhere."""
    columns = _values(coded.symbols.reshape(-1, len(coded.low)), coded.low, coded.scale)
    if coded.axis:
        others = [length for axis, length in enumerate(shape) if axis != coded.axis - 1]
        columns = np.moveaxis(columns.reshape(shape[coded.axis - 1], *others), 0, coded.axis - 1)
    return torch.from_numpy(np.ascontiguousarray(columns, dtype=np.float32).reshape(tuple(shape)))


def _values(symbols: Symbols, low: Array, scale: Array) -> Array:
    values: Array = np.where(symbols == 0, 0.0, low.astype(np.float64) + scale.astype(np.float64) * (symbols - 1.0))
    return values


class AxisQuantization(PostTraining):
    """Pruning with fine-tuning, then HNeRV's quantizer and entropy coding."""

    sections = frozenset({"axes", "ranges", "table", "weights", "latent_table", "latents"})

    def __init__(self, bits: int, embedding_bits: int, coder: str = "arithmetic", prunable: str = ".*") -> None:
        super().__init__(bits, coder, prunable)
        self.embedding_bits = embedding_bits

    def numbers(self) -> list[int]:
        """Bits of weights and of embeddings, and the number of the coder."""
        return [self.bits, self.embedding_bits, list(CODERS).index(self.coder)]

    @classmethod
    def from_numbers(cls, numbers: Sequence[int]) -> Self:
        """The scheme with these numbers. Raises BitstreamError."""
        if len(numbers) != 3 or not all(2 <= bits <= MOST_BITS for bits in numbers[:2]) or numbers[2] >= len(CODERS):
            raise BitstreamError(DAMAGED_SETTINGS)
        return cls(numbers[0], numbers[1], list(CODERS)[numbers[2]])

    def write(self, network: Network) -> dict[str, bytes]:
        """Axes, ranges, tables and symbols of all parameters in their order, weights and latents apart."""
        encode, _ = CODERS[self.coder]
        coded = {n: quantize(p, self._bits(network, n)) for n, p in network.named_parameters()}
        sections = {
            "axes": pack_integers([each.axis for each in coded.values()]),
            "ranges": b"".join(each.ranges for each in coded.values()),
        }
        for (table, payload), names in network.parts().items():
            if payload == "latents" and self._along_time(network):
                tensors = [coded[name].planes(network.get_parameter(name).shape) for name in names]
                sections[table], sections[payload] = self._latents(tensors)
                continue
            symbols = [np.zeros(0, np.int32), *(coded[name].symbols for name in names)]
            sections[table], sections[payload] = encode(np.concatenate(symbols), self._alphabet(payload))
        return sections

    def _along_time(self, network: Network) -> bool:
        """Whether the section of latents has a choice for each tensor: not with the paper's Huffman code."""
        return self.coder == "arithmetic" and bool(network.latents)

    def _latents(self, tensors: Sequence[Values]) -> tuple[bytes, bytes]:
        """Table and section of the latents, the smallest ones; an empty table where no tensor needs one."""
        encode, _ = CODERS[self.coder]
        latents = AdaptiveLatents(tensors)

        def sections(choice: Choice) -> tuple[bytes, bytes]:
            static = [values.ravel() for values, adaptive in zip(tensors, choice, strict=True) if not adaptive]
            table, payload = encode(np.concatenate(static), self._alphabet("latents")) if static else (b"", b"")
            return table, latents.section(choice, payload)

        bits = [8.0 * len(encode(values.ravel(), self._alphabet("latents"))[1]) for values in tensors]
        return min(map(sections, latents.choices(bits)), key=lambda pair: len(pair[0]) + len(pair[1]))

    def read(self, network: Network, sections: Mapping[str, bytes]) -> None:
        """Sets the weights to those of the sections. Raises BitstreamError."""
        parameters = dict(network.named_parameters())
        check_network_size(network, sections)
        ranges = _read_ranges(parameters, sections)
        symbols: dict[str, Symbols] = {}
        for (table, payload), names in network.parts().items():
            section, alphabet = sections[payload], self._alphabet(payload)
            tensors: list[Values | None] = [None] * len(names)
            if payload == "latents" and self._along_time(network):
                shapes = [parameters[name].shape for name in names]
                tensors, section = read_section(section, shapes, 0, alphabet - 1)
            static = [name for name, values in zip(names, tensors, strict=True) if values is None]
            symbols |= self._static(
                sections[table], section, {name: parameters[name].numel() for name in static}, alphabet
            )
            for name, values in zip(names, tensors, strict=True):
                if values is not None:
                    symbols[name] = along(values.reshape(parameters[name].shape), ranges[name][0])
        allocate_parameters(network)
        with torch.no_grad():
            for name, parameter in network.named_parameters():
                parameter.copy_(dequantize(Quantized(symbols[name], *ranges[name]), parameter.shape))

    def _static(self, table: bytes, payload: bytes, counts: Mapping[str, int], alphabet: int) -> dict[str, Symbols]:
        """The symbols of tensors that share a table; a table and payload of none are empty. Raises BitstreamError."""
        if not counts and not table:
            if payload:
                raise BitstreamError(DAMAGED_SECTIONS)
            return {}
        _, decode = CODERS[self.coder]
        part = decode(table, payload, sum(counts.values()), alphabet)
        return dict(zip(counts, np.split(part, np.cumsum(list(counts.values()))[:-1]), strict=True))

    def _bits(self, network: Network, name: str) -> int:
        return self.embedding_bits if name in network.latents else self.bits

    def _alphabet(self, payload: str) -> int:
        return (1 << (self.embedding_bits if payload == "latents" else self.bits)) + 1


def _read_ranges(
    parameters: Mapping[str, nn.Parameter], sections: Mapping[str, bytes]
) -> dict[str, tuple[int, Array, Array]]:
    """Axis, mins and scales by name. Raises BitstreamError."""
    axes, data, at = unpack_integers(sections["axes"]), sections["ranges"], 0
    if len(axes) != len(parameters):
        raise BitstreamError(DAMAGED_SECTIONS)
    ranges = {}
    for (name, parameter), axis in zip(parameters.items(), axes, strict=True):
        if axis not in axes_for(parameter.shape):
            raise BitstreamError(DAMAGED_SECTIONS)
        count = parameter.numel() // parameter.shape[axis - 1] if axis else 1
        end = at + 2 * count * np.dtype(number_type(axis)).itemsize
        if end > len(data):
            raise BitstreamError(DAMAGED_SECTIONS)
        pairs = np.frombuffer(data[at:end], number_type(axis)).reshape(-1, 2)
        ranges[name], at = (axis, pairs[:, 0], pairs[:, 1]), end
    if at != len(data) or not all(np.isfinite(part).all() for _, *pair in ranges.values() for part in pair):
        raise BitstreamError(DAMAGED_SECTIONS)
    return ranges
