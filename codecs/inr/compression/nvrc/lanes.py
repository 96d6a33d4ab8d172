"""Lanes: every channel of every block of the grids, which are coded side by side, voxel by voxel."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from torch import Tensor

from ...entropy.exact import Floats
from ...entropy.scale_tables import Integers
from .context_model import BLOCK

Place = tuple[int, int, int]
"""Time step, row and column of a voxel in its block."""
Number = TypeVar("Number", bound=np.generic)
Mask = npt.NDArray[np.bool_]


def by_place(blocks: Mapping[str, npt.NDArray[Number]]) -> npt.NDArray[Number]:
    """Blocks `[n, C, 16, 8, 8]` of grids by name as `[16, 8, 8, lanes]`."""
    lanes = [np.moveaxis(grid, (0, 1), (4, 3)).reshape(*BLOCK, -1) for grid in blocks.values()]
    return np.concatenate(lanes, axis=-1)


class Lanes:
    """The lanes of all grids: grid by grid, channel by channel, block by block, as in `context_coder.walk`."""

    def __init__(self, grids: Mapping[str, tuple[Tensor, Floats, int]]) -> None:
        """`grids`: by name, `inside` `[n, 1, 16, 8, 8]`, steps that broadcast with `[n, C, 1, 1, 1]`, and C."""
        self._shapes = {name: (channels, len(inside)) for name, (inside, _, channels) in grids.items()}
        self._counts = [channels * number for channels, number in self._shapes.values()]
        masks = {
            name: np.broadcast_to(inside.cpu().numpy(), (len(inside), channels, *BLOCK))
            for name, (inside, _, channels) in grids.items()
        }
        self._inside = by_place(masks)
        parts = zip(self._shapes.values(), (steps[..., 0, 0, 0] for _, steps, _ in grids.values()), strict=True)
        self._steps = np.concatenate([np.broadcast_to(step.T, shape).ravel() for shape, step in parts])
        self._values = np.zeros(self._inside.shape)

    @property
    def places(self) -> list[Place]:
        """The voxels that at least one lane has, in raster order."""
        return [(int(time), int(row), int(column)) for time, row, column in np.argwhere(self._inside.any(-1))]

    @property
    def values(self) -> dict[str, Floats]:
        """The values coded so far, as blocks `[n, C, 16, 8, 8]` by the grids' names."""
        parts = np.split(self._values, np.cumsum(self._counts)[:-1], axis=-1)
        return {
            name: np.moveaxis(lanes.reshape(*BLOCK, *shape), (4, 3), (0, 1))
            for (name, shape), lanes in zip(self._shapes.items(), parts, strict=True)
        }

    def spread(self, numbers: Sequence[float]) -> Floats:
        """The number of each lane's grid, from one number for each grid."""
        return np.repeat(np.array(numbers), self._counts)

    def take(self, place: Place, code: Callable[[Mask, Floats], Integers]) -> Floats:
        """Codes a voxel in the lanes that have it; stores and returns the values of all lanes.

        `code` gets the mask of these lanes and their steps, and returns their codes.
        """
        inside: Mask = self._inside[place]
        values: Floats = self._values[place]
        steps = self._steps[inside]
        values[inside] = code(inside, steps) * steps
        return values
