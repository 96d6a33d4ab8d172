"""FFNeRV's quantization-aware training: every parameter passes a tanh and a uniform quantizer from the first step.

u = tanh(p), n = 2^(b-1) - 1, value = sign(u) floor(abs(u) n) / n: no scale is transmitted, and the interval of zero
is twice as wide as the others. The gradient of the rounding is straight-through, that of the tanh is its own. Our
choice: grids and weights each have a table, where the paper has one Huffman table for all.
"""

from collections.abc import Mapping, Sequence
from typing import Self

import numpy as np
import torch
from torch import Tensor

from ..entropy.ans import CODERS, Symbols
from ..networks.network import Network, allocate_parameters
from .float16 import Array
from .limits import check_network_size
from .post_training import read_bits_and_coder
from .scheme import Scheme

MOST_BITS = 8


def levels(tensor: Tensor, bits: int) -> Tensor:
    """The integers -n..n that stand for a tensor, as floats."""
    n = largest_level(bits)
    return (tensor.tanh() * n).trunc()


def largest_level(bits: int) -> int:
    """n = 2^(bits-1) - 1: the level of the largest value, 1."""
    return (1 << (bits - 1)) - 1


class TanhQuantization(Scheme):
    """Quantization in every training step (FFNeRV, section 3.4), then entropy coding."""

    sections = frozenset({"table", "weights", "latent_table", "latents"})

    def __init__(self, bits: int = 8, coder: str = "arithmetic") -> None:
        self.bits, self.coder = bits, coder

    def numbers(self) -> list[int]:
        """Bits, and the number of the coder."""
        return [self.bits, list(CODERS).index(self.coder)]

    @classmethod
    def from_numbers(cls, numbers: Sequence[int]) -> Self:
        """The scheme with these numbers. Raises BitstreamError."""
        return cls(*read_bits_and_coder(numbers, MOST_BITS))

    def substitute(self, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """All tensors, quantized."""
        n = largest_level(self.bits)
        squashed = {name: tensor.tanh() for name, tensor in tensors.items()}
        return {name: u + ((u * n).trunc() / n - u).detach() for name, u in squashed.items()}

    def write(self, network: Network) -> dict[str, bytes]:
        """Tables and symbols of all parameters in their order, weights and latents apart."""
        encode, _ = CODERS[self.coder]
        n = largest_level(self.bits)
        sections = {}
        for (table, payload), names in network.parts().items():
            tensors = [network.get_parameter(name).detach().cpu() for name in names]
            symbols = [levels(tensor, self.bits).int().numpy().reshape(-1) + n for tensor in tensors]
            joined: Symbols = np.concatenate([np.zeros(0, np.int32), *symbols])
            sections[table], sections[payload] = encode(joined, 2 * n + 1)
        return sections

    def read(self, network: Network, sections: Mapping[str, bytes]) -> None:
        """Sets the weights to those of the sections. Raises BitstreamError."""
        check_network_size(network, sections)
        _, decode = CODERS[self.coder]
        n = largest_level(self.bits)
        values: dict[str, Array] = {}
        for (table, payload), names in network.parts().items():
            counts = [network.get_parameter(name).numel() for name in names]
            symbols = decode(sections[table], sections[payload], sum(counts), 2 * n + 1)
            parts = np.split((symbols - n).astype(np.float32) / np.float32(n), np.cumsum(counts)[:-1])
            values |= dict(zip(names, parts, strict=True))
        allocate_parameters(network)
        with torch.no_grad():
            for name, parameter in network.named_parameters():
                parameter.copy_(torch.from_numpy(values[name]).view(parameter.shape))
