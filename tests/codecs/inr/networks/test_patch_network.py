"""Shapes of the stages, base grids, and positions, margins and masks of patches."""

from dataclasses import replace
from functools import partial

import pytest
import torch

from rdbench.codecs.hinerv import HiNeRVConfig
from rdbench.codecs.inr.networks.layers.patchwise import (
    Margins,
    PatchLayout,
    add_cells,
    add_masked,
    crop,
    masked,
    patch_grid,
)
from rdbench.codecs.inr.networks.network import Patches
from rdbench.codecs.inr.networks.patch_network import StageShape, choose_base_grid, fewest_channels, most_time_steps

CONFIG = HiNeRVConfig(18, 32, (5, 3, 2, 2), hidden=1000)


def test_stages_halve_their_channels_and_the_first_has_the_free_width() -> None:
    assert CONFIG.stage_shapes() == [
        StageShape(5, 280, 280, 3, 1000),
        StageShape(3, 280, 140, 3, 560),
        StageShape(2, 140, 70, 3, 280),
        StageShape(2, 70, 35, 1, 35),
    ]
    assert replace(CONFIG, lower=100).widths() == [280, 280, 140, 100, 100]


def test_a_single_stage_has_the_free_width() -> None:
    assert replace(CONFIG, strides=(2,)).stage_shapes() == [StageShape(2, 280, 280, 1, 1000)]


@pytest.mark.parametrize(("values", "rows", "channels"), [(1152, 18, 2), (200, 9, 1), (30, 5, 1)])
def test_base_grids_shrink_with_the_values_of_a_time_step(values: float, rows: int, channels: int) -> None:
    geometry, found = choose_base_grid(1920, 1080, values)
    assert (geometry.rows, found) == (rows, channels)


@pytest.mark.parametrize(("values", "steps"), [(6000, 150), (5999, 149), (3000, 75), (1, 1)])
def test_a_time_step_keeps_forty_values(values: float, steps: int) -> None:
    assert most_time_steps(range(150, 0, -1), values) == steps


def test_time_steps_of_all_levels_count() -> None:
    assert most_time_steps((100, 50, 25), 40 * 75, lambda first: first + first // 2) == 50


def test_fewest_channels_shrink_with_the_network() -> None:
    assert [fewest_channels(share) for share in (1.0, 0.16, 0.05, 0.001)] == [16, 16, 5, 1]


@pytest.mark.parametrize(
    ("rows", "columns", "strides", "expected"),
    [
        (18, 32, (5, 3, 2, 2), (9, 16)),  # HiNeRV at 1080p: 120x120
        (18, 32, (5, 2, 2, 2), (9, 16)),  # HiNeRV at 720p: 80x80
        (45, 80, (3, 2, 2, 2), (9, 16)),  # NVRC at 1080p: 120x120
        (45, 80, (2, 2, 2, 2), (9, 16)),  # NVRC at 720p: 80x80
        (80, 45, (3, 2, 2, 2), (16, 9)),  # upright
        (9, 16, (5, 2, 2), (1, 4)),  # 180x320: three rows would have 60 pixels
        (23, 40, (3, 2, 2, 2, 2), (1, 20)),  # rows that nothing divides
    ],
)
def test_patches_are_the_papers_share_of_the_frame(
    rows: int, columns: int, strides: tuple[int, ...], expected: tuple[int, int]
) -> None:
    assert patch_grid(HiNeRVConfig(rows, columns, strides)) == expected


MARGINS = Margins(2, 1, (3,))


def test_whole_frames_have_no_margins_and_no_mask() -> None:
    layout = PatchLayout(Patches.of_frames(torch.tensor([0]), (1, 1)), (2, 3), MARGINS)
    assert layout.margins == Margins(0, 0, (0,))
    assert layout.mask(4, 0) is None
    assert layout.cell_indices(0).tolist() == [[0, 1, 2, 3, 4, 5]]


def test_cells_outside_the_frame_are_the_nearest_and_masked() -> None:
    """The lower right of 2x2 patches with a cell each."""
    layout = PatchLayout(Patches(*(torch.tensor([i]) for i in (0, 1, 1)), grid=(2, 2)), (1, 1), MARGINS)
    assert layout.margins == MARGINS
    assert layout.cell_indices(1).tolist() == [[0, 1, 1, 2, 3, 3, 2, 3, 3]]
    mask = layout.mask(1, 1)
    assert mask is not None
    assert mask[0, ..., 0].tolist() == [[True, True, False], [True, True, False], [False, False, False]]


def test_codes_are_added_to_every_cell() -> None:
    code = torch.arange(4.0).view(1, 2, 2, 1)
    added = add_cells(torch.zeros(1, 4, 6, 1), code)
    assert torch.equal(added, code.repeat(1, 2, 3, 1))
    assert torch.equal(crop(added, 1), added[:, 1:3, 1:5])


@pytest.mark.parametrize("mask", [None, torch.tensor([True, False, True]).view(1, 1, 3, 1)])
def test_a_masked_sum_is_that_of_the_products(mask: torch.Tensor | None) -> None:
    torch.manual_seed(0)
    x, y = torch.randn(2, 4, 3, 5), torch.randn(2, 4, 3, 5)
    assert torch.equal(add_masked(x, y, mask), x + masked(y, mask))


def test_gradients_of_crops_and_repeated_edges_agree_with_finite_differences() -> None:
    """Patches of two cells in the corners and in the middle of a frame, with margins narrower and wider than they."""
    torch.manual_seed(0)
    at = Patches(torch.zeros(4).long(), torch.tensor([0, 0, 1, 2]), torch.tensor([0, 2, 1, 1]), (3, 3))
    for margin in (1, 3):
        layout = PatchLayout(at, (2, 2), Margins(0, 0, (0,)))
        x = torch.randn(4, 2 + 2 * margin, 2 + 2 * margin, 1, dtype=torch.double, requires_grad=True)
        assert torch.autograd.gradcheck(partial(layout.upsample, stride=2, margin=margin), [x])
        assert torch.autograd.gradcheck(partial(crop, pixels=margin), [x])


def test_margins_outside_the_frame_repeat_its_edge() -> None:
    """The upper left of 2x2 patches: the first row and column of its margin are outside the frame."""
    layout = PatchLayout(Patches(*(torch.tensor([0]) for _ in range(3)), grid=(2, 2)), (2, 2), MARGINS)
    x = torch.arange(16.0).view(1, 4, 4, 1)
    edge = x.clone()
    edge[:, 0], edge[:, :, 0] = edge[:, 1].clone(), x[:, :, 1]
    edge[:, 0, 0] = x[:, 1, 1]
    expected = torch.nn.functional.interpolate(edge.permute(0, 3, 1, 2), scale_factor=2, mode="bilinear")
    assert torch.equal(layout.upsample(x, 2, 1), expected.permute(0, 2, 3, 1))
