"""Consistent entropy minimization: quantizers and rate in the loss, under Gaussians that need no training.

HNeRV-Boost's scheme (X. Zhang et al., CVPR 2024, section 3.4). Every tensor has a learned step; the codes of a
tensor, and of each frame's embedding, are modeled by a Gaussian of their own mean and deviation, in training as in the
bitstream. The rate is part of the loss only above a target. Our choice: steps are learned as logarithms, so that none
becomes zero; quantizers of embeddings are initialized from the range of all frames; means and deviations are stored as
float16, and tables are the same on any machine (`entropy/gaussian.py`); embeddings are coded along time, without their
Gaussians, where that is smaller (`entropy/latent_choice.py`).
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from rdbench.errors import BitstreamError

from ..entropy.gaussian import (
    LARGEST_SYMBOL,
    Floats,
    Gaussian,
    decode,
    encode,
    model_of,
    pack_models,
    unpack_models,
)
from ..entropy.latent_choice import AdaptiveLatents, Choice, read_section
from ..entropy.tensor_models import Values
from ..networks.network import Network, allocate_parameters
from ..recipes.stage import Stage
from .limits import DAMAGED_SECTIONS, check_network_size
from .scheme import Scheme

INITIAL_LEVELS = 255
"""Steps that span a tensor's range when its quantization begins."""
LOG_LR_SCALE = 10.0
"""Learning rate of the logarithms of steps, relative to the optimizer's (our choice)."""
LEAST_PROBABILITY = 1e-5
LEAST_DEVIATION = 1e-5
Rows = Sequence[tuple[Values, Gaussian]]
"""Codes that have a Gaussian, a whole tensor or each frame's embedding, with it."""


def gaussian_bits(symbols: Tensor, mean: Tensor, deviation: Tensor) -> Tensor:
    """Bits of each symbol under a Gaussian integrated over a unit, with mean and deviation in symbols."""
    centered, scale = symbols - mean, deviation.clamp(min=LEAST_DEVIATION)
    upper = torch.special.ndtr((centered + 0.5) / scale)
    lower = torch.special.ndtr((centered - 0.5) / scale)
    logarithm: Tensor = (upper - lower + LEAST_PROBABILITY).log2()
    return -logarithm.clamp(max=0)


def rounded(codes: Tensor) -> Tensor:
    """The codes rounded to integers, with a straight-through gradient."""
    return codes + (codes.round() - codes).detach()


def with_gradient(tensor: Tensor, factor: float) -> Tensor:
    """The same values with their gradient multiplied by `factor`."""
    return tensor * factor - (tensor * (factor - 1)).detach()


class EntropyMinimization(Scheme):
    """Scheme that adds lambda * R to the training stages with a `rate_weight`; earlier stages quantize nothing."""

    sections = frozenset({"steps", "models", "ranges", "weights", "latents"})

    def __init__(self, target: float = 4.0) -> None:
        self.target = target
        """Bits per parameter below which the rate is zero."""
        self._names: list[str] = []
        self._frames: dict[str, int] = {}
        self._steps, self._offsets = nn.Parameter(torch.zeros(0)), nn.Parameter(torch.zeros(0))
        self._sizes, self._owners = torch.zeros(0), torch.zeros(0)
        self._gain = 1.0

    def enter(self, network: Network, stage: Stage) -> None:
        """Initializes the quantizers for a stage with a `rate_weight`."""
        if not stage.rate_weight:
            return
        tensors = {name: parameter.detach() for name, parameter in network.named_parameters()}
        self._names, self._frames = list(tensors), {name: len(tensors[name]) for name in sorted(network.per_frame)}
        spans = torch.stack([(t.max() - t.min()).clamp(min=1e-6) / INITIAL_LEVELS for t in tensors.values()])
        self._steps = nn.Parameter(spans.log() / LOG_LR_SCALE)
        lowest = [tensors[name].min() for name in self._frames]
        self._offsets = nn.Parameter(torch.stack(lowest) if lowest else spans.new_zeros(0))
        # made once: a step must not wait for the host
        sizes = torch.tensor([tensor.numel() for name, tensor in tensors.items() if name not in self._frames])
        owners = torch.arange(len(sizes)).repeat_interleave(sizes)
        self._sizes, self._owners = sizes.to(spans.device), owners.to(spans.device)
        # an encoder computes `batch` embeddings per step; the gradient of their rate is scaled up to all frames
        self._gain = max(self._frames.values(), default=1) / stage.batch

    def parameters(self) -> Sequence[nn.Parameter]:
        """Steps and offsets, from the first stage with a `rate_weight` on."""
        return [self._steps, self._offsets] if self._names else []

    def state(self) -> dict[str, Tensor]:
        """Steps and offsets."""
        return {"steps": self._steps.detach(), "offsets": self._offsets.detach()}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Restores steps and offsets of a checkpoint."""
        if self._names:
            with torch.no_grad():
                self._steps.copy_(state["steps"])
                self._offsets.copy_(state["offsets"])

    def substitute(self, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """All tensors, quantized."""
        if not self._names:
            return {}
        steps = dict(zip(self._names, (self._steps * LOG_LR_SCALE).exp(), strict=True))
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
        """The bits, with uniform noise in place of rounding; zero below the target."""
        if not self._names:
            return None
        amplified = {name: with_gradient(tensors[name], self._gain) for name in self._frames}
        bits = self._bits({**tensors, **amplified}, noisy=True)
        count = sum(tensors[name].numel() for name in self._names)
        return bits * (bits.detach() > self.target * count)

    def estimate(self, network: Network) -> float:
        """The bits of the rounded codes under the model."""
        with torch.no_grad():
            return float(self._bits(dict(network.named_parameters()), noisy=False))

    def _bits(self, tensors: Mapping[str, Tensor], noisy: bool) -> Tensor:
        steps = dict(zip(self._names, (self._steps * LOG_LR_SCALE).exp(), strict=True))
        flat = [name for name in self._names if name not in self._frames]
        codes = torch.cat([(tensors[name] / steps[name]).flatten() for name in flat])
        sizes, owners = self._sizes, self._owners
        means = _segments(codes, sizes) / sizes
        centered = codes - means[owners]
        deviations = (_segments(centered.square(), sizes) / sizes + 1e-12).sqrt()
        symbols = codes + torch.rand_like(codes) - 0.5 if noisy else codes.round()
        bits = gaussian_bits(symbols, means[owners], deviations[owners]).sum()
        for name, offset in zip(self._frames, self._offsets, strict=True):
            rows = ((tensors[name] - offset) / steps[name]).flatten(1)
            symbols = rows + torch.rand_like(rows) - 0.5 if noisy else rows.round()
            mean = rows.mean(dim=1, keepdim=True)
            deviation = ((rows - mean).square().mean(dim=1, keepdim=True) + 1e-12).sqrt()
            bits = bits + gaussian_bits(symbols, mean, deviation).sum()
        return bits

    def write(self, network: Network) -> dict[str, bytes]:
        """Steps and offsets as float32, models and ranges, and the codes of weights and of latents."""
        steps = (self._steps.detach().cpu() * LOG_LR_SCALE).exp().numpy()
        offsets = self._offsets.detach().cpu().numpy()
        codes: dict[str, list[Floats]] = {}
        for name, step in zip(self._names, steps, strict=True):
            values = network.get_parameter(name).detach().cpu().double().numpy()
            shift = offsets[list(self._frames).index(name)] if name in self._frames else 0.0
            rows = ((values - shift) / step).reshape(self._frames.get(name, 1), -1)
            codes[name] = list(rows)
        coded = {n: [(np.rint(row).astype(np.int32), model_of(row)) for row in rows] for n, rows in codes.items()}
        return {"steps": np.concatenate([steps, offsets]).astype("<f4").tobytes(), **_smallest(network, coded)}

    def read(self, network: Network, sections: Mapping[str, bytes]) -> None:
        """Sets the weights to those of the sections. Raises BitstreamError."""
        check_network_size(network, sections)
        shapes = {name: parameter.shape for name, parameter in network.named_parameters()}
        rows = {name: shape[0] if name in network.per_frame else 1 for name, shape in shapes.items()}
        if len(sections["steps"]) != 4 * (len(shapes) + len(network.per_frame)):
            raise BitstreamError(DAMAGED_SECTIONS)
        numbers = np.frombuffer(sections["steps"], "<f4")
        if not np.isfinite(numbers).all():
            raise BitstreamError(DAMAGED_SECTIONS)
        steps = dict(zip(shapes, numbers, strict=False))
        offsets = dict(zip(sorted(network.per_frame), numbers[len(shapes) :], strict=True))
        values: dict[str, Tensor] = {}
        for name, symbols in _read_codes(sections, network.parts(), shapes, rows).items():
            restored = symbols.astype(np.float32) * steps[name] + offsets.get(name, np.float32(0))
            values[name] = torch.from_numpy(restored.astype(np.float32))
        allocate_parameters(network)
        with torch.no_grad():
            for name, parameter in network.named_parameters():
                parameter.copy_(values[name].view(parameter.shape))


def _smallest(network: Network, coded: Mapping[str, Rows]) -> dict[str, bytes]:
    """Models and ranges of all rows that have a Gaussian, and the codes of weights and of latents."""
    weights, names = network.parts().values()
    tensors = [np.stack([row for row, _ in coded[name]]).reshape(network.get_parameter(name).shape) for name in names]
    latents = AdaptiveLatents(tensors)

    def sections(choice: Choice) -> dict[str, bytes]:
        static = [name for name, adaptive in zip(names, choice, strict=True) if not adaptive]
        kept = [name for name in coded if name in {*weights, *static}]
        models, ranges = pack_models([model for name in kept for _, model in coded[name]])
        section = latents.section(choice, encode([row for name in static for row in coded[name]]))
        return {"models": models, "ranges": ranges, "latents": section}

    alone = [(encode(coded[name]), *pack_models([model for _, model in coded[name]])) for name in names]
    bits = [8.0 * sum(map(len, parts)) for parts in alone]
    best = min(map(sections, latents.choices(bits)), key=lambda found: sum(map(len, found.values())))
    return {**best, "weights": encode([row for name in weights for row in coded[name]])}


def _read_codes(
    sections: Mapping[str, bytes], parts: Mapping[tuple[str, str], Sequence[str]], shapes: Mapping[str, torch.Size],
    rows: Mapping[str, int],
) -> dict[str, Values]:  # fmt: skip
    """The codes of each tensor; `rows` is how many Gaussians each has. Raises BitstreamError."""
    weights, latents = parts.values()
    tensors, section = read_section(
        sections["latents"], [shapes[name] for name in latents], -LARGEST_SYMBOL, LARGEST_SYMBOL
    )
    found = {name: values.ravel() for name, values in zip(latents, tensors, strict=True) if values is not None}
    kept = {name: count for name, count in rows.items() if name not in found}
    models = iter(unpack_models(sections["models"], sections["ranges"], sum(kept.values())))
    own = {
        name: [(math.prod(shapes[name]) // count, next(models)) for _ in range(count)] for name, count in kept.items()
    }
    for data, names in ((sections["weights"], weights), (section, [name for name in latents if name in own])):
        decoded = iter(decode(data, [row for name in names for row in own[name]]))
        found |= {name: np.concatenate([next(decoded) for _ in own[name]]) for name in names}
    return found


def _segments(values: Tensor, sizes: Tensor) -> Tensor:
    """The sums of successive segments of these sizes."""
    return torch.segment_reduce(values, "sum", lengths=sizes, unsafe=True)  # its checks would wait for a GPU
