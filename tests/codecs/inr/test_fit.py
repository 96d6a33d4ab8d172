"""The training loop, pruning and quantization."""

import csv
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from rdbench.codec import Workspace
from rdbench.codecs.inr.compression.post_training import compress, dequantize, prune_masks, quantize, restore
from rdbench.codecs.inr.fit import Fit, Stage
from rdbench.errors import BitstreamError, RdbenchError

torch.set_num_threads(1)
FRAMES = torch.arange(4 * 3 * 12 * 12, dtype=torch.int64).remainder(251).to(torch.uint8).view(4, 3, 12, 12)


class Toy(nn.Module):
    """A frame from a one-hot index."""

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(4, 3 * 12 * 12)

    def forward(self, indices: Tensor) -> Tensor:
        out: Tensor = self.line(nn.functional.one_hot(indices, 4).float()).sigmoid()
        return out.view(-1, 3, 12, 12)


def toy() -> Toy:
    torch.manual_seed(0)
    return Toy()


def test_the_schedule_is_the_papers() -> None:
    stage = Stage("fit", 100, 5e-4)
    assert [stage.rate(e) for e in (0, 10, 20, 60, 100)] == pytest.approx([5e-5, 2.75e-4, 5e-4, 2.5e-4, 0.0])
    assert Stage("finetune", 100, 5e-4, warmup=0.0).rate(0) == 5e-4


def test_a_fit_gets_better_and_says_so(tmp_path: Path) -> None:
    seen: list[tuple[float, float]] = []
    workspace = Workspace(tmp_path, progress=lambda done, total, text: seen.append((done, total)))
    Fit(toy(), FRAMES, workspace, 8).run(Stage("fit", 8, 0.05, batch=3, loss="l2"))
    with (tmp_path / "fit.csv").open() as file:
        quality = [float(row["psnr"]) for row in csv.DictReader(file)]
    assert len(quality) == 8
    assert quality[-1] > quality[0] + 1
    assert seen == [(done, 8) for done in range(1, 9)]


def test_masked_weights_stay_zero(tmp_path: Path) -> None:
    network = toy()
    masks = prune_masks(network, ["line.weight"], 0.4)
    kept = masks["line.weight"].bool()
    smallest, largest = network.line.weight.detach().abs()[kept].min(), network.line.weight.detach().abs()[~kept].max()
    assert (~kept).sum() == int(0.4 * kept.numel())
    assert smallest >= largest
    Fit(network, FRAMES, Workspace(tmp_path), 2).run(Stage("finetune", 2, 0.05, loss="l1"), masks)
    assert (network.line.weight[~kept] == 0).all()
    assert (network.line.weight[kept] != 0).all()


def test_a_diverging_fit_is_an_error(tmp_path: Path) -> None:
    network = toy()
    with torch.no_grad():
        network.line.bias[0] = torch.nan
    with pytest.raises(RdbenchError, match=r"diverged.*--seed"):
        Fit(network, FRAMES, Workspace(tmp_path), 1).run(Stage("fit", 1, 0.05))


def test_a_checkpoint_of_another_recipe_or_a_damaged_one_is_an_error(tmp_path: Path) -> None:
    Fit(toy(), FRAMES, Workspace(tmp_path), 1).run(Stage("fit", 1, 0.05))
    with pytest.raises(RdbenchError, match="another recipe"):
        Fit(toy(), FRAMES, Workspace(tmp_path), 1).run(Stage("fit", 1, 0.01))
    (tmp_path / "checkpoint.pt").write_bytes(b"PK\x03\x04 cut")
    with pytest.raises(RdbenchError, match="delete it"):
        Fit(toy(), FRAMES, Workspace(tmp_path), 1)


@pytest.mark.parametrize("bits", [2, 6, 8, 12])
def test_quantization_keeps_zeros_and_errs_by_half_a_step(bits: int) -> None:
    torch.manual_seed(1)
    weight = torch.randn(5, 7, 3, 3) * torch.tensor([1e-3, 0.1, 1.0, 30.0, 0.0]).view(5, 1, 1, 1)
    weight[weight.abs() < 0.02 * weight.abs().amax(dim=(1, 2, 3), keepdim=True)] = 0
    symbols, ranges = quantize(weight, bits)
    back = dequantize(symbols, ranges, weight.shape)
    assert ((back == 0) | (weight != 0)).all()
    steps = torch.from_numpy(ranges[:, 1].astype("float32")).view(5, 1, 1, 1)
    assert ((back - weight).abs() <= 0.501 * steps).all()
    widest = weight.amax(dim=(1, 2, 3)) - weight.amin(dim=(1, 2, 3))
    assert (steps.flatten() <= 1.02 * (widest / (1 << bits)) + 1e-3 * widest + 1e-7).all()


def test_weights_beyond_float16_are_an_error() -> None:
    with pytest.raises(RdbenchError, match="--seed"):
        quantize(torch.tensor([[1e9, 1.0]]), 8)


def test_a_network_comes_back_the_same_with_any_number_of_threads() -> None:
    sections = compress(toy(), 8)
    restored = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        with torch.device("meta"):
            network = Toy()
        restore(network, sections, 8)
        restored.append(network.line.weight.detach())
    torch.set_num_threads(1)
    assert torch.equal(*restored)
    assert (restored[0] - toy().line.weight).abs().max() < 0.01
    with torch.device("meta"):
        network = Toy()
    with pytest.raises(BitstreamError):
        restore(network, {**sections, "ranges": b""}, 8)
