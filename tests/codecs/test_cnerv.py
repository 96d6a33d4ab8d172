"""C-NeRV: numbers of parameters by hand, maps of time and position, the schedule of the rate."""

from dataclasses import replace

import pytest
import torch

from rdbench.codecs.cnerv import CNeRV, CNeRVCodec, CNeRVConfig, CNeRVSettings
from rdbench.codecs.inr.codec import ClipHeader
from rdbench.codecs.inr.compression.entropy_constrained import EntropyConstrained
from rdbench.codecs.inr.networks.layers.encoding import sinusoids
from rdbench.codecs.inr.networks.network import Patches, count_macs, count_parameters

torch.set_num_threads(1)
AT_720P = CNeRVConfig(9, 16, (5, 2, 2, 2, 2))


def meta(config: CNeRVConfig) -> CNeRV:
    with torch.device("meta"):
        return CNeRV(config, 600)


def test_counts_by_hand() -> None:
    stem = (9 * 480 + 1) * 256 + (9 * 256 + 1) * 256
    code = 161 * 128 + 129 * 128
    first = (9 * 256 + 1) * 64 * 25 + (9 * 64 + 1) * 512
    later = sum((9 * a + 1) * 4 * b for a, b in ((512, 256), (256, 128), (128, 96), (96, 96)))
    modulations = sum(129 * 2 * width for width in (256, 512, 256, 128, 96))
    assert count_parameters(meta(AT_720P)) == stem + code + first + later + modulations + 97 * 3
    assert count_macs(meta(AT_720P)) > 0


@pytest.mark.parametrize(
    ("width", "height", "size", "base"), [(1280, 720, 12_500_000, (9, 16)), (1920, 960, 3_000_000, (8, 16))]
)
def test_the_papers_sizes_are_met(width: int, height: int, size: int, base: tuple[int, int]) -> None:
    with torch.device("meta"):
        network, config = CNeRVCodec(CNeRVSettings()).build_for(ClipHeader(width, height, 600, 25, 1), size)
    assert count_parameters(network) == pytest.approx(size, rel=1e-3)
    assert (config.rows, config.columns) == base


def test_maps_encode_time_and_position() -> None:
    torch.manual_seed(0)
    network = CNeRV(CNeRVConfig(3, 4, (2,), 4, 6, 4, 4, 2, 5), 6)
    time = sinusoids(torch.tensor([0.0, 0.5]), 5)
    maps = network.maps(time)
    assert maps.shape == (2, 30, 3, 4)
    assert torch.equal(maps[:, :10, 2, 1], time)
    assert torch.equal(maps[0, 10:20, 1], sinusoids(torch.arange(4).double() / 4, 5).T)
    assert torch.equal(maps[1, 20:, :, 3], sinusoids(torch.arange(3).double() / 3, 5).T)


@torch.no_grad()
def test_every_stage_is_conditioned_on_time() -> None:
    torch.manual_seed(0)
    network = CNeRV(replace(CNeRVConfig(3, 4, (2, 2), 4, 6, 4, 4, 2, 5)), 6)
    at = Patches.of_frames(torch.arange(2), (1, 1))
    before = network(at)
    assert before.shape == (2, 3, 12, 16)
    for modulation in network.modulations:
        kept = modulation.weight.clone()
        modulation.weight += 1
        assert (network(at) - before).abs().max() > 1e-5
        modulation.weight.copy_(kept)


def test_the_rate_is_in_the_loss_in_the_last_fifth_of_one_schedule() -> None:
    codec = CNeRVCodec(CNeRVSettings(epochs=80))
    fit, rate = codec.stages(codec.rate_point("1M-lambda0.5", None))  # type: ignore[arg-type]
    assert (fit.epochs, rate.epochs, fit.rate_weight, rate.rate_weight, rate.rate_area) == (80, 20, 0, 0.5, "clip")
    assert fit.learning_rate(79.999) == pytest.approx(rate.learning_rate(0), rel=1e-3)
    assert rate.learning_rate(20) == pytest.approx(0, abs=1e-9)
    assert isinstance(codec.compression(), EntropyConstrained)
