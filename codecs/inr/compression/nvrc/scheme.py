"""Three levels of parameters, quantized and coded together with what they model (NVRC, section 3.3).

First level: grids (`Network.feature_grids`) in blocks, with a step for each block and channel and a context model for
each grid; layers with steps and Gaussians in two axes; vectors, which travel as float16 (the original's are float32).
Second level: all of these steps, means, deviations and context models. Third: `second_level.py`.
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
from ...entropy.gaussian import FURTHEST
from ...entropy.scale_tables import Integers, ScaleTables, SymbolReader, SymbolWriter
from ...networks.network import Network, allocate_parameters
from ...recipes.stage import Stage
from ..post_training import MISFIT, refuse_bloat
from ..scheme import Scheme
from .context_coder import LOG_SCALES, Level, walk
from .context_model import Blocks, ContextModel
from .lanes import Lanes, Mask, Place, by_place
from .layer_model import Axes, combined_log_step, combined_normal, exact_normal, exact_steps
from .quantizer_parameters import QuantizerParameters, normal_bits
from .soft_rounding import MixedRounding, SoftRounding

INITIAL_LOG_STEPS = (-6.0, -2.0)
"""The least and the largest; a tensor's follows from its range, as an option of the original has it."""
INITIAL_BITS = 6
"""Of a tensor's range (our choice; HiNeRV's)."""
ALWAYS = 2
WORTH = 2
"""Grid values that a parameter of a context model needs to pay: S1 has 2.8, S2 11 (our choice)."""
FIXED_LOG_STEP = -4.0
"""Of grids whose steps are not learned (V5)."""
STEP_BOUNDS = (-10.0, 0.0)
LARGEST_HALF = 60_000.0
Code = Callable[[Place, Mask, Floats, Floats], Integers]
"""Codes the symbols of the lanes that have a voxel, under their means and deviations in steps."""
STEPS, MEANS, SCALES, CONTEXT = "steps", "means", "scales", "context"


@dataclass(frozen=True)
class Parts:
    """Which parts of the scheme are used; those of the ablations (table 3)."""

    context: int = 1
    """Context models for grids, else a Gaussian for each: 0 never, 1 where they pay, 2 always."""
    dual: bool = True
    """Gaussians of layers in two axes, else one for each tensor."""
    coded: bool = True
    """The second level quantized and coded, else as float16."""
    grid_steps: bool = True
    """Steps of grids learned."""


class HierarchicalScheme(Scheme):
    """NVRC's scheme; it acts in stages that have a proxy."""

    sections = frozenset({"third", "second", "grids", "layers", "vectors"})

    def __init__(self, parts: Parts = Parts(), log_lr_scale: float = 1.0) -> None:
        """`log_lr_scale`: how many times faster than the optimizer's rate logarithms move."""
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
        """The parts."""
        return [int(part) for part in astuple(self.parts)]

    @classmethod
    def from_numbers(cls, numbers: Sequence[int]) -> Self:
        """The scheme with these parts. Raises BitstreamError."""
        if len(numbers) != len(astuple(Parts())) or max(numbers[1:]) > 1 or numbers[0] > ALWAYS:
            raise BitstreamError("The bitstream's quantization is damaged; encode the clip again.")
        return cls(Parts(numbers[0], *(bool(number) for number in numbers[1:])))

    def enter(self, network: Network, stage: Stage) -> None:
        """Sets up the second and third level before the first stage."""
        self._proxy, self._progress = stage.proxy, 0.0
        if self._second is None and stage.proxy:
            self._set_up(network)

    def advance(self, progress: float) -> None:
        """The schedules of the proxies follow it."""
        self._progress = progress

    def counts(self, network: Network) -> dict[str, int]:
        """Values above the network's parameters: of layers, context models and grid steps, and of the third level."""
        self._set_up(network)
        assert self._second is not None
        layers = sum(v.numel() for name, v in self._second.values.items() if name.split("/")[1] in self._layers)
        context = sum(p.numel() for model in self._contexts.values() for p in model.parameters())
        second, third = self._second.counts()
        return {"layers": layers, "context": context, "grids": second - layers - context, "third": third}

    def _set_up(self, network: Network) -> None:
        """The levels above the network's parameters, which may be on the meta device."""
        values: dict[str, Tensor] = {}
        self._shapes = {name: parameter.shape for name, parameter in network.named_parameters()}
        self._grids = {
            name: Blocks((self._shapes[name].numel() // math.prod(sides), *sides))
            for name, sides in network.feature_grids.items()
        }
        self._with_context = self.parts.context == ALWAYS or bool(self.parts.context and pays(self._grids.values()))
        for name, parameter in network.named_parameters():
            device = torch.device("cpu") if parameter.is_meta else parameter.device
            if name in self._grids:
                values |= self._above_grid(name, parameter, device)
            elif parameter.dim() > 1:
                values |= self._above_layer(name, parameter, device)
        self._second = QuantizerParameters(
            values, self.parts.coded, self._log_lr_scale, lambda name: name.startswith((STEPS, SCALES))
        )

    def _above_grid(self, name: str, grid: Tensor, device: torch.device) -> dict[str, Tensor]:
        blocks = self._grids[name]
        channels = blocks.shape[0]
        self._inside[name] = blocks.inside(device)
        values = {}
        if self.parts.grid_steps:
            values[f"{STEPS}/{name}"] = torch.full((blocks.number, channels), initial_log_step(grid), device=device)
        if self._with_context:
            model = self._contexts[name] = ContextModel(channels).to(device)
            return values | {f"{CONTEXT}/{name}/{key}": value for key, value in model.named_parameters()}
        zero = torch.zeros(1, device=device)
        spread = max(INITIAL_LOG_STEPS[0], log_deviation(grid))
        return values | {f"{MEANS}/{name}": zero, f"{SCALES}/{name}": zero + spread}

    def _above_layer(self, name: str, weight: Tensor, device: torch.device) -> dict[str, Tensor]:
        axes = self._layers[name] = Axes.of(weight.shape)
        own, normal = axes.vectors(), axes.vectors(self.parts.dual)
        step = initial_log_step(weight)
        values = {f"{STEPS}/{name}/{key}": torch.full(s, step, device=device) for key, s in own.items()}
        values |= {f"{MEANS}/{name}/{key}": torch.zeros(shape, device=device) for key, shape in normal.items()}
        begin = log_deviation(weight) / len(normal)  # our choice: the weights' own spread instead of 1
        return values | {f"{SCALES}/{name}/{key}": torch.full(s, begin, device=device) for key, s in normal.items()}

    def parameters(self) -> Sequence[nn.Parameter]:
        """Of the second and the third level."""
        return self._second.parameters() if self._second is not None else ()

    def state(self) -> dict[str, Tensor]:
        """Both levels."""
        return self._second.state() if self._second is not None else {}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Those of a checkpoint."""
        if self._second is not None:
            self._second.load_state(state)

    def substitute(self, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Grids and layers as their quantization shows them."""
        if not self._proxy or self._second is None:
            return {}
        proxy = (SoftRounding if self._proxy == "soft" else MixedRounding).at(self._progress)
        above, second_bits = self._second.seen(proxy)
        steps = {name: self._steps(name, above) for name in (*self._grids, *self._layers)}
        views = {name: self._view(name, tensors[name]) for name in steps}
        sizes = [view.numel() for view in views.values()]
        together = torch.cat([(view / steps[name]).flatten() for name, view in views.items()])
        codes = {
            name: part.view_as(views[name]) for name, part in zip(views, proxy(together).split(sizes), strict=True)
        }

        def bits() -> Tensor:
            own = [self._grid_bits(name, codes[name], steps[name], above) for name in self._grids]
            own += [self._layer_bits(name, codes[name], steps[name], above) for name in self._layers]
            return torch.stack([second_bits(), *own]).sum()

        self._bits = bits
        values = {name: codes[name] * steps[name] for name in codes}
        return {name: self._stored(name, value) for name, value in values.items()}

    def rate(self, tensors: Mapping[str, Tensor]) -> Tensor | None:
        """The bits of what `substitute` has shown; vectors and the third level take as many whatever they are."""
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
            return combined_log_step(self._vectors(STEPS, name, above)).clamp(*STEP_BOUNDS).exp()
        if not self.parts.grid_steps:
            return torch.full((), FIXED_LOG_STEP, device=self._inside[name].device).exp()
        return above[f"{STEPS}/{name}"][..., None, None, None].clamp(*STEP_BOUNDS).exp()

    def _vectors(self, kind: str, name: str, above: Mapping[str, Tensor]) -> dict[str, Tensor]:
        keys = self._layers[name].vectors(self.parts.dual or kind == STEPS)
        return {key: above[f"{kind}/{name}/{key}"] for key in keys}

    def _layer_bits(self, name: str, codes: Tensor, steps: Tensor, above: Mapping[str, Tensor]) -> Tensor:
        mean, scale = combined_normal(self._vectors(MEANS, name, above), self._vectors(SCALES, name, above))
        return normal_bits(codes, mean / steps, scale / steps).sum()

    def _grid_bits(self, name: str, codes: Tensor, steps: Tensor, above: Mapping[str, Tensor]) -> Tensor:
        time, rows, columns = self._grids[name].largest  # what lies beyond it in a block is zero and costs nothing
        inside = self._inside[name][..., :time, :rows, :columns]
        codes = codes[..., :time, :rows, :columns]
        if self._with_context:
            model = self._contexts[name]
            own = {key: above[f"{CONTEXT}/{name}/{key}"] for key, _ in model.named_parameters()}
            shown = codes * steps * inside
            mean, log_scale = torch.func.functional_call(model, own, (shown, inside.to(shown.dtype)))
        else:
            mean, log_scale = above[f"{MEANS}/{name}"], above[f"{SCALES}/{name}"]
        return (normal_bits(codes, mean / steps, log_scale.clamp(*LOG_SCALES).exp() / steps) * inside).sum()

    def write(self, network: Network) -> dict[str, bytes]:
        """The three levels."""
        if self._second is None:
            self._set_up(network)
        assert self._second is not None
        tables = ScaleTables()
        third, second, above = self._second.write(tables)
        weights = {name: p.detach().cpu().double() for name, p in network.named_parameters()}
        codes = {}
        for name in (*self._grids, *self._layers):
            codes[name] = self._view(name, weights[name]).numpy() / self._exact_steps(name, above)
            if not (np.abs(codes[name]) < FURTHEST).all():
                raise RdbenchError("The fit gave weights beyond all bounds; try another --seed or a lower lr.")
        layers = SymbolWriter(tables)
        for name in self._layers:
            layers.add(np.rint(codes[name]).astype(np.int64).ravel(), *self._layer_models(name, above))
        vectors = [weights[name].numpy().astype("<f2").tobytes() for name in weights if name not in codes]
        grids = SymbolWriter(tables)
        lanes = by_place({name: codes[name] for name in self._grids}) if self._grids else np.zeros(0)

        def code(place: Place, inside: Mask, mean: Floats, scale: Floats) -> Integers:
            symbols: Integers = np.rint(lanes[place][inside]).astype(np.int64)
            grids.add(symbols, mean, scale)
            return symbols

        self._walk(above, code)
        return {
            "third": third, "second": second, "grids": grids.finish(), "layers": layers.finish(),
            "vectors": b"".join(vectors),
        }  # fmt: skip

    def read(self, network: Network, sections: Mapping[str, bytes]) -> None:
        """Weights of the sections. Raises BitstreamError."""
        refuse_bloat(network, sections)
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
        grids = SymbolReader(tables, sections["grids"])
        decoded = self._walk(above, lambda _place, _inside, mean, scale: grids.read(mean, scale))
        grids.finish()
        values |= {name: self._stored(name, torch.from_numpy(blocks.copy())) for name, blocks in decoded.items()}
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

    def _walk(self, above: Mapping[str, Floats], code: Code) -> dict[str, Floats]:
        """Visits all voxels of all grids; the values of their blocks `[n, C, 16, 8, 8]`."""
        if not self._grids:
            return {}
        lanes = Lanes({
            name: (self._inside[name], self._exact_steps(name, above), blocks.shape[0])
            for name, blocks in self._grids.items()
        })  # fmt: skip

        def visit(place: Place, mean: Floats, scale: Floats) -> Floats:
            def own(inside: Mask, steps: Floats) -> Integers:
                return code(place, inside, mean[inside] / steps, scale[inside] / steps)

            return lanes.take(place, own)

        if self._with_context:
            walk([self._level(name, above) for name in self._grids], visit)
        else:
            mean, scale = (lanes.spread([above[f"{kind}/{n}"][0] for n in self._grids]) for kind in (MEANS, SCALES))
            scale = exact_exp(np.clip(scale, *LOG_SCALES))
            for place in lanes.places:
                visit(place, mean, scale)
        return lanes.values

    def _level(self, name: str, above: Mapping[str, Floats]) -> Level:
        model = ContextModel(self._grids[name].shape[0]).double()
        model.load_state_dict({
            key: torch.from_numpy(above[f"{CONTEXT}/{name}/{key}"]) for key, _ in model.named_parameters()
        })  # fmt: skip
        return Level(model, self._inside[name].cpu())


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


def pays(grids: Collection[Blocks]) -> bool:
    """Whether grids are large enough for context models."""
    with torch.device("meta"):
        cost = sum(p.numel() for grid in grids for p in ContextModel(grid.shape[0]).parameters())
    return sum(math.prod(grid.shape) for grid in grids) >= WORTH * cost


def _vectors(shapes: Mapping[str, torch.Size], data: bytes) -> dict[str, Tensor]:
    """float16 values of these shapes. Raises BitstreamError."""
    sizes = [shape.numel() for shape in shapes.values()]
    if len(data) != 2 * sum(sizes):
        raise BitstreamError(MISFIT)
    values = torch.from_numpy(np.frombuffer(data, "<f2").astype(np.float32))
    if not bool(values.isfinite().all()):
        raise BitstreamError(MISFIT)
    return {name: part.view(shapes[name]) for name, part in zip(shapes, values.split(sizes), strict=True)}
