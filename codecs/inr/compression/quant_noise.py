"""Quant-Noise (HiNeRV, section 3.5): pruning, training with a random part of the weights quantized, arithmetic coding.

Every tensor is coded with a static model of its own. What is pruned and what rounds to zero are one symbol, so masks
need no bits; the models travel as a few numbers, or as a table where that is shorter (both our choice).
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar, Self

import numpy as np
import torch
from torch import Tensor, nn

from rdbench.errors import BitstreamError, RdbenchError

from ..entropy.tensor_models import decode_tensors, encode_tensors
from ..networks.network import Network, allocate_parameters
from ..recipes.stage import Stage
from .pruning import Masks, PruningScheme, drop_smallest

MOST_BITS = 8
LARGEST_WEIGHT = 30_000.0
DENSEST = 1024
"""Weights that one byte may stand for; keeps a small malicious file from asking for much memory (our choice)."""
FREE_WEIGHTS = 1 << 20
"""So many weights are allowed whatever the size of the file."""
SMALLEST_STEP = 1e-6
FEWEST = 20
"""Values that share a step: an axis must be longer than this to have one step along it."""
DAMAGED = "The bitstream's sections do not fit its network; encode the clip again."


def step_axis(shape: Sequence[int]) -> int | None:
    """The axis along which weights share a quantization step: the longest; None for all where it is short."""
    longest = max(range(len(shape)), key=lambda axis: shape[axis])
    return longest if shape[longest] > FEWEST else None


def largest(weight: Tensor, copies: bool) -> Tensor:
    """The largest magnitude for each step, with as many axes as the weight; copies (first axis) share theirs."""
    magnitudes = weight.abs().amax(0, keepdim=True) if copies else weight.abs()
    axis = step_axis(magnitudes.shape)
    return magnitudes.amax(axis, keepdim=True) if axis is not None else magnitudes.amax().view([1] * weight.dim())


def steps_of(peak: Tensor, bits: int) -> Tensor:
    """Quantization steps from largest magnitudes."""
    return 2 * peak / ((1 << bits) - 1) + SMALLEST_STEP


def levels_of(weight: Tensor, step: Tensor, bits: int) -> Tensor:
    """The integers -2^(bits-1) to 2^(bits-1) - 1."""
    half = 1 << (bits - 1)
    return (weight / step).round().clamp(-half, half - 1)


def prune_masks(network: nn.Module, names: Iterable[str], sparsity: float) -> Masks:
    """Masks that drop the lowest |w| / sqrt(size of the tensor); `sparsity` is a share of all parameters."""
    weights = {name: network.get_parameter(name).detach() for name in names}
    scores = {name: weight.abs() / (weight.numel() ** 0.5 + 1e-6) for name, weight in weights.items()}
    dropped = int(sparsity * sum(parameter.numel() for parameter in network.parameters()))
    return drop_smallest(scores, min(dropped, sum(weight.numel() for weight in weights.values()) - 1))


class QuantNoise(PruningScheme):
    """Symmetric uniform quantization of all but vectors, which travel as float16."""

    sections = frozenset({"steps", "vectors", "models", "weights"})
    copies: ClassVar[str] = ""
    """Matches the names of parameters whose first axis counts copies; all but the first are coded as differences."""

    def __init__(self, bits: int = 6, prunable: str = "") -> None:
        super().__init__(prunable)
        self.bits, self._share = bits, 0.0

    def numbers(self) -> list[int]:
        """Bits."""
        return [self.bits]

    @classmethod
    def from_numbers(cls, numbers: Sequence[int]) -> Self:
        """The scheme with these numbers. Raises BitstreamError."""
        if len(numbers) != 1 or not 2 <= numbers[0] <= MOST_BITS:
            raise BitstreamError("The bitstream's quantization is damaged; encode the clip again.")
        return cls(numbers[0])

    def enter(self, network: Network, stage: Stage) -> None:
        """Prunes at the first stage that has a sparsity; the masks then stay."""
        self._share = stage.noise
        if stage.sparsity and not self.state():
            self.prune(network, stage.sparsity)
        else:
            self.after_step(network)

    def masks(self, network: Network, names: list[str], sparsity: float) -> Masks:
        """By magnitude, more of large tensors."""
        return prune_masks(network, names, sparsity)

    def substitute(self, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """A random share of the elements quantized; these have no gradient but through the step's largest weight."""
        if not self._share:
            return {}
        seen = {}
        for name, tensor in tensors.items():
            if tensor.dim() > 1:
                step = steps_of(largest(tensor, self._copied(name)), self.bits)
                rounded = levels_of(tensor, step, self.bits).detach() * step
                seen[name] = torch.where(torch.rand_like(tensor) < self._share, rounded, tensor)
        return seen

    def write(self, network: Network) -> dict[str, bytes]:
        """Steps and vectors as float16, all other parameters as integers, in the network's order."""
        steps, vectors, levels = [], [], []
        for name, parameter in network.named_parameters():
            weight = parameter.detach().cpu().float()
            if not bool(weight.abs().max() <= LARGEST_WEIGHT):
                raise RdbenchError("The fit gave weights beyond all bounds; try another --seed or a lower lr.")
            if weight.dim() < 2:
                vectors.append(weight.numpy().astype("<f2"))
                continue
            copied = self._copied(name)
            step = _float16_above(steps_of(largest(weight, copied), self.bits))
            symbols = levels_of(weight, step.float(), self.bits).to(torch.int32)
            steps.append(step.numpy().astype("<f2"))
            levels += [part.flatten().numpy() for part in _differences(symbols, copied)]
        models, payload = encode_tensors(levels)
        both = (b"".join(part.tobytes() for part in parts) for parts in (steps, vectors))
        return dict(zip(("steps", "vectors", "models", "weights"), (*both, models, payload), strict=True))

    def read(self, network: Network, sections: Mapping[str, bytes]) -> None:
        """Weights of the sections, exact, so the same everywhere. Raises BitstreamError."""
        shapes = {name: parameter.shape for name, parameter in network.named_parameters()}
        sizes = {name: shape.numel() for name, shape in shapes.items()}
        wide = [name for name, shape in shapes.items() if len(shape) > 1]
        peaks = {name: largest(torch.empty(shapes[name], device="meta"), self._copied(name)).shape for name in wide}
        steps = _halves(sections["steps"], sum(peaks[name].numel() for name in wide))
        vectors = _halves(sections["vectors"], sum(sizes[name] for name in shapes if name not in peaks))
        if sum(sizes.values()) > max(FREE_WEIGHTS, DENSEST * sum(len(data) for data in sections.values())):
            raise BitstreamError(DAMAGED)
        parts = [
            size
            for name in wide
            for size in (_part_sizes(shapes[name]) if self._copied(name) else (sizes[name],))
        ]  # fmt: skip
        levels = torch.from_numpy(decode_tensors(sections["models"], sections["weights"], parts, 1 << self.bits))
        allocate_parameters(network)
        with torch.no_grad():
            for name, parameter in network.named_parameters():
                if name not in peaks:
                    own, vectors = vectors[: sizes[name]], vectors[sizes[name] :]
                    parameter.copy_(own.view(shapes[name]))
                    continue
                symbols, levels = levels[: sizes[name]].view(shapes[name]), levels[sizes[name] :]
                step, steps = steps[: peaks[name].numel()].view(peaks[name]), steps[peaks[name].numel() :]
                parameter.copy_(_sums(symbols, self._copied(name)) * step)

    def _copied(self, name: str) -> bool:
        return re.fullmatch(self.copies, name) is not None


def _part_sizes(shape: torch.Size) -> tuple[int, int]:
    """Values of the first copy, and of all others."""
    one = shape[1:].numel()
    return one, (shape[0] - 1) * one


def _differences(levels: Tensor, copied: bool) -> tuple[Tensor, ...]:
    """The first copy, and what the others differ by; or all as they are."""
    return (levels[0], levels[1:] - levels[:1]) if copied else (levels,)


def _sums(levels: Tensor, copied: bool) -> Tensor:
    """What `_differences` took apart."""
    return torch.cat([levels[:1], levels[1:] + levels[:1]]) if copied else levels


def _float16_above(values: Tensor) -> Tensor:
    """float16 that is no smaller."""
    rounded = values.half()
    return torch.where(rounded.float() < values, torch.nextafter(rounded, torch.tensor(torch.inf).half()), rounded)


def _halves(data: bytes, count: int) -> Tensor:
    """So many float16 values, as float32. Raises BitstreamError."""
    if len(data) != 2 * count:
        raise BitstreamError(DAMAGED)
    values = np.frombuffer(data, "<f2").astype(np.float32)
    if not np.isfinite(values).all():
        raise BitstreamError(DAMAGED)
    return torch.from_numpy(values)
