"""Muon: which weights are matrices, its step, its schedule, and its state from stage to stage."""

import copy
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn

from rdbench.codec import Workspace
from rdbench.codecs.inr.compression.post_training import PostTraining
from rdbench.codecs.inr.networks.network import Network, Patches
from rdbench.codecs.inr.recipes.losses import MIXES
from rdbench.codecs.inr.recipes.optimizers import apply_schedule, layer_matrices, make_optimizer
from rdbench.codecs.inr.recipes.stage import Stage
from rdbench.codecs.inr.training.trainer import Trainer
from rdbench.errors import RdbenchError

torch.set_num_threads(1)
Matrix = npt.NDArray[np.float64]
FIT = Stage("fit", 4, 0.02, loss=MIXES["l2"])
MUON = FIT.with_muon(1.0)
FRAMES = torch.arange(4 * 3 * 8 * 8, dtype=torch.int64).remainder(251).to(torch.uint8).view(4, 3, 8, 8)
QUINTIC = (3.4445, -4.7750, 2.0315)
"""Coefficients of Muon's Newton-Schulz iteration (K. Jordan)."""


class Small(Network):
    """A grid, a convolution of each kind, and a norm."""

    def __init__(self) -> None:
        super().__init__((8, 8))
        self.grid_values = nn.Parameter(torch.randn(4, 6, 8, 8))
        self.conv = nn.Conv2d(6, 12, 3, padding=1)
        self.depthwise = nn.Conv2d(12, 12, 3, padding=1, groups=12)
        self.grouped = nn.Conv2d(12, 12, 3, padding=1, groups=3)
        self.norm = nn.GroupNorm(1, 12)
        self.head = nn.Linear(12, 3)

    def forward(self, at: Patches) -> Tensor:
        x = self.norm(self.grouped(self.depthwise(self.conv(self.grid_values[at.frames]))))
        out: Tensor = self.head(x.permute(0, 2, 3, 1)).sigmoid()
        return out.permute(0, 3, 1, 2)


def small() -> Small:
    torch.manual_seed(0)
    return Small().to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def engine(folder: Path, *stages: Stage) -> Trainer:
    return Trainer(small(), PostTraining(), FRAMES, Workspace(folder), stages)


def orthogonalized(momentum: Matrix) -> Matrix:
    """Five quintic iterations, computed on the singular values."""
    left, singular, right = np.linalg.svd(momentum, full_matrices=False)
    singular = singular / np.linalg.norm(singular)
    for _ in range(5):
        singular = sum(c * singular**power for c, power in zip(QUINTIC, (1, 3, 5), strict=True))
    updated: Matrix = (left * singular) @ right
    return updated


def test_layers_say_which_weights_are_matrices() -> None:
    network = small()
    assert layer_matrices([network, nn.Sequential(nn.BatchNorm2d(3))]) == {
        network.conv.weight: 1, network.grouped.weight: 3, network.head.weight: 1,
    }  # fmt: skip


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("groups", [1, 2])
def test_a_step_is_muons(layout: torch.memory_format, groups: int) -> None:
    """Momentum of 0.95 with Nesterov's look-ahead, an orthogonalized update, Adam's root mean square of 0.2."""
    torch.manual_seed(0)
    layer = nn.Conv2d(6, 8, 3, groups=groups).to(memory_format=layout)  # type: ignore[call-overload]
    optimizer = make_optimizer(MUON, [layer.weight], [], layer_matrices([layer]))
    before, momentum = layer.weight.detach().double().numpy().copy(), np.zeros(layer.weight.shape)
    for _ in range(3):
        layer.weight.grad = torch.randn(layer.weight.shape)
        gradient = layer.weight.grad.double().numpy()
        momentum = 0.95 * momentum + 0.05 * gradient
        ahead = 0.05 * gradient + 0.95 * momentum
        blocks = [orthogonalized(block.reshape(len(block), -1)) for block in np.split(ahead, groups)]
        update = MUON.lr * 0.2 * math.sqrt(max(blocks[0].shape)) * np.concatenate(blocks).reshape(before.shape)
        optimizer.step()
        after = layer.weight.detach().double().numpy().copy()
        assert np.linalg.norm(before - after - update) < 1e-4 * np.linalg.norm(update)
        before = after


def test_steps_are_those_of_torchs_muon_but_for_its_bfloat16() -> None:
    """Of wide, tall, equal and large matrices; torch's fifteen products have a relative error of up to 1/256."""
    torch.manual_seed(0)
    layers = [nn.Linear(*shape, bias=False) for shape in ((6, 9), (9, 6), (6, 9), (5, 5), (130, 140))]
    others = copy.deepcopy(layers)
    ours = make_optimizer(MUON, [layer.weight for layer in layers], [], layer_matrices(layers))
    torchs = torch.optim.Muon(
        [layer.weight for layer in others], lr=MUON.lr, weight_decay=0.0, adjust_lr_fn="match_rms_adamw"
    )
    before = [layer.weight.detach().clone() for layer in layers]
    for _ in range(4):
        for layer, other in zip(layers, others, strict=True):
            layer.weight.grad = torch.randn(layer.weight.shape)
            other.weight.grad = layer.weight.grad.clone()
        ours.step()
        torchs.step()
    for layer, other, first in zip(layers, others, before, strict=True):
        moved, expected = layer.weight.detach() - first, other.weight.detach() - first
        assert torch.linalg.norm(moved - expected) < 0.05 * torch.linalg.norm(expected)


def test_an_update_is_nearly_orthonormal() -> None:
    layer = nn.Linear(20, 10, bias=False)
    before = layer.weight.detach().clone()
    optimizer = make_optimizer(MUON, [layer.weight], [], layer_matrices([layer]))
    torch.manual_seed(0)
    layer.weight.grad = torch.randn(10, 20)
    optimizer.step()
    update = (before - layer.weight.detach()) / (MUON.lr * 0.2 * math.sqrt(20))
    singular = np.linalg.svd(update.numpy(), compute_uv=False)
    assert singular.min() > 0.6
    assert singular.max() < 1.25


def test_what_is_no_matrix_gets_adams_steps(tmp_path: Path) -> None:
    plain, networks = replace(FIT, betas=(0.5, 0.9)), []
    for stage in (plain.with_muon(1.0), plain):
        trainer = engine(tmp_path, stage)
        optimizer, _ = trainer.start(stage)
        torch.manual_seed(1)
        for _ in range(2):
            for parameter in trainer.network.parameters():
                parameter.grad = torch.randn(parameter.shape)
            optimizer.step()
        networks.append(dict(trainer.network.named_parameters()))
    same = {name for name in networks[0] if torch.equal(networks[0][name], networks[1][name])}
    assert networks[0].keys() - same == {"conv.weight", "grouped.weight", "head.weight"}


def test_the_schedule_sets_both_rates_and_no_decay() -> None:
    stage = replace(FIT, warmup=0.0, weight_decay=0.4).with_muon(0.5)
    layer = nn.Linear(2, 2)
    optimizer = make_optimizer(stage, list(layer.parameters()), [], layer_matrices([layer]))
    for epoch, rate in ((0, 0.02), (2, 0.01), (4, 0.0)):
        apply_schedule(stage, optimizer, epoch)
        assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([rate / 2, rate])
        assert [group["weight_decay"] for group in optimizer.param_groups] == [0.0, 0.0]
    before = layer.weight.detach().clone()
    layer.weight.grad = torch.ones(2, 2)
    optimizer.step()  # at a rate of zero
    assert torch.equal(layer.weight, before)


def test_adams_betas_stay_and_others_become_adams() -> None:
    assert replace(FIT, betas=(0.5, 0.999)).with_muon(1.0).betas == (0.5, 0.999)
    assert replace(FIT, optimizer="adan", betas=(0.98, 0.92, 0.99)).with_muon(1.0).betas == (0.9, 0.999)


def test_a_weight_without_gradient_stays() -> None:
    first, second = nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False)
    optimizer = make_optimizer(MUON, [first.weight, second.weight], [], layer_matrices([first, second]))
    first.weight.grad = second.weight.grad = torch.ones(3, 3)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    before = [first.weight.detach().clone(), second.weight.detach().clone()]
    first.weight.grad = torch.ones(3, 3)
    optimizer.step()
    assert not torch.equal(first.weight, before[0])
    assert torch.equal(second.weight, before[1])


def test_all_gradients_are_clipped_together(tmp_path: Path) -> None:
    stage = replace(MUON, clip_norm=1e-3)
    trainer = engine(tmp_path, stage)
    optimizer, _ = trainer.start(stage)
    trainer.step(stage, optimizer, torch.arange(2), 1)
    gradients = [p.grad for p in trainer.network.parameters()]
    assert all(gradient is not None for gradient in gradients)
    norm = math.sqrt(sum(float(gradient.square().sum()) for gradient in gradients if gradient is not None))
    assert norm == pytest.approx(1e-3, rel=1e-3)


def test_a_restored_state_leads_to_the_same_step() -> None:
    stepped: list[list[Tensor]] = []
    network, restored = small(), small()
    first, second = (
        make_optimizer(MUON, list(each.parameters()), [], layer_matrices([each])) for each in (network, restored)
    )
    for number in range(3):
        torch.manual_seed(number)
        for each in (network, restored):
            for parameter in each.parameters():
                parameter.grad = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(number))
        first.step()
        if number < 2:
            restored.load_state_dict(network.state_dict())
            second.load_state_dict(copy.deepcopy(first.state_dict()))
    second.step()
    stepped = [list(each.parameters()) for each in (network, restored)]
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(*stepped, strict=True))


class Copied(Small):
    """Its convolution has the first row in all rows from stage `both` on."""

    def enter(self, stage: Stage) -> Sequence[str]:
        if stage.name != "both":
            return ()
        with torch.no_grad():
            self.conv.weight.copy_(self.conv.weight[:1].expand_as(self.conv.weight).clone())
        return ["conv.weight"]


def test_a_stage_carries_on_the_momentum_of_the_one_before(tmp_path: Path) -> None:
    first, second = replace(MUON, schedule_tail=4), replace(MUON, name="both", epochs=0, schedule_offset=4)
    torch.manual_seed(0)
    trainer = Trainer(Copied(), PostTraining(), FRAMES, Workspace(tmp_path), [first, second])
    carried = trainer._run_stage(0, None, None)
    parameters = dict(trainer.network.named_parameters())
    before = {
        name: carried.state[parameters[name]]["momentum_buffer"].clone() for name in ("conv.weight", "head.weight")
    }
    switched = trainer._run_stage(1, None, carried)
    after = {name: switched.state[parameters[name]]["momentum_buffer"] for name in before}
    assert torch.equal(after["head.weight"], before["head.weight"])
    assert torch.equal(after["conv.weight"], before["conv.weight"][:1].expand_as(before["conv.weight"]))
    assert before["head.weight"].abs().max() > 0


def test_a_checkpoint_of_another_optimizer_is_refused(tmp_path: Path) -> None:
    engine(tmp_path, FIT).run()
    for stage in (MUON, FIT.with_muon(0.5)):
        with pytest.raises(RdbenchError, match=r"another recipe.*delete it"):
            engine(tmp_path, stage).run()
