"""The interface of a network that renders frames or patches of them; its configuration, size and cost."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from rdbench.errors import BitstreamError

from ..recipes.stage import Stage

STRIDES = {
    1: (1,), 2: (2,), 4: (2, 2), 6: (3, 2), 8: (2, 2, 2), 10: (5, 2), 20: (5, 2, 2), 40: (5, 2, 2, 2),
    60: (5, 3, 2, 2), 80: (5, 2, 2, 2, 2), 120: (5, 3, 2, 2, 2), 240: (5, 3, 2, 2, 2, 2),
}  # fmt: skip
"""Upsampling strides by their product: the papers' at 720p (80) and 1080p (120); the others are our choice."""

BASE_CELLS = 9 * 16
"""Cells of the papers' base grid at 16:9; other aspect ratios get about as many (our choice)."""

MOST_STAGES = 8
MOST_LAYERS = 1 << 6
"""Upper bound, exclusive, of a transmitted integer that counts layers or grids: each is a module that takes time to
build, whatever its size (our choice; the papers have up to three)."""
MOST_FRAMES = 1 << 20
"""The longest clip that a bitstream may describe."""
MOST = 1 << 16
"""Upper bound, exclusive, of a transmitted integer whose field has no limit of its own."""
DAMAGED = "The bitstream's network is damaged; encode the clip again."


@dataclass(frozen=True)
class Patches:
    """A batch of patches: frame index, and row and column in the frame's grid of patches, each `[B]`."""

    frames: Tensor
    rows: Tensor
    columns: Tensor
    grid: tuple[int, int] = (1, 1)
    """Rows and columns of patches in a frame; one patch is the whole frame."""

    @classmethod
    def of_frames(cls, indices: Tensor, grid: tuple[int, int]) -> Self:
        """Every patch of these frames, row by row, frame after frame."""
        rows, columns = grid
        cells = torch.arange(rows * columns, device=indices.device).repeat(len(indices))
        return cls(indices.repeat_interleave(rows * columns), cells // columns, cells % columns, grid)


class Network(nn.Module, ABC):
    """A network that renders patches of frames; one patch is the whole frame unless `grid` says otherwise."""

    grid: tuple[int, int] = (1, 1)
    """Rows and columns of patches in a frame during training by patches."""
    latents: frozenset[str] = frozenset()
    """Names of the parameters that hold content (embeddings, grids); they are coded apart from the weights."""
    per_frame: frozenset[str] = frozenset()
    """Names of the latents whose first axis is the frame index."""
    feature_grids: Mapping[str, tuple[int, int, int]] = MappingProxyType({})
    """Names of the feature grids, with their time steps, rows and columns; their shape is `[C, T, h, w]`, or any that
    has the memory layout of `[T, h, w, C]`."""

    @property
    def frame_grid(self) -> tuple[int, int]:
        """The grid in which whole frames are rendered."""
        return self.grid

    def __init__(self, patch_size: tuple[int, int]) -> None:
        """`patch_size`: rows and columns of pixels that one call renders for each patch."""
        super().__init__()
        self.patch_size = patch_size

    def enter(self, stage: Stage) -> Sequence[str]:
        """Prepares for a training stage; not called when a checkpoint inside the stage is resumed.

        Returns the names of parameters whose rows were overwritten with row 0; the trainer broadcasts row 0's
        optimizer moments to all rows of these.
        """
        return ()

    def final_config(self, config: "NetworkConfig") -> "NetworkConfig":
        """The configuration to transmit: `config` with what training has decided."""
        return config

    @abstractmethod
    def forward(self, at: Patches) -> Tensor:
        """The patches `[B, 3, h, w]` in 0..1; tiled, they cover the frame, and the padding is cropped."""

    def training_outputs(self, at: Patches) -> Sequence[tuple[float | Tensor, Tensor]]:
        """Outputs that training compares with the patches, each with its loss weight; `forward`'s comes first.

        An output of whole frames may be smaller by a whole factor, and is then compared with means of the target.
        """
        return [(1.0, self(at))]

    def buffer_bytes(self) -> int:
        """Bytes that a training keeps besides parameters and activations."""
        return 0

    def one_pass(self, at: Patches) -> None:
        """Computes what belongs to these patches alone, without what other calls share; for counting its cost."""
        self(at)

    def parts(self) -> dict[tuple[str, str], list[str]]:
        """Parameter names by the sections that hold their probability table and their symbols."""
        names = [name for name, _ in self.named_parameters()]
        return {
            ("table", "weights"): [name for name in names if name not in self.latents],
            ("latent_table", "latents"): [name for name in names if name in self.latents],
        }


class TrainingOutputs(nn.Module):
    """A module whose call is the network's `training_outputs`, for `torch.func.functional_call`."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, at: Patches) -> Sequence[tuple[float | Tensor, Tensor]]:
        """The network's `training_outputs`."""
        return self.network.training_outputs(at)


def render(
    network: Callable[[Patches], Tensor], indices: Tensor, grid: tuple[int, int], height: int, width: int
) -> Tensor:
    """Whole frames `[B, 3, height, width]`: all their patches in one call, tiled and cropped."""
    return tile(network(Patches.of_frames(indices, grid)), grid)[..., :height, :width]


def to_samples(values: Tensor) -> Tensor:
    """8-bit samples of values in 0..1, rounded."""
    return (values * 255).round_().clamp_(0, 255).to(torch.uint8)


def tile(patches: Tensor, grid: tuple[int, int]) -> Tensor:
    """Patches in the order of `Patches.of_frames` -> frames `[B, 3, rows h, columns w]`."""
    if grid == (1, 1):
        return patches
    rows, columns = grid
    _, channels, height, width = patches.shape
    parts = patches.view(-1, rows, columns, channels, height, width).permute(0, 3, 1, 4, 2, 5)
    return parts.reshape(-1, channels, rows * height, columns * width)


def compared(output: Tensor, target: Tensor, network: Network) -> tuple[Tensor, Tensor]:
    """An output of `training_outputs` for whole frames, and the target `[B, 3, H, W]` that its loss compares it with.

    Patches are tiled and cropped; for a smaller output the target is padded and averaged instead.
    """
    frames, (height, width) = tile(output, network.frame_grid), target.shape[2:]
    rows, columns = (side * count for side, count in zip(network.patch_size, network.grid, strict=True))
    factor = rows // frames.shape[2]
    if factor == 1:
        return frames[..., :height, :width], target
    whole = functional.pad(target, (0, columns - width, 0, rows - height), "replicate")
    return frames, functional.avg_pool2d(whole, factor)


@dataclass(frozen=True)
class NetworkConfig:
    """A network's configuration as transmitted integers: fields that are integers, or tuples of integers from 1 on.

    An integer is at least 1 and below MOST, or MOST_LAYERS where `layer_counts` name it, unless `choices` or `limits`
    do.
    """

    layer_counts: ClassVar[frozenset[str]] = frozenset({"depth", "later_depth", "last_depth", "levels"})
    """Fields that count layers or grids of their own parameters."""
    choices: ClassVar[Mapping[str, int]] = MappingProxyType({})
    """Fields that number one of several alternatives, 0 included, with how many there are."""
    limits: ClassVar[Mapping[str, int]] = MappingProxyType({})
    """Fields that may be MOST or larger, such as counts of frames, with the value that they stay below."""
    lists: ClassVar[Mapping[str, tuple[int, int]]] = MappingProxyType({})
    """Fields that are tuples, with their least and largest length."""

    @property
    def step(self) -> int:
        """The sides of a patch are multiples of so many pixels, so that padding to them stays below it."""
        return 1

    def numbers(self) -> list[int]:
        """The configuration as integers, which `from_numbers` reads: a tuple follows its length."""
        values = ((field.name, getattr(self, field.name)) for field in fields(self))
        return [n for name, value in values for n in ((len(value), *value) if name in self.lists else (int(value),))]

    @classmethod
    def from_numbers(cls, numbers: Sequence[int]) -> Self:
        """The configuration that `numbers` returned. Raises BitstreamError for what is no network."""
        remaining, found = iter(numbers), dict[str, Any]()
        try:
            for field in fields(cls):
                found[field.name] = cls._read_field(field.name, remaining)
        except StopIteration:
            raise BitstreamError(DAMAGED) from None
        if next(remaining, None) is not None:
            raise BitstreamError(DAMAGED)
        return cls(**found)

    @classmethod
    def _read_field(cls, name: str, numbers: Iterator[int]) -> int | tuple[int, ...]:
        """Raises BitstreamError for a value out of range, StopIteration where the numbers end."""
        usual = MOST_LAYERS if name in cls.layer_counts else MOST
        least, limit = (0, cls.choices[name]) if name in cls.choices else (1, cls.limits.get(name, usual))
        if name in cls.lists:
            shortest, longest = cls.lists[name]
            count = next(numbers)
            if not shortest <= count <= longest:
                raise BitstreamError(DAMAGED)
            values = tuple([next(numbers) for _ in range(count)])  # a generator would hide the StopIteration
        else:
            values = (next(numbers),)
        if not all(least <= value < limit for value in values):
            raise BitstreamError(DAMAGED)
        return values if name in cls.lists else values[0]


@dataclass(frozen=True)
class UpsamplingConfig(NetworkConfig):
    """A network that upsamples a base grid of rows and columns by strides; a subclass adds its widths."""

    rows: int
    """Rows of the base grid."""
    columns: int
    strides: tuple[int, ...]

    lists = MappingProxyType({"strides": (1, MOST_STAGES)})

    @property
    def step(self) -> int:
        """The product of the strides: the side in pixels of a cell of the base grid."""
        return math.prod(self.strides)

    @property
    def patch_size(self) -> tuple[int, int]:
        """Rows and columns of pixels that the network renders at once."""
        return self.rows * self.step, self.columns * self.step


@dataclass(frozen=True)
class Geometry:
    """A base grid and strides; together they cover the frame, and the padding is cropped."""

    rows: int
    columns: int
    strides: tuple[int, ...]


def choose_geometry(
    width: int, height: int, table: Mapping[int, tuple[int, ...]] = STRIDES, base: int = BASE_CELLS
) -> Geometry:
    """The strides whose base grid has about `base` cells and pads the frame least (our choice beyond 16:9)."""

    def misfit(total: int) -> float:
        rows, columns = math.ceil(height / total), math.ceil(width / total)
        padding = rows * columns * total * total / (width * height) - 1
        return abs(math.log(rows * columns / base)) + 4 * padding

    total = min(table, key=misfit)
    return Geometry(math.ceil(height / total), math.ceil(width / total), table[total])


def to_device(module: nn.Module, device: str) -> None:
    """Moves a network to the device, channels last: a third faster than torch's own order on a CPU (measured)."""
    module.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]


def allocate_parameters(network: nn.Module) -> None:
    """Allocates CPU memory for a network on the meta device; `to_empty` would import torch._dynamo, a second."""
    empty = {name: torch.empty(parameter.shape) for name, parameter in network.named_parameters()}
    network.load_state_dict(empty, strict=False, assign=True)


def build_without_memory(build: Callable[[], Network]) -> Network:
    """The network on the meta device. Raises BitstreamError for sizes that no tensor can have.

    Two fields may each be in range while the product of all lengths of a tensor, or its bytes, exceed 63 bits; torch
    raises TypeError for a single length beyond them.
    """
    try:
        with torch.device("meta"):
            return build()
    except (RuntimeError, TypeError, ValueError, ArithmeticError) as error:
        raise BitstreamError(DAMAGED) from error


def count_parameters(network: nn.Module) -> int:
    """The number of parameters, all of which are transmitted."""
    return sum(parameter.numel() for parameter in network.parameters())


def count_macs(network: Network, frames: int = 1) -> int:
    """Multiply-accumulates of rendering so many whole frames; the network may be on the meta device.

    Counted by torch's FlopCounterMode (two operations each): convolutions of any kind, matrix products, attention.
    Biases, norms, activations, interpolation and the weighted sums of grids are left out, as in the papers' own counts
    with fvcore or thop; these leave out E-NeRV's attention products too, which are 0.02 % of its total at 720p.
    """
    device = next(network.parameters()).device
    at = Patches.of_frames(torch.zeros(frames, dtype=torch.long, device=device), network.frame_grid)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network.one_pass(at)
    return int(counter.get_total_flops()) // 2
