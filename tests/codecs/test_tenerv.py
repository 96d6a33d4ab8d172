"""TeNeRV: parameter counts and cost, groups by content, the two training stages, copies of kernels, ablations."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from rdbench.codec import Workspace
from rdbench.codecs.inr.codec import ClipHeader
from rdbench.codecs.inr.networks.layers.upsampling import pixel_shuffle
from rdbench.codecs.inr.networks.network import count_macs, count_parameters, render
from rdbench.codecs.inr.recipes.losses import loss_of
from rdbench.codecs.inr.recipes.similarity import ms_ssim
from rdbench.codecs.inr.recipes.stage import Stage
from rdbench.codecs.inr.training.trainer import Trainer
from rdbench.codecs.tenerv import TeNeRV, TeNeRVCodec, TeNeRVConfig, TeNeRVSettings
from rdbench.errors import BitstreamError
from rdbench.registry import create, parse_specs

P1080 = (5, 3, 2, 2)


def build(channels: int, grid: int, frames: int = 600, groups: int = 5) -> TeNeRV:
    steps = (frames + 4) // 2  # of the first level; a window of five frames ends four frames after the clip
    config = TeNeRVConfig(18, 32, P1080, channels, 4 * channels, grid, steps, groups=groups, last_depth=1)
    with torch.device("meta"):
        return TeNeRV(config, frames)


def biases(channels: int, groups: int = 5) -> int:
    """Biases of pointwise layers, and of depthwise ones for each group, which the counts below have and ours do not."""
    widths = [channels >> number for number in range(4)]
    of_layers = (depth * (groups + 1 + ratio) for depth, ratio in ((3, 4), (3, 4), (3, 4), (1, 1)))
    return sum(width * (1 + count) for width, count in zip(widths, of_layers, strict=True))


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
    """At 3M, 6M and 12M; the expected cost is for projections after the upsampling, the code projects before it."""
    network = build(channels, grid)
    assert count_parameters(network) == count - biases(channels)
    assert count_parameters(build(channels, grid, groups=1)) == single - biases(channels, 1)
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
    assert count_parameters(build(channels, grid, 300)) == count - biases(channels)


def test_counts_and_cost_of_msnervs_geometry() -> None:
    """2.998M and 179 GMAC: cells of 24x24 pixels, three layers in every block, levels of 90, 45 and 23 time steps."""
    config = TeNeRVConfig(45, 80, (3, 2, 2, 2), 262, 1048, 1, 90, last_depth=3)
    with torch.device("meta"):
        network = TeNeRV(config, 600)
    assert network.features.base.lengths() == [90, 45, 23]
    of_the_last = 2 * 32 * (5 + 1 + 1)  # of its second and third layer
    assert count_parameters(network) + biases(262) + of_the_last == pytest.approx(2.998e6, abs=500)
    assert count_macs(network) / 1e9 == pytest.approx(179, abs=0.5)


def test_counts_and_cost_of_other_upsamplings() -> None:
    """Pixel shuffle projects to 4 C' values; without a projection, the first layer narrows C to C' channels."""

    def network_with(upsampling: int) -> TeNeRV:
        with torch.device("meta"):
            return TeNeRV(TeNeRVConfig(18, 32, P1080, 262, 1048, upsampling=upsampling), 600)

    bilinear, shuffle, wide = (network_with(number) for number in range(3))
    pairs, pixels = [(262, 262), (262, 131), (131, 65), (65, 32)], (18 * 32 * 25 * 9 * 4, 18 * 32 * 25 * 9 * 16)
    assert count_parameters(shuffle) - count_parameters(bilinear) == 3 * (131 * 65 + 65 * 32)
    shuffled = [3 * before * after * area // 4 for (before, after), area in zip(pairs[2:], pixels, strict=True)]
    assert count_macs(shuffle) - count_macs(bilinear) == sum(shuffled)
    narrowing = ((c - d) * (5 * 9 + 2 + e * d) - c * d for (c, d), e in zip(pairs, (4, 4, 4, 1), strict=True))
    assert count_parameters(wide) - count_parameters(bilinear) == sum(narrowing)


@pytest.mark.parametrize("stride", [2, 3])
def test_pixel_shuffle_is_torchs_on_channels_last(stride: int) -> None:
    x = torch.randn(2, 5, 4, stride**2 * 7)
    theirs = x.view(2, 5, 4, stride**2, 7).transpose(-1, -2).flatten(-2).permute(0, 3, 1, 2)
    assert torch.equal(pixel_shuffle(x, stride), functional.pixel_shuffle(theirs, stride).permute(0, 2, 3, 1))


@pytest.mark.parametrize(
    ("options", "lengths"),
    [
        ({}, [68, 34, 17]),
        ({"step_frames": 1, "levels": 2}, [136, 68]),
        ({"step_frames": 1, "level_ratio": 4}, [136, 34, 9]),
        ({"step_frames": 5, "levels": 1}, [28]),
    ],
)
def test_levels_of_the_base_grid(options: dict[str, int], lengths: list[int]) -> None:
    """Of 132 frames, and four more for the last window."""
    clip = ClipHeader(160, 90, 132, 25, 1)
    network, config = TeNeRVCodec(TeNeRVSettings(**options)).build_for(clip, 40_000)
    assert isinstance(network, TeNeRV)
    assert network.features.base.lengths() == lengths
    assert abs(count_parameters(network) - 40_000) <= 400
    rebuilt = TeNeRVCodec.rebuild(clip, config.numbers())
    assert isinstance(rebuilt, TeNeRV)
    assert rebuilt.features.base.lengths() == lengths


@pytest.mark.parametrize(
    ("size", "options", "cells", "lengths"),
    [
        (80_000, {}, (9, 16), [151, 76, 38]),
        (80_000, {"step_frames": 2}, (5, 8), [302, 151, 76]),
        (3_000_000, {}, (18, 32), [302, 151, 76]),
    ],
)
def test_small_networks_of_long_clips_have_fewer_time_steps(
    size: int, options: dict[str, int], cells: tuple[int, int], lengths: list[int]
) -> None:
    clip = ClipHeader(*((160, 90) if size < 1e6 else (1920, 1080)), 600, 25, 1)
    network, config = TeNeRVCodec(TeNeRVSettings(**options)).build_for(clip, size)
    assert isinstance(network, TeNeRV)
    assert isinstance(config, TeNeRVConfig)
    assert (config.rows, config.columns) == cells
    assert network.features.base.lengths() == lengths


@pytest.mark.parametrize("window", [5, 11])
def test_the_loss_has_the_window_of_the_settings(window: int) -> None:
    output, target = torch.rand(2, 1, 3, 176, 176, generator=torch.Generator().manual_seed(0)).unbind()
    (spec,) = parse_specs(f"tenerv[ms-ssim-window={window}]")
    codec = create(spec)
    assert isinstance(codec, TeNeRVCodec)
    holistic, *others = codec.recipe()
    absolute = (output - target).abs().mean()
    expected = 0.7 * absolute + 0.3 * (1 - ms_ssim(output, target, window))
    assert loss_of(holistic.loss, output, target) == pytest.approx(absolute.item())
    for stage in others:
        assert loss_of(stage.loss, output, target) == pytest.approx(expected.item())


def test_the_last_stage_has_two_layers_unless_the_settings_say_otherwise() -> None:
    clip = ClipHeader(1920, 1080, 600, 25, 1)
    network, config = TeNeRVCodec(TeNeRVSettings()).build_for(clip, 3_000_000)
    assert isinstance(config, TeNeRVConfig)
    assert TeNeRVConfig(18, 32, P1080).last_depth == config.last_depth == 2
    assert [len(stage.layers) for stage in network.stages] == [3, 3, 3, 2]
    layer = network.stages[-1].layers[1]
    assert sum(parameter.numel() for parameter in layer.parameters()) == 33 * (5 * 9 + 2 + 2 * 33)
    assert len(network_of(last_depth=1).stages[-1].layers) == 1


def test_groups_and_ablations_do_not_change_the_base_grid() -> None:
    def grid(**options: int) -> tuple[int, int, int]:
        config = TeNeRVCodec(TeNeRVSettings(**options)).solved(ClipHeader(160, 90, 132, 25, 1), 40_000)
        assert isinstance(config, TeNeRVConfig)
        return config.rows, config.columns, config.grid_channels

    assert grid() == grid(gops=5) == grid(gops=10) == grid(gops=5, no_gop_grids=True) == (9, 16, 1)


CLIP = ClipHeader(160, 100, 42, 25, 1)
FRAMES = torch.randint(0, 256, (16, 3, 50, 80), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def network_of(clip: ClipHeader = CLIP, size: int = 30_000, **options: int | str) -> TeNeRV:
    """A network as after training: grids with large values, and all copies different."""
    torch.manual_seed(0)
    network, _ = TeNeRVCodec(TeNeRVSettings(**{"gops": 5, **options})).build_for(clip, size)
    assert isinstance(network, TeNeRV)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return network


def whole(network: TeNeRV, frames: list[int], clip: ClipHeader = CLIP) -> Tensor:
    with torch.no_grad():
        return render(network, torch.tensor(frames), network.frame_grid, clip.height, clip.width)


def adaptive() -> Stage:
    return TeNeRVCodec(TeNeRVSettings()).recipe()[1]


@pytest.mark.parametrize("upsampling", ["bilinear", "shuffle", "wide"])
@pytest.mark.parametrize(("width", "height"), [(320, 240), (333, 167)])
def test_patches_are_parts_of_their_frame(width: int, height: int, upsampling: str) -> None:
    clip = ClipHeader(width, height, 40, 25, 1)
    network = network_of(clip, 100_000, upsampling=upsampling)
    network.boundaries = (4, 9)
    with torch.no_grad():
        patches = render(network, torch.tensor([3, 4, 11]), network.grid, height, width)
    assert max(network.grid) > 1
    assert (whole(network, [3, 4, 11], clip) - patches).abs().max() < 1e-5


def test_a_batch_may_mix_groups() -> None:
    network = network_of()
    network.boundaries = (4, 9)
    together = whole(network, [10, 1, 5, 0])
    alone = torch.cat([whole(network, [frame]) for frame in (10, 1, 5, 0)])
    assert torch.allclose(together, alone, atol=1e-6)


def test_frames_of_one_group_in_a_batch_are_those_of_a_mixed_batch() -> None:
    """To the bit, although a mixed batch has another convolution; in both, other frames have no influence."""
    network = network_of()
    network.boundaries = (4, 9)
    assert torch.equal(whole(network, [5, 6, 7]), whole(network, [5, 6, 7, 1])[:3])
    assert torch.equal(whole(network, [5, 6, 7]), torch.cat([whole(network, [frame]) for frame in (5, 6, 7)]))


def test_each_group_has_its_own_kernels_and_grids() -> None:
    network = network_of()
    network.boundaries = (4,)
    before = whole(network, [3, 4])
    with torch.no_grad():
        network.stages[0].layers[0].depthwise.kernels[1] += 0.5
    after = whole(network, [3, 4])
    assert torch.equal(before[0], after[0])
    assert not torch.allclose(before[1], after[1], atol=1e-4)


def test_the_adaptive_stage_copies_the_first_group_without_changing_frames() -> None:
    network = network_of()
    before = whole(network, list(range(0, 42, 5)))
    copied = network.enter(adaptive())
    assert network.boundaries
    assert set(copied) == {name for name, _ in network.named_parameters() if ".depthwise." in name} | {
        "features.groups"
    }
    for name in copied:
        first, *others = network.get_parameter(name)
        assert len(others) == 4
        assert all(torch.equal(first, other) for other in others)
    assert torch.allclose(whole(network, list(range(0, 42, 5))), before, atol=1e-6)


def test_groups_begin_where_the_fused_features_change() -> None:
    network = network_of()
    with torch.no_grad():
        assert network.features.weights is not None
        network.features.weights.zero_()[:, 0] = 1
        network.features.weights[17:] *= -1  # the features of frames 16 and 17 point to opposite sides
    network.enter(adaptive())
    assert 17 in network.boundaries


@pytest.mark.parametrize(("frames", "count"), [(1, 1), (95, 1), (96, 2), (240, 5), (600, 5)])
def test_short_clips_have_fewer_groups(frames: int, count: int) -> None:
    config = TeNeRVCodec(TeNeRVSettings()).scaled(ClipHeader(160, 100, frames, 25, 1), 0.1)
    assert config.groups == count
    requested = TeNeRVCodec(TeNeRVSettings(gops=7)).scaled(ClipHeader(160, 100, frames, 25, 1), 0.1)
    assert requested.groups == min(7, frames)


def test_ablations() -> None:
    assert network_of(no_iff=True).features.weights is None
    assert network_of(no_gop_grids=True).features.groups is None
    shared = network_of(shared_kernels=True)
    assert all(len(p) == 1 for name, p in shared.named_parameters() if ".depthwise." in name)
    for option, boundaries in (("fixed_gops", (9, 18, 27, 36)), ("length_gops", (8, 16, 25, 33))):
        network = network_of(**{option: True})
        network.enter(adaptive())
        assert network.boundaries == boundaries
        assert network.config.groups == len(boundaries) + 1


@pytest.mark.parametrize("stop_after", [1, 2, 3, 5])
def test_training_resumed_around_the_adaptive_stage_equals_uninterrupted_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_after: int
) -> None:
    """Two epochs of the first stage, two of the second, two of quantization."""
    monkeypatch.setattr("rdbench.codecs.inr.training.checkpoint.CHECKPOINT_SECONDS", 0.0)
    codec = TeNeRVCodec(TeNeRVSettings(epochs=4, holistic=0.5, quantize_epochs=2, gops=2))
    clip = ClipHeader(80, 50, 16, 25, 1)

    def train(folder: Path, stop: int | None) -> TeNeRV:
        calls = 0

        def progress(done: float, total: float, text: str) -> None:
            nonlocal calls
            calls += 1
            if calls == stop:
                raise KeyboardInterrupt

        torch.manual_seed(0)
        network, _ = codec.build_for(clip, 14_000)
        assert isinstance(network, TeNeRV)
        folder.mkdir(exist_ok=True)
        trainer = Trainer(network, codec.compression(), FRAMES, Workspace(folder, progress=progress), codec.recipe())
        try:
            trainer.run()
        except KeyboardInterrupt:
            trainer.checkpoint.wait()
        return network

    uninterrupted = train(tmp_path / "whole", None)
    train(tmp_path / "cut", stop_after)
    resumed = train(tmp_path / "cut", None)
    assert uninterrupted.boundaries
    assert uninterrupted.boundaries == resumed.boundaries
    for first, second in zip(uninterrupted.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(first, second)


def test_boundaries_are_transmitted_and_invalid_ones_rejected() -> None:
    network = network_of()
    config = network.final_config(network.config)
    assert isinstance(config, TeNeRVConfig)
    numbers = replace(config, boundaries=(4, 9)).numbers()
    rebuilt = TeNeRVCodec.rebuild(CLIP, numbers)
    assert isinstance(rebuilt, TeNeRV)
    assert rebuilt.boundaries == (4, 9)
    for invalid in ((9, 4), (4, 4), (4, 42), tuple(range(1, 12))):
        with pytest.raises(BitstreamError):
            TeNeRVCodec.rebuild(CLIP, replace(config, boundaries=invalid).numbers())
    for cut in (numbers[:-1], [*numbers, 1], numbers[:4]):
        with pytest.raises(BitstreamError):
            TeNeRVCodec.rebuild(CLIP, cut)


def test_vectors_are_decoded_within_half_a_level(tmp_path: Path) -> None:
    scheme, network = TeNeRVCodec(TeNeRVSettings()).compression(), network_of()
    sections = scheme.write(network)
    vectors = {name: p.detach().clone() for name, p in network.named_parameters() if p.dim() == 1}
    assert len(sections["vectors"]) == sum(len(vector) + 4 for vector in vectors.values())
    scheme.read(network, sections)
    for name, vector in vectors.items():
        step = (vector.max() - vector.min()) / 255
        assert (network.get_parameter(name) - vector).abs().max() <= 0.51 * step + 1e-3 * vector.abs().max()


def test_equal_copies_need_almost_no_bytes() -> None:
    scheme, network = TeNeRVCodec(TeNeRVSettings()).compression(), network_of()
    different = len(scheme.write(network)["weights"])
    network.enter(adaptive())
    kernels = sum(p.numel() for name, p in network.named_parameters() if ".depthwise." in name)
    assert len(scheme.write(network)["weights"]) < different - kernels // 4
