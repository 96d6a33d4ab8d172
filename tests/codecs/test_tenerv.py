"""TeNeRV: its sheet's counts and cost, groups by content, two stages, copies of kernels, its ablations."""

import pytest
import torch

from rdbench.codecs.inr.network import count_macs, count_parameters
from rdbench.codecs.tenerv import TeNeRV, TeNeRVConfig

P1080 = (5, 3, 2, 2)


def build(channels: int, grid: int, frames: int = 600, groups: int = 5) -> TeNeRV:
    with torch.device("meta"):
        return TeNeRV(TeNeRVConfig(18, 32, P1080, channels, 4 * channels, grid, groups=groups), frames)


@pytest.mark.parametrize(
    ("channels", "grid", "count", "single", "base", "group_grids", "gmacs"),
    [
        (262, 2, 3_001_062, 2_930_998, 609_408, 17_280, 150),
        (372, 4, 6_004_047, 5_896_439, 1_218_816, 34_560, 304),
        (526, 8, 11_964_483, 11_796_187, 2_437_632, 69_120, 604),
    ],
)
def test_counts_and_cost(
    channels: int, grid: int, count: int, single: int, base: int, group_grids: int, gmacs: int
) -> None:
    """At 3M, 6M and 12M; the cost is given for projections after the upsampling, we do them before."""
    network = build(channels, grid)
    assert count_parameters(network) == count
    assert count_parameters(build(channels, grid, groups=1)) == single
    assert count_parameters(network.features.base) == base
    assert network.features.groups is not None
    assert network.features.groups.numel() == group_grids
    pixels, saved = 18 * 32, 0
    for stage, stride in zip(network.stages, P1080, strict=True):
        saved += stage.project.weight.numel() * pixels * (stride**2 - 1)
        pixels *= stride**2
    assert (count_macs(network) + saved) / 1e9 == pytest.approx(gmacs, abs=0.5)


@pytest.mark.parametrize(
    ("channels", "grid", "count"), [(278, 2, 2_989_028), (396, 4, 6_018_312), (560, 8, 11_998_091)]
)
def test_counts_of_300_frames(channels: int, grid: int, count: int) -> None:
    assert count_parameters(build(channels, grid, 300)) == count
