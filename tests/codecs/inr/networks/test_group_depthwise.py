"""Depthwise convolution by groups: each sample with the kernels of its group, in whatever batch."""

import pytest
import torch
from torch.nn import functional

from rdbench.codecs.inr.networks.layers.group_depthwise import GroupDepthwise, in_one_group


@pytest.mark.parametrize("groups", [[0, 0, 0], [2, 2, 2], [0, 2, 1], [1]])
@pytest.mark.parametrize("with_gradients", [False, True])
def test_each_sample_has_the_kernels_of_its_group(groups: list[int], with_gradients: bool) -> None:
    torch.manual_seed(0)
    layer, x = GroupDepthwise(3, 5), torch.randn(len(groups), 6, 7, 5)
    with torch.no_grad():
        layer.kernels.normal_()
    with torch.set_grad_enabled(with_gradients):
        y = layer(x, torch.tensor(groups)).detach()
    for sample, result, group in zip(x, y, groups, strict=True):
        kernels = layer.kernels[group].detach().view(5, 1, 3, 3)
        expected = functional.conv2d(sample.permute(2, 0, 1)[None], kernels, padding=1, groups=5)
        assert torch.allclose(result, expected[0].permute(1, 2, 0), atol=1e-6)


def test_gradients_reach_the_kernels_of_the_groups_alone() -> None:
    layer = GroupDepthwise(3, 4)
    layer(torch.randn(2, 5, 5, 4), torch.tensor([2, 2])).square().sum().backward()
    assert layer.kernels.grad is not None
    assert [bool(gradient.any()) for gradient in layer.kernels.grad] == [False, False, True]


def test_groups_are_read_only_where_nothing_waits_for_them() -> None:
    same = torch.tensor([1, 1])
    with torch.no_grad():
        assert in_one_group(same, 2)
        assert not in_one_group(torch.tensor([1, 0]), 2)
        assert not in_one_group(torch.empty(2, device="meta"), 2)
    assert not in_one_group(same, 2)
    assert in_one_group(torch.tensor([0, 0]), 1)
