"""NVRC's scheme: network parameters, quantized and coded with three levels of parameters (NVRC, section 3.3).

Level 1 (theta): feature grids (`Network.feature_grids`) in blocks, with a step for each block and channel and a context
model for each grid; layers, with steps and Gaussians in two axes; vectors, stored as float16 (float32 in NVRC's code).
Level 2 (phi): all of these steps, means, deviations and context models. Level 3 (psi): a step, a mean and a deviation
for each tensor of level 2 (`quantizer_parameters.py`). The bitstream's sections call levels 2 and 3 second and third.
"""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn

from rdbench.errors import BitstreamError, RdbenchError

from ...entropy.exact import Floats, exact_exp
from ...entropy.gaussian import LARGEST_SYMBOL
from ...entropy.scale_tables import Integers, ScaleTables, SymbolReader, SymbolWriter
from ...networks.network import Network, allocate_parameters, count_parameters
from ...recipes.stage import Stage
from ..float16 import read_float16
from ..limits import DAMAGED_SETTINGS, DIVERGED, check_network_size
from ..scheme import Scheme
from .bounds import bounded
from .context_coder import LOG_SCALES, FixedPointModel, walk
from .context_model import Blocks, ContextModel
from .lanes import Lanes, Mask, Place, Positions
from .layer_model import Axes, combined_log_step, combined_normal, exact_normal, exact_steps
from .quantizer_parameters import QuantizerParameters, normal_bits
from .soft_rounding import MixedRounding, SoftRounding

INITIAL_LOG_STEPS = (-6.0, -2.0)
"""Bounds of the initial log step, which follows from a tensor's range, as with an option of NVRC's code."""
INITIAL_BITS = 6
"""Bits that the initial step spreads over a tensor's range (our choice; HiNeRV's bits)."""
ALWAYS = 2
"""Value of `Parts.context` for context models whatever they cost."""
VALUES_PER_PARAMETER = 2
"""Least number of grid values per parameter of the context models that they are used for: S1 has 2.8, S2 11 (our
choice)."""
FIXED_LOG_STEP = -4.0
"""Log step of grids whose steps are not learned (V5)."""
STEP_BOUNDS = (-10.0, 0.0)
"""Bounds of log steps."""
Code = Callable[[Positions, Floats, Floats], Integers]
"""Codes the symbols of voxels, whose positions among `Lanes.arranged` values it gets, under their means and deviations
in steps."""
STEPS, MEANS, SCALES, CONTEXT = "steps", "means", "scales", "context"
"""Beginnings of the names of level 2's tensors, which the name of their grid or layer follows."""


@dataclass(frozen=True)
class Parts:
    """The parts of the scheme that are used; the paper's ablations switch them off (table 3)."""

    context: int = 1
    """Context models for grids, else a Gaussian for each grid: 0 never, 1 where grids are large enough, 2 always."""
    dual: bool = True
    """Whether layers have Gaussians in two axes; else each tensor has one."""
    coded: bool = True
    """Whether level 2 is quantized and coded; else it is stored as float16."""
    grid_steps: bool = True
    """Whether the steps of grids are learned."""


class HierarchicalScheme(Scheme):
    """NVRC's scheme; it quantizes and adds the rate in training stages that have a proxy."""

    sections = frozenset({"third", "second", "grids", "layers", "vectors"})

    def __init__(self, parts: Parts = Parts(), log_lr_scale: float = 1.0) -> None:
        """`log_lr_scale`: learning rate of logarithms, relative to the optimizer's."""
        self.parts, self._log_lr_scale = parts, log_lr_scale
        self._second: QuantizerParameters | None = None
        self._shapes: dict[str, torch.Size] = {}
        self._grids: dict[str, Blocks] = {}
        self._inside: dict[str, Tensor] = {}
        self._layers: dict[str, Axes] = {}
        self._contexts: dict[str, ContextModel] = {}
        self._with_context, self._proxy, self._progress = False, "", 0.0
        self._bits: Callable[[], Tensor] | None = None

    def numbers(self) -> list[int]:
        """The fields of `Parts`."""
        return [int(part) for part in astuple(self.parts)]

    @classmethod
    def from_numbers(cls, numbers: Sequence[int]) -> Self:
        """The scheme with these parts. Raises BitstreamError."""
        if len(numbers) != len(astuple(Parts())) or max(numbers[1:]) > 1 or numbers[0] > ALWAYS:
            raise BitstreamError(DAMAGED_SETTINGS)
        return cls(Parts(numbers[0], *(bool(number) for number in numbers[1:])))

    def enter(self, network: Network, stage: Stage) -> None:
        """Initializes levels 2 and 3 before the first stage that has a proxy."""
        self._proxy, self._progress = stage.proxy, 0.0
        if self._second is None and stage.proxy:
            self._set_up(network)

    def advance(self, progress: float) -> None:
        """Sets the share of the stage that the proxy's schedule follows."""
        self._progress = progress

    def counts(self, network: Network) -> dict[str, int]:
        """Numbers of level 2, for layers, context models and other parameters of grids; and of level 3."""
        self._set_up(network)
        assert self._second is not None
        layers = sum(v.numel() for name, v in self._second.values.items() if name.split("/")[1] in self._layers)
        context = sum(p.numel() for model in self._contexts.values() for p in model.parameters())
        second, third = self._second.counts()
        return {"layers": layers, "context": context, "grids": second - layers - context, "third": third}

    def _set_up(self, network: Network) -> None:
        """Creates levels 2 and 3 for a network, which may be on the meta device."""
        self._find_grids(network)
        values: dict[str, Tensor] = {}
        for name, parameter in network.named_parameters():
            device = torch.device("cpu") if parameter.is_meta else parameter.device
            if name in self._grids:
                values |= self._initial_for_grid(name, parameter, device)
            elif parameter.dim() > 1:
                values |= self._initial_for_layer(name, parameter, device)
        self._second = QuantizerParameters(
            values, self.parts.coded, self._log_lr_scale, is_logarithm, lambda name: name.startswith(f"{STEPS}/")
        )

    def _find_grids(self, network: Network) -> None:
        """Finds the grids, and whether they have context models."""
        self._shapes = {name: parameter.shape for name, parameter in network.named_parameters()}
        self._grids = {
            name: Blocks((self._shapes[name].numel() // math.prod(sides), *sides))
            for name, sides in network.feature_grids.items()
        }
        self._with_context = self.parts.context == ALWAYS or (
            self.parts.context > 0 and context_is_worthwhile(self._grids.values())
        )

    def _context_parameters(self) -> int:
        """Parameters of all context models, which may be many times those of a grid with many channels."""
        channels = sum(grid.shape[0] for grid in self._grids.values()) if self._with_context else 0
        return channels * count_parameters(ContextModel(1))

    def _initial_for_grid(self, name: str, grid: Tensor, device: torch.device) -> dict[str, Tensor]:
        blocks = self._grids[name]
        channels = blocks.shape[0]
        self._inside[name] = blocks.inside(device)
        values = {}
        if self.parts.grid_steps:
            values[f"{STEPS}/{name}"] = torch.full((blocks.number, channels), initial_log_step(grid), device=device)
        log_scale = max(INITIAL_LOG_STEPS[0], log_deviation(grid))
        if self._with_context:
            model = self._contexts[name] = ContextModel(channels, log_scale).to(device)
            return values | {f"{CONTEXT}/{name}/{key}": value for key, value in model.named_parameters()}
        zero = torch.zeros(1, device=device)
        return values | {f"{MEANS}/{name}": zero, f"{SCALES}/{name}": zero + log_scale}

    def _initial_for_layer(self, name: str, weight: Tensor, device: torch.device) -> dict[str, Tensor]:
        axes = self._layers[name] = Axes.of(weight.shape)
        steps, normal = axes.vectors(), axes.vectors(self.parts.dual)
        step = initial_log_step(weight)
        values = {f"{STEPS}/{name}/{key}": torch.full(s, step, device=device) for key, s in steps.items()}
        values |= {f"{MEANS}/{name}/{key}": torch.zeros(shape, device=device) for key, shape in normal.items()}
        log_scale = log_deviation(weight) / len(normal)  # our choice: the weights' deviation instead of 1
        return values | {f"{SCALES}/{name}/{key}": torch.full(s, log_scale, device=device) for key, s in normal.items()}

    def parameters(self) -> Sequence[nn.Parameter]:
        """The parameters of levels 2 and 3."""
        return self._second.parameters() if self._second is not None else ()

    def state(self) -> dict[str, Tensor]:
        """Levels 2 and 3."""
        return self._second.state() if self._second is not None else {}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Restores levels 2 and 3 of a checkpoint."""
        if self._second is not None:
            self._second.load_state(state)

    def substitute(self, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Grids and layers, quantized by the proxy of the stage."""
        if not self._proxy or self._second is None:
            return {}
        proxy = (SoftRounding if self._proxy == "soft" else MixedRounding).at(self._progress)
        second = self._second
        quantizers, quantizer_bits = second.quantizers(proxy)
        steps = {name: self._steps(name, quantizers) for name in (*self._grids, *self._layers)}
        views = {name: self._view(name, tensors[name]) for name in steps}
        sizes = [view.numel() for view in views.values()]
        together = torch.cat([(view / steps[name]).flatten() for name, view in views.items()])
        codes = {
            name: part.view_as(views[name]) for name, part in zip(views, proxy(together).split(sizes), strict=True)
        }

        def bits() -> Tensor:
            models, model_bits = second.models(proxy)
            level_1_bits = [self._grid_bits(name, codes[name], steps[name], models) for name in self._grids]
            level_1_bits += [self._layer_bits(name, codes[name], steps[name], models) for name in self._layers]
            return torch.stack([quantizer_bits(), model_bits(), *level_1_bits]).sum()

        self._bits = bits
        values = {name: codes[name] * steps[name] for name in codes}
        return {name: self._stored(name, value) for name, value in values.items()}

    def rate(self, tensors: Mapping[str, Tensor]) -> Tensor | None:
        """The bits of what `substitute` returned, without vectors and level 3, whose sizes are constant."""
        return self._bits() if self._bits is not None else None

    def _view(self, name: str, tensor: Tensor) -> Tensor:
        """Blocks of a grid, or a layer's weight in two axes."""
        if name not in self._grids:
            return tensor.flatten(1)
        grid = self._grids[name]
        if tensor.shape != grid.shape:
            tensor = tensor.reshape(*grid.shape[1:], -1).permute(3, 0, 1, 2)
        return grid.split(tensor)

    def _stored(self, name: str, view: Tensor) -> Tensor:
        """What `_view` saw, as the network has it."""
        shape = self._shapes[name]
        if name not in self._grids:
            return view.reshape(shape)
        grid = self._grids[name].join(view)
        return grid if grid.shape == shape else grid.permute(1, 2, 3, 0).reshape(shape)

    def _steps(self, name: str, above: Mapping[str, Tensor]) -> Tensor:
        """Steps that broadcast with the blocks, or with the weight in two axes."""
        if name in self._layers:
            return bounded(combined_log_step(self._vectors(STEPS, name, above)), *STEP_BOUNDS).exp()
        if not self.parts.grid_steps:
            return torch.full((), FIXED_LOG_STEP, device=self._inside[name].device).exp()
        return bounded(above[f"{STEPS}/{name}"][..., None, None, None], *STEP_BOUNDS).exp()

    def _vectors(self, kind: str, name: str, above: Mapping[str, Tensor]) -> dict[str, Tensor]:
        keys = self._layers[name].vectors(self.parts.dual or kind == STEPS)
        return {key: above[f"{kind}/{name}/{key}"] for key in keys}

    def _layer_bits(self, name: str, codes: Tensor, steps: Tensor, above: Mapping[str, Tensor]) -> Tensor:
        mean, scale = combined_normal(self._vectors(MEANS, name, above), self._vectors(SCALES, name, above))
        return normal_bits(codes, mean / steps, scale / steps).sum()

    def _grid_bits(self, name: str, codes: Tensor, steps: Tensor, above: Mapping[str, Tensor]) -> Tensor:
        time, rows, columns = self._grids[name].largest  # the rest of a block is zero and takes no bits
        inside = self._inside[name][..., :time, :rows, :columns]
        codes = codes[..., :time, :rows, :columns]
        if self._with_context:
            model = self._contexts[name]
            parameters = {key: above[f"{CONTEXT}/{name}/{key}"] for key, _ in model.named_parameters()}
            values = codes * steps * inside
            mean, log_scale = torch.func.functional_call(model, parameters, (values, inside.to(values.dtype)))
        else:
            mean, log_scale = above[f"{MEANS}/{name}"], above[f"{SCALES}/{name}"]
        return (normal_bits(codes, mean / steps, bounded(log_scale, *LOG_SCALES).exp() / steps) * inside).sum()

    def write(self, network: Network) -> dict[str, bytes]:
        """The sections of the three levels."""
        if self._second is None:
            self._set_up(network)
        assert self._second is not None
        tables = ScaleTables()
        third, second, above = self._second.write(tables)
        weights = {name: p.detach().cpu().double() for name, p in network.named_parameters()}
        codes = {}
        for name in (*self._grids, *self._layers):
            codes[name] = self._view(name, weights[name]).numpy() / self._exact_steps(name, above)
            if not (np.abs(codes[name]) < LARGEST_SYMBOL).all():
                raise RdbenchError(DIVERGED)
        layers = SymbolWriter(tables)
        for name in self._layers:
            layers.add(np.rint(codes[name]).astype(np.int64).ravel(), *self._layer_models(name, above))
        vectors = [weights[name].numpy().astype("<f2").tobytes() for name in weights if name not in codes]
        grids, lanes = SymbolWriter(tables), self._lanes(above)
        arranged = np.rint(lanes.arranged({name: codes[name] for name in self._grids})).astype(np.int64)

        def code(voxels: Positions, mean: Floats, scale: Floats) -> Integers:
            symbols: Integers = arranged[voxels]
            grids.add(symbols, mean, scale)
            return symbols

        self._walk(lanes, above, code)
        return {
            "third": third, "second": second, "grids": grids.finish(), "layers": layers.finish(),
            "vectors": b"".join(vectors),
        }  # fmt: skip

    def read(self, network: Network, sections: Mapping[str, bytes]) -> None:
        """Sets the weights to those of the sections. Raises BitstreamError."""
        self._find_grids(network)
        check_network_size(network, sections, self._context_parameters())
        self._set_up(network)
        assert self._second is not None
        tables, values = ScaleTables(), dict[str, Tensor]()
        above = self._second.read(tables, sections["third"], sections["second"])
        layers = SymbolReader(tables, sections["layers"])
        for name in self._layers:
            steps = self._exact_steps(name, above)
            symbols = layers.read(*self._layer_models(name, above)).reshape(self._layers[name].rows, -1)
            values[name] = self._stored(name, torch.from_numpy(symbols * steps))
        layers.finish()
        grids, lanes = SymbolReader(tables, sections["grids"]), self._lanes(above)
        self._walk(lanes, above, lambda _, mean, scale: grids.read(mean, scale))
        grids.finish()
        values |= {name: self._stored(name, torch.from_numpy(blocks)) for name, blocks in lanes.values.items()}
        others = {name: shape for name, shape in self._shapes.items() if name not in values}
        values |= _vectors(others, sections["vectors"])
        allocate_parameters(network)
        with torch.no_grad():
            for name, parameter in network.named_parameters():
                parameter.copy_(values[name])

    def _exact_steps(self, name: str, above: Mapping[str, Floats]) -> Floats:
        if name in self._layers:
            keys = self._layers[name].vectors()
            return exact_steps({key: above[f"{STEPS}/{name}/{key}"] for key in keys}, STEP_BOUNDS)
        if not self.parts.grid_steps:
            return exact_exp(np.full((1, 1, 1, 1, 1), FIXED_LOG_STEP))
        return exact_exp(np.clip(above[f"{STEPS}/{name}"], *STEP_BOUNDS))[..., None, None, None]

    def _layer_models(self, name: str, above: Mapping[str, Floats]) -> tuple[Floats, Floats]:
        """Means and deviations of all codes of a layer, in steps."""
        axes = self._layers[name]
        keys = axes.vectors(self.parts.dual)
        normal = ({key: above[f"{kind}/{name}/{key}"] for key in keys} for kind in (MEANS, SCALES))
        steps, shape = self._exact_steps(name, above), (axes.rows, axes.columns)
        mean, scale = (np.broadcast_to(part / steps, shape).ravel() for part in exact_normal(*normal))
        return mean, scale

    def _lanes(self, above: Mapping[str, Floats]) -> Lanes:
        return Lanes(self._grids, {name: self._exact_steps(name, above) for name in self._grids})

    def _walk(self, lanes: Lanes, above: Mapping[str, Floats], code: Code) -> None:
        """Codes all voxels of all grids, whose values are then in `lanes`."""
        if not self._grids:
            return

        def visit(place: Place, mean: Floats, scale: Floats) -> Floats:
            def code_inside(inside: Mask, voxels: Positions, steps: Floats) -> Integers:
                return code(voxels, mean[inside] / steps, scale[inside] / steps)

            return lanes.take(place, code_inside)

        if self._with_context:
            walk([self._fixed_point_model(name, above) for name in self._grids], lanes, visit)
            return
        means, scales = ([float(above[f"{kind}/{name}"][0]) for name in self._grids] for kind in (MEANS, SCALES))
        scales = exact_exp(np.clip(scales, *LOG_SCALES)).tolist()
        for place in lanes.places:
            visit(place, lanes.spread(place, means), lanes.spread(place, scales))

    def _fixed_point_model(self, name: str, above: Mapping[str, Floats]) -> FixedPointModel:
        model = ContextModel(self._grids[name].shape[0]).double()
        model.load_state_dict({
            key: torch.from_numpy(above[f"{CONTEXT}/{name}/{key}"]) for key, _ in model.named_parameters()
        })  # fmt: skip
        return FixedPointModel.of_model(model)


def is_logarithm(name: str) -> bool:
    """Whether a tensor of level 2 holds logarithms; the last biases of context models hold means too."""
    return name.startswith((f"{STEPS}/", f"{SCALES}/")) or (
        name.startswith(f"{CONTEXT}/") and name.endswith("third.bias")
    )


def initial_log_step(tensor: Tensor) -> float:
    """The logarithm of a step that spreads INITIAL_BITS over a tensor's range, within bounds."""
    low, high = INITIAL_LOG_STEPS
    if tensor.is_meta:
        return low
    span = float(tensor.detach().max() - tensor.detach().min())
    return min(high, max(low, math.log(max(span, 1e-9) / (2**INITIAL_BITS - 1))))


def log_deviation(tensor: Tensor) -> float:
    """The logarithm of a tensor's standard deviation."""
    return 0.0 if tensor.is_meta else float(tensor.detach().std(correction=0).clamp(min=1e-4).log())


def context_is_worthwhile(grids: Collection[Blocks]) -> bool:
    """Whether grids are large enough for context models."""
    with torch.device("meta"):
        parameters = sum(p.numel() for grid in grids for p in ContextModel(grid.shape[0]).parameters())
    return sum(math.prod(grid.shape) for grid in grids) >= VALUES_PER_PARAMETER * parameters


def _vectors(shapes: Mapping[str, torch.Size], data: bytes) -> dict[str, Tensor]:
    """float16 values of these shapes. Raises BitstreamError."""
    sizes = [shape.numel() for shape in shapes.values()]
    values = torch.from_numpy(read_float16(data, sum(sizes)).astype(np.float32))
    return {name: part.view(shapes[name]) for name, part in zip(shapes, values.split(sizes), strict=True)}
