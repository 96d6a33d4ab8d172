"""Evaluation of the context models in integers, voxel by voxel, so that any machine decodes the same symbols.

The lanes of a wave (`lanes.py`) are coded side by side, one column after the other. For a row of eight voxels, the
contribution of the rows before it to a convolution is a few matrix products per channel; the taps inside the row follow
voxel by voxel.

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
    gelu_table,
    norm_constants,
)
from .context_model import BEFORE, BLOCK, KERNEL, TAPS, WIDTH, ContextModel
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
    """Weights from earlier rows to all voxels of the current row: `[C, 2 * 8 * before, 8 * after]` for the current
    frame, and `[C, 5 * 8 * before, 8 * after]` for each earlier frame, back in time."""
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
    parts = reversed(wide.flatten(4, 5).flatten(2, 3).split(KERNEL, dim=1))
    return RowConv(
        weight.shape[1], tuple(part.flatten(1, 2) for part in parts), current_row.flatten(1, 2),
        fixed(bias, bits, LARGEST_WEIGHT).view(channels, 1, -1).repeat(1, 1, COLUMNS), 2.0 ** (ACTIVATION_BITS - bits),
    )  # fmt: skip


class FixedPointModel:
    """A grid's context model in fixed point."""

    def __init__(self, model: ContextModel) -> None:
        """`model` has the parameters of the bitstream."""
        self.channels = channels = model.channels
        self.convs = [
            row_conv(conv.weight.detach(), conv.bias.detach(), channels, bits)
            for conv, bits in ((model.first, INPUT_BITS), (model.second, FEATURE_BITS), (model.third, FEATURE_BITS))
        ]
        pairs = [[part.detach().view(channels, WIDTH) for part in pair] for pair in model.gains_and_shifts]
        self.norms = torch.stack([norm_constants(*pair) for pair in pairs])
        """The constants of each norm, `[2, 2, C, 8]`."""


class History:
    """A convolution's inputs in all blocks of a grid: the rows of the last frames.

    A frame takes the place of the one five frames before. Rows that a block lacks stay zero.
    """

    def __init__(self, channels: int, blocks: int, width: int, device: torch.device) -> None:
        self._line = COLUMNS * width
        self._rows = torch.zeros(channels, FRAMES, blocks, ROWS * self._line, dtype=torch.float64, device=device)

    def earlier_rows(self, at: Row, blocks: slice) -> list[tuple[Tensor, int, slice]]:
        """What the kernel sees of each frame above a row: the rows that exist, `[C, n, rows * 8 * F]`, how many frames
        back, and which of the kernel's inputs these are.
        """
        seen = []
        for back in range(min(HALF, at.time), -1, -1):
            first, last = max(0, at.row - HALF), min(ROWS, at.row + HALF + 1) if back else at.row
            if last > first:
                lines = self._rows[:, (at.time - back) % FRAMES, blocks, first * self._line : last * self._line]
                start = (first - at.row + HALF) * self._line
                seen.append((lines, back, slice(start, start + lines.shape[2])))
        return seen

    def store(self, at: Row, blocks: slice, values: Tensor) -> None:
        """Stores a complete row, `[C, n, 8 * F]`."""
        first = at.row * self._line
        self._rows[:, at.time % FRAMES, blocks, first : first + self._line] = values


class CurrentRows:
    """A convolution in the rows of a wave: its inputs behind two voxels of zeros, and what earlier rows contribute."""

    def __init__(self, lanes: int, row_sums: Tensor, convs: Sequence[tuple[slice, RowConv]]) -> None:
        """`row_sums`: contributions of earlier rows `[lanes, 8 * F']`; `convs`: each grid's lanes and convolution."""
        self.before = convs[0][1].before
        self.rows = row_sums.new_zeros(lanes, (HALF + COLUMNS) * self.before)
        self._sums = row_sums.unflatten(1, (COLUMNS, -1)).transpose(0, 1).contiguous()
        self._parts = [
            (conv.current_row, self.rows[part].unflatten(0, (len(conv.bias), -1)), part) for part, conv in convs
        ]

    def at(self, column: int) -> Tensor:
        """The features of a column in every lane, `[lanes, F]`."""
        features: Tensor = self.rows[:, (HALF + column) * self.before : (HALF + column + 1) * self.before]
        return features

    def sum_at(self, column: int) -> Tensor:
        """The convolution's result at a column in every lane, `[lanes, F']`, to be computed once."""
        taps = slice(column * self.before, (column + HALF + 1) * self.before)
        total: Tensor = self._sums[column]
        for weight, rows, part in self._parts:
            total[part].unflatten(0, (len(weight), -1)).baddbmm_(rows[:, :, taps], weight)
        return total


class LanePredictor:
    """Predictions for a column of a wave in all its lanes; a `causal.CausalModel`."""

    def __init__(self, models: Sequence[FixedPointModel], lanes: Lanes) -> None:
        self._models, self._lanes, self.places = models, lanes, lanes.places
        device = models[0].convs[0].bias.device
        self._histories = [
            [History(model.channels, len(order.positions), conv.before, device) for conv in model.convs]
            for model, order in zip(models, lanes.orders, strict=True)
        ]
        self._table = gelu_table().to(device)
        self._parts: list[tuple[int, slice]] = []
        self._rows: list[CurrentRows] = []
        self._norms = self._columns = torch.zeros(0)

    def _start(self, wave: Wave) -> None:
        """Computes the contributions of the earlier rows to the rows of a wave."""
        counts = [sum(blocks.stop - blocks.start for _, blocks in rows) for rows in wave.rows]
        ends = np.cumsum([model.channels * count for model, count in zip(self._models, counts, strict=True)]).tolist()
        starts = [0, *ends[:-1]]
        self._parts = [(at, slice(starts[at], ends[at])) for at, count in enumerate(counts) if count]
        self._rows = []
        for number in range(len(self._models[0].convs)):
            row_sums = torch.cat([self._row_sums(wave, at, number) for at, _ in self._parts])
            convs = [(part, self._models[at].convs[number]) for at, part in self._parts]
            self._rows.append(CurrentRows(ends[-1], row_sums, convs))
        norms = [self._models[at].norms.repeat_interleave(counts[at], 2) for at, _ in self._parts]
        self._norms = torch.cat(norms, 2)
        self._columns = torch.from_numpy(wave.columns).to(self._table.device)

    def _row_sums(self, wave: Wave, at: int, number: int) -> Tensor:
        """What the earlier rows contribute to a convolution in a grid's lanes, `[lanes, 8 * F']`."""
        conv, parts = self._models[at].convs[number], []
        for row, blocks in wave.rows[at]:
            total = conv.bias.repeat(1, blocks.stop - blocks.start, 1)
            for lines, back, inputs in self._histories[at][number].earlier_rows(row, blocks):
                total.baddbmm_(lines, conv.earlier_rows[back][:, inputs])
            parts.append(total)
        return torch.cat(parts, 1).flatten(0, 1)

    def _finish(self, wave: Wave) -> None:
        """Stores the rows of a wave."""
        for number, current in enumerate(self._rows):
            for at, part in self._parts:
                rows = current.rows[part, HALF * current.before :].unflatten(0, (self._models[at].channels, -1))
                counts = [blocks.stop - blocks.start for _, blocks in wave.rows[at]]
                for (row, blocks), values in zip(wave.rows[at], rows.split(counts, 1), strict=True):
                    self._histories[at][number].store(row, blocks, values)

    def predict(self, place: Place) -> tuple[Floats, Floats]:
        """Mean and deviation of the voxels at a column in every lane of a wave."""
        wave, column = place
        if not column:
            self._start(self._lanes.waves[wave])
        mean, log_scale = self._outputs(column).T.contiguous().cpu().numpy()
        return mean, exact_exp(np.clip(log_scale, *LOG_SCALES))

    def _outputs(self, column: int) -> Tensor:
        """Mean and log scale of the voxels at a column in every lane, `[lanes, 2]`."""
        outside = (self._columns <= column).nonzero()[:, 0]
        for number, (gain, shift) in enumerate(self._norms):
            total, following = self._rows[number].sum_at(column), self._rows[number + 1].at(column)
            exact_norm(exact_gelu(total, self._models[0].convs[number].shift, self._table), gain, shift, following)
            following.index_fill_(0, outside, 0.0)
        return self._rows[-1].sum_at(column) * 2.0 ** -(FEATURE_BITS + WEIGHT_BITS)

    def put(self, place: Place, values: Floats) -> None:
        """Sets the decoded voxels at a column in every lane, in the grid's units."""
        wave, column = place
        lanes = torch.from_numpy(values).to(self._table.device)
        self._rows[0].at(column).copy_(fixed(lanes[:, None], INPUT_BITS, LARGEST_INPUT))
        if column + 1 == int(self._lanes.waves[wave].columns.max()):
            self._finish(self._lanes.waves[wave])


@contextmanager
def one_thread() -> Iterator[None]:
    """Runs torch in one thread: for thousands of small products, waiting for others costs more than they give."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@torch.no_grad()
def walk(models: Sequence[FixedPointModel], lanes: Lanes, visit: Visit[Place]) -> None:
    """Visits all places of the lanes in their order.

    `visit` gets a place and the means and deviations of the wave's lanes there; it returns their values, zero outside
    the grid.
    """
    with one_thread():
        causal.walk(LanePredictor(models, lanes), visit)
