"""NeRV's compression after training: global pruning, per-channel quantization, entropy coding (NeRV, section 3.3)."""

from collections.abc import Mapping, Sequence
from typing import Literal, Self

import numpy as np
import torch
from torch import Tensor

from rdbench.errors import BitstreamError, RdbenchError

from ..entropy.ans import CODERS, Symbols
from ..networks.network import Network, allocate_parameters, count_parameters
from ..recipes.stage import Stage
from .float16 import Array, float16_above, read_float16
from .limits import DAMAGED_SETTINGS, DIVERGED, LARGEST_WEIGHT, check_network_size
from .pruning import PruningScheme, masks_by_magnitude

MOST_BITS = 12
Channel = Literal["output", "input"]
"""Channels of a weight that have a range each: its output channels (NeRV's code), or its input channels (NeRV++'s
code), where a depthwise kernel, with one input channel, has one range for all."""
CHANNELS: tuple[Channel, ...] = ("output", "input")
"""By the number that a bitstream stores."""


def quantize(weight: Tensor, bits: int, channel: Channel = "output") -> tuple[Symbols, Array]:
    """Symbols (0: exactly zero; q + 1 else) and the float16 pairs (min, scale) of each channel, shape `[C, 2]`.

    scale = (max - min) / 2^bits over the non-zero entries, q = round((w - min) / scale) in 0..2^bits; a channel is an
    output or input channel of a weight, or a whole bias. The symbols are those of one channel after the other. Pruned
    weights are a symbol of their own, so that they stay exactly zero, and the ranges are rounded outwards to float16
    before they are used (both our choice). Raises RdbenchError for weights beyond LARGEST_WEIGHT.
    """
    values = _channel_first(weight.detach().cpu().double(), channel).numpy()
    rows = values.reshape(values.shape[0] if values.ndim > 1 else 1, -1)
    zero = rows == 0
    low = np.where(zero, np.inf, rows).min(axis=1)
    high = np.where(zero, -np.inf, rows).max(axis=1)
    low, high = np.where(np.isfinite(low), low, 0), np.where(np.isfinite(high), high, 0)
    if max(-low.min(), high.max()) > LARGEST_WEIGHT:
        raise RdbenchError(DIVERGED)
    low16 = -float16_above(-low)
    scale16 = float16_above((high - low16) / (1 << bits))
    step = np.where(scale16 > 0, scale16, 1).astype(np.float64)
    q = np.rint((rows - low16.astype(np.float64)[:, None]) / step[:, None]).clip(0, 1 << bits)
    symbols = np.where(zero, 0, q + 1).astype(np.int32)
    return symbols.reshape(-1), np.stack([low16, scale16], axis=1)


def dequantize(symbols: Symbols, ranges: Array, shape: torch.Size, channel: Channel = "output") -> Tensor:
    """The float32 weights of the symbols; exact, so the same everywhere."""
    q = symbols.reshape(len(ranges), -1)
    low, scale = (ranges[:, i].astype(np.float64)[:, None] for i in (0, 1))
    values = np.where(q == 0, 0.0, low + scale * (q - 1)).astype(np.float32)
    first = _channel_first(torch.empty(shape, device="meta"), channel).shape
    return _channel_first(torch.from_numpy(values.reshape(tuple(first))), channel).contiguous()


def _channel_first(weight: Tensor, channel: Channel) -> Tensor:
    """The weight with the axis of its channels first; undoes itself."""
    return weight.transpose(0, 1) if channel == "input" and weight.dim() > 1 else weight


def read_bits_and_coder(numbers: Sequence[int], most_bits: int) -> tuple[int, str]:
    """Bits and the name of the coder from their transmitted numbers. Raises BitstreamError."""
    if len(numbers) != 2 or not 2 <= numbers[0] <= most_bits or numbers[1] >= len(CODERS):
        raise BitstreamError(DAMAGED_SETTINGS)
    return numbers[0], list(CODERS)[numbers[1]]


class PostTraining(PruningScheme):
    """Pruning with fine-tuning, then uniform quantization of each channel and entropy coding."""

    sections = frozenset({"ranges", "table", "weights"})

    def __init__(
        self, bits: int = 8, coder: str = "arithmetic", prunable: str = ".*", channel: Channel = "output"
    ) -> None:
        super().__init__(prunable, masks_by_magnitude)
        self.bits, self.coder, self.channel = bits, coder, channel

    def numbers(self) -> list[int]:
        """Bits, the number of the coder, and that of the channels with a range each, unless they are the first."""
        return [self.bits, list(CODERS).index(self.coder), *filter(None, [CHANNELS.index(self.channel)])]

    @classmethod
    def from_numbers(cls, numbers: Sequence[int]) -> Self:
        """The scheme with these numbers. Raises BitstreamError."""
        bits, coder = read_bits_and_coder(numbers[:2], MOST_BITS)
        number = numbers[2] if len(numbers) > 2 else 0
        if len(numbers) > 3 or number >= len(CHANNELS):
            raise BitstreamError(DAMAGED_SETTINGS)
        return cls(bits, coder, channel=CHANNELS[number])

    def enter(self, network: Network, stage: Stage) -> None:
        """Prunes to the stage's sparsity."""
        self.prune(network, stage.sparsity)

    def write(self, network: Network) -> dict[str, bytes]:
        """Ranges and symbols of all parameters in their order, with one table for all."""
        quantized = [quantize(parameter, self.bits, self.channel) for parameter in network.parameters()]
        encode, _ = CODERS[self.coder]
        table, payload = encode(np.concatenate([symbols for symbols, _ in quantized]), alphabet(self.bits))
        ranges = b"".join(pairs.astype("<f2").tobytes() for _, pairs in quantized)
        return {"ranges": ranges, "table": table, "weights": payload}

    def read(self, network: Network, sections: Mapping[str, bytes]) -> None:
        """Sets the weights to those of the sections, exact, so the same everywhere. Raises BitstreamError."""
        channels = [_channel_count(parameter, self.channel) for parameter in network.parameters()]
        ranges = read_float16(sections["ranges"], 2 * sum(channels)).reshape(-1, 2)
        check_network_size(network, sections)
        _, decode = CODERS[self.coder]
        symbols = decode(sections["table"], sections["weights"], count_parameters(network), alphabet(self.bits))
        allocate_parameters(network)
        first = row = 0
        with torch.no_grad():
            for parameter, count in zip(list(network.parameters()), channels, strict=True):
                part = symbols[first : first + parameter.numel()]
                parameter.copy_(dequantize(part, ranges[row : row + count], parameter.shape, self.channel))
                first, row = first + parameter.numel(), row + count


def alphabet(bits: int) -> int:
    """The number of symbols: zero, and 0 to 2^bits."""
    return (1 << bits) + 2


def _channel_count(parameter: Tensor, channel: Channel) -> int:
    """The number of ranges of a parameter."""
    return parameter.shape[CHANNELS.index(channel)] if parameter.dim() > 1 else 1
