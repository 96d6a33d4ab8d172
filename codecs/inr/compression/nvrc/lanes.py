"""Lanes: every channel of every block of the grids. Rows of voxels that need nothing of each other are coded together.

A row's context reaches two rows down in the two frames before, in its own block. So row h of frame t is coded in wave
h + 3 t, in all lanes side by side, a place for each of its eight columns: 53 waves instead of 128 rows.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ...entropy.exact import Floats
from ...entropy.scale_tables import Integers
from .context_model import BLOCK, KERNEL, Blocks

Place = tuple[int, int]
"""A wave and a column of its rows."""
Mask = npt.NDArray[np.bool_]
Positions = npt.NDArray[np.int64]
WAVES_PER_FRAME = KERNEL // 2 + 1
"""Waves from a row to the same row of the next frame."""
TIMES, ROWS, COLUMNS = BLOCK
VOXELS = TIMES * ROWS * COLUMNS


@dataclass(frozen=True)
class Row:
    """A row of voxels in a block: its frame and its place there."""

    time: int
    row: int

    @classmethod
    def of_wave(cls, wave: int) -> "list[Row]":
        """The rows that a wave may have."""
        rows = [cls(time, wave - WAVES_PER_FRAME * time) for time in range(TIMES)]
        return [row for row in rows if 0 <= row.row < ROWS]


class BlockOrder:
    """The order of a grid's blocks in its lanes, in which the blocks that have a row of voxels are neighbors.

    Blocks at the grid's far ends have fewer frames or rows. In order: all frames and few rows, all of both, few frames
    and all rows, few of both.
    """

    def __init__(self, blocks: Blocks) -> None:
        (times, rows, columns), (length, height, width) = blocks.counts, blocks.shape[1:]
        few_frames = (np.arange(times) + 1) * TIMES > length
        few_rows = (np.arange(rows) + 1) * ROWS > height
        kinds = np.array([[1, 0], [2, 3]])[few_frames.astype(int)[:, None], few_rows.astype(int)]
        kind_of_block = np.repeat(kinds.ravel(), columns)
        self.positions = np.argsort(kind_of_block, kind="stable")
        """The number in `Blocks` of each block."""
        self._ends = np.cumsum(np.bincount(kind_of_block, minlength=4)).tolist()
        self._few = length - (times - 1) * TIMES, height - (rows - 1) * ROWS
        self.columns = np.minimum(COLUMNS, width - COLUMNS * (np.arange(blocks.number) % columns))[self.positions]
        """Columns of each block."""

    def having(self, row: Row) -> slice:
        """The blocks that have a row of voxels."""
        first, second, third, last = self._ends
        in_all_rows, in_all_frames = row.row < self._few[1], row.time < self._few[0]
        end = (last if in_all_rows else third) if in_all_frames else second
        return slice(0 if in_all_rows else first, end)


@dataclass(frozen=True)
class Wave:
    """The rows of a wave; its lanes come grid by grid, channel by channel, row by row, block by block."""

    rows: Sequence[Sequence[tuple[Row, slice]]]
    """For each grid, its rows and the blocks that have them."""
    voxels: Positions
    """The position among all values of each lane's first column."""
    columns: Positions
    """The columns that each lane has."""
    steps: Floats
    """The quantization step of each lane."""

    def blocks(self, grid: int) -> int:
        """Lanes of each channel of a grid."""
        return sum(blocks.stop - blocks.start for _, blocks in self.rows[grid])


class Lanes:
    """The values of all grids, in lanes."""

    def __init__(self, grids: Mapping[str, Blocks], steps: Mapping[str, Floats]) -> None:
        """`steps`: by name of the grid, they broadcast with its blocks `[n, C, 1, 1, 1]`."""
        self._grids = dict(grids)
        self.orders = [BlockOrder(blocks) for blocks in grids.values()]
        """The order of each grid's blocks."""
        counts = [blocks.shape[0] * blocks.number for blocks in grids.values()]
        self._starts = np.cumsum([0, *counts]).tolist()
        parts = [
            np.broadcast_to(steps[name][..., 0, 0, 0], (blocks.number, blocks.shape[0]))[order.positions].T.ravel()
            for (name, blocks), order in zip(grids.items(), self.orders, strict=True)
        ]
        self._steps = np.concatenate([np.zeros(0), *parts])
        self._values = np.zeros(self._starts[-1] * VOXELS)
        last = (TIMES - 1) * WAVES_PER_FRAME + ROWS
        self.waves = [wave for wave in map(self._wave, range(last)) if wave.voxels.size]

    def _wave(self, number: int) -> Wave:
        rows, voxels, columns, numbers = [], [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for blocks, order, start in zip(self._grids.values(), self.orders, self._starts, strict=False):
            pairs = [(row, order.having(row)) for row in Row.of_wave(number)]
            rows.append([(row, having) for row, having in pairs if having.stop > having.start])
            for channel in range(blocks.shape[0]):
                for row, having in rows[-1]:
                    lanes = start + channel * blocks.number + np.arange(having.start, having.stop)
                    numbers.append(lanes)
                    voxels.append(lanes * VOXELS + (row.time * ROWS + row.row) * COLUMNS)
                    columns.append(order.columns[having])
        return Wave(rows, np.concatenate(voxels), np.concatenate(columns), self._steps[np.concatenate(numbers)])

    @property
    def places(self) -> list[Place]:
        """All places in the order of coding."""
        return [(number, column) for number, wave in enumerate(self.waves) for column in range(int(wave.columns.max()))]

    def arranged(self, blocks: Mapping[str, Floats]) -> Floats:
        """Blocks `[n, C, 16, 8, 8]` of each grid in the order of the lanes' values, `[lanes * 1024]`."""
        parts = zip(blocks.values(), self.orders, strict=True)
        return np.concatenate(
            [np.zeros(0), *(np.swapaxes(grid[order.positions], 0, 1).ravel() for grid, order in parts)]
        )

    @property
    def values(self) -> dict[str, Floats]:
        """The values coded so far, as blocks `[n, C, 16, 8, 8]` by the grids' names."""
        found = {}
        for (name, blocks), order, start in zip(self._grids.items(), self.orders, self._starts, strict=False):
            count = blocks.shape[0] * blocks.number
            own = self._values[start * VOXELS : (start + count) * VOXELS].reshape(blocks.shape[0], -1, *BLOCK)
            found[name] = np.empty((blocks.number, blocks.shape[0], *BLOCK))
            found[name][order.positions] = own.swapaxes(0, 1)
        return found

    def voxels(self, place: Place) -> tuple[Mask, Positions]:
        """Which lanes of a wave have this column, and the positions of their voxels among `arranged` values."""
        wave, column = self.waves[place[0]], place[1]
        inside: Mask = wave.columns > column
        return inside, wave.voxels[inside] + column

    def spread(self, place: Place, numbers: Sequence[float]) -> Floats:
        """The number of each lane's grid in a wave, from one number for each grid."""
        counts = [
            blocks.shape[0] * sum(having.stop - having.start for _, having in rows)
            for blocks, rows in zip(self._grids.values(), self.waves[place[0]].rows, strict=True)
        ]
        return np.repeat(np.array(numbers), counts)

    def take(self, place: Place, code: Callable[[Mask, Positions, Floats], Integers]) -> Floats:
        """Codes a column of a wave in the lanes that have it; stores and returns the values of the wave's lanes.

        `code` gets the mask of these lanes, the positions of their voxels and their steps, and returns their codes. The
        values of other lanes are zero.
        """
        inside, voxels = self.voxels(place)
        steps = self.waves[place[0]].steps[inside]
        coded: Floats = code(inside, voxels, steps) * steps
        self._values[voxels] = coded
        if len(coded) == len(inside):
            return coded
        values = np.zeros(len(inside))
        values[inside] = coded
        return values
