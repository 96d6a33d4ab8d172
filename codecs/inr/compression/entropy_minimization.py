"""Consistent entropy minimization: quantizers and rate in the loss, under Gaussians that need no training.

HNeRV-Boost's scheme (X. Zhang et al., CVPR 2024, section 3.4). Every tensor has a learned step; the codes of a
tensor, and of each frame's embedding, are modeled by a Gaussian of their own mean and deviation, while fitting as in
the bitstream. The rate counts only above a target. Our choice: steps are learned as logarithms, so that none becomes
zero; quantizers of embeddings begin with the range of all frames; means and deviations travel as float16, tables are
built in one way everywhere (`gaussian.py`).
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from rdbench.errors import BitstreamError

from ..entropy.gaussian import Floats, Gaussian, decode, encode, model_of, pack_models, unpack_models
from ..networks.network import Network, allocate_parameters
from ..recipes.stage import Stage
from .post_training import MISFIT, refuse_bloat
from .scheme import Scheme

INITIAL_LEVELS = 255
PACE = 10.0
"""Logarithms of steps move so much faster than the optimizer's rate (our choice)."""
LEAST_PROBABILITY = 1e-5
LEAST_DEVIATION = 1e-5


def gaussian_bits(symbols: Tensor, mean: Tensor, deviation: Tensor) -> Tensor:
    """Bits of each symbol, in units of which the Gaussian is given."""
    centered, scale = symbols - mean, deviation.clamp(min=LEAST_DEVIATION)
    upper = torch.special.ndtr((centered + 0.5) / scale)
    lower = torch.special.ndtr((centered - 0.5) / scale)
    logarithm: Tensor = (upper - lower + LEAST_PROBABILITY).log2()
    return -logarithm.clamp(max=0)


def rounded(codes: Tensor) -> Tensor:
    """To integers, straight through for the gradient."""
    return codes + (codes.round() - codes).detach()


def with_gradient(tensor: Tensor, factor: float) -> Tensor:
    """The same values with a gradient so many times as large."""
    return tensor * factor - (tensor * (factor - 1)).detach()


class EntropyMinimization(Scheme):
    """Acts in the stages that weigh the rate; before, nothing is quantized."""

    sections = frozenset({"steps", "models", "ranges", "weights", "latents"})

    def __init__(self, target: float = 4.0) -> None:
        self.target = target
        """Bits for each parameter below which the rate costs nothing."""
        self._names: list[str] = []
        self._frames: dict[str, int] = {}
        self._steps, self._offsets = nn.Parameter(torch.zeros(0)), nn.Parameter(torch.zeros(0))
        self._gain = 1.0

    def enter(self, network: Network, stage: Stage) -> None:
        """Sets up the quantizers when the rate begins to count."""
        if not stage.rate_weight:
            return
        tensors = {name: parameter.detach() for name, parameter in network.named_parameters()}
        self._names, self._frames = list(tensors), {name: len(tensors[name]) for name in sorted(network.per_frame)}
        spans = torch.stack([(t.max() - t.min()).clamp(min=1e-6) / INITIAL_LEVELS for t in tensors.values()])
        self._steps = nn.Parameter(spans.log() / PACE)
        lowest = [tensors[name].min() for name in self._frames]
        self._offsets = nn.Parameter(torch.stack(lowest) if lowest else spans.new_zeros(0))
        # an encoder makes `batch` of all embeddings in a step; the gradient of their rate stands for all
        self._gain = max(self._frames.values(), default=1) / stage.batch

    def parameters(self) -> Sequence[nn.Parameter]:
        """Steps and offsets, once the rate counts."""
        return [self._steps, self._offsets] if self._names else []

    def state(self) -> dict[str, Tensor]:
        """Steps and offsets."""
        return {"steps": self._steps.detach(), "offsets": self._offsets.detach()}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Those of a checkpoint."""
        if self._names:
            with torch.no_grad():
                self._steps.copy_(state["steps"])
                self._offsets.copy_(state["offsets"])

    def substitute(self, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Everything quantized."""
        if not self._names:
            return {}
        steps = dict(zip(self._names, (self._steps * PACE).exp(), strict=True))
        offsets = dict(zip(self._frames, self._offsets, strict=True))
        quantized = {}
        for name in self._names:
            if name in offsets:
                codes = (tensors[name] - offsets[name]) / steps[name]
                quantized[name] = rounded(codes) * steps[name] + offsets[name]
            else:
                quantized[name] = rounded(tensors[name] / steps[name]) * steps[name]
        return quantized

    def rate(self, tensors: Mapping[str, Tensor]) -> Tensor | None:
        """The bits with noise in place of rounding, zero below the target."""
        if not self._names:
            return None
        amplified = {name: with_gradient(tensors[name], self._gain) for name in self._frames}
        bits = self._bits({**tensors, **amplified}, noisy=True)
        count = sum(tensors[name].numel() for name in self._names)
        return bits * (bits.detach() > self.target * count)

    def estimate(self, network: Network) -> float:
        """The bits that the model gives the rounded codes."""
        with torch.no_grad():
            return float(self._bits(dict(network.named_parameters()), noisy=False))

    def _bits(self, tensors: Mapping[str, Tensor], noisy: bool) -> Tensor:
        steps = dict(zip(self._names, (self._steps * PACE).exp(), strict=True))
        flat = [name for name in self._names if name not in self._frames]
        sizes = torch.tensor([tensors[name].numel() for name in flat], device=self._steps.device)
        codes = torch.cat([(tensors[name] / steps[name]).flatten() for name in flat])
        means = _segments(codes, sizes) / sizes
        centered = codes - means.repeat_interleave(sizes)
        deviations = (_segments(centered.square(), sizes) / sizes + 1e-12).sqrt()
        symbols = codes + torch.rand_like(codes) - 0.5 if noisy else codes.round()
        bits = gaussian_bits(symbols, means.repeat_interleave(sizes), deviations.repeat_interleave(sizes)).sum()
        for name, offset in zip(self._frames, self._offsets, strict=True):
            rows = ((tensors[name] - offset) / steps[name]).flatten(1)
            symbols = rows + torch.rand_like(rows) - 0.5 if noisy else rows.round()
            mean = rows.mean(dim=1, keepdim=True)
            deviation = ((rows - mean).square().mean(dim=1, keepdim=True) + 1e-12).sqrt()
            bits = bits + gaussian_bits(symbols, mean, deviation).sum()
        return bits

    def write(self, network: Network) -> dict[str, bytes]:
        """Steps, offsets, models and ranges, and the codes of weights and of latents."""
        steps = (self._steps.detach().cpu() * PACE).exp().numpy()
        offsets = self._offsets.detach().cpu().numpy()
        codes: dict[str, list[Floats]] = {}
        for name, step in zip(self._names, steps, strict=True):
            values = network.get_parameter(name).detach().cpu().double().numpy()
            shift = offsets[list(self._frames).index(name)] if name in self._frames else 0.0
            rows = ((values - shift) / step).reshape(self._frames.get(name, 1), -1)
            codes[name] = list(rows)
        coded = {n: [(np.rint(row).astype(np.int32), model_of(row)) for row in rows] for n, rows in codes.items()}
        models, ranges = pack_models([model for rows in coded.values() for _, model in rows])
        sections = {"steps": np.concatenate([steps, offsets]).astype("<f4").tobytes(), "models": models}
        for (_, payload), names in network.parts().items():
            sections[payload] = encode([row for name in names for row in coded[name]])
        return {**sections, "ranges": ranges}

    def read(self, network: Network, sections: Mapping[str, bytes]) -> None:
        """Weights of the sections. Raises BitstreamError."""
        refuse_bloat(network, sections)
        shapes = {name: parameter.shape for name, parameter in network.named_parameters()}
        rows = {name: shape[0] if name in network.per_frame else 1 for name, shape in shapes.items()}
        numbers = np.frombuffer(sections["steps"][: 4 * (len(shapes) + len(network.per_frame))], "<f4")
        expected = 4 * (len(shapes) + len(network.per_frame))
        if len(sections["steps"]) != expected or not np.isfinite(numbers).all():
            raise BitstreamError(MISFIT)
        steps = dict(zip(shapes, numbers, strict=False))
        offsets = dict(zip(sorted(network.per_frame), numbers[len(shapes) :], strict=True))
        models = iter(unpack_models(sections["models"], sections["ranges"], sum(rows.values())))
        parts: dict[str, list[tuple[int, Gaussian]]] = {
            name: [(math.prod(shape) // rows[name], next(models)) for _ in range(rows[name])]
            for name, shape in shapes.items()
        }
        values: dict[str, Tensor] = {}
        for (_, payload), names in network.parts().items():
            decoded = iter(decode(sections[payload], [row for name in names for row in parts[name]]))
            for name in names:
                symbols = np.concatenate([next(decoded) for _ in parts[name]]).astype(np.float32)
                restored = symbols * steps[name] + offsets.get(name, np.float32(0))
                values[name] = torch.from_numpy(restored.astype(np.float32))
        allocate_parameters(network)
        with torch.no_grad():
            for name, parameter in network.named_parameters():
                parameter.copy_(values[name].view(parameter.shape))


def _segments(values: Tensor, sizes: Tensor) -> Tensor:
    """The sums of successive segments of these sizes."""
    return torch.segment_reduce(values, "sum", lengths=sizes)
