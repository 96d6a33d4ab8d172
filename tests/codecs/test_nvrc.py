"""NVRC: published parameter counts of each part, grids sampled as in the original, patches as parts of their frame."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from rdbench.codecs.inr.codec import ClipHeader
from rdbench.codecs.inr.compression.nvrc.scheme import HierarchicalScheme
from rdbench.codecs.inr.networks.network import count_macs, count_parameters, render
from rdbench.codecs.nvrc import NVRC, GridLevel, NVRCCodec, NVRCConfig, NVRCSettings

STRIDES = (3, 2, 2, 2)
SCALES = {
    "S1": (NVRCConfig(45, 80, STRIDES, 224, 896, 1, 50, 1, 4), 150),
    "S2": (NVRCConfig(45, 80, STRIDES), 600),
    "S3": (NVRCConfig(45, 80, STRIDES, 512, 2048, 1, 200, 4, 16), 600),
    "S4": (NVRCConfig(45, 80, STRIDES, 768, 3072, 1, 200, 8, 32), 600),
}


def built(scale: str) -> NVRC:
    with torch.device("meta"):
        return NVRC(*SCALES[scale])


@pytest.mark.parametrize(
    ("scale", "total", "grids", "stems", "layers", "local"),
    [
        ("S1", 2_028_431, 0.237, 0.092, 1.665, 0.023),
        ("S2", 6_123_133, 1.900, 0.274, 3.737, 0.180),
        ("S3", 13_751_235, 3.800, 0.831, 8.663, 0.360),
        ("S4", 30_569_251, 7.600, 2.491, 19.471, 0.720),
    ],
)
def test_published_counts(scale: str, total: int, grids: float, stems: float, layers: float, local: float) -> None:
    """Grids, their stems, layers and local grids in millions; the rest mixes the local grids' channels."""
    network = built(scale)
    values = sum(level.values.numel() for level in network.levels)
    weights = sum(count_parameters(level.stem) for level in network.levels)
    codes = sum(grid.numel() for stage in network.stages for grid in stage.encoding.levels)
    lines = sum(count_parameters(stage.encoding.line) for stage in network.stages)
    assert count_parameters(network) == total
    assert values / 1e6 == pytest.approx(grids, abs=6e-4)
    assert weights / 1e6 == pytest.approx(stems, abs=2e-3)
    assert codes / 1e6 == pytest.approx(local, abs=6e-4)
    assert (total - values - weights - codes - lines) / 1e6 == pytest.approx(layers, abs=1e-3)


@pytest.mark.parametrize(("scale", "size"), [("S2", 6_123_133), ("S3", 13_751_235), ("S4", 30_569_251)])
def test_solver_finds_the_papers_scales_for_their_sizes(scale: str, size: int) -> None:
    _, config = NVRCCodec(NVRCSettings()).build_for(ClipHeader(1920, 1080, 600, 120, 1), size)
    assert replace(config, lower=1) == SCALES[scale][0]


@pytest.mark.parametrize(
    ("width", "size", "rows", "strides", "local"),
    [
        (320, 160_000, 45, (2, 2), 4),
        (320, 80_000, 23, (4, 2), 2),
        (320, 20_000, 12, (4, 2, 2), 2),
        (160, 40_000, 23, (2, 2), 4),
    ],
)
def test_stages_keep_their_resolutions_with_coarser_grids(
    width: int, size: int, rows: int, strides: tuple[int, ...], local: int
) -> None:
    """Unless a single stage would remain."""
    _, config = NVRCCodec(NVRCSettings()).build_for(ClipHeader(width, width * 9 // 16, 32, 25, 1), size)
    assert isinstance(config, NVRCConfig)
    assert (config.rows, config.strides, config.grid_channels, config.local_channels) == (rows, strides, 1, local)


@pytest.mark.parametrize(("scale", "gmacs"), [("S2", 341.0), ("S3", 788.2), ("S4", 1768.4)])
def test_published_cost_of_the_layers(scale: str, gmacs: float) -> None:
    network = built(scale)
    stems = sum(
        27 * level.values.shape[0] * level.values.shape[2:].numel() * SCALES[scale][0].channels
        for level in network.levels
    )
    assert SCALES[scale][0].patch_size == (1080, 1920)
    assert (count_macs(network) - stems) / 1e9 == pytest.approx(gmacs, abs=0.06)


def test_a_level_equals_convolving_the_whole_grid_then_sampling() -> None:
    """The original's order: a 3-D convolution of the whole grid, then trilinear sampling at all voxels."""
    torch.manual_seed(0)
    level = GridLevel((3, 5, 4, 6), 7, 17)
    torch.nn.init.normal_(level.values)
    torch.nn.init.normal_(level.stem.bias)
    frames = torch.tensor([0, 16, 7, 3])
    whole = functional.conv3d(level.values[None], level.stem.weight.unflatten(1, (3, 3)), level.stem.bias, padding=1)
    axes = [(2 * torch.arange(size) + 1) / size - 1 for size in (17, 9, 13)]
    points = torch.stack(torch.meshgrid(*axes, indexing="ij")[::-1], dim=-1)[None]
    sampled = functional.grid_sample(whole, points, padding_mode="border", align_corners=False)[0]
    assert torch.allclose(level(frames, 9, 13), sampled[:, frames].transpose(0, 1), atol=1e-5)


@pytest.mark.parametrize("strides", [(2, 2, 2), (3, 2, 2)])
def test_patches_are_parts_of_their_frame(strides: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    network = NVRC(NVRCConfig(20, 24, strides, 12, 48, 1, 3, 2, 2), 7)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
        frames = torch.tensor([0, 6, 3])
        height, width = network.config.patch_size
        whole, patches = (render(network, frames, grid, height, width) for grid in ((1, 1), network.grid))
    assert max(network.grid) > 1
    assert whole.std() > 0.01
    assert (whole - patches).abs().max() < 1e-5


@pytest.mark.parametrize(
    ("scale", "layers", "context", "grids", "third", "total"),
    [
        ("S1", 27_474, 83_790, 340, 663, 2_140_698),
        ("S2", 57_408, 167_580, 2_236, 744, 6_351_101),
        ("S3", 101_307, 335_160, 4_472, 825, 14_192_999),
        ("S4", 160_827, 670_320, 8_944, 861, 31_410_203),
    ],
)
def test_published_counts_of_the_entropy_model_levels(
    scale: str, layers: int, context: int, grids: int, third: int, total: int
) -> None:
    network = built(scale)
    counts = HierarchicalScheme().counts(network)
    assert counts == {"layers": layers, "context": context, "grids": grids, "third": third}
    assert count_parameters(network) + sum(counts.values()) == total
