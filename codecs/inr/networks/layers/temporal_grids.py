"""Learned grids over time, interpolated linearly between the two time steps on either side of a frame.

A grid of T_g time steps spans the N frames of a clip. The codecs differ in where frame i reads it: FFNeRV and T-NeRV
at i T_g / N (`steps_from_starts`); HiNeRV, NVRC and TeNeRV at (i + 1/2) T_g / N - 1/2 (`steps_from_centers`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

GRID_INIT = 1e-3
"""Bound of the uniform distribution around zero that initializes grids (HiNeRV)."""
LOCAL_LEVELS = 3
"""Levels of a local encoding (HiNeRV)."""


@dataclass(frozen=True)
class TimeSteps:
    """The time steps of a grid on either side of frames `[B]`."""

    earlier: Tensor
    """Indices of the time steps at or before the frames."""
    later: Tensor
    """Indices of the time steps after them; the last one where there is none."""
    weight: Tensor
    """Interpolation weight of `later`, in 0..1, float32."""

    def interpolate(self, values_at: Callable[[Tensor], Tensor]) -> Tensor:
        """Values at the frames, `[B, ...]`, where `values_at` returns those of time steps `[B]`."""
        earlier, later = values_at(self.earlier), values_at(self.later)
        return torch.lerp(earlier, later, self.weight.view(-1, *[1] * (earlier.dim() - 1)).to(earlier.dtype))


def steps_from_starts(frames: Tensor, length: int, total: int) -> TimeSteps:
    """Where frames read a grid of `length` time steps at i T_g / N: frame 0 reads step 0 (FFNeRV).

    The last time step is held to the end of the clip. Positions are computed in integers, so that frames that coincide
    with a time step read exactly its values.
    """
    position = frames * length
    earlier = torch.div(position, total, rounding_mode="floor")
    return TimeSteps(earlier, (earlier + 1).clamp(max=length - 1), (position % total) / total)


def steps_from_centers(frames: Tensor, length: int, total: int) -> TimeSteps:
    """Where frames read a grid of `length` time steps at (i + 1/2) T_g / N - 1/2 (HiNeRV).

    As in a linear resize whose samples are the centers of their cells (`align_corners=False`).
    """
    position = ((frames.double() + 0.5) * (length / total) - 0.5).clamp(0, length - 1)
    earlier = position.floor().long()
    return TimeSteps(earlier, (earlier + 1).clamp(max=length - 1), (position - earlier).float())


def grid_lengths(finest: int, levels: int) -> list[int]:
    """Time steps of each level, coarsest first: halved from level to level, at least one."""
    return [max(1, finest >> level) for level in reversed(range(levels))]


def level_lengths(finest: int, levels: int, ratio: int) -> list[int]:
    """Time steps of each level of a grid: `finest`, and in each next level one for `ratio` of them (rounded up)."""
    return [-(-finest // ratio**level) for level in range(levels)]


class TemporalGrid(nn.Module):
    """A grid of feature maps `[T_g, C, h, w]`, read at i T_g / N (FFNeRV, T-NeRV)."""

    def __init__(self, time_steps: int, channels: int, height: int, width: int, frames: int) -> None:
        super().__init__()
        self._frames = frames
        self.rows = nn.Parameter(torch.empty(time_steps, channels, height, width))
        """The feature maps, one for each time step."""
        nn.init.xavier_uniform_(self.rows)

    def forward(self, frames: Tensor) -> Tensor:
        """The features of frames `[B]`: `[B, C, h, w]`."""
        return steps_from_starts(frames, len(self.rows), self._frames).interpolate(lambda step: self.rows[step])


def initialized_grid(rows: int, width: int) -> nn.Parameter:
    """A trainable grid `[rows, width]` with HiNeRV's initialization."""
    return nn.Parameter(torch.empty(rows, width).uniform_(-GRID_INIT, GRID_INIT))


class MultiLevelGrid(nn.Module):
    """Levels of feature maps, usually with fewer time steps and more channels from level to level, concatenated.

    Read at (i + 1/2) T_g / N - 1/2 (HiNeRV, section 3.2). `levels` are pairs of time steps and channels. A level is
    stored as `[T_g cells, C]`, and only the time steps next to the requested frames are read.
    """

    def __init__(self, levels: Sequence[tuple[int, int]], cells: int, frames: int) -> None:
        super().__init__()
        self.cells, self.frames = cells, frames
        self.levels = nn.ParameterList(initialized_grid(length * cells, channels) for length, channels in levels)

    def lengths(self) -> list[int]:
        """Time steps of each level."""
        return [len(level) // self.cells for level in self.levels]

    def forward(self, frames: Tensor, cells: Tensor) -> Tensor:
        """The features of cells `[B, n]` of frames `[B]`: `[B, n, C]`."""
        return torch.cat([self._read(level, frames, cells) for level in self.levels], dim=-1)

    def _read(self, level: Tensor, frames: Tensor, cells: Tensor) -> Tensor:
        def values_at(step: Tensor) -> Tensor:
            return level.index_select(0, (step[:, None] * self.cells + cells).flatten()).view(*cells.shape, -1)

        return steps_from_centers(frames, len(level) // self.cells, self.frames).interpolate(values_at)


class LocalEncoding(nn.Module):
    """A code for each pixel position in a cell of `stride` x `stride`, added after upsampling (HiNeRV, section 3.2).

    Level l has T / 2^l time steps of `channels` * 2^l values for each position, where T is `time_steps`, in the paper
    the number of frames; a linear layer maps the concatenated levels to `width` channels.
    """

    def __init__(self, channels: int, stride: int, width: int, time_steps: int, frames: int) -> None:
        super().__init__()
        self.stride, self.frames = stride, frames
        levels = [(max(1, time_steps >> level), channels << level) for level in range(LOCAL_LEVELS)]
        self.levels = nn.ParameterList(initialized_grid(length, stride * stride * count) for length, count in levels)
        self.line = nn.Linear(sum(count for _, count in levels), width)

    def forward(self, frames: Tensor) -> Tensor:
        """Frames `[B]` -> `[B, s, s, C]`."""
        mixed: Tensor = self.line(torch.cat([self._read(level, frames) for level in self.levels], dim=-1))
        return mixed

    def _read(self, level: Tensor, frames: Tensor) -> Tensor:
        codes = steps_from_centers(frames, len(level), self.frames).interpolate(lambda step: level[step])
        return codes.view(len(frames), self.stride, self.stride, -1)


def local_channels(first: int, stages: int) -> list[int]:
    """Channels of the first level of each stage's local encoding: halved from stage to stage, at least one (HiNeRV)."""
    return [max(1, first >> number) for number in range(stages)]


def local_time_steps(strides: Sequence[int], channels: int, values: float, frames: int) -> int:
    """Time steps with which the local encodings of all stages hold about `values` values: one to `frames`.

    `channels` are those of the first stage's. All levels of an encoding have about as many values.
    """
    counts = local_channels(channels, len(strides))
    of_a_step = LOCAL_LEVELS * sum(stride**2 * count for stride, count in zip(strides, counts, strict=True))
    return max(1, min(frames, round(values / of_a_step)))
