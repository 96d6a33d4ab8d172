"""Evaluation of the context models in integers, voxel by voxel, so that any machine decodes the same symbols.

All channels of all blocks of all grids are lanes that are coded side by side, one voxel after the other in raster
order. For a row of eight voxels, the contribution of the rows before it to a convolution is a few matrix products per
channel; the taps inside the row follow voxel by voxel.

Exactness has no measurable cost. 13,840 grid values of a short training (Bunny at 160x90, 8 frames, 40K) take 61,598
bits under the model in floating point, 61,588 under these integers, and 60,960 in the file; layers take 80,136, 80,124
and 80,224 (measured once). Why the file's grids take fewer: cause not investigated. For S2's 1.9 million values see
`tests/benchmarks/nvrc_entropy.py`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ...entropy import causal
from ...entropy.causal import Visit
from ...entropy.exact import (
    ACTIVATION_BITS,
    FEATURE_BITS,
    LARGEST_WEIGHT,
    WEIGHT_BITS,
    Floats,
    exact_exp,
    exact_gelu,
    exact_norm,
    fixed,
    gelu_table,
)
from .context_model import BEFORE, BLOCK, KERNEL, OUTPUTS, TAPS, WIDTH, ContextModel
from .lanes import Place

INPUT_BITS = 16
"""Fractional bits of a grid's value."""
LARGEST_INPUT = 16.0
LOG_SCALES = (-20.0, 10.0)
"""Bounds of log scales."""
_, ROWS, COLUMNS = BLOCK
HALF = KERNEL // 2
"""Taps of a kernel on either side of its center, along one axis."""


@dataclass(frozen=True)
class RowConv:
    """A masked convolution in fixed point, split into the taps of earlier rows and those of the current row.

    `before` and `after` are its numbers of input and output features for each of C channels.
    """

    earlier_rows: tuple[Tensor, ...]
    """Weights from earlier rows to all voxels of the current row: `[C, 5 * 8 * before, 8 * after]` for each earlier
    frame, and `[C, 2 * 8 * before, 8 * after]` for the current frame."""
    current_row: Tensor
    """Weights of the two voxels to the left and of the current one (zero where it is masked),
    `[C, 3 * before, after]`."""
    bias: Tensor
    """Bias for all voxels of a row, `[C, 1, 8 * after]`."""
    shift: float
    """Factor from a sum's fractional bits to those of an activation."""


def row_conv(weight: Tensor, bias: Tensor, channels: int, input_bits: int) -> RowConv:
    """The convolution with weights `[C after, before, taps]`, which must be the same on any machine."""
    integers = fixed(weight, WEIGHT_BITS, LARGEST_WEIGHT)
    kernel = functional.pad(integers, (0, TAPS - weight.shape[2])).view(channels, -1, weight.shape[1], TAPS)
    kernel = kernel.permute(0, 3, 2, 1)  # [C, taps, before, after]
    current_row = kernel[:, BEFORE - HALF : BEFORE + 1]
    lines = kernel[:, : BEFORE - HALF].unflatten(1, (-1, KERNEL))  # [C, 12, 5, before, after]
    wide = lines.new_zeros(channels, lines.shape[1], COLUMNS, weight.shape[1], COLUMNS, lines.shape[-1])
    for to in range(COLUMNS):
        for tap in range(KERNEL):
            at = to + tap - HALF
            if 0 <= at < COLUMNS:
                wide[:, :, at, :, to] = lines[:, :, tap]
    bits = input_bits + WEIGHT_BITS
    parts = wide.flatten(4, 5).flatten(2, 3).split(KERNEL, dim=1)
    return RowConv(
        tuple(part.flatten(1, 2) for part in parts), current_row.flatten(1, 2),
        fixed(bias, bits, LARGEST_WEIGHT).view(channels, 1, -1).repeat(1, 1, COLUMNS), 2.0 ** (ACTIVATION_BITS - bits),
    )  # fmt: skip


class FixedPointModel:
    """A grid's context model in fixed point, and the voxels that its blocks have."""

    def __init__(self, model: ContextModel, inside: Tensor) -> None:
        """`model` has the parameters of the bitstream; `inside` is `Blocks.inside` of the grid, `[n, 1, 16, 8, 8]`."""
        channels = model.channels
        self.lanes = (channels, len(inside))
        """Numbers of channels and of blocks."""
        self.convs = [
            row_conv(conv.weight.detach(), conv.bias.detach(), channels, bits)
            for conv, bits in ((model.first, INPUT_BITS), (model.second, FEATURE_BITS), (model.third, FEATURE_BITS))
        ]
        self.norms = [
            [part.detach().double().view(channels, WIDTH).repeat_interleave(len(inside), 0) for part in pair]
            for pair in model.gains_and_shifts
        ]
        """Gains and shifts of each norm for every lane, `[lanes, 8]`."""
        self.inside = inside.transpose(0, 1).expand(channels, -1, -1, -1, -1).flatten(0, 1)
        """Mask of the voxels that lie inside the grid, `[lanes, 16, 8, 8]`."""

    def view(self, lanes: Tensor) -> Tensor:
        """`[lanes, F]` -> `[C, n, F]`."""
        return lanes.view(*self.lanes, -1)


class FeatureWindow:
    """A convolution's input in all lanes: the last three frames, padded with rows of zeros, and the current row."""

    def __init__(self, lanes: int, width: int, device: torch.device) -> None:
        def zeros(*shape: int) -> Tensor:
            return torch.zeros(lanes, *shape, dtype=torch.float64, device=device)

        self.width = width
        self.frames = [zeros(ROWS + 2 * HALF, COLUMNS * width) for _ in range(HALF + 1)]
        self.row = zeros((HALF + COLUMNS) * width)

    def next_frame(self) -> None:
        """Replaces the oldest frame by an empty one."""
        oldest, *others = self.frames
        self.frames = [*others, oldest.zero_()]

    def earlier_rows(self, row: int) -> list[Tensor]:
        """The kernel's rows of each earlier frame, and those before this row, `[lanes, rows * 8 * F]` each."""
        *earlier, current = self.frames
        lines = [frame[:, row : row + KERNEL] for frame in earlier]
        return [part.flatten(1) for part in (*lines, current[:, row : row + HALF])]

    def current_row(self, column: int) -> Tensor:
        """The two voxels before this one in its row, and itself, `[lanes, 3 * F]`."""
        return self.row[:, column * self.width : (column + HALF + 1) * self.width]

    def put(self, column: int, values: Tensor) -> None:
        """Sets the features of a voxel of the current row in every lane, `[lanes, F]`."""
        self.row[:, (HALF + column) * self.width : (HALF + column + 1) * self.width] = values

    def finish_row(self, row: int) -> None:
        """Stores the complete row in the current frame and clears it."""
        self.frames[-1][:, row + HALF] = self.row[:, HALF * self.width :]
        self.row.zero_()


class LanePredictor:
    """Predictions for one voxel at a time in all lanes: grid by grid, channel by channel, block by block.

    A `causal.CausalModel`, whose places are those of a voxel in its block, in raster order.
    """

    def __init__(self, models: Sequence[FixedPointModel]) -> None:
        self._models = models
        counts = [channels * number for channels, number in (model.lanes for model in models)]
        ends = [sum(counts[: at + 1]) for at in range(len(counts))]
        self._parts = [slice(end - count, end) for end, count in zip(ends, counts, strict=True)]
        inside = torch.cat([model.inside for model in models])
        self.extent = [int(inside.any(0).sum(axis).max()) for axis in range(3)]
        """Voxels of the largest block along each axis."""
        self._inside = inside.permute(1, 2, 3, 0).double().contiguous()[..., None]
        self._norms = [[torch.cat(parts) for parts in zip(*pairs, strict=True)] for pairs in self._norms_by_number()]
        self._windows = [FeatureWindow(ends[-1], width, inside.device) for width in (1, WIDTH, WIDTH)]
        self._sums = [inside.new_empty(ends[-1], width, dtype=torch.float64) for width in (WIDTH, WIDTH, OUTPUTS)]
        self._row_sums = [x.new_empty(ends[-1], COLUMNS * x.shape[1]) for x in self._sums]
        """Contributions of the earlier rows to each convolution, for all voxels of the current row."""
        self._table = gelu_table().to(inside.device)

    def _norms_by_number(self) -> list[list[list[Tensor]]]:
        """Gains and shifts of each norm, grid by grid."""
        return [[model.norms[number] for model in self._models] for number in range(len(self._models[0].norms))]

    @property
    def places(self) -> Iterator[Place]:
        """Time step, row and column of every voxel of the largest block, in raster order."""
        times, rows, columns = (range(length) for length in self.extent)
        return product(times, rows, columns)

    def _start_row(self, row: int) -> None:
        """Computes the contributions of the earlier rows to this row."""
        for number, (window, row_sums) in enumerate(zip(self._windows, self._row_sums, strict=True)):
            earlier_rows = window.earlier_rows(row)
            for model, part in zip(self._models, self._parts, strict=True):
                conv, total = model.convs[number], model.view(row_sums[part])
                total.copy_(conv.bias.expand_as(total))
                for lines, weight in zip(earlier_rows, conv.earlier_rows, strict=True):
                    total.baddbmm_(model.view(lines[part]), weight)

    def predict(self, place: Place) -> tuple[Floats, Floats]:
        """Mean and deviation of the voxel in every lane."""
        _, row, column = place
        if not column:
            if not row:
                for window in self._windows:
                    window.next_frame()
            self._start_row(row)
        mean, log_scale = self._outputs(place).T.contiguous().cpu().numpy()
        return mean, exact_exp(np.clip(log_scale, *LOG_SCALES))

    def _outputs(self, place: Place) -> Tensor:
        """Mean and log scale of the voxel in every lane, `[lanes, 2]`."""
        column = place[2]
        for number, (gain, shift) in enumerate(self._norms):
            x = self._sum(number, column).mul_(self._models[0].convs[number].shift).round_()
            x = exact_norm(exact_gelu(x, self._table), gain, shift)
            self._windows[number + 1].put(column, x.mul_(self._inside[place]))
        return self._sum(len(self._norms), column) * 2.0 ** -(FEATURE_BITS + WEIGHT_BITS)

    def _sum(self, number: int, column: int) -> Tensor:
        """A convolution's result at this column of the current row, in every lane."""
        total, current_row = self._sums[number], self._windows[number].current_row(column)
        after = total.shape[1]
        earlier = self._row_sums[number][:, column * after : (column + 1) * after]
        for model, part in zip(self._models, self._parts, strict=True):
            bias, x, out = (model.view(lanes[part]) for lanes in (earlier, current_row, total))
            torch.baddbmm(bias, x, model.convs[number].current_row, out=out)
        return total

    def put(self, place: Place, values: Floats) -> None:
        """Sets the decoded voxel of every lane, `[lanes]`, in the grid's units."""
        _, row, column = place
        lanes = torch.from_numpy(values).to(self._inside.device)
        self._windows[0].put(column, fixed(lanes[:, None], INPUT_BITS, LARGEST_INPUT))
        if column + 1 == self.extent[2]:
            for window in self._windows:
                window.finish_row(row)


@torch.no_grad()
def walk(models: Sequence[FixedPointModel], visit: Visit[Place]) -> None:
    """Visits the voxels of all blocks of all grids side by side, in raster order, within the largest block.

    `visit` gets a voxel's place and the means and deviations of all lanes there; it returns their values, zero outside
    the grid.
    """
    causal.walk(LanePredictor(models), visit)
