"""Coding the blocks of grids under their context models, evaluated in integers: the same symbols on any machine.

All blocks and channels of all grids are lanes that go side by side, one voxel after the other in raster order. For a
row of eight voxels, what the rows before it contribute to a convolution is one matrix product per channel; the taps
inside the row follow voxel by voxel.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from .context_model import BEFORE, BLOCK, KERNEL, TAPS, WIDTH, ContextModel
from .exact import (
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

INPUT_BITS = 16
LARGEST_INPUT = 16.0
LOG_SCALES = (-20.0, 10.0)
TIME, ROWS, COLUMNS = BLOCK
HALF = KERNEL // 2


@dataclass(frozen=True)
class RowConv:
    """A masked convolution of fixed-point numbers, split into the rows before the current one and its own taps."""

    rows: Tensor
    """`[C, 12 * 8 * before, 8 * after]`: two frames of five rows and the two rows before, to all of the row."""
    own: Tensor
    """`[C, 3 * before, after]`: two voxels to the left, and the current one where the convolution sees it."""
    bias: Tensor
    """`[C, 1, after]`"""
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
    return RowConv(
        wide.flatten(4, 5).flatten(1, 3), own.flatten(1, 2),
        fixed(bias, bits, LARGEST_WEIGHT).view(channels, 1, -1), 2.0 ** (ACTIVATION_BITS - bits),
    )  # fmt: skip


class Feature:
    """The last three frames of a feature, with the rows around them that are zero: `[C, n, 3, 12, 8, F]`."""

    def __init__(self, lanes: tuple[int, int], width: int, device: torch.device) -> None:
        options = {"dtype": torch.float64, "device": device}
        self.frames = torch.zeros(*lanes, HALF + 1, ROWS + 2 * HALF, COLUMNS, width, **options)  # type: ignore[call-overload]
        self.row = torch.zeros(*lanes, HALF + COLUMNS, width, **options)  # type: ignore[call-overload]

    def next_frame(self) -> None:
        """The oldest frame goes."""
        self.frames = torch.cat([self.frames[:, :, 1:], torch.zeros_like(self.frames[:, :, :1])], 2)

    def before(self, row: int) -> Tensor:
        """What a convolution sees of the rows before this one, `[C, n, 12 * 8 * F]`."""
        whole = self.frames[:, :, :HALF, row : row + KERNEL].flatten(2, 3)
        return torch.cat([whole, self.frames[:, :, HALF, row : row + HALF]], 2).flatten(2)

    def finish_row(self, row: int) -> None:
        """The row is complete."""
        self.frames[:, :, HALF, row + HALF] = self.row[:, :, HALF:]
        self.row.zero_()


class Level:
    """A grid's context model, in integers, walking through its blocks."""

    def __init__(self, model: ContextModel, inside: Tensor) -> None:
        """Parameters as they travel; `inside` `[n, 1, 16, 8, 8]`."""
        channels, device = model.channels, inside.device
        self.lanes, self.device = (channels, len(inside)), device
        self._convs = [
            row_conv(conv.weight.detach(), conv.bias.detach(), channels, bits)
            for conv, bits in ((model.first, INPUT_BITS), (model.second, FEATURE_BITS), (model.third, FEATURE_BITS))
        ]
        self._norms = [
            tuple(p.detach().double().view(channels, 1, WIDTH) for p in (norm.gain, norm.shift))
            for norm in model.norms
        ]
        self._features = [Feature(self.lanes, width, device) for width in (1, WIDTH, WIDTH)]
        self._inside = inside[:, 0, ..., None].double()
        self._table = gelu_table().to(device)
        self._far: list[Tensor] = []

    def start_frame(self) -> None:
        """The next frame of the blocks begins."""
        for feature in self._features:
            feature.next_frame()

    def start_row(self, row: int) -> None:
        """What the rows before it contribute to the row."""
        self._far = [
            torch.baddbmm(conv.bias.repeat(1, 1, COLUMNS), feature.before(row), conv.rows)
            for conv, feature in zip(self._convs, self._features, strict=True)
        ]

    def predict(self, time: int, row: int, column: int) -> tuple[Tensor, Tensor]:
        """Mean and log scale of the voxel in every lane, `[C, n]`."""
        for number, (gain, shift) in enumerate(self._norms):
            x = (self._sum(number, column) * self._convs[number].shift).round()
            x = exact_norm(exact_gelu(x, self._table), gain, shift) * self._inside[:, time, row, column]
            self._features[number + 1].row[:, :, HALF + column] = x
        out = self._sum(len(self._norms), column) * 2.0 ** -(FEATURE_BITS + WEIGHT_BITS)
        return out[..., 0], out[..., 1]

    def _sum(self, number: int, column: int) -> Tensor:
        conv, feature = self._convs[number], self._features[number]
        near = feature.row[:, :, column : column + HALF + 1].flatten(2)
        after = conv.bias.shape[-1]
        return torch.baddbmm(self._far[number][:, :, column * after : (column + 1) * after], near, conv.own)

    def place(self, column: int, values: Tensor) -> None:
        """The voxel of every lane is known, `[C, n]`, in the grid's units."""
        self._features[0].row[:, :, HALF + column, 0] = fixed(values, INPUT_BITS, LARGEST_INPUT)

    def finish_row(self, row: int) -> None:
        """Its voxels are all known."""
        for feature in self._features:
            feature.finish_row(row)


Visit = Callable[[tuple[int, int, int], Floats, Floats], Floats]
"""Gets a place in the blocks and means and scales of all lanes there; gives their values, zero outside."""


@torch.no_grad()
def walk(levels: Sequence[Level], visit: Visit) -> None:
    """Visits the voxels of all blocks of all levels side by side, in raster order."""
    device = levels[0].device
    sizes = [level.lanes[0] * level.lanes[1] for level in levels]
    for time in range(TIME):
        for level in levels:
            level.start_frame()
        for row in range(ROWS):
            for level in levels:
                level.start_row(row)
            for column in range(COLUMNS):
                found = [level.predict(time, row, column) for level in levels]
                mean, scale = (torch.cat([one[part].flatten() for one in found]).cpu().numpy() for part in range(2))
                values = visit((time, row, column), mean, exact_exp(np.clip(scale, *LOG_SCALES)))
                for level, own in zip(levels, torch.from_numpy(values).to(device).split(sizes), strict=True):
                    level.place(column, own.view(level.lanes))
            for level in levels:
                level.finish_row(row)
