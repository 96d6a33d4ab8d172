"""NVRC: published parameter counts of each part, grids sampled as in the original, patches as parts of their frame."""

from fractions import Fraction

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from rdbench.codec import Clip
from rdbench.codecs.inr.codec import ClipHeader
from rdbench.codecs.inr.compression.nvrc.scheme import HierarchicalScheme
from rdbench.codecs.inr.networks.network import Patches, count_macs, count_parameters, render
from rdbench.codecs.nvrc import NVRC, GridLevel, NVRCCodec, NVRCConfig, NVRCSettings
from rdbench.video import VideoFormat

STRIDES = (3, 2, 2, 2)
SCALES = {
    "S1": (NVRCConfig(45, 80, STRIDES, 224, 896, 1, 50, 1, 4), 150),
    "S2": (NVRCConfig(45, 80, STRIDES), 600),
    "S3": (NVRCConfig(45, 80, STRIDES, 512, 2048, 1, 200, 4, 16), 600),
    "S4": (NVRCConfig(45, 80, STRIDES, 768, 3072, 1, 200, 8, 32), 600),
}


PUBLISHED = {"S1": "2.14M", "S2": "6.35M", "S3": "14.19M", "S4": "31.41M"}
"""Parameters with those of the compression, as the paper prints them."""


def clip(frames: int, width: int = 1920, height: int = 1080) -> Clip:
    return Clip(VideoFormat(width, height, "rgb", 8, Fraction(120), full_range=True), frames)


def solved(label: str, frames: int) -> NVRC:
    """The network of a rate point at 1080p, without memory."""
    codec = NVRCCodec(NVRCSettings())
    size = int(codec.rate_point(label, clip(frames)).settings["size"])
    with torch.device("meta"):
        network, _ = codec.build_for(ClipHeader.of(clip(frames)), size)
    assert isinstance(network, NVRC)
    return network


def built(scale: str) -> NVRC:
    return solved(scale, SCALES[scale][1])


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


@pytest.mark.parametrize("scale", list(SCALES))
def test_names_and_published_sizes_give_the_papers_scales(scale: str) -> None:
    config, frames = SCALES[scale]
    assert [solved(label, frames).config for label in (scale, PUBLISHED[scale])] == [config, config]


def test_names_have_the_papers_time_steps_for_other_lengths() -> None:
    """UVG's ShakeNDry has 300 frames, the shortest clips of MCL-JCV 120."""
    assert [solved("S2", frames).levels[0].values.shape[1] for frames in (300, 150, 120, 30)] == [200, 50, 50, 30]
    assert solved("S1-lambda0.5", 120).levels[0].values.shape == (1, 50, 45, 80)


def test_names_at_720p_keep_widths_and_base_grid() -> None:
    codec, small = NVRCCodec(NVRCSettings()), clip(132, 1280, 720)
    point = codec.rate_point("S1-lambda0.5", small)
    network, config = codec.build_for(ClipHeader.of(small), int(point.settings["size"]))
    assert (config.patch_size, network.levels[0].stem.out_channels) == ((720, 1280), 224)
    assert network.levels[0].values.shape == (1, 50, 45, 80)


def test_default_rate_points_at_1080p_are_table_6() -> None:
    def points(frames: int, **settings: object) -> list[str]:
        codec = NVRCCodec(NVRCSettings.model_validate(settings))
        return [point.label for point in codec.rate_points(clip(frames))]

    long = ["S2-lambda1", "S2-lambda2", "S3-lambda4", "S3-lambda8", "S4-lambda16", "S4-lambda32"]
    assert points(600) == long
    assert points(150) == ["S1-lambda0.25", "S1-lambda0.5", *long[:4]]
    assert points(600, distortion="yuv")[::5] == ["S2-lambda32", "S4-lambda1024"]
    assert not any(label.startswith("S") for label in points(600, epochs=70))


def test_a_named_rate_point_has_the_scales_size_and_its_lambda() -> None:
    point = NVRCCodec(NVRCSettings()).rate_point("S3-lambda8", clip(600))
    assert point.settings == {"size": 13_751_235, "lambda": 8.0}
    assert 0 < float(NVRCCodec(NVRCSettings()).rate_point("S3", clip(600)).settings["lambda"]) < 16


def test_finding_a_scale_leaves_the_random_state() -> None:
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    solved("6.35M", 600)
    assert torch.equal(torch.rand(1), expected)


def test_patches_at_1080p_are_the_papers() -> None:
    network = solved("S2", 600)
    assert (network.grid, network.patch_size) == ((9, 16), (120, 120))


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


@pytest.mark.parametrize(
    ("width", "frames", "size"),
    [
        (160, 132, 20_000), (320, 32, 20_000), (320, 132, 20_000), (320, 132, 40_000), (320, 600, 40_000),
        (1920, 132, 160_000), (1920, 600, 160_000), (1920, 600, 3_000_000),
    ],
)  # fmt: skip
def test_sizes_are_met_on_long_clips(width: int, frames: int, size: int) -> None:
    """Within one percent, and local encodings do not take the place of the other parts."""
    with torch.device("meta"):
        network, _ = NVRCCodec(NVRCSettings()).build_for(ClipHeader(width, width * 9 // 16, frames, 25, 1), size)
    local = sum(grid.numel() for stage in network.stages for grid in stage.encoding.levels)
    assert count_parameters(network) == pytest.approx(size, rel=0.01)
    assert local < 0.33 * size  # a time step for each of 132 frames takes four fifths of 20K


def test_local_encodings_with_few_time_steps_are_interpolated_over_the_clip() -> None:
    torch.manual_seed(0)
    config = NVRCConfig(12, 20, (2, 2), 8, 32, 1, 3, 1, 2, coarser=1, local_frames=3)
    network = NVRC(NVRCConfig.from_numbers(config.numbers()), 9)
    assert [len(level) for level in network.stages[0].encoding.levels] == [3, 1, 1]
    with torch.no_grad():
        codes = network.stages[0].encoding(torch.arange(9))
    assert torch.allclose(codes[4:7].diff(dim=0).diff(dim=0), torch.zeros(()), atol=1e-6)  # straight between two steps
    assert len({tuple(code.flatten().tolist()) for code in codes}) > 5


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


@pytest.mark.parametrize("whole", [(9, 13), (5, 6)])
def test_cells_of_a_level_equal_those_of_the_whole_frame(whole: tuple[int, int]) -> None:
    """Values and gradients; cells outside the frame repeat its edge."""
    torch.manual_seed(0)
    level = GridLevel((3, 4, 5, 6), 7, 17)
    torch.nn.init.normal_(level.values)
    frames = torch.tensor([0, 16, 7, 3])
    rows, columns = (
        (torch.tensor([[-2], [0], [1], [side - 3]]) + torch.arange(4)).clamp(0, side - 1) for side in whole
    )
    every = level(frames, *whole)
    batch = torch.arange(4)[:, None, None]
    expected = every.permute(0, 2, 3, 1)[batch, rows[:, :, None], columns[:, None, :]]
    found = level.at_cells(frames, (rows, columns), whole)
    inside = ((rows[:, 1:] > rows[:, :-1])[:, :, None] & (columns[:, 1:] > columns[:, :-1])[:, None, :])[..., None]
    weights = torch.rand(found[:, 1:, 1:].shape) * inside
    gradients = [torch.autograd.grad((x[:, 1:, 1:] * weights).sum(), [*level.parameters()]) for x in (found, expected)]
    assert (found - expected)[:, 1:, 1:].mul(inside).abs().max() < 1e-6 * expected.abs().max()
    for own, other in zip(*gradients, strict=True):
        assert torch.allclose(own, other, rtol=1e-5, atol=1e-6 * float(other.abs().max()))


def test_a_step_by_patches_keeps_no_features_of_whole_frames() -> None:
    """The largest tensor kept for the gradient is that of a stage; features of whole frames are larger."""
    network = NVRC(NVRCConfig(45, 48, (2, 2, 2), 8, 32, 1, 3, 1, 2), 7)
    at = Patches.of_frames(torch.arange(1), network.grid)
    kept: list[int] = []

    def pack(tensor: Tensor) -> Tensor:
        kept.append(tensor.numel())
        return tensor

    layout = network.layout(at)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        network.features_at(at.frames, layout.cell_positions(layout.margins.stem))
    assert max(kept) < len(at.frames) * 45 * 48 * 8 / 2


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
