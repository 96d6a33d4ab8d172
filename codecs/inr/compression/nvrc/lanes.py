"""The blocks and channels of grids as lanes that go side by side, as the coder of grids sees them."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from torch import Tensor

from ...entropy.exact import Floats
from ...entropy.scale_tables import Integers
from .context_model import BLOCK

Place = tuple[int, int, int]
"""Time, row and column in a block."""
Number = TypeVar("Number", bound=np.generic)
Mask = npt.NDArray[np.bool_]


def by_place(blocks: Mapping[str, npt.NDArray[Number]]) -> npt.NDArray[Number]:
    """Blocks `[n, C, 16, 8, 8]` of grids by name as `[16, 8, 8, lanes]`."""
    lanes = [np.moveaxis(own, (0, 1), (4, 3)).reshape(*BLOCK, -1) for own in blocks.values()]
    return np.concatenate(lanes, axis=-1)


class Lanes:
    """Level by level, channel by channel, block by block: the order of `context_coder.walk`."""

    def __init__(self, grids: Mapping[str, tuple[Tensor, Floats, int]]) -> None:
        """`inside` `[n, 1, 16, 8, 8]`, steps that broadcast with `[n, C, 1, 1, 1]`, and C by the grids' names."""
        self._shapes = {name: (channels, len(inside)) for name, (inside, _, channels) in grids.items()}
        self._counts = [channels * number for channels, number in self._shapes.values()]
        masks = {
            name: np.broadcast_to(inside.cpu().numpy(), (len(inside), channels, *BLOCK))
            for name, (inside, _, channels) in grids.items()
        }
        self._inside = by_place(masks)
        parts = zip(self._shapes.values(), (steps[..., 0, 0, 0] for _, steps, _ in grids.values()), strict=True)
        self._steps = np.concatenate([np.broadcast_to(own.T, shape).ravel() for shape, own in parts])
        self._values = np.zeros(self._inside.shape)

    @property
    def places(self) -> list[Place]:
        """Those that some lane has, in raster order."""
        return [(int(time), int(row), int(column)) for time, row, column in np.argwhere(self._inside.any(-1))]

    @property
    def values(self) -> dict[str, Floats]:
        """What was taken so far, as blocks `[n, C, 16, 8, 8]`."""
        parts = np.split(self._values, np.cumsum(self._counts)[:-1], axis=-1)
        return {
            name: np.moveaxis(own.reshape(*BLOCK, *shape), (4, 3), (0, 1))
            for (name, shape), own in zip(self._shapes.items(), parts, strict=True)
        }

    def spread(self, numbers: Sequence[float]) -> Floats:
        """A number of each grid, for all of its lanes."""
        return np.repeat(np.array(numbers), self._counts)

    def take(self, place: Place, code: Callable[[Mask, Floats], Integers]) -> Floats:
        """Codes the voxel in the lanes that have it, keeps the values, and gives those of all lanes."""
        inside: Mask = self._inside[place]
        values: Floats = self._values[place]
        steps = self._steps[inside]
        values[inside] = code(inside, steps) * steps
        return values
