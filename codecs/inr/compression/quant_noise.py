"""Quant-Noise (HiNeRV, section 3.5): pruning, training with a random part of the weights quantized, arithmetic coding.

Every tensor is coded with a static model of its own. Pruned weights and those that round to zero are one symbol, so
masks need no bits; a model is transmitted as a few numbers, or as a table where that is shorter (both our choice).
"""

import re
from collections.abc import Mapping, Sequence
from typing import ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from rdbench.errors import BitstreamError, RdbenchError

from ..entropy.tensor_models import decode_tensors, encode_tensors
from ..networks.network import Network, allocate_parameters
from ..recipes.stage import Stage
from .float16 import Array, float16_above, read_float16
from .limits import DAMAGED_SETTINGS, DIVERGED, LARGEST_WEIGHT, check_network_size
from .pruning import PruningScheme, masks_by_scaled_magnitude
from .vectors import decode_vectors, encode_vectors

MOST_BITS = 8
SMALLEST_STEP = 1e-6
LONGEST_UNSHARED = 20
"""Longest axis along which weights do not share a step."""


def step_axis(shape: Sequence[int]) -> int | None:
    """The axis along which weights share a quantization step: the longest; None, for all axes, where it is short."""
    longest = max(range(len(shape)), key=lambda axis: shape[axis])
    return longest if shape[longest] > LONGEST_UNSHARED else None


def largest(weight: Tensor, copies: bool) -> Tensor:
    """The largest magnitude of the weights that share a step, with as many axes as the weight.

    `copies`: the first axis counts copies, which share their steps.
    """
    magnitudes = weight.abs().amax(0, keepdim=True) if copies else weight.abs()
    axis = step_axis(magnitudes.shape)
    return magnitudes.amax(axis, keepdim=True) if axis is not None else magnitudes.amax().view([1] * weight.dim())


def steps_shape(shape: Sequence[int], copies: bool) -> torch.Size:
    """The shape that `largest` has for weights of this shape.

    Computed without a tensor, because an operation on a meta tensor imports seconds' worth of modules.
    """
    once = [1, *shape[1:]] if copies else list(shape)
    axis = step_axis(once)
    return torch.Size(1 if axis is None or index == axis else length for index, length in enumerate(once))


def steps_of(peak: Tensor, bits: int) -> Tensor:
    """Quantization steps from the largest magnitudes."""
    return 2 * peak / ((1 << bits) - 1) + SMALLEST_STEP


def levels_of(weight: Tensor, step: Tensor, bits: int) -> Tensor:
    """The weights in steps, rounded to integers in -2^(bits-1)..2^(bits-1) - 1."""
    half = 1 << (bits - 1)
    return (weight / step).round().clamp(-half, half - 1)


class QuantNoise(PruningScheme):
    """Symmetric uniform quantization of all tensors but vectors, which are stored as float16 or in 8 bits."""

    sections = frozenset({"steps", "vectors", "models", "weights"})
    codes_vectors: ClassVar[bool] = False
    """Whether vectors are stored in 8 bits, as in `vectors.py`."""
    copies: ClassVar[str] = ""
    """Regular expression for the names of parameters whose first axis counts copies, of which all but the first are
    coded as differences from the first."""

    def __init__(self, bits: int = 6, prunable: str = "") -> None:
        super().__init__(prunable, masks_by_scaled_magnitude)
        self.bits, self._share = bits, 0.0

    def numbers(self) -> list[int]:
        """The bits of a level."""
        return [self.bits]

    @classmethod
    def from_numbers(cls, numbers: Sequence[int]) -> Self:
        """The scheme with these numbers. Raises BitstreamError."""
        if len(numbers) != 1 or not 2 <= numbers[0] <= MOST_BITS:
            raise BitstreamError(DAMAGED_SETTINGS)
        return cls(numbers[0])

    def enter(self, network: Network, stage: Stage) -> None:
        """Prunes at the first stage that has a sparsity; later stages keep the masks."""
        self._share = stage.noise
        if stage.sparsity and not self.state():
            self.prune(network, stage.sparsity)
        else:
            self.after_step(network)

    def substitute(self, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Tensors with a random share of their elements quantized.

        A quantized element has a gradient only for the largest weight of its step, not for its own weight.
        """
        if not self._share:
            return {}
        noisy = {}
        for name, tensor in tensors.items():
            if tensor.dim() > 1:
                step = steps_of(largest(tensor, self._copied(name)), self.bits)
                rounded = levels_of(tensor, step, self.bits).detach() * step
                noisy[name] = torch.where(torch.rand_like(tensor) < self._share, rounded, tensor)
        return noisy

    def write(self, network: Network) -> dict[str, bytes]:
        """Steps as float16, vectors, all other parameters as levels, in the network's order."""
        steps, vectors, levels = [], [], []
        for name, parameter in network.named_parameters():
            weight = parameter.detach().cpu().float()
            if not bool(weight.abs().max() <= LARGEST_WEIGHT):
                raise RdbenchError(DIVERGED)
            if weight.dim() < 2:
                vectors.append(weight.numpy())
                continue
            copied = self._copied(name)
            step = float16_above(steps_of(largest(weight, copied), self.bits).numpy())
            symbols = levels_of(weight, torch.from_numpy(step.astype(np.float32)), self.bits).to(torch.int32)
            steps.append(step)
            levels += [part.flatten().numpy() for part in _differences(symbols, copied)]
        models, payload = encode_tensors(levels)
        return {
            "steps": b"".join(part.tobytes() for part in steps), "vectors": self._write_vectors(vectors),
            "models": models, "weights": payload,
        }  # fmt: skip

    def read(self, network: Network, sections: Mapping[str, bytes]) -> None:
        """Sets the weights to those of the sections, exact, so the same everywhere. Raises BitstreamError."""
        shapes = {name: parameter.shape for name, parameter in network.named_parameters()}
        sizes = {name: shape.numel() for name, shape in shapes.items()}
        quantized = [name for name, shape in shapes.items() if len(shape) > 1]
        peaks = {name: steps_shape(shapes[name], self._copied(name)) for name in quantized}
        steps = _read_floats(sections["steps"], sum(peaks[name].numel() for name in quantized))
        vectors = self._read_vectors(sections["vectors"], [sizes[name] for name in shapes if name not in peaks])
        check_network_size(network, sections)
        parts = [
            size
            for name in quantized
            for size in (_part_sizes(shapes[name]) if self._copied(name) else (sizes[name],))
        ]  # fmt: skip
        levels = torch.from_numpy(decode_tensors(sections["models"], sections["weights"], parts, 1 << self.bits))
        allocate_parameters(network)
        with torch.no_grad():
            for name, parameter in network.named_parameters():
                if name not in peaks:
                    vector, vectors = vectors[: sizes[name]], vectors[sizes[name] :]
                    parameter.copy_(vector.view(shapes[name]))
                    continue
                symbols, levels = levels[: sizes[name]].view(shapes[name]), levels[sizes[name] :]
                step, steps = steps[: peaks[name].numel()].view(peaks[name]), steps[peaks[name].numel() :]
                parameter.copy_(_sums(symbols, self._copied(name)) * step)

    def _write_vectors(self, vectors: Sequence[Array]) -> bytes:
        if self.codes_vectors:
            return encode_vectors(vectors)
        return b"".join(vector.astype("<f2").tobytes() for vector in vectors)

    def _read_vectors(self, data: bytes, sizes: Sequence[int]) -> Tensor:
        """All vectors, one after the other. Raises BitstreamError."""
        return torch.from_numpy(decode_vectors(data, sizes)) if self.codes_vectors else _read_floats(data, sum(sizes))

    def _copied(self, name: str) -> bool:
        return re.fullmatch(self.copies, name) is not None


def _part_sizes(shape: torch.Size) -> tuple[int, int]:
    """The number of values of the first copy, and of all others."""
    one = shape[1:].numel()
    return one, (shape[0] - 1) * one


def _differences(levels: Tensor, copied: bool) -> tuple[Tensor, ...]:
    """The first copy, and the differences of the others from it; or all as they are."""
    return (levels[0], levels[1:] - levels[:1]) if copied else (levels,)


def _sums(levels: Tensor, copied: bool) -> Tensor:
    """The inverse of `_differences`, of its parts in one tensor."""
    return torch.cat([levels[:1], levels[1:] + levels[:1]]) if copied else levels


def _read_floats(data: bytes, count: int) -> Tensor:
    """`count` float16 values, as float32. Raises BitstreamError."""
    return torch.from_numpy(read_float16(data, count).astype(np.float32))
