"""Weight decay: what it acts on, how, and when it fades."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from rdbench.codec import Workspace
from rdbench.codecs.inr.compression.post_training import PostTraining
from rdbench.codecs.inr.networks.network import Network, Patches
from rdbench.codecs.inr.recipes.optimizers import apply_schedule, make_optimizer
from rdbench.codecs.inr.recipes.stage import Stage
from rdbench.codecs.inr.training.trainer import Trainer

torch.set_num_threads(1)


class Toy(Network):
    """A layer and content, two rows."""

    latents = frozenset({"rows"})

    def __init__(self) -> None:
        super().__init__((4, 4))
        self.rows = nn.Parameter(torch.ones(2, 4))
        self.line = nn.Linear(4, 48)

    def forward(self, at: Patches) -> Tensor:
        out: Tensor = self.line(self.rows[at.frames]).sigmoid()
        return out.view(-1, 3, 4, 4)


def test_weight_decay_is_adams_or_decoupled() -> None:
    for name, after in (("adam", 1 - 0.1), ("adamw", 1 - 0.1 * 0.5 - 0.1)):
        weight = nn.Parameter(torch.ones(1))
        stage = Stage("fit", 1, 0.1, optimizer=name, weight_decay=0.5)  # type: ignore[arg-type]
        optimizer = make_optimizer(stage, [], [weight])
        weight.grad = torch.ones(1)
        optimizer.step()
        assert float(weight.detach()) == pytest.approx(after, abs=1e-4)


class Learned(PostTraining):
    """With a parameter of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.own = nn.Parameter(torch.ones(1))

    def parameters(self) -> Sequence[nn.Parameter]:
        return [self.own]


@pytest.mark.parametrize(
    ("decayed", "lasting"),
    [("all", {"own"}), ("model", {"own", "rows"}), ("layers", {"own", "rows", "line.bias"})],
)
def test_only_what_the_stage_names_decays(decayed: Literal["all", "model", "layers"], lasting: set[str]) -> None:
    network, scheme, frames = Toy(), Learned(), torch.zeros(2, 3, 4, 4, dtype=torch.uint8)
    parameters = dict(network.named_parameters()) | {"own": scheme.own}
    stage = Stage("fit", 1, 0.1, optimizer="adamw", weight_decay=0.5, decayed=decayed)
    optimizer, _ = Trainer(network, scheme, frames, Workspace(Path()), [stage]).start(stage)
    before = {name: parameter.detach().clone() for name, parameter in parameters.items()}
    for parameter in parameters.values():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    kept = {name for name, parameter in parameters.items() if torch.equal(parameter, before[name])}
    assert kept == lasting
    for name in parameters.keys() - kept:
        assert torch.allclose(parameters[name], 0.95 * before[name])


def test_decay_fades_over_the_schedule_where_it_shall() -> None:
    weight, other = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1))
    for fades, decays in ((True, (0.4, 0.2, 0.0)), (False, (0.4, 0.4, 0.4))):
        stage = Stage("fit", 10, 1e-3, weight_decay=0.4, fades=fades)
        optimizer = make_optimizer(stage, [other], [weight])
        seen = []
        for epoch in (0, 5, 10):
            apply_schedule(stage, optimizer, epoch)
            seen.append([group["weight_decay"] for group in optimizer.param_groups])
        assert np.allclose(seen, [[0.0, decay] for decay in decays])
