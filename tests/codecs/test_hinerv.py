"""HiNeRV: published parameter counts and cost, patches as parts of their frame, and the paper's configurations."""

from dataclasses import replace

import pytest
import torch

from rdbench.codecs.hinerv import HiNeRV, HiNeRVCodec, HiNeRVConfig, HiNeRVSettings
from rdbench.codecs.inr.codec import ClipHeader
from rdbench.codecs.inr.networks.layers.patchwise import Margins, required_margins
from rdbench.codecs.inr.networks.network import Patches, count_macs, count_parameters, render

P1080, P720 = (5, 3, 2, 2), (5, 2, 2, 2)
A1080, A720 = (5, 4, 3, 2), (5, 4, 2, 2)
UVG = {
    "S": HiNeRVConfig(18, 32, P1080),
    "M": HiNeRVConfig(18, 32, P1080, 400, 1600, grid_channels=4, local_channels=8),
    "L": HiNeRVConfig(18, 32, P1080, 560, 2240, grid_channels=8, local_channels=16),
    "XL": HiNeRVConfig(18, 32, P1080, 688, 2752, grid_channels=16, local_channels=32, depth=4, later_depth=4),
    "XXL": HiNeRVConfig(18, 32, P1080, 864, 3456, grid_channels=32, local_channels=64, depth=5, later_depth=5),
}
SIZES = {"XXS": (136, 2, 4), "XS": (196, 4, 8), "S": (280, 8, 16), "M": (400, 16, 32), "L": (560, 32, 64)}


def small(size: str, strides: tuple[int, ...]) -> HiNeRVConfig:
    """The configurations for MCL-JCV and Bunny."""
    channels, grid, local = SIZES[size]
    return HiNeRVConfig(
        18, 32, strides, channels, 4 * channels, grid_frames=40, grid_channels=grid, local_channels=local
    )


def variant_a(config: HiNeRVConfig, strides: tuple[int, ...], frames: int) -> HiNeRVConfig:
    return replace(config, rows=9, columns=16, strides=strides, grid_frames=frames)


def variant_b(channels: int, grid: int, local: int, strides: tuple[int, ...], frames: int) -> HiNeRVConfig:
    config = HiNeRVConfig(9, 16, strides, channels, 4 * channels, depth=2, later_depth=1)
    return replace(config, grid_frames=frames, grid_channels=grid, local_channels=local)


COUNTS = [
    *((UVG[size], 600, count, base, local) for size, count, base, local in (
        ("S", 3_188_933, 345_600, 226_800), ("M", 6_489_553, 691_200, 446_400),
        ("L", 12_818_953, 1_382_400, 892_800), ("XL", 25_649_557, 2_764_800, 1_785_600),
        ("XXL", 50_726_919, 5_529_600, 3_571_200))),
    *((UVG[size], 300, count, base, local) for size, count, base, local in (
        ("S", 3_075_533, 345_600, 113_400), ("M", 6_266_353, 691_200, 223_200),
        ("L", 12_372_553, 1_382_400, 446_400), ("XL", 24_756_757, 2_764_800, 892_800),
        ("XXL", 48_941_319, 5_529_600, 1_785_600))),
    *((variant_a(UVG[size], A1080, 600), 600, count, base, local) for size, count, base, local in (
        ("S", 3_223_133, 345_600, 261_000), ("M", 6_557_953, 691_200, 514_800),
        ("L", 12_955_753, 1_382_400, 1_029_600))),
    *((variant_b(c, g, e, A1080, 600), 600, count, base, local) for c, g, e, count, base, local in (
        (320, 5, 4, 3_222_643, 864_000, 261_000), (448, 10, 8, 6_395_595, 1_728_000, 514_800),
        (640, 20, 16, 13_082_963, 3_456_000, 1_029_600))),
    *((small(size, P1080), 150, count, base, local) for size, count, base, local in (
        ("XXS", 777_203, 92_160, 56_448), ("XS", 1_606_482, 184_320, 111_104), ("S", 3_291_451, 368_640, 222_208),
        ("M", 6_774_549, 737_280, 444_416), ("L", 13_581_665, 1_474_560, 888_832))),
    *((small(size, P1080), frames, count, None, None) for frames, counts in (
        (120, (766_115, 1_584_658, 3_247_803, 6_687_253, 13_407_073)),
        (125, (767_753, 1_587_882, 3_254_251, 6_700_149, 13_432_865)))
        for size, count in zip(SIZES, counts, strict=True)),
    *((small(size, P720), 132, count, base, local) for size, count, base, local in (
        ("XXS", 766_691, 92_160, 45_936), ("XS", 1_585_666, 184_320, 90_288), ("S", 3_249_819, 368_640, 180_576))),
    *((variant_a(replace(small(size, P720), grid_channels=g, local_channels=2 * g), A720, 132), 132, count, None, None)
      for size, g, count in (("XXS", 2, 760_067), ("XS", 4, 1_572_418), ("S", 8, 3_223_323))),
    *((variant_b(c, g, e, A720, 132), 132, count, None, None) for c, g, e, count in (
        (160, 5, 4, 787_543), (224, 10, 8, 1_572_527), (320, 20, 16, 3_250_395))),
]  # fmt: skip


@pytest.mark.parametrize(("config", "frames", "count", "base", "local"), COUNTS)
def test_published_counts(config: HiNeRVConfig, frames: int, count: int, base: int | None, local: int | None) -> None:
    with torch.device("meta"):
        network = HiNeRV(config, frames)
    assert count_parameters(network) == count
    if base is not None:
        assert count_parameters(network.base) == base
        grids = [level for stage in network.stages for level in stage.encoding.levels]
        assert sum(level.numel() for level in grids) == local


@pytest.mark.parametrize(
    ("config", "height", "width", "gmacs"),
    [
        *((UVG[size], 1080, 1920, gmacs) for size, gmacs in (
            ("S", 180.6), ("M", 366.3), ("L", 715.1), ("XL", 1378.6), ("XXL", 2645.7))),
        *((small(size, P720), 720, 1280, gmacs) for size, gmacs in (("XXS", 22.9), ("XS", 47.0), ("S", 95.4))),
    ],
)  # fmt: skip
def test_published_cost_of_a_frame(config: HiNeRVConfig, height: int, width: int, gmacs: float) -> None:
    with torch.device("meta"):
        network = HiNeRV(config, 132)
    assert config.patch_size == (height, width)
    assert count_macs(network) / 1e9 == pytest.approx(gmacs, abs=0.06)


def test_margins_match_the_original_code() -> None:
    assert required_margins(P1080, (3, 3, 3, 1)) == Margins(3, 2, (6, 6, 4, 1))
    assert required_margins(P720, (3, 3, 3, 1)) == Margins(3, 2, (7, 6, 4, 1))
    assert required_margins(P1080, (4, 4, 4, 1)) == Margins(3, 2, (7, 7, 5, 1))
    assert required_margins(P1080, (5, 5, 5, 1)) == Margins(4, 3, (9, 9, 6, 1))
    assert required_margins(A1080, (3, 3, 3, 1)) == Margins(3, 2, (5, 5, 4, 1))
    assert required_margins(A1080, (2, 1, 1, 1)) == Margins(3, 2, (4, 3, 2, 1))


ORIGINAL = HiNeRVConfig(3, 4, (3, 2, 2), 16, 64, grid_frames=5, depth=2, later_depth=2)
"""A network with patches of 12 pixels and wider margins; the values below are those of the original code."""


def original_weights() -> HiNeRV:
    network = HiNeRV(ORIGINAL, 7)
    with torch.no_grad():
        for number, parameter in enumerate(network.parameters()):
            at = torch.arange(parameter.numel(), dtype=torch.float64)
            size = 0.02 if parameter.dim() == 4 else 0.3  # small enough for the epsilon of norms to matter
            parameter.copy_(size * torch.sin(0.7 * at * at + number).view(parameter.shape))
    return network


@pytest.mark.parametrize(("row", "column", "rgb"), [
    (0, 0, (0.4694834, 0.4419676, 0.5010501)),
    (7, 40, (0.4471194, 0.4363168, 0.5066630)),
    (17, 21, (0.4535590, 0.4409092, 0.5060868)),
    (35, 47, (0.4663087, 0.4479007, 0.4879212)),
])  # fmt: skip
def test_frames_match_the_original_code(row: int, column: int, rgb: tuple[float, float, float]) -> None:
    with torch.no_grad():
        frame = original_weights()(Patches.of_frames(torch.tensor([2]), (1, 1)))
    assert frame.shape == (1, 3, 36, 48)
    assert frame[0, :, row, column].tolist() == pytest.approx(rgb, abs=1e-6)


@pytest.mark.parametrize(("frame", "patch", "row", "column", "rgb"), [
    (2, (1, 2), 0, 0, (0.4450896, 0.4345217, 0.5100233)),
    (2, (1, 2), 5, 11, (0.4708320, 0.4306486, 0.5014933)),
    (6, (0, 3), 0, 11, (0.4557281, 0.4482339, 0.4934297)),
    (6, (0, 3), 6, 3, (0.4538217, 0.4385212, 0.5027380)),
    (0, (1, 1), 1, 2, (0.4503700, 0.4321077, 0.5114446)),
])  # fmt: skip
def test_patches_match_the_original_code(
    frame: int, patch: tuple[int, int], row: int, column: int, rgb: tuple[float, float, float]
) -> None:
    at = Patches(torch.tensor([frame]), *(torch.tensor([position]) for position in patch), grid=(3, 4))
    with torch.no_grad():
        pixels = original_weights()(at)
    assert pixels.shape == (1, 3, 12, 12)
    assert pixels[0, :, row, column].tolist() == pytest.approx(rgb, abs=1e-6)


@pytest.mark.parametrize(("width", "height"), [(320, 240), (480, 360), (333, 167), (161, 335)])
def test_patches_are_parts_of_their_frame(width: int, height: int) -> None:
    torch.manual_seed(0)
    codec = HiNeRVCodec(HiNeRVSettings())
    network, _ = codec.build_for(ClipHeader(width, height, 7, 25, 1), 60_000)
    with torch.no_grad():
        for parameter in network.parameters():  # grids as large as after training
            parameter.add_(0.05 * torch.randn_like(parameter))
        frames = torch.tensor([0, 6, 3])
        whole = render(network, frames, network.frame_grid, height, width)
        patches = render(network, frames, network.grid, height, width)
    assert network.frame_grid == (1, 1)
    assert max(network.grid) > 1
    assert whole.shape == patches.shape == (3, 3, height, width)
    assert whole.std() > 0.01
    assert (whole - patches).abs().max() < 1e-5


@pytest.mark.parametrize(
    ("width", "height", "frames", "expected"),
    [(1920, 1080, 600, UVG["S"]), (1280, 720, 132, small("S", P720))],
)
def test_solver_finds_the_papers_networks_for_their_sizes(
    width: int, height: int, frames: int, expected: HiNeRVConfig
) -> None:
    codec = HiNeRVCodec(HiNeRVSettings())
    with torch.device("meta"):
        network = HiNeRV(expected, frames)
    _, config = codec.build_for(ClipHeader(width, height, frames, 25, 1), count_parameters(network))
    assert config == replace(expected, lower=16)  # all of its stages have more
    assert network.grid == (9, 16)
    assert network.patch_size == ((120, 120) if height == 1080 else (80, 80))


@pytest.mark.parametrize(("size", "widest"), [(20_000, 24), (40_000, 31), (160_000, 69)])
def test_local_encodings_of_long_clips_keep_their_share(size: int, widest: int) -> None:
    """7 % of the parameters in the paper's S; the widest network of each size is that of 32 frames."""
    network, config = HiNeRVCodec(HiNeRVSettings()).build_for(ClipHeader(320, 180, 132, 25, 1), size)
    assert isinstance(config, HiNeRVConfig)
    assert 1 < config.local_frames < 132
    local = sum(level.numel() for stage in network.stages for level in stage.encoding.levels)
    assert 0.04 < local / size < 0.1
    assert 0.75 * widest < config.channels <= widest


@pytest.mark.parametrize(("frames", "size", "steps"), [(600, 80_000, 95), (132, 40_000, 40)])
def test_small_networks_of_long_clips_have_fewer_time_steps(frames: int, size: int, steps: int) -> None:
    """0.3 for each frame, or as many as leave a base grid of 9x16 cells."""
    _, config = HiNeRVCodec(HiNeRVSettings()).build_for(ClipHeader(160, 90, frames, 25, 1), size)
    assert isinstance(config, HiNeRVConfig)
    assert (config.rows, config.columns, config.grid_frames) == (9, 16, steps)


def test_time_steps_of_local_encodings_are_transmitted() -> None:
    config = replace(ORIGINAL, local_frames=3)
    assert HiNeRVConfig.from_numbers(config.numbers()) == config
    for frames, steps in ((0, 7), (3, 3)):
        network = HiNeRV(replace(config, local_frames=frames), 7)
        assert len(network.stages[0].encoding.levels[0]) == steps


def test_learning_rates_match_the_original_code() -> None:
    """The original scheduler's cosine counts the epochs of the warm-up."""
    fit, pruned, quantized = HiNeRVCodec(HiNeRVSettings()).recipe()
    rates = [fit.learning_rate(epoch) for epoch in (0, 15, 30, 60, 100, 200, 290)]
    assert rates == pytest.approx([2e-5, 1.01e-3, 1.9515e-3, 1.8109e-3, 1.505e-3, 5.15e-4, 2.5424e-5], rel=1e-4)
    assert [pruned.learning_rate(epoch) for epoch in (0, 30, 60)] == pytest.approx([2e-3, 1.01e-3, 2e-5])
    assert [quantized.learning_rate(epoch) for epoch in (0, 15, 30)] == pytest.approx([2e-4, 1.01e-4, 2e-6])
