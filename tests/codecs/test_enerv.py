"""E-NeRV: the counts of the official model, and its normalization of time."""

import pytest
import torch

from rdbench.codecs.enerv import ENeRV, ENeRVCodec, ENeRVConfig
from rdbench.codecs.inr.codec import ClipHeader
from rdbench.codecs.inr.networks.network import Patches, count_macs, count_parameters

P720, P1080 = (5, 2, 2, 2, 2), (5, 3, 2, 2, 2)
FIXED_COORDINATES = 288
"""The official counts at 1080p include the coordinates of the 9x16 tokens, which need not be sent."""


@pytest.mark.parametrize(
    ("strides", "channels", "lower", "parameters"),
    [
        (P720, 196, 96, 12_490_314),
        (P1080, 62, 28, 3_044_515 - FIXED_COORDINATES),
        (P1080, 64, 96, 3_961_587 - FIXED_COORDINATES),
        (P1080, 96, 96, 6_370_635 - FIXED_COORDINATES),
        (P1080, 128, 96, 9_655_203 - FIXED_COORDINATES),
        (P1080, 196, 96, 20_271_312 - FIXED_COORDINATES),
    ],
)
def test_published_counts(strides: tuple[int, ...], channels: int, lower: int, parameters: int) -> None:
    with torch.device("meta"):
        assert count_parameters(ENeRV(ENeRVConfig(9, 16, strides, channels, lower=lower), 132)) == parameters


def test_the_official_models_parts() -> None:
    with torch.device("meta"):
        network = ENeRV(ENeRVConfig(9, 16, P720), 132)
    parts = {name: count_parameters(module) for name, module in network.named_children()}
    assert parts == {
        "time": 213_760, "code": 37_120, "space": 82_176, "before": 131_712, "after": 590_464, "base": 50_372,
        "blocks": 2_422_021 + 6_224_568 + 1_556_436 + 508_416 + 332_160,
        "modulations": 50_568 + 151_704 + 75_852 + 37_926 + 24_768, "head": 291,
    }  # fmt: skip
    assert count_macs(network) / 921_600_000 == pytest.approx(165.1, abs=0.05)


@pytest.mark.parametrize(("channels", "lower", "kmacs"), [(62, 28, 15.0), (196, 96, 164.3)])
def test_published_cost_at_1080p(channels: int, lower: int, kmacs: float) -> None:
    with torch.device("meta"):
        network = ENeRV(ENeRVConfig(9, 16, P1080, channels, lower=lower), 132)
    assert count_macs(network) / (1000 * 1920 * 1080) == pytest.approx(kmacs, abs=0.06)


@pytest.mark.parametrize(
    ("channels", "widths", "parameters"),
    [
        (48, {"stem": 256, "block": 128, "feed_forward": 64, "lower": 24}, 1_235_119),
        (32, {"stem": 128, "block": 64, "feed_forward": 256, "lower": 16}, 649_611),  # one head as wide as the tokens
        (24, {"stem": 96, "block": 24, "feed_forward": 48, "lower": 12}, 330_961),
    ],
)
def test_small_configurations_of_the_original(channels: int, widths: dict[str, int], parameters: int) -> None:
    """The counts are those of the released network with these widths at 720p; a size of as many finds it."""
    settings = ENeRVCodec.Settings(**widths, head_width=64, code=128)
    network, config = ENeRVCodec(settings).build_for(ClipHeader(1280, 720, 132, 25, 1), parameters)
    assert count_parameters(network) == parameters
    assert isinstance(config, ENeRVConfig)
    assert (config.channels, config.stem, config.head, config.code) == (channels, widths["stem"], 64, 128)
    assert (config.block, config.hidden, config.lower) == (widths["block"], widths["feed_forward"], widths["lower"])


def test_time_reaches_one_at_the_last_frame_and_a_single_frame_has_a_time() -> None:
    torch.manual_seed(0)
    config = ENeRVConfig(3, 4, (2, 2), channels=8, stem=8, block=16, code=8, lower=4, frequencies=4)
    long, other, single = ENeRV(config, 5), ENeRV(config, 9), ENeRV(config, 1)
    other.load_state_dict(long.state_dict())
    single.load_state_dict(long.state_dict())

    def frame(network: ENeRV, index: int) -> torch.Tensor:
        return network(Patches.of_frames(torch.tensor([index]), (1, 1)))

    assert torch.allclose(frame(long, 4), frame(other, 8))
    assert torch.allclose(frame(long, 2), frame(other, 4))
    assert torch.allclose(frame(long, 0), frame(single, 0))
    assert not torch.allclose(frame(long, 1), frame(other, 1))
