"""A group of frames in NIRVANA: its network's decoded state, its training, and its bytes."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rdbench.errors import BitstreamError, RdbenchError

from ..entropy.ans import DAMAGED_SYMBOLS
from ..entropy.tensor_models import Values, decode_tensors, encode_tensors
from ..pieces.decoder import PieceRun, Trained
from ..pieces.stream import Parts
from .latents import Distribution, LatentLinear, rounded
from .residuals import decode_layers, encode_layers

KINDS = ("tables", "latents", "scales", "weight_tables", "weights")
"""Parts of a group: modes and models of the latents, the latents, scales and steps, and biases and convolutions."""
LARGEST_CODE = 127
"""Largest magnitude of a bias or a convolution's weight in steps: 8 bits."""
LARGEST_CHANGE = 1 << 15
"""Largest magnitude of a difference between two groups, in steps (our choice)."""
REFRESH = 10
"""Iterations between two updates of the divisors."""
LEAST_STEP = 2.0**-20
INITIAL_SLOPE, DIFFERENCE_SLOPE = 0.69, 2.0
"""Slopes with which the distributions of latents and of differences begin: the released code's, and our choice."""


class GroupNetwork(nn.Module, ABC):
    """A network that renders all patches of a group of frames."""

    layers: nn.ModuleList
    """Its `LatentLinear` layers, whose latents are compressed."""

    @abstractmethod
    def forward(self, coordinates: Tensor) -> Tensor:
        """Coordinates `[N, 2]` to patches `[N, G, 3, p, p]`."""

    def latent_layers(self) -> list[LatentLinear]:
        """The layers with latents, in order."""
        return [layer for layer in self.layers if isinstance(layer, LatentLinear)]

    def weights(self) -> dict[str, nn.Parameter]:
        """Biases and convolutions: what has neither latents nor the role of a scale."""
        return {n: p for n, p in self.named_parameters() if not n.endswith((".latents", ".scale"))}


@dataclass(frozen=True)
class GroupState:
    """The decoded numbers of a group, and the network that has them."""

    latents: Sequence[Values]
    codes: Sequence[Values]
    """Biases and convolutions in steps."""
    steps: np.ndarray[Any, np.dtype[np.float16]]
    network: GroupNetwork


@dataclass(frozen=True)
class Target:
    """What a group's network is trained to render."""

    coordinates: Tensor
    patches: Tensor
    """`[N, G, 3, p, p]` in 0..1."""
    visible: Tensor
    """1 where a sample of a patch is in the frame, else 0: `[N, 1, 1, p, p]`."""

    def error(self, rendered: Tensor) -> Tensor:
        """The mean squared error of the visible samples (our choice: the released code scores padding too)."""
        count = self.visible.sum() * self.patches.shape[1] * self.patches.shape[2]
        return ((rendered - self.patches) * self.visible).square().sum() / count


@dataclass(frozen=True)
class Recipe:
    """How a group is trained."""

    iterations: int
    lr: float
    """Learning rate of biases and convolutions."""
    latent_lr: float
    scale_lr: float
    distribution_lr: float
    rate_weight: float
    """Weight of the bits per latent beside the mean squared error."""
    rate_of_difference: bool
    """Whether the rate of a group after another is that of the differences to its latents."""


class Rates(nn.Module):
    """The learned distributions of a group's latents, and of the steps by which its other weights differ.

    Differences have distributions of their own, which begin narrower (our choice).
    """

    def __init__(self, network: GroupNetwork, stages: int, of_difference: bool) -> None:
        super().__init__()
        slope = DIFFERENCE_SLOPE if of_difference else INITIAL_SLOPE
        self._of_latents = nn.ModuleList(Distribution(stages, slope) for _ in network.latent_layers())
        self._of_weights = nn.ModuleList(Distribution(1, DIFFERENCE_SLOPE) for _ in network.weights())

    @property
    def latents(self) -> list[Distribution]:
        """Those of the layers' latents."""
        return [model for model in self._of_latents if isinstance(model, Distribution)]

    @property
    def weights(self) -> list[Distribution]:
        """Those of biases and convolutions."""
        return [model for model in self._of_weights if isinstance(model, Distribution)]


class GroupTraining:
    """Adam on all patches of a group at once; the state of least loss is kept, and the moments go on to the next."""

    def __init__(self, network: GroupNetwork, rates: Rates, recipe: Recipe, reference: GroupState | None) -> None:
        self.network, self.rates, self.recipe, self.reference = network, rates, recipe, reference
        self.layers, self.weights = network.latent_layers(), network.weights()
        groups = [
            {"params": [layer.latents for layer in self.layers], "lr": recipe.latent_lr},
            {"params": [layer.scale for layer in self.layers], "lr": recipe.scale_lr},
            {"params": list(self.weights.values()), "lr": recipe.lr},
            {"params": list(rates.parameters()), "lr": recipe.distribution_lr},
        ]
        self.optimizer = torch.optim.Adam(groups)
        device = self.layers[0].latents.device
        self._known: list[Tensor | float] = [0.0] * len(self.layers)
        self._steps: list[Tensor] = []
        self._codes: list[Tensor] = []
        if reference is not None:
            if recipe.rate_of_difference:
                self._known = [_like(z, layer) for z, layer in zip(reference.latents, self.layers, strict=True)]
            self._steps = list(torch.from_numpy(reference.steps.astype(np.float32)).to(device))
            pairs = zip(reference.codes, self.weights.values(), strict=True)
            self._codes = [torch.from_numpy(c.astype(np.float32)).to(device).view_as(w) for c, w in pairs]

    def start_from(self, before: Trained) -> None:
        """Continues from the best state and the last moments of another group; rates of the same kind go on too."""
        self.network.load_state_dict(before.tensors)
        if before.notes["of_difference"] == self.of_difference:
            self.rates.load_state_dict(before.notes["rates"])
        given = [group["lr"] for group in self.optimizer.param_groups]
        self.optimizer.load_state_dict(before.notes["optimizer"])
        for group, rate in zip(self.optimizer.param_groups, given, strict=True):
            group["lr"] = rate

    @property
    def of_difference(self) -> bool:
        """Whether the rate is that of differences."""
        return self.recipe.rate_of_difference and self.reference is not None

    def run(self, target: Target, run: PieceRun) -> Trained:
        """The best state. Raises RdbenchError where the loss diverges."""
        first, least, best = 0, math.inf, self._state()
        if run.saved is not None:
            first, least, best = run.saved["iteration"], run.saved["least"], dict(run.saved["best"])
            self.start_from(Trained(run.saved["network"], notes=run.saved))
        for iteration in range(first, self.recipe.iterations):
            if run.due:
                network = self.network.state_dict()
                run.save({"iteration": iteration, "least": least, "best": best, "network": network, **self._notes()})
            if iteration % REFRESH == 0:
                self._refresh()
            loss, error = self._losses(target)
            value = float(loss.detach())
            if not math.isfinite(value):
                raise RdbenchError("The training diverged; try another --seed or a lower lr.")
            if value < least:
                least = value
                _copy(best, self.network.state_dict())
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()
            run.report((iteration + 1) / self.recipe.iterations, -10 * math.log10(max(float(error.detach()), 1e-10)))
        return Trained(best, least, self._notes())

    def _losses(self, target: Target) -> tuple[Tensor, Tensor]:
        """The loss, and the mean squared error in it."""
        codes = self._weight_codes()
        weights = {name: rounded(code) * step for name, (code, step) in zip(self.weights, codes, strict=True)}
        rendered = torch.func.functional_call(self.network, weights, (target.coordinates,))
        error = target.error(rendered)
        if not self.recipe.rate_weight:
            return error, error
        pairs = zip(self.rates.latents, self.layers, self._known, strict=True)
        bits = [model.bits(layer.latents - known) for model, layer, known in pairs]
        if self.of_difference:
            triples = zip(self.rates.weights, codes, self._codes, strict=True)
            bits += [model.bits(code - known) for model, (code, _), known in triples]
        count = sum(layer.latents.numel() for layer in self.layers)
        return error + self.recipe.rate_weight / count * torch.stack(bits).sum(), error

    def _weight_codes(self) -> list[tuple[Tensor, Tensor]]:
        """Biases and convolutions in steps, and the steps: the reference's, or ones that follow the largest weight."""
        steps = self._steps or [step_of(weight) for weight in self.weights.values()]
        return [(weight / step, step) for weight, step in zip(self.weights.values(), steps, strict=True)]

    def _refresh(self) -> None:
        for layer in self.layers:
            layer.refresh()

    def _state(self) -> dict[str, Tensor]:
        return {name: tensor.detach().clone() for name, tensor in self.network.state_dict().items()}

    def _notes(self) -> dict[str, Any]:
        rates, moments = self.rates.state_dict(), self.optimizer.state_dict()
        return {"optimizer": moments, "rates": rates, "of_difference": self.of_difference}


def step_of(weight: Tensor) -> Tensor:
    """The step with which the largest magnitude takes 8 bits, rounded to float16 as it is transmitted."""
    step: Tensor = (weight.detach().abs().max() / LARGEST_CODE).clamp(min=LEAST_STEP).half().float()
    return step


def write_group(network: GroupNetwork, rates: Rates, reference: GroupState | None) -> dict[str, bytes]:
    """The parts of a group that is trained. Raises RdbenchError for numbers beyond all bounds."""
    layers = network.latent_layers()
    for layer in layers:
        layer.refresh()
    latents = [_to_integers(layer.latents) for layer in layers]
    stages = [model.stages().detach().cpu().numpy().astype(np.float16) for model in rates.latents]
    tables, payload = encode_layers(latents, None if reference is None else reference.latents, stages)
    weights = list(network.weights().values())
    scales = np.array([float(layer.scale.detach()) for layer in layers], "<f2")
    own = np.array([float(step_of(weight)) for weight in weights], "<f2")
    steps = own if reference is None else reference.steps
    codes = [_to_integers(w / float(step)) for w, step in zip(weights, steps, strict=True)]
    known = [np.zeros_like(code) for code in codes] if reference is None else reference.codes
    differences = [code - other for code, other in zip(codes, known, strict=True)]
    if max(int(np.abs(each).max()) for each in differences) > LARGEST_CHANGE:
        raise RdbenchError("Training gave weights beyond all bounds; try another --seed or a lower lr.")
    models, symbols = encode_tensors(differences)
    head = scales.tobytes() + (steps.tobytes() if reference is None else b"")
    return dict(zip(KINDS, (tables, payload, head, models, symbols), strict=True))


def read_group(network: GroupNetwork, parts: Parts, reference: GroupState | None, stages: int) -> GroupState:
    """Sets a network to the numbers of a group, and returns them with it. Raises BitstreamError."""
    layers, weights = network.latent_layers(), list(network.weights().values())
    scales, steps = _read_scales(parts["scales"], len(layers), len(weights), reference)
    sizes = [layer.latents.numel() for layer in layers]
    latents = decode_layers(
        parts["tables"], parts["latents"], sizes, None if reference is None else reference.latents, stages
    )
    flat = decode_tensors(parts["weight_tables"], parts["weights"], [w.numel() for w in weights], LARGEST_CHANGE)
    differences = np.split(flat, np.cumsum([w.numel() for w in weights])[:-1])
    codes = differences if reference is None else [d + c for d, c in zip(differences, reference.codes, strict=True)]
    with torch.no_grad():
        for layer, values, scale in zip(layers, latents, scales, strict=True):
            layer.latents.copy_(_like(values, layer))
            layer.div.fill_(max(1, int(np.abs(values).max())))
            layer.scale.fill_(float(scale))
        for weight, values, step in zip(weights, codes, steps, strict=True):
            weight.copy_(torch.from_numpy(values * np.float32(step)).view(weight.shape))
    return GroupState(latents, codes, steps, network.eval())


def _read_scales(data: bytes, layers: int, weights: int, reference: GroupState | None) -> tuple[Any, Any]:
    count = layers + (weights if reference is None else 0)
    numbers = np.frombuffer(data, "<f2") if len(data) == 2 * count else np.full(1, np.nan)
    if not np.isfinite(numbers).all():
        raise BitstreamError(DAMAGED_SYMBOLS)
    return numbers[:layers], numbers[layers:].copy() if reference is None else reference.steps


def _to_integers(values: Tensor) -> Values:
    integers: Values = values.detach().round().flatten().cpu().numpy().astype(np.int32)
    return integers


def _like(values: Values, layer: LatentLinear) -> Tensor:
    return torch.from_numpy(values.astype(np.float32)).to(layer.latents.device).view_as(layer.latents)


def _copy(state: Mapping[str, Tensor], source: Mapping[str, Tensor]) -> None:
    for name, tensor in source.items():
        state[name].copy_(tensor)
