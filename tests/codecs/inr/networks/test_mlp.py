"""Normalization and pointwise layers in parts: the values and the gradients of the plain layers."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from rdbench.codecs.inr.networks.layers import mlp
from rdbench.codecs.inr.networks.layers.mlp import normalized_mlp

torch.set_num_threads(1)


def gradients(
    x: Tensor, norm: nn.LayerNorm, widen: nn.Linear, narrow: nn.Linear, in_parts: bool
) -> tuple[Tensor, list[Tensor]]:  # fmt: skip
    leaves = [x.clone().requires_grad_(), *(p for layer in (norm, widen, narrow) for p in layer.parameters())]
    for leaf in leaves:
        leaf.grad = None
    if in_parts:
        result = normalized_mlp(leaves[0], norm.weight, norm.bias, norm.eps, widen, narrow)
    else:
        result = narrow(functional.gelu(widen(norm(leaves[0]))))
    torch.manual_seed(1)
    (result * torch.rand(result.shape)).sum().backward()
    return result.detach(), [leaf.grad.clone() for leaf in leaves if leaf.grad is not None]


@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("hidden", [3, 20])
def test_parts_are_the_whole(affine: bool, hidden: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mlp, "LARGE_MAP", 1)
    torch.manual_seed(0)
    norm = nn.LayerNorm(5, elementwise_affine=affine)
    for parameter in norm.parameters():
        nn.init.uniform_(parameter, 0.5, 1.5)
    widen, narrow = nn.Linear(5, hidden, bias=affine), nn.Linear(hidden, 7, bias=affine)
    x = torch.rand(2, 37, 41, 5)  # three parts, the last of them smaller
    (ours, mine), (whole, theirs) = (gradients(x, norm, widen, narrow, in_parts) for in_parts in (True, False))
    assert ours.shape == (2, 37, 41, 7)
    assert torch.allclose(ours, whole, atol=1e-6)
    assert len(mine) == len(theirs) == 3 + 4 * affine
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
        normalized_mlp(x, None, None, 1e-5, nn.Linear(8, 32), nn.Linear(32, 8))
    assert (max(kept) == x.numel()) == (least == 1)
