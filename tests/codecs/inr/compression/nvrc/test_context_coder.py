"""The context model in integers: near the model in floating point, and the same everywhere."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from rdbench.codecs.inr.compression.nvrc.context_coder import FixedPointModel, walk
from rdbench.codecs.inr.compression.nvrc.context_model import BLOCK, Blocks, ContextModel
from rdbench.codecs.inr.entropy.exact import Floats

SHAPES = ((1, 19, 11, 18), (2, 9, 5, 9))


@pytest.fixture(autouse=True)
def one_thread_after() -> Iterator[None]:
    yield
    torch.set_num_threads(1)


def models() -> list[ContextModel]:
    torch.manual_seed(3)
    made = [ContextModel(shape[0]) for shape in SHAPES]
    with torch.no_grad():
        for model in made:
            for parameter in model.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
    return made


def grids() -> list[torch.Tensor]:
    torch.manual_seed(4)
    return [(torch.randn(shape) * 8).round() / 32 for shape in SHAPES]


def predictions(order: list[int] | None = None, device: str = "cpu") -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Means and deviations that `walk` predicts from the true values, grid by grid, `[n, C, 16, 8, 8]`."""
    blocks = [Blocks(shape) for shape in SHAPES]
    parts = [block.split(grid) for block, grid in zip(blocks, grids(), strict=True)]
    picked = [torch.arange(len(part)) if order is None else torch.tensor(order) for part in parts]
    fixed = [
        FixedPointModel(model.to(device), block.inside()[pick].to(device))
        for model, block, pick in zip(models(), blocks, picked, strict=True)
    ]
    means = [torch.zeros(len(pick), shape[0], *BLOCK) for pick, shape in zip(picked, SHAPES, strict=True)]
    scales = [mean.clone() for mean in means]
    truth = [part[pick] for part, pick in zip(parts, picked, strict=True)]

    def visit(place: tuple[int, int, int], mean: Floats, scale: Floats) -> Floats:
        at = 0
        for grid_means, grid_scales in zip(means, scales, strict=True):
            count = grid_means.shape[0] * grid_means.shape[1]
            for store, predicted in ((grid_means, mean), (grid_scales, scale)):
                values = torch.from_numpy(predicted[at : at + count]).view(grid_means.shape[1], -1).T
                store[(slice(None), slice(None), *place)] = values.float()
            at += count
        return np.concatenate([t[(slice(None), slice(None), *place)].T.flatten().double().numpy() for t in truth])

    walk(fixed, visit)
    return means, scales


def test_integers_predict_what_floating_point_does() -> None:
    means, scales = predictions()
    for mean, scale, model, shape, grid in zip(means, scales, models(), SHAPES, grids(), strict=True):
        block = Blocks(shape)
        assert torch.equal(block.join(block.split(grid)), grid)
        with torch.no_grad():
            wanted, log_scale = model(block.split(grid), block.inside().float())
        inside = block.inside().expand_as(wanted)
        assert wanted[inside].std() > 0.05
        for error in ((mean - wanted)[inside].abs(), (scale.log() - log_scale)[inside].abs()):
            assert error.mean() < 5e-4
            assert error.max() < 1e-2


def test_the_prediction_is_the_same_for_other_threads_and_batches_of_blocks() -> None:
    one = predictions()
    torch.set_num_threads(2)
    two = predictions()
    assert all(torch.equal(a, b) for x, y in zip(one, two, strict=True) for a, b in zip(x, y, strict=True))
    few = predictions([1])
    for x, y in zip(one, few, strict=True):
        assert all(torch.equal(a[1:2], b) for a, b in zip(x, y, strict=True))


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="There is no GPU here.")
def test_a_gpu_predicts_what_the_cpu_does() -> None:
    for ours, theirs in zip(predictions(), predictions(device="cuda"), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
