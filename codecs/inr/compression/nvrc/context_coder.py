"""Evaluation of the context models in integers, voxel by voxel, so that any machine decodes the same symbols.

The lanes of a wave (`lanes.py`) are coded side by side, one column after the other. For a row of eight voxels, the
contribution of the rows before it to a convolution is a few matrix products per channel; the taps inside the row follow
voxel by voxel. All in one thread: halves of the channels in two threads, which wait for each other at every place, took
1.25 times as long on two cores, with 1.8 times the CPU time (S2, measured).

Exactness has no measurable cost. 13,840 grid values of a short training (Bunny at 160x90, 8 frames, 40K) take 61,598
bits under the model in floating point, 61,588 under these integers, and 60,960 in the file; layers take 80,136, 80,124
and 80,224 (measured once). Why the file's grids take fewer: cause not investigated. For S2's 1.9 million values see
`tests/benchmarks/nvrc_entropy.py`.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

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
    gelu_index,
    gelu_table,
    norm_constants,
)
from .context_model import BEFORE, BLOCK, KERNEL, OUTPUTS, TAPS, WIDTH, ContextModel
from .lanes import Lanes, Place, Row, Wave

INPUT_BITS = 16
"""Fractional bits of a grid's value."""
LARGEST_INPUT = 16.0
LOG_SCALES = (-20.0, 10.0)
"""Bounds of log scales."""
_, ROWS, COLUMNS = BLOCK
HALF = KERNEL // 2
"""Taps of a kernel on either side of its center, along one axis."""
FRAMES = 2 * HALF + 1
"""Frames whose features are kept: rows of three frames are in a wave, and each needs the two frames before its own."""


@dataclass(frozen=True)
class RowConv:
    """A masked convolution in fixed point, split into the taps of earlier rows and those of the current row.

    `before` and `after` are its numbers of input and output features for each of C channels, F and F' elsewhere.
    """

    before: int
    earlier_rows: tuple[Tensor, ...]
    """Weights from earlier rows to all voxels of the current row: `[C, 8 * after, 2 * 8 * before]` for the current
    frame, and `[C, 8 * after, 5 * 8 * before]` for each earlier frame, back in time."""
    current_row: Tensor
    """Weights of the two voxels to the left and of the current one (zero where it is masked),
    `[C, after, 3 * before]`."""
    bias: Tensor
    """Bias for all voxels of a row, `[C, 8 * after, 1]`."""
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
    parts = reversed(wide.flatten(4, 5).flatten(2, 3).split(KERNEL, dim=1))
    return RowConv(
        weight.shape[1], tuple(part.flatten(1, 2).mT.contiguous() for part in parts),
        current_row.flatten(1, 2).mT.contiguous(),
        fixed(bias, bits, LARGEST_WEIGHT).view(channels, -1, 1).repeat(1, COLUMNS, 1), 2.0 ** (ACTIVATION_BITS - bits),
    )  # fmt: skip


@dataclass(frozen=True)
class FixedPointModel:
    """A grid's context model in fixed point."""

    channels: int
    convs: Sequence[RowConv]
    norms: Tensor
    """The constants of each norm, `[2, 2, 8, C]`."""

    @classmethod
    def of_model(cls, model: ContextModel) -> "FixedPointModel":
        """`model` has the parameters of the bitstream."""
        convs = [
            row_conv(conv.weight.detach(), conv.bias.detach(), model.channels, bits)
            for conv, bits in ((model.first, INPUT_BITS), (model.second, FEATURE_BITS), (model.third, FEATURE_BITS))
        ]
        pairs = [[part.detach().view(model.channels, WIDTH) for part in pair] for pair in model.gains_and_shifts]
        return cls(model.channels, convs, torch.stack([norm_constants(*pair) for pair in pairs]).mT.contiguous())


class History:
    """A convolution's inputs in all blocks of a grid: the rows of the last frames.

    A frame takes the place of the one five frames before. Rows that a block lacks stay zero.
    """

    def __init__(self, channels: int, blocks: int, width: int, device: torch.device) -> None:
        self._line = COLUMNS * width
        self._rows = torch.zeros(channels, FRAMES, ROWS * self._line, blocks, dtype=torch.float64, device=device)

    def earlier_rows(self, at: Row, blocks: slice) -> list[tuple[Tensor, int, slice]]:
        """What the kernel sees of each frame above a row: the rows that exist, `[C, rows * 8 * F, n]`, how many frames
        back, and which of the kernel's inputs these are.
        """
        seen = []
        for back in range(min(HALF, at.time), -1, -1):
            first, last = max(0, at.row - HALF), min(ROWS, at.row + HALF + 1) if back else at.row
            if last > first:
                lines = self._rows[:, (at.time - back) % FRAMES, first * self._line : last * self._line, blocks]
                start = (first - at.row + HALF) * self._line
                seen.append((lines, back, slice(start, start + lines.shape[1])))
        return seen

    def store(self, at: Row, blocks: slice, values: Tensor) -> None:
        """Stores a complete row, `[C, 8 * F, n]`."""
        first = at.row * self._line
        self._rows[:, at.time % FRAMES, first : first + self._line, blocks] = values


def by_channel(values: Tensor, channels: int) -> Tensor:
    """A grid's lanes `[F, C * n]` as `[C, F, n]`."""
    lanes: Tensor = values.unflatten(1, (channels, -1)).transpose(0, 1)
    return lanes


class CurrentRows:
    """A convolution in the rows of a wave: its inputs behind two voxels of zeros, and what earlier rows contribute."""

    def __init__(self, convs: Sequence[tuple[slice, RowConv, Tensor]]) -> None:
        """`convs`: each grid's lanes, its convolution, and contributions of earlier rows `[C, 8 * F', n]`."""
        self.before = convs[0][1].before
        self.rows = convs[0][2].new_zeros((HALF + COLUMNS) * self.before, convs[-1][0].stop)
        self._parts = [
            (part, conv.current_row, by_channel(self.rows[:, part], len(conv.bias)), row_sums)
            for part, conv, row_sums in convs
        ]

    def at(self, column: int) -> Tensor:
        """The features of a column in every lane, `[F, lanes]`."""
        features: Tensor = self.rows[(HALF + column) * self.before : (HALF + column + 1) * self.before]
        return features

    def sums_at(self, column: int) -> Iterator[tuple[slice, Tensor]]:
        """The convolution's results at a column: each grid's lanes and `[C, F', n]`."""
        taps = slice(column * self.before, (column + HALF + 1) * self.before)
        for part, weight, rows, row_sums in self._parts:
            after = weight.shape[1]
            yield part, torch.baddbmm(row_sums[:, column * after : (column + 1) * after], weight, rows[:, taps])


class LanePredictor:
    """Predictions for a column of a wave in all its lanes; a `causal.CausalModel`.

    Features come first and lanes last, so that products and sums go over long axes.
    """

    def __init__(self, models: Sequence[FixedPointModel], lanes: Lanes) -> None:
        self._models, self._lanes, self.places = models, lanes, lanes.places
        self._table = gelu_table().to(models[0].norms.device)
        self._histories = [
            [History(model.channels, len(order.positions), conv.before, self._table.device) for conv in model.convs]
            for model, order in zip(models, lanes.orders, strict=True)
        ]
        self._parts: list[tuple[int, slice]] = []
        self._rows: list[CurrentRows] = []
        self._norms = torch.zeros(0)

    @torch.no_grad()
    def predict(self, place: Place) -> tuple[Floats, Floats]:
        """Mean and deviation of the voxels at a column in every lane of a wave."""
        number, column = place
        wave = self._lanes.waves[number]
        if not column:
            if number:
                self._finish(self._lanes.waves[number - 1])
            self._start(wave)
        mean, log_scale = self._outputs(wave, column).cpu().numpy()
        return mean, exact_exp(np.clip(log_scale, *LOG_SCALES))

    @torch.no_grad()
    def put(self, place: Place, values: Floats) -> None:
        """Takes the decoded voxels of a place in every lane, in the grid's units."""
        own = torch.from_numpy(values).to(self._table.device)
        self._rows[0].at(place[1]).copy_(fixed(own, INPUT_BITS, LARGEST_INPUT))

    def _start(self, wave: Wave) -> None:
        """Computes the contributions of the earlier rows to the rows of a wave."""
        counts = [model.channels * wave.blocks(grid) for grid, model in enumerate(self._models)]
        ends = np.cumsum(counts).tolist()
        self._parts = [(grid, slice(ends[grid] - count, ends[grid])) for grid, count in enumerate(counts) if count]
        self._rows = [
            CurrentRows([
                (part, self._models[grid].convs[number], self._row_sums(wave, grid, number))
                for grid, part in self._parts
            ])
            for number in range(len(self._models[0].convs))
        ]  # fmt: skip
        norms = [self._models[grid].norms.repeat_interleave(wave.blocks(grid), 3) for grid, _ in self._parts]
        self._norms = torch.cat(norms, 3)

    def _row_sums(self, wave: Wave, grid: int, number: int) -> Tensor:
        """What the earlier rows contribute to a convolution in the lanes of a grid, `[C, 8 * F', n]`."""
        conv, parts = self._models[grid].convs[number], []
        for row, blocks in wave.rows[grid]:
            total = conv.bias.repeat(1, 1, blocks.stop - blocks.start)
            for lines, back, inputs in self._histories[grid][number].earlier_rows(row, blocks):
                total.baddbmm_(conv.earlier_rows[back][:, :, inputs], lines)
            parts.append(total)
        return torch.cat(parts, 2)

    def _finish(self, wave: Wave) -> None:
        """Stores the rows of a wave."""
        for number, current in enumerate(self._rows):
            for grid, part in self._parts:
                rows = by_channel(current.rows[HALF * current.before :, part], self._models[grid].channels)
                counts = [blocks.stop - blocks.start for _, blocks in wave.rows[grid]]
                for (row, blocks), values in zip(wave.rows[grid], rows.split(counts, 2), strict=True):
                    self._histories[grid][number].store(row, blocks, values)

    def _outputs(self, wave: Wave, column: int) -> Tensor:
        """Mean and log scale of the voxels at a column in all lanes of a wave, `[2, lanes]`."""
        convs, lanes = self._models[0].convs, self._rows[0].rows.shape[1]
        outside = torch.from_numpy(np.flatnonzero(wave.columns <= column)).to(self._table.device)
        for number, (gain, shift) in enumerate(self._norms):
            index, following = gain.new_empty(WIDTH, lanes), self._rows[number + 1].at(column)
            for part, total in self._rows[number].sums_at(column):
                gelu_index(total, convs[number].shift, by_channel(index[:, part], len(total)))
            exact_norm(exact_gelu(index, self._table), gain, shift, following)
            following.index_fill_(1, outside, 0.0)
        outputs = self._table.new_empty(OUTPUTS, lanes)
        for part, total in self._rows[-1].sums_at(column):
            torch.mul(total, 2.0 ** -(FEATURE_BITS + WEIGHT_BITS), out=by_channel(outputs[:, part], len(total)))
        return outputs


@contextmanager
def one_thread() -> Iterator[None]:
    """Runs each of torch's operations in one thread: for small ones, waiting for others costs more than they give."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def walk(models: Sequence[FixedPointModel], lanes: Lanes, visit: Visit[Place]) -> None:
    """Visits all places of the lanes in their order, in one thread.

    `visit` gets a place and the means and deviations of the wave's lanes there; it returns their values, zero outside
    the grid.
    """
    with one_thread():
        causal.walk(LanePredictor(models, lanes), visit)
