"""Large maps are computed again for the gradient: the same values and gradients, and less is kept."""

import pytest
import torch
from torch import Tensor, nn

from rdbench.codecs.hnerv_boost import TimeAwareResidual
from rdbench.codecs.inr.networks.layers import recomputed
from rdbench.codecs.inr.networks.layers.recomputed import lean


def gradients(module: nn.Module, x: Tensor, u: Tensor) -> tuple[list[Tensor], int]:
    """The gradients of input, condition and parameters, and the number of values that were kept for them."""
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.numel()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        y = lean(module, x, u)
    y.square().sum().backward()
    found = [each.grad for each in (x, u, *module.parameters())]
    assert all(each is not None for each in found)
    return [each for each in found if each is not None], sum(kept.values())


@pytest.mark.parametrize("seed", [0, 1])
def test_recomputing_changes_no_gradient(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(seed)
    module = TimeAwareResidual(6, 4)
    x, u = torch.rand(1, 6, 20, 30, requires_grad=True), torch.rand(1, 4, requires_grad=True)
    expected, whole = gradients(module, x, u)
    for each in (x, u, *module.parameters()):
        each.grad = None
    monkeypatch.setattr(recomputed, "LARGE_MAP", x.numel())
    found, kept = gradients(module, x, u)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    assert kept < whole / 2
