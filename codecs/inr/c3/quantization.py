"""The networks of a patch, rounded with a step for weights and one for biases, and coded."""

import math
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from rdbench.errors import BitstreamError

from ..entropy.ans import DAMAGED_SYMBOLS
from ..entropy.laplace import LARGEST, LaplaceReader, LaplaceWriter
from ..entropy.scale_tables import Integers
from .rate import laplace_bits

STEPS = (5e-5, 1e-4, 5e-4, 1e-3, 3e-3, 6e-3, 1e-2)
"""Quantization steps that are tried for weights, and for biases."""
LEAST_SCALE = 1e-3
"""Smallest scale of a tensor's Laplace distribution."""
SCALE_BYTES = 2
MOST_TENSOR_BITS = 32.0
"""Most bits that the estimate counts for a weight."""


@dataclass(frozen=True)
class StepPair:
    """The steps of weights and of biases, by their places in STEPS."""

    weights: int
    biases: int

    def of(self, parameter: Tensor) -> float:
        """The step of a parameter: one with several axes is a weight."""
        return STEPS[self.weights if parameter.dim() > 1 else self.biases]


def groups(networks: Sequence[nn.Module]) -> list[list[Tensor]]:
    """Parameters that are coded under one distribution (our choice): by their place in each network; biases together.

    The released estimate has a distribution for every tensor, which would cost 80 bytes for variant b's 40.
    """
    found: dict[str, list[Tensor]] = {}
    for network in networks:
        for name, parameter in network.named_parameters():
            found.setdefault(name if parameter.dim() > 1 else "biases", []).append(parameter)
    return list(found.values())


def rounded(group: Sequence[Tensor], steps: StepPair) -> Integers:
    """The quantized values of a group."""
    parts = [torch.round(p.detach().double() / steps.of(p)).flatten().cpu().numpy() for p in group]
    return np.concatenate(parts).astype(np.int64)


def group_scale(values: Integers) -> np.float16:
    """The scale of a group's distribution around zero, as it is transmitted."""
    return np.float16(max(float(values.std()) / math.sqrt(2), LEAST_SCALE))


def estimated_bits(networks: Sequence[nn.Module], steps: StepPair) -> float:
    """The bits of quantized networks; infinite where a value has no code."""
    total = 0.0
    for group in groups(networks):
        values = rounded(group, steps)
        if np.abs(values).max() > LARGEST:
            return math.inf
        bits = laplace_bits(
            torch.from_numpy(values).double(), torch.zeros(()), torch.tensor(float(group_scale(values)))
        )
        total += float(bits.clamp(max=MOST_TENSOR_BITS).sum()) + 8 * SCALE_BYTES
    return total


@torch.no_grad()
def set_rounded(networks: Sequence[nn.Module], steps: StepPair) -> None:
    """Rounds all parameters in place, to the values that `read_networks` gives."""
    for group in groups(networks):
        _set(group, rounded(group, steps), steps)


def write_networks(networks: Sequence[nn.Module], steps: StepPair) -> bytes:
    """The scale of each group, and the payload. Raises RdbenchError for values beyond all bounds."""
    writer, scales = LaplaceWriter(), b""
    for group in groups(networks):
        values = rounded(group, steps)
        scale = group_scale(values)
        scales += struct.pack("<e", scale)
        writer.add(values, np.zeros(len(values)), np.full(len(values), float(scale)))
    return scales + writer.finish()


@torch.no_grad()
def read_networks(data: bytes, networks: Sequence[nn.Module], steps: StepPair) -> None:
    """Sets the parameters that `write_networks` wrote. Raises BitstreamError."""
    parts = groups(networks)
    size = SCALE_BYTES * len(parts)
    if len(data) < size:
        raise BitstreamError(DAMAGED_SYMBOLS)
    scales = np.frombuffer(data[:size], "<f2").astype(np.float64)
    if not (np.isfinite(scales) & (scales > 0)).all():
        raise BitstreamError(DAMAGED_SYMBOLS)
    reader = LaplaceReader(data[size:])
    for group, scale in zip(parts, scales, strict=True):
        count = sum(parameter.numel() for parameter in group)
        _set(group, reader.read(np.zeros(count), np.full(count, scale)), steps)
    reader.finish()


def _set(group: Sequence[Tensor], values: Integers, steps: StepPair) -> None:
    start = 0
    for parameter in group:
        part = torch.from_numpy(values[start : start + parameter.numel()]).double() * steps.of(parameter)
        parameter.copy_(part.view(parameter.shape))
        start += parameter.numel()


def every_pair() -> Iterator[StepPair]:
    """All pairs of steps."""
    for weights in range(len(STEPS)):
        for biases in range(len(STEPS)):
            yield StepPair(weights, biases)
