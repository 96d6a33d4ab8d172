"""Side heads: small frames during one training stage, weights that fall to zero, targets that are averaged."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from rdbench.codecs.inr.networks.network import Network, Patches, compared
from rdbench.codecs.inr.networks.side_heads import SideHeads
from rdbench.codecs.inr.recipes.stage import Stage

FIT = Stage("fit", 30, 1e-3)
FEATURES = [torch.rand(2, 3, 4, 6), torch.rand(2, 6, 8, 5)]


class Nothing(Network):
    """A network of frames of 12x16 pixels that renders nothing."""

    def forward(self, at: Patches) -> Tensor:
        raise NotImplementedError


def test_each_head_shows_its_features() -> None:
    heads = SideHeads([6, 5], 0.25, "fit")
    outputs = heads.outputs(FEATURES)
    assert [tuple(shown.shape) for _, shown in outputs] == [(2, 3, 3, 4), (2, 3, 6, 8)]
    assert all(bool((shown > 0).all() and (shown < 1).all()) for _, shown in outputs)
    weight, bias = (p.detach().numpy() for p in heads.heads[0].parameters())
    by_hand = 1 / (1 + torch.exp(-torch.from_numpy(weight @ FEATURES[0][1, 2, 3].numpy() + bias)))
    assert torch.allclose(outputs[0][1][1, :, 2, 3], by_hand)


@pytest.mark.parametrize(("progress", "weight"), [(0, 0.25), (0.5, 0.25), (2 / 3, 0.25), (5 / 6, 0.125), (1, 0)])
def test_the_weight_falls_to_zero_over_the_last_third(progress: float, weight: float) -> None:
    heads = SideHeads([6, 5], 0.25, "fit")
    heads.advance(FIT, progress)
    assert [float(found) for found, _ in heads.outputs(FEATURES)] == pytest.approx([weight, weight], abs=1e-7)


@pytest.mark.parametrize(("name", "count"), [("fit", 2), ("free fit", 2), ("quantize", 0), ("finetune", 0)])
def test_other_stages_have_no_outputs(name: str, count: int) -> None:
    heads = SideHeads([6, 5], 0.25, "fit")
    heads.advance(Stage(name, 3, 1e-3), 0.0)
    assert len(heads.outputs(FEATURES)) == count


def test_the_weight_keeps_its_place_in_memory() -> None:
    heads = SideHeads([6, 5], 0.25, "fit")
    before = heads.outputs(FEATURES)[0][0]
    heads.advance(FIT, 0.9)
    assert heads.outputs(FEATURES)[0][0] is before


def test_small_outputs_are_compared_with_means_of_the_padded_target() -> None:
    target = torch.rand(2, 3, 10, 13)
    shown = torch.rand(2, 3, 3, 4)
    output, reference = compared(shown, target, Nothing((12, 16)))
    assert torch.equal(output, shown)
    assert reference.shape == shown.shape
    assert torch.allclose(reference[:, :, 1, 2], target[:, :, 4:8, 8:12].mean((2, 3)))
    last = torch.stack([target[:, :, min(y, 9), min(x, 12)] for y in range(8, 12) for x in range(12, 16)]).mean(0)
    assert torch.allclose(reference[:, :, 2, 3], last)


def test_whole_outputs_are_cropped_to_the_target() -> None:
    target, shown = torch.rand(2, 3, 10, 13), torch.rand(2, 3, 12, 16)
    output, reference = compared(shown, target, Nothing((12, 16)))
    assert reference is target
    assert torch.equal(output, shown[:, :, :10, :13])
    assert functional.l1_loss(output, reference) > 0
