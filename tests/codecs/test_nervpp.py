"""NeRV++ and NeRV*++: numbers of parameters and cost, published and solved."""

from statistics import mean

import pytest
import torch
from torch import nn

from rdbench.codecs.inr.codec import ClipHeader
from rdbench.codecs.inr.networks.network import NetworkConfig, count_macs, count_parameters
from rdbench.codecs.nerv import NeRV, NeRVCodec, NeRVConfig
from rdbench.codecs.nervpp import NeRVpp, NeRVppCodec, NeRVppConfig

P720, P1080 = (5, 2, 2, 2, 2), (5, 3, 2, 2, 2)
CHANNELS = (8, 26, 58, 112)


def build(channels: int, star: int = 0, strides: tuple[int, ...] = P720) -> NeRVpp:
    with torch.device("meta"):
        return NeRVpp(NeRVppConfig(9, 16, strides, channels, star=star), 132)


@pytest.mark.parametrize(
    ("channels", "plain", "star", "at_1080p"),
    [
        (8, 1_700_931, 1_914_115, 1_989_331),
        (26, 3_173_727, 3_392_239, 3_462_127),
        (58, 6_160_031, 6_400_815, 6_448_431),
        (112, 12_267_539, 12_583_059, 12_555_939),
    ],
)
def test_counts(channels: int, plain: int, star: int, at_1080p: int) -> None:
    counts = [count_parameters(build(channels, s)) for s in (0, 1)]
    assert counts == [plain, star]
    assert count_parameters(build(channels, strides=P1080)) == at_1080p


def test_the_papers_table_3() -> None:
    """Mean sizes over XS to L, and the ratios of the costs, of NeRV (80 frequencies), NeRV++ and NeRV*++."""
    with torch.device("meta"):
        nerv = [NeRV(NeRVConfig(9, 16, P720, channels), 132) for channels in CHANNELS]
    plain, star = ([build(channels, s) for channels in CHANNELS] for s in (0, 1))
    sizes = [mean(count_parameters(n) for n in group) / 1e6 for group in (nerv, plain, star)]
    assert sizes == pytest.approx([5.96, 5.83, 6.07], abs=0.005)
    costs = [mean(count_macs(n) for n in group) for group in (nerv, plain, star)]
    assert costs[1] / costs[0] == pytest.approx(256.3 / 277.8, abs=5e-4)
    assert costs[2] / costs[0] == pytest.approx(366.8 / 277.8, abs=5e-4)


@pytest.mark.parametrize(("channels", "kmacs"), [(8, 101.3), (26, 101.3), (58, 101.5), (112, 101.9)])
def test_cost_per_pixel(channels: int, kmacs: float) -> None:
    assert count_macs(build(channels)) / 921_600_000 == pytest.approx(kmacs, abs=0.06)


def solved(codec: NeRVppCodec | NeRVCodec, clip: ClipHeader, size: int) -> tuple[int, int, int, int]:
    """Channels, stem and lower width, and the number of parameters, of the network for a size."""
    with torch.device("meta"):
        network, config = codec.build_for(clip, size)
    assert isinstance(config, NeRVppConfig | NeRVConfig)
    return config.channels, config.stem, config.lower, count_parameters(network)


@pytest.mark.parametrize(("channels", "size"), [(8, 1_700_931), (26, 3_173_727), (58, 6_160_031), (112, 12_267_539)])
def test_the_papers_sizes_have_the_papers_widths(channels: int, size: int) -> None:
    found = solved(NeRVppCodec(NeRVppCodec.Settings()), ClipHeader(1280, 720, 132, 25, 1), size)
    assert found == (channels, 512, 80, size)


@pytest.mark.parametrize(("channels", "size"), [(8, 1_671_851), (26, 3_201_905), (58, 6_282_001), (112, 12_524_563)])
def test_nervs_sizes_in_the_paper_have_its_widths(channels: int, size: int) -> None:
    found = solved(NeRVCodec(NeRVCodec.Settings(frequencies=40)), ClipHeader(1280, 720, 132, 25, 1), size)
    assert found == (channels, 512, 96, size)


def test_below_xs_the_base_grid_keeps_its_channels() -> None:
    codec, clip = NeRVppCodec(NeRVppCodec.Settings()), ClipHeader(320, 180, 32, 25, 1)
    sizes = (10_000, 14_000, 20_000, 40_000, 160_000, 640_000)
    found = [solved(codec, clip, size) for size in sizes]
    assert [channels for channels, *_ in found[3:]] == [8, 8, 8]
    assert all(1 <= channels < 8 for channels, *_ in found[:3])
    assert sorted(channels for channels, *_ in found) == [channels for channels, *_ in found]
    for size, (*_, parameters) in zip(sizes, found, strict=True):
        assert parameters == pytest.approx(size, rel=0.01)


def network_of(initial: str) -> tuple[nn.Module, NetworkConfig]:
    torch.manual_seed(0)
    codec = NeRVppCodec(NeRVppCodec.Settings(initial=initial))
    return codec.build_for(ClipHeader(320, 180, 32, 25, 1), 320_000)


def test_initial_values_are_those_of_the_repository() -> None:
    network, _ = network_of("xavier")
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            assert module.bias is not None
            assert (module.bias == 0).all()
        if isinstance(module, nn.Linear):
            assert float(module.weight.detach().std()) == pytest.approx(0.02, rel=0.05)
        if isinstance(module, nn.Conv2d) and module.weight.numel() > 2000:
            outputs, inputs, rows, columns = module.weight.shape
            bound = (6 / ((outputs + inputs) * rows * columns)) ** 0.5
            assert 0.98 * bound < float(module.weight.detach().abs().max()) <= bound
    theirs, _ = network_of("torch")
    assert any((parameter != 0).all() for name, parameter in theirs.named_parameters() if name.endswith("bias"))


def test_the_texts_recipe_can_be_chosen() -> None:
    code, text = (NeRVppCodec(NeRVppCodec.Settings(**given)).recipe() for given in ({}, {"beta1": 0.9, "warmup": 0.0}))
    assert [stage.betas for stage in (*code, *text)] == [(0.5, 0.999)] * 2 + [(0.9, 0.999)] * 2
    assert [stage.learning_rate(0) for stage in (*code, *text)] == pytest.approx([5e-5, 2.5e-4, 5e-4, 2.5e-4])
    assert [stage.epochs for stage in text] == [300, 100]
    assert text[1].sparsity == 0.2
