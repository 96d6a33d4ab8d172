"""PS-NeRV: patches that depend on their position, and the number of parameters by hand."""

import pytest
import torch

from rdbench.codecs.inr.networks.network import Patches, count_parameters, render
from rdbench.codecs.psnerv import PSNeRV, PSNeRVConfig


@pytest.mark.parametrize(("channels", "strides"), [(26, (5, 2, 2, 2)), (58, (5, 3, 2, 2)), (112, (5, 2, 2))])
def test_size_by_hand(channels: int, strides: tuple[int, ...]) -> None:
    with torch.device("meta"):
        network = PSNeRV(PSNeRVConfig(9, 16, strides, channels), 132)
    widths = [channels, *(max(channels >> stage, 96) if stage else channels for stage in range(len(strides)))]
    inputs = 2 * 80 + 4 * 16
    size = inputs * 512 + 512 + 513 * 144 * channels + inputs * 128 + 128 + 128 * 129
    for before, after, stride in zip(widths[:-1], widths[1:], strides, strict=True):
        size += 129 * 2 * before + (9 * before + 1) * after * stride**2
    assert count_parameters(network) == size + 3 * widths[-1] + 3


def test_a_patch_alone_is_the_same_as_in_a_whole_frame() -> None:
    torch.manual_seed(0)
    network = PSNeRV(PSNeRVConfig(3, 4, (2, 2), 6, 16, 8, 4, 6, 4), 5)
    whole = render(network, torch.tensor([1, 3]), network.grid, 23, 31)
    assert whole.shape == (2, 3, 23, 31)
    for row in (0, 1):
        for column in (0, 1):
            alone = network(Patches(torch.tensor([3]), torch.tensor([row]), torch.tensor([column])))
            part = whole[1:, :, 12 * row : 12 * row + 12, 16 * column : 16 * column + 16]
            assert torch.allclose(alone[..., : part.shape[2], : part.shape[3]], part, atol=1e-6)
    assert not torch.allclose(whole[..., :12, :15], whole[..., :12, 16:])
