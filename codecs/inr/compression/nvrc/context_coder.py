"""Coding the blocks of grids under their context models, evaluated in integers: the same symbols on any machine.

All blocks and channels of all grids are lanes that go side by side, one voxel after the other in raster order. For a
row of eight voxels, what the rows before it contribute to a convolution is a few matrix products per channel; the taps
inside the row follow voxel by voxel.

What exactness costs: nothing that can be seen. 13,840 grid values of a short fit (Bunny at 160x90, 8 frames, 40K) take
61,598 bits under the model in floating point, 61,588 under these integers, and 60,960 in the file; layers take
80,136, 80,124 and 80,224 (measured once). That the file's grids take fewer may be because its tables make outliers
cheaper: a guess that nobody has tested. S2's 1.9 million values: `benchmarks/`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

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

INPUT_BITS = 16
LARGEST_INPUT = 16.0
LOG_SCALES = (-20.0, 10.0)
_, ROWS, COLUMNS = BLOCK
HALF = KERNEL // 2


@dataclass(frozen=True)
class RowConv:
    """A masked convolution of fixed-point numbers, split into the rows before the current one and its own taps."""

    lines: tuple[Tensor, ...]
    """`[C, 5 * 8 * before, 8 * after]` of each frame before and `[C, 2 * 8 * before, 8 * after]` of the rows before
    the current one, to all of the row."""
    own: Tensor
    """`[C, 3 * before, after]`: two voxels to the left, and the current one where the convolution sees it."""
    bias: Tensor
    """`[C, 1, 8 * after]`"""
    shift: float
    """What brings a sum to the bits of an activation."""


def row_conv(weight: Tensor, bias: Tensor, channels: int, input_bits: int) -> RowConv:
    """Of weights `[C after, before, taps]`, whose values are the same everywhere."""
    integers = fixed(weight, WEIGHT_BITS, LARGEST_WEIGHT)
    kernel = functional.pad(integers, (0, TAPS - weight.shape[2])).view(channels, -1, weight.shape[1], TAPS)
    kernel = kernel.permute(0, 3, 2, 1)  # [C, taps, before, after]
    own = kernel[:, BEFORE - HALF : BEFORE + 1]
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
        tuple(part.flatten(1, 2) for part in parts), own.flatten(1, 2),
        fixed(bias, bits, LARGEST_WEIGHT).view(channels, 1, -1).repeat(1, 1, COLUMNS), 2.0 ** (ACTIVATION_BITS - bits),
    )  # fmt: skip


class Level:
    """A grid's context model, in integers, and which voxels its blocks have."""

    def __init__(self, model: ContextModel, inside: Tensor) -> None:
        """Parameters as they travel; `inside` `[n, 1, 16, 8, 8]`."""
        channels = model.channels
        self.lanes = (channels, len(inside))
        self.convs = [
            row_conv(conv.weight.detach(), conv.bias.detach(), channels, bits)
            for conv, bits in ((model.first, INPUT_BITS), (model.second, FEATURE_BITS), (model.third, FEATURE_BITS))
        ]
        self.norms = [
            [part.detach().double().view(channels, WIDTH).repeat_interleave(len(inside), 0) for part in pair]
            for pair in model.gains_and_shifts
        ]
        """Gains and shifts of every lane."""
        self.inside = inside.transpose(0, 1).expand(channels, -1, -1, -1, -1).flatten(0, 1)
        """`[lanes, 16, 8, 8]`"""

    def view(self, lanes: Tensor) -> Tensor:
        """`[lanes, F]` -> `[C, n, F]`."""
        return lanes.view(*self.lanes, -1)


class Feature:
    """Of all lanes: the last three frames, with the rows around them that are zero, and the current row."""

    def __init__(self, lanes: int, width: int, device: torch.device) -> None:
        def zeros(*shape: int) -> Tensor:
            return torch.zeros(lanes, *shape, dtype=torch.float64, device=device)

        self.width = width
        self.frames = [zeros(ROWS + 2 * HALF, COLUMNS * width) for _ in range(HALF + 1)]
        self.row = zeros((HALF + COLUMNS) * width)

    def next_frame(self) -> None:
        """The oldest frame goes."""
        oldest, *others = self.frames
        self.frames = [*others, oldest.zero_()]

    def before(self, row: int) -> list[Tensor]:
        """What a convolution sees of the frames and of the rows before this one, `[lanes, lines * 8 * F]` each."""
        *earlier, current = self.frames
        seen = [frame[:, row : row + KERNEL] for frame in earlier]
        return [lines.flatten(1) for lines in (*seen, current[:, row : row + HALF])]

    def near(self, column: int) -> Tensor:
        """The two voxels before this one in its row, and itself, `[lanes, 3 * F]`."""
        return self.row[:, column * self.width : (column + HALF + 1) * self.width]

    def put(self, column: int, values: Tensor) -> None:
        """Of the row's voxel in every lane, `[lanes, F]`."""
        self.row[:, (HALF + column) * self.width : (HALF + column + 1) * self.width] = values

    def finish_row(self, row: int) -> None:
        """The row is complete."""
        self.frames[-1][:, row + HALF] = self.row[:, HALF * self.width :]
        self.row.zero_()


class Walker:
    """All lanes of all levels, level by level, channel by channel, block by block, at one voxel."""

    def __init__(self, levels: Sequence[Level]) -> None:
        self._levels = levels
        counts = [channels * number for channels, number in (level.lanes for level in levels)]
        ends = [sum(counts[: at + 1]) for at in range(len(counts))]
        self._parts = [slice(end - count, end) for end, count in zip(ends, counts, strict=True)]
        inside = torch.cat([level.inside for level in levels])
        self.extent = [int(inside.any(0).sum(axis).max()) for axis in range(3)]
        """Voxels of the largest block along each axis."""
        self._inside = inside.permute(1, 2, 3, 0).double().contiguous()[..., None]
        self._norms = [[torch.cat(parts) for parts in zip(*pairs, strict=True)] for pairs in self._gathered()]
        self._features = [Feature(ends[-1], width, inside.device) for width in (1, WIDTH, WIDTH)]
        self._sums = [inside.new_empty(ends[-1], width, dtype=torch.float64) for width in (WIDTH, WIDTH, OUTPUTS)]
        self._far = [inside.new_empty(ends[-1], COLUMNS * own.shape[1], dtype=torch.float64) for own in self._sums]
        self._table = gelu_table().to(inside.device)

    def _gathered(self) -> list[list[list[Tensor]]]:
        """Gains and shifts of each norm, level by level."""
        return [[level.norms[number] for level in self._levels] for number in range(len(self._levels[0].norms))]

    def start_frame(self) -> None:
        """The next frame of the blocks begins."""
        for feature in self._features:
            feature.next_frame()

    def start_row(self, row: int) -> None:
        """What the rows before it contribute to the row."""
        for number, (feature, far) in enumerate(zip(self._features, self._far, strict=True)):
            before = feature.before(row)
            for level, part in zip(self._levels, self._parts, strict=True):
                conv, total = level.convs[number], level.view(far[part])
                total.copy_(conv.bias.expand_as(total))
                for lines, weight in zip(before, conv.lines, strict=True):
                    total.baddbmm_(level.view(lines[part]), weight)

    def predict(self, time: int, row: int, column: int) -> Tensor:
        """Mean and log scale of the voxel in every lane, `[lanes, 2]`."""
        for number, (gain, shift) in enumerate(self._norms):
            x = self._sum(number, column).mul_(self._levels[0].convs[number].shift).round_()
            x = exact_norm(exact_gelu(x, self._table), gain, shift)
            self._features[number + 1].put(column, x.mul_(self._inside[time, row, column]))
        return self._sum(len(self._norms), column) * 2.0 ** -(FEATURE_BITS + WEIGHT_BITS)

    def _sum(self, number: int, column: int) -> Tensor:
        total, near = self._sums[number], self._features[number].near(column)
        after = total.shape[1]
        far = self._far[number][:, column * after : (column + 1) * after]
        for level, part in zip(self._levels, self._parts, strict=True):
            own = [level.view(x[part]) for x in (far, near, total)]
            torch.baddbmm(own[0], own[1], level.convs[number].own, out=own[2])
        return total

    def place(self, column: int, values: Tensor) -> None:
        """The voxel of every lane is known, `[lanes]`, in the grid's units."""
        self._features[0].put(column, fixed(values[:, None], INPUT_BITS, LARGEST_INPUT))

    def finish_row(self, row: int) -> None:
        """Its voxels are all known."""
        for feature in self._features:
            feature.finish_row(row)


Visit = Callable[[tuple[int, int, int], Floats, Floats], Floats]
"""Gets a place in the blocks and means and scales of all lanes there; gives their values, zero outside."""


@torch.no_grad()
def walk(levels: Sequence[Level], visit: Visit) -> None:
    """Visits the voxels of all blocks of all levels side by side, in raster order, but not where no block has any."""
    walker = Walker(levels)
    times, rows, columns = (range(length) for length in walker.extent)
    for time in times:
        walker.start_frame()
        for row in rows:
            walker.start_row(row)
            for column in columns:
                found = walker.predict(time, row, column)
                mean, scale = found.T.contiguous().cpu().numpy()
                values = visit((time, row, column), mean, exact_exp(np.clip(scale, *LOG_SCALES)))
                walker.place(column, torch.from_numpy(values).to(found.device))
            walker.finish_row(row)
