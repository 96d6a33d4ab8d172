"""The context model in integers: near the model in floating point, and the same everywhere."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from rdbench.codecs.inr.compression.nvrc.context_coder import FixedPointModel, walk
from rdbench.codecs.inr.compression.nvrc.context_model import BLOCK, Blocks, ContextModel
from rdbench.codecs.inr.compression.nvrc.lanes import Lanes, Mask, Place, Positions
from rdbench.codecs.inr.entropy.exact import Floats
from rdbench.codecs.inr.entropy.scale_tables import Integers
from rdbench.errors import BitstreamError

Shapes = tuple[tuple[int, int, int, int], ...]
SHAPES: Shapes = ((1, 19, 11, 18), (2, 9, 5, 9))


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


def predictions(shapes: Shapes = SHAPES, device: str = "cpu") -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Means and deviations that `walk` predicts from the true values, grid by grid, `[n, C, 16, 8, 8]`."""
    names = [f"{number}" for number in range(len(shapes))]
    blocks = dict(zip(names, map(Blocks, shapes), strict=True))
    truth = {
        name: block.split(grid[tuple(map(slice, block.shape))]).double().numpy()
        for (name, block), grid in zip(blocks.items(), grids(), strict=True)
    }
    lanes = Lanes(blocks, {name: np.ones((1, 1, 1, 1, 1)) for name in names})
    values = lanes.arranged(truth)
    found = [np.zeros_like(values) for _ in range(2)]

    def visit(place: Place, mean: Floats, scale: Floats) -> Floats:
        def code(inside: Mask, voxels: Positions, steps: Floats) -> Integers:
            for store, predicted in zip(found, (mean, scale), strict=True):
                store[voxels] = predicted[inside]
            whole: Integers = values[voxels]  # the values themselves, in steps of 1
            return whole

        return lanes.take(place, code)

    walk([FixedPointModel.of_model(model.to(device)) for model in models()], lanes, visit)
    for name, coded in lanes.values.items():
        assert np.array_equal(coded, truth[name])
    means, scales = ([torch.from_numpy(grid).float() for grid in rearranged(lanes, blocks, each)] for each in found)
    return means, scales


def rearranged(lanes: Lanes, blocks: dict[str, Blocks], values: Floats) -> list[Floats]:
    """What `Lanes.arranged` arranged, as blocks, by its inverse permutation."""
    counts = [block.shape[0] * block.number * 1024 for block in blocks.values()]
    numbers = {
        name: np.arange(sum(counts[:at]), sum(counts[: at + 1]), dtype=float).reshape(block.number, -1, *BLOCK)
        for at, (name, block) in enumerate(blocks.items())
    }
    whole = np.empty_like(values)
    whole[lanes.arranged(numbers).astype(int)] = values
    parts = np.split(whole, np.cumsum(counts)[:-1])
    return [part.reshape(block.number, -1, *BLOCK) for part, block in zip(parts, blocks.values(), strict=True)]


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
    assert torch.get_num_threads() == 2
    assert all(torch.equal(a, b) for x, y in zip(one, two, strict=True) for a, b in zip(x, y, strict=True))
    few = predictions(((1, 16, 8, 8), (2, 9, 5, 8)))  # the first block of each grid
    for x, y in zip(one, few, strict=True):
        assert all(torch.equal(a[:1], b) for a, b in zip(x, y, strict=True))


def test_damage_that_is_found_on_the_way_ends_the_walk() -> None:
    torch.set_num_threads(2)
    lanes = Lanes({"0": Blocks(SHAPES[1])}, {"0": np.ones((1, 1, 1, 1, 1))})

    def visit(place: Place, mean: Floats, _: Floats) -> Floats:
        if place == (1, 2):
            raise BitstreamError("damaged")
        return np.zeros_like(mean)

    with pytest.raises(BitstreamError, match="damaged"):
        walk([FixedPointModel.of_model(models()[1])], lanes, visit)
    assert torch.get_num_threads() == 2


def test_a_network_without_grids_has_no_lanes() -> None:
    lanes = Lanes({}, {})
    assert (lanes.places, lanes.values, lanes.arranged({}).size) == ([], {}, 0)


@pytest.mark.parametrize("shape", [(1, 16, 8, 8), (2, 3, 5, 3), (1, 40, 20, 21), (3, 33, 7, 9), (1, 18, 16, 1)])
def test_every_voxel_is_coded_once_after_those_that_it_needs(shape: tuple[int, int, int, int]) -> None:
    """A voxel's context: two frames back with two rows on either side, and two rows above in its own frame."""
    block = Blocks(shape)
    lanes, step = Lanes({"grid": block}, {"grid": np.ones((1, 1, 1, 1, 1))}), np.zeros(block.number * shape[0] * 1024)
    for number, place in enumerate(lanes.places, 1):
        _, voxels = lanes.voxels(place)
        assert not step[voxels].any()
        step[voxels] = number
    (steps,) = rearranged(lanes, {"grid": block}, step)
    assert np.array_equal(steps > 0, np.broadcast_to(block.inside().numpy(), steps.shape))
    for time, row, column in np.ndindex(min(16, shape[1]), min(8, shape[2]), min(8, shape[3])):
        own = steps[0, 0, time, row, column]
        rows, columns = slice(max(0, row - 2), row + 3), slice(max(0, column - 2), column + 3)
        assert (steps[0, 0, max(0, time - 2) : time, rows, columns] < own).all()
        assert (steps[0, 0, time, max(0, row - 2) : row, columns] < own).all()
        assert (steps[0, 0, time, row, max(0, column - 2) : column] < own).all()


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="There is no GPU here.")
def test_a_gpu_predicts_what_the_cpu_does() -> None:
    for ours, theirs in zip(predictions(), predictions(device="cuda"), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
