"""NeRV++ and NeRV*++: numbers of parameters and cost, published and solved."""

from statistics import mean

import pytest
import torch

from rdbench.codecs.inr.networks.network import count_macs, count_parameters
from rdbench.codecs.nerv import NeRV, NeRVConfig
from rdbench.codecs.nervpp import NeRVpp, NeRVppConfig

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
