"""NeRV: the published numbers of parameters and multiply-accumulates."""

import pytest
import torch

from rdbench.codecs.inr.networks.network import count_macs, count_parameters
from rdbench.codecs.nerv import NeRV, NeRVConfig

torch.set_num_threads(1)
P720, P1080 = (5, 2, 2, 2, 2), (5, 3, 2, 2, 2)
PUBLISHED = [
    # channels, expansion, lower, L, strides, parameters, kMAC per pixel
    (8, 1, 96, 40, P720, 1_671_851, 109.26),
    (26, 1, 96, 40, P720, 3_201_905, 109.53),
    (58, 1, 96, 40, P720, 6_282_001, 110.06),
    (112, 1, 96, 40, P720, 12_524_563, 111.11),
    (26, 1, 96, 80, P720, 3_242_865, None),
    (58, 1, 96, 80, P720, 6_322_961, None),
    (112, 1, 96, 80, P720, 12_565_523, None),
    (26, 1, 96, 40, P1080, 3_314_705, 109.5),
    (58, 1, 96, 40, P1080, 6_533_041, 110.0),
    (112, 1, 96, 40, P1080, 13_008_883, 110.9),
    (64, 8, 32, 80, P1080, 24_364_259, 74.3),
    (128, 4, 32, 80, P1080, 36_464_867, 74.9),
    (128, 6, 32, 80, P1080, 59_052_115, 167.6),
    (128, 8, 32, 80, P1080, 87_721_923, 297.2),
    (192, 8, 32, 80, P1080, 190_155_427, 668.5),
]


@pytest.mark.parametrize(("channels", "expansion", "lower", "frequencies", "strides", "parameters", "kmacs"), PUBLISHED)
def test_published_counts(
    channels: int,
    expansion: int,
    lower: int,
    frequencies: int,
    strides: tuple[int, ...],
    parameters: int,
    kmacs: float | None,
) -> None:
    config = NeRVConfig(9, 16, strides, channels, 512, lower, expansion, frequencies)
    width, height = (1280, 720) if strides == P720 else (1920, 1080)
    with torch.device("meta"):
        network = NeRV(config, 132)
    assert count_parameters(network) == parameters
    if kmacs is not None:
        assert count_macs(network) / (1000 * width * height) == pytest.approx(kmacs, abs=0.06)
