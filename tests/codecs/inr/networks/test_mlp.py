"""Pointwise layers in parts: the values and the gradients of the plain layers."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from rdbench.codecs.inr.networks.layers import mlp
from rdbench.codecs.inr.networks.layers.mlp import pointwise_mlp

torch.set_num_threads(1)


def gradients(x: Tensor, widen: nn.Linear, narrow: nn.Linear, in_parts: bool) -> tuple[Tensor, list[Tensor]]:
    leaves = [x.clone().requires_grad_(), *widen.parameters(), *narrow.parameters()]
    for leaf in leaves:
        leaf.grad = None
    result = pointwise_mlp(leaves[0], widen, narrow) if in_parts else narrow(functional.gelu(widen(leaves[0])))
    torch.manual_seed(1)
    (result * torch.rand(result.shape)).sum().backward()
    return result.detach(), [leaf.grad.clone() for leaf in leaves if leaf.grad is not None]


@pytest.mark.parametrize("bias", [False, True])
def test_parts_are_the_whole(bias: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mlp, "LEAST_VALUES", 1)
    torch.manual_seed(0)
    widen, narrow = nn.Linear(5, 20, bias=bias), nn.Linear(20, 7, bias=bias)
    x = torch.rand(2, 37, 41, 5)  # three parts, the last of them smaller
    (ours, mine), (whole, theirs) = (gradients(x, widen, narrow, in_parts) for in_parts in (True, False))
    assert ours.shape == (2, 37, 41, 7)
    assert torch.allclose(ours, whole, atol=1e-6)
    assert len(mine) == len(theirs) == 3 + 2 * bias
    for own, other in zip(mine, theirs, strict=True):
        assert torch.allclose(own, other, rtol=1e-4, atol=1e-4 * float(other.abs().max()))


@pytest.mark.parametrize("least", [1, 1 << 60])
def test_wide_features_are_not_kept_where_there_are_many(least: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mlp, "LEAST_VALUES", least)
    kept: list[int] = []

    def pack(tensor: Tensor) -> Tensor:
        kept.append(tensor.numel())
        return tensor

    x = torch.rand(64, 64, 8, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        pointwise_mlp(x, nn.Linear(8, 32), nn.Linear(32, 8))
    assert (max(kept) == x.numel()) == (least == 1)
