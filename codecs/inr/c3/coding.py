"""C3's entropy networks in fixed point: the latents of a patch, coded along wavefronts, alike on any machine.

A latent's context lies in earlier rows of its frame and in the frame before, all in its own grid, and does not reach
far. So latents of a grid whose columns + a * rows + d * frames have the same sum do not need each other, for an `a` and
a `d` that follow from the context: they are the lanes of a step, in all grids side by side. A patch of 30 frames of
240x180 has 1.5 million latents and 1,860 steps.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..entropy.causal import walk
from ..entropy.exact import Floats, exact_exp, fixed
from ..entropy.laplace import LaplaceReader, LaplaceWriter
from .context import ContextNetwork, Tap
from .latents import Q_STEP, Shape
from .rate import LIMITS, SHIFT

WEIGHT_BITS = 20
"""Fractional bits of a weight."""
LARGEST_WEIGHT = 32.0
LARGEST_BIAS = 4096.0
ACTIVATION_BITS = 13
"""Fractional bits of a hidden value. Sums stay below 2^53: 23 bits, times weights of 25 bits, times a width of 16."""
LARGEST_ACTIVATION = 1024.0
GELU_REACH = 6
"""Magnitude from which GELU is 0 or its argument, within half a unit of ACTIVATION_BITS."""


def gelu_values() -> Tensor:
    """GELU (the approximation with tanh) at every fixed-point number from -GELU_REACH to GELU_REACH, in fixed point."""
    unit = float(1 << ACTIVATION_BITS)
    x = np.arange(-GELU_REACH * unit, GELU_REACH * unit + 1) / unit
    inner = (x * x * 0.044715 + 1.0) * x * 0.7978845608028654
    return torch.from_numpy(np.rint(x / (1.0 + exact_exp(-2.0 * inner)) * unit))


def fixed_gelu(x: Tensor, table: Tensor) -> Tensor:
    """GELU of fixed-point values, clamped at LARGEST_ACTIVATION."""
    reach, largest = GELU_REACH << ACTIVATION_BITS, int(LARGEST_ACTIVATION) << ACTIVATION_BITS
    index = x.clamp(-reach, reach).add_(reach).to(torch.int32)
    return table.index_select(0, index.flatten()).view_as(x).add_((x - reach).clamp_(0, largest - reach))


class FixedPointNetwork:
    """An entropy network in fixed point; its parameters must be the same on any machine."""

    def __init__(self, network: ContextNetwork) -> None:
        weight, bias = (part.detach().double() for part in network.first_layer())
        self.taps = network.taps
        layers = [(weight * Q_STEP, bias, 0)]
        layers += [
            (w.detach(), b.detach(), ACTIVATION_BITS) for w, b in zip(network.weights, network.biases, strict=True)
        ]
        self._layers = [
            (fixed(w, WEIGHT_BITS, LARGEST_WEIGHT).T.contiguous(), fixed(b, WEIGHT_BITS + bits, LARGEST_BIAS))
            for w, b, bits in layers
        ]
        self._table = gelu_values()

    def __call__(self, context: Tensor) -> Floats:
        """Integer latents `[n, taps]` to locations and numbers of scales, `[2, n]`."""
        (weight, bias), *others = self._layers
        x, shift = torch.addmm(bias, context, weight), 2.0 ** (ACTIVATION_BITS - WEIGHT_BITS)
        for weight, bias in others:
            hidden = fixed_gelu(x.mul_(shift).round_(), self._table)
            x, shift = torch.addmm(bias, hidden, weight), 2.0**-WEIGHT_BITS
        outputs: Floats = x.T.contiguous().numpy() * 2.0 ** -(WEIGHT_BITS + ACTIVATION_BITS)
        return outputs


@dataclass(frozen=True)
class Wavefront:
    """The order of coding: a latent's step is its column + `per_row` * its row + `per_frame` * its frame."""

    per_row: int
    per_frame: int

    @classmethod
    def of(cls, taps: Sequence[Tap]) -> "Wavefront":
        """The order with the fewest steps in which all of a latent's context comes before it."""
        per_row = max([column // -row + 1 for time, row, column in taps if not time and row], default=1)
        per_row = max(1, per_row)
        per_frame = max([column + per_row * row + 1 for time, row, column in taps if time], default=1)
        return cls(per_row, max(1, per_frame))

    def steps(self, shape: Shape) -> npt.NDArray[np.int64]:
        """The step of every latent of a grid, in raster order."""
        time, row, column = (np.arange(side, dtype=np.int64) for side in shape)
        return (time[:, None, None] * self.per_frame + row[:, None] * self.per_row + column).ravel()


class GridLanes:
    """One grid's latents along its wavefront, in a volume with zeros around it."""

    def __init__(self, network: FixedPointNetwork, shape: Shape) -> None:
        self._network, self._shape = network, shape
        self._pads = [max(abs(tap[axis]) for tap in network.taps) for axis in range(3)]
        frames, height, width = (side + 2 * pad for side, pad in zip(shape, self._pads, strict=True))
        self._volume = torch.zeros(frames * height * width, dtype=torch.float64)
        self._sides = (frames, height, width)
        offsets = [(time * height + row) * width + column for time, row, column in network.taps]
        self._offsets = torch.tensor(offsets, dtype=torch.int64)
        steps = Wavefront.of(network.taps).steps(shape)
        order = np.argsort(steps, kind="stable")
        self.bounds: list[int] = np.searchsorted(steps[order], np.arange(steps.max() + 2)).tolist()
        """Where the lanes of each step begin, and the end of the last."""
        inner = torch.arange(len(self._volume)).view(self._sides)[self._inside].flatten()
        self._positions = inner[torch.from_numpy(order)]

    @property
    def _inside(self) -> tuple[slice, ...]:
        return tuple(slice(pad, pad + side) for pad, side in zip(self._pads, self._shape, strict=True))

    def count(self, step: int) -> int:
        """Number of lanes of a step."""
        return self.bounds[step + 1] - self.bounds[step] if step + 1 < len(self.bounds) else 0

    def _places(self, step: int) -> Tensor:
        return self._positions[self.bounds[step] : self.bounds[step + 1]]

    def predict(self, step: int) -> Floats:
        """Locations and numbers of scales of a step's lanes, `[2, n]`."""
        places = self._places(step)[:, None] + self._offsets
        return self._network(self._volume.take(places))

    def put(self, step: int, values: Floats) -> None:
        """Sets the lanes of a step."""
        self._volume[self._places(step)] = torch.from_numpy(values)

    def in_order(self, step: int, grid: Tensor) -> Floats:
        """The values of a step's lanes in a grid that is laid out as this one's volume."""
        values: Floats = grid[self._places(step)].numpy()
        return values

    def padded(self, grid: Tensor) -> Tensor:
        """Integers `[t, h, w]` laid out as the volume."""
        volume = torch.zeros(self._sides, dtype=torch.float64)
        volume[self._inside] = grid.double()
        return volume.flatten()

    @property
    def values(self) -> Tensor:
        """The grid decoded so far, `[t, h, w]`."""
        return self._volume.view(self._sides)[self._inside]


class LatentModel:
    """The causal model of several grids: each is predicted from itself, and all go side by side, step by step."""

    def __init__(self, grids: Sequence[GridLanes]) -> None:
        self._grids = grids
        self.places = range(max((len(grid.bounds) - 1 for grid in grids), default=0))

    def active(self, step: int) -> list[GridLanes]:
        """The grids that have lanes in this step."""
        return [grid for grid in self._grids if grid.count(step)]

    def predict(self, place: int) -> tuple[Floats, Floats]:
        """Locations and scales of the lanes of a step, in units of the quantization step."""
        outputs = [grid.predict(place) for grid in self.active(place)]
        location, number = np.concatenate(outputs, axis=1) if outputs else np.zeros((2, 0))
        scale = exact_exp(-0.5 * np.clip(number + SHIFT, *LIMITS))
        return location / Q_STEP, scale / Q_STEP

    def put(self, place: int, values: Floats) -> None:
        """Takes the decoded integers of a step's lanes."""
        start = 0
        for grid in self.active(place):
            grid.put(place, values[start : start + grid.count(place)])
            start += grid.count(place)


@torch.no_grad()
def encode_latents(grids: Sequence[Tensor], networks: Sequence[ContextNetwork]) -> bytes:
    """Grids of integers `[t, h, w]`, each under its network. Raises RdbenchError for one beyond all bounds."""
    lanes = [GridLanes(FixedPointNetwork(net), shape_of(grid)) for grid, net in zip(grids, networks, strict=True)]
    known = {id(lane): lane.padded(grid) for lane, grid in zip(lanes, grids, strict=True)}
    model, writer = LatentModel(lanes), LaplaceWriter()

    def visit(step: int, location: Floats, scale: Floats) -> Floats:
        parts = [lane.in_order(step, known[id(lane)]) for lane in model.active(step)]
        values = np.concatenate(parts) if parts else np.zeros(0)
        writer.add(values.astype(np.int64), location, scale)
        return values

    walk(model, visit)
    return writer.finish()


@torch.no_grad()
def decode_latents(payload: bytes, shapes: Sequence[Shape], networks: Sequence[ContextNetwork]) -> list[Tensor]:
    """The grids that `encode_latents` wrote, as float64. Raises BitstreamError."""
    lanes = [GridLanes(FixedPointNetwork(net), shape) for shape, net in zip(shapes, networks, strict=True)]
    reader = LaplaceReader(payload)

    def visit(_step: int, location: Floats, scale: Floats) -> Floats:
        return reader.read(location, scale).astype(np.float64)

    walk(LatentModel(lanes), visit)
    reader.finish()
    return [lane.values for lane in lanes]


def shape_of(grid: Tensor) -> Shape:
    """The shape of a grid."""
    frames, height, width = grid.shape
    return frames, height, width
