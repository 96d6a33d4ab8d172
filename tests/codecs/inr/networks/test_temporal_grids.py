"""Grids over time: where FFNeRV's and HiNeRV's read frames, levels side by side, and local encodings."""

import pytest
import torch
from torch.nn import functional

from rdbench.codecs.inr.networks.layers.temporal_grids import (
    LocalEncoding,
    MultiLevelGrid,
    TemporalGrid,
    grid_lengths,
    local_channels,
    local_time_steps,
    steps_from_centers,
    steps_from_starts,
)


def test_steps_from_starts_coincide_with_frames() -> None:
    steps = steps_from_starts(torch.arange(6), 3, 6)
    assert steps.earlier.tolist() == [0, 0, 1, 1, 2, 2]
    assert steps.later.tolist() == [1, 1, 2, 2, 2, 2]
    assert steps.weight.tolist() == [0, 0.5, 0, 0.5, 0, 0.5]


@pytest.mark.parametrize(("length", "frames"), [(3, 7), (7, 7), (5, 3), (1, 4)])
def test_steps_from_centers_resize_linearly(length: int, frames: int) -> None:
    values = torch.randn(length, 4, generator=torch.Generator().manual_seed(0))
    read = steps_from_centers(torch.arange(frames), length, frames).interpolate(lambda step: values[step])
    resized = functional.interpolate(values.T[None], size=frames, mode="linear", align_corners=False)[0].T
    assert torch.allclose(read, resized, atol=1e-6)


def test_levels_are_halved_down_to_one_step() -> None:
    assert grid_lengths(300, 3) == [75, 150, 300]
    assert grid_lengths(2, 3) == [1, 1, 2]


def test_a_temporal_grid_reads_feature_maps() -> None:
    grid = TemporalGrid(3, 2, 4, 5, 6)
    with torch.no_grad():
        features = grid(torch.tensor([4, 3]))
    assert features.shape == (2, 2, 4, 5)
    assert torch.equal(features[0], grid.rows[2])
    assert torch.allclose(features[1], (grid.rows[1] + grid.rows[2]) / 2)


def test_levels_are_read_at_the_requested_cells() -> None:
    grid = MultiLevelGrid([(4, 2), (2, 3)], 6, 4)
    assert grid.lengths() == [4, 2]
    with torch.no_grad():
        features = grid(torch.tensor([3, 0]), torch.tensor([[5, 1], [0, 0]]))
    first, second = (level.unflatten(0, (-1, 6)) for level in grid.levels)
    assert features.shape == (2, 2, 5)
    assert torch.equal(features[0, 0], torch.cat([first[3, 5], second[1, 5]]))
    assert torch.equal(features[0, 1], torch.cat([first[3, 1], second[1, 1]]))
    assert torch.equal(features[1, 0], torch.cat([first[0, 0], second[0, 0]]))


def test_a_local_encoding_has_a_code_for_each_position_in_a_cell() -> None:
    with torch.no_grad():
        codes = LocalEncoding(2, 3, 8, 10, 10)(torch.tensor([0, 9]))
    assert codes.shape == (2, 3, 3, 8)
    assert not torch.allclose(codes[:, 0, 0], codes[:, 2, 1])


@pytest.mark.parametrize("time_steps", [1, 4, 10])
def test_local_encodings_are_resized_to_the_frames(time_steps: int) -> None:
    encoding = LocalEncoding(2, 3, 8, time_steps, 10)
    with torch.no_grad():
        levels = [
            functional.interpolate(level.T[None], size=10, mode="linear", align_corners=False)[0].T
            for level in encoding.levels
        ]
        expected = encoding.line(torch.cat([level.view(10, 3, 3, -1) for level in levels], dim=-1))
        assert torch.allclose(encoding(torch.arange(10)), expected, atol=1e-6)


def test_time_steps_follow_from_the_values_of_all_local_encodings() -> None:
    """HiNeRV's S: three levels of 25 x 4, 9 x 2, 4 and 4 values, 226,800 in all at 600 frames."""
    assert local_channels(4, 4) == [4, 2, 1, 1]
    assert local_time_steps((5, 3, 2, 2), 4, 226_800, 600) == 600
    assert local_time_steps((5, 3, 2, 2), 4, 226_800, 300) == 300
    assert local_time_steps((5, 3, 2, 2), 4, 22_680, 300) == 60
    assert local_time_steps((5, 3, 2, 2), 4, 1, 300) == 1
