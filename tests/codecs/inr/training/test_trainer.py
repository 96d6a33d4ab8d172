"""The training loop: recipes, stages, checkpoints, and the hooks of compression schemes."""

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, Self

import pytest
import torch
from pytorch_msssim import ms_ssim, ssim
from torch import Tensor, nn

from rdbench.codec import Workspace
from rdbench.codecs.inr.compression.post_training import PostTraining
from rdbench.codecs.inr.compression.pruning import masks_by_magnitude
from rdbench.codecs.inr.compression.scheme import Scheme
from rdbench.codecs.inr.networks.encoder import Encoder, FrameLookup
from rdbench.codecs.inr.networks.network import Network, Patches, render, tile
from rdbench.codecs.inr.recipes.losses import MIXES, loss_of
from rdbench.codecs.inr.recipes.stage import Stage
from rdbench.codecs.inr.training.trainer import Trainer
from rdbench.errors import RdbenchError

torch.set_num_threads(1)
FRAMES = torch.arange(4 * 3 * 12 * 12, dtype=torch.int64).remainder(251).to(torch.uint8).view(4, 3, 12, 12)
FIT = Stage("fit", 8, 0.05, batch=3, loss=MIXES["l2"])


class Toy(Network):
    """Patches of 6x6 in a grid of 2x2, each from a one-hot code of frame and place."""

    grid = (2, 2)

    def __init__(self) -> None:
        super().__init__((6, 6))
        self.line = nn.Linear(16, 3 * 6 * 6)

    def forward(self, at: Patches) -> Tensor:
        cells = 4 * at.frames + 2 * at.rows + at.columns
        out: Tensor = self.line(nn.functional.one_hot(cells, 16).float()).sigmoid()
        return out.view(-1, 3, 6, 6)


def toy() -> Toy:
    torch.manual_seed(0)
    return Toy()


def train(folder: Path, *stages: Stage, network: Toy | None = None, scheme: Scheme | None = None) -> Toy:
    network = network or toy()
    Trainer(network, scheme or PostTraining(), FRAMES, Workspace(folder), stages).run()
    return network


def test_the_schedule_is_the_papers() -> None:
    stage = Stage("fit", 100, 5e-4)
    assert [stage.learning_rate(e) for e in (0, 10, 20, 60, 100)] == pytest.approx([5e-5, 2.75e-4, 5e-4, 2.5e-4, 0.0])
    assert Stage("finetune", 100, 5e-4, warmup=0.0).learning_rate(0) == 5e-4
    assert Stage("fit", 100, 1.0, floor=0.075).learning_rate(100) == pytest.approx(0.075)


@pytest.mark.parametrize(("ends", "top"), [("epoch", 1.0), ("step", 1.5)])
def test_where_a_warm_up_ends(ends: Literal["epoch", "step"], top: float) -> None:
    """15 epochs: a tenth is 1 epoch in NeRV's code, which rounds down, and 1.5 epochs in HNeRV's, which does not."""
    stage = Stage("fit", 15, 1.0, warmup=0.1, warmup_ends=ends)
    assert stage.learning_rate(0.5) == pytest.approx(0.1 + 0.9 * 0.5 / top)
    assert stage.learning_rate(top) == pytest.approx(1.0)
    assert stage.learning_rate(4.0) == pytest.approx(0.5 * (1 + math.cos(math.pi * (4 - top) / (15 - top))))


def test_training_gets_better_and_says_so(tmp_path: Path) -> None:
    seen: list[tuple[float, float]] = []
    workspace = Workspace(tmp_path, progress=lambda done, total, text: seen.append((done, total)))
    Trainer(toy(), PostTraining(), FRAMES, workspace, [FIT]).run()
    with (tmp_path / "fit.csv").open() as file:
        quality = [float(row["psnr"]) for row in csv.DictReader(file)]
    assert len(quality) == 8
    assert quality[-1] > quality[0] + 1
    assert seen == [(done, 8) for done in range(1, 9)]


def test_patches_tile_to_frames_and_are_targets_of_their_place(tmp_path: Path) -> None:
    network = toy()
    whole = render(network, torch.arange(4), network.grid, 12, 12)
    assert whole.shape == (4, 3, 12, 12)
    one = network(Patches(torch.tensor([2]), torch.tensor([1]), torch.tensor([0])))
    assert torch.allclose(whole[2:3, :, 6:, :6], one, atol=1e-6)
    assert torch.equal(tile(one, (1, 1)), one)
    small = FRAMES[:, :, :11, :10]  # not a multiple of the patches: padded by its edge, cropped when rendered
    samples = Trainer(network, PostTraining(), small, Workspace(tmp_path), [FIT]).samples
    at, target = samples.patches(torch.tensor([2 * 4 + 3]))
    assert [int(v) for v in (at.frames, at.rows, at.columns)] == [2, 1, 1]
    assert torch.equal(target[0, :, :5, :4], small[2, :, 6:, 6:].float() / 255)
    assert torch.equal(target[0, :, 5, :4], small[2, :, 10, 6:].float() / 255)
    assert samples.count(by_patches=True) == 16


@pytest.mark.parametrize("by_patches", [False, True])
def test_frames_and_patches_lead_to_the_same_place(tmp_path: Path, by_patches: bool) -> None:
    network = train(tmp_path, replace(FIT, epochs=150, lr=0.3, by_patches=by_patches, batch=4))
    shown = render(network, torch.arange(4), network.grid, 12, 12)
    assert (shown - FRAMES.float() / 255).abs().mean() < 0.03


@pytest.mark.parametrize(
    ("mix", "by_hand"),
    [
        ("l1_ssim", lambda x, y: 0.7 * (x - y).abs().mean() + 0.3 * (1 - ssim(x, y, data_range=1.0))),
        ("l1_ms_ssim", lambda x, y: 0.7 * (x - y).abs().mean() + 0.3 * (1 - ms_ssim(x, y, data_range=1.0))),
        ("l2_l1", lambda x, y: 0.7 * (x - y).square().mean() + 0.3 * (x - y).abs().mean()),
    ],
)
def test_losses_are_the_papers(mix: str, by_hand: object) -> None:
    torch.manual_seed(0)
    x, y = torch.rand(2, 3, 176, 176), torch.rand(2, 3, 176, 176)
    assert callable(by_hand)
    assert float(loss_of(MIXES[mix], x, y)) == pytest.approx(float(by_hand(x, y)), rel=1e-6)


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "adan"])
def test_optimizers_go_downhill(tmp_path: Path, optimizer: str) -> None:
    betas = (0.98, 0.92, 0.99) if optimizer == "adan" else (0.9, 0.999)
    stage = replace(FIT, epochs=30, optimizer=optimizer, betas=betas)  # type: ignore[arg-type]
    train(tmp_path, stage)
    with (tmp_path / "fit.csv").open() as file:
        quality = [float(row["psnr"]) for row in csv.DictReader(file)]
    assert quality[-1] > quality[0] + 1


def test_a_stage_trains_only_what_it_names(tmp_path: Path) -> None:
    network = train(tmp_path, replace(FIT, trainable=r"line\.bias"))
    assert torch.equal(network.line.weight, toy().line.weight)
    assert not torch.equal(network.line.bias, toy().line.bias)


def test_gradients_are_clipped_together() -> None:
    network = toy()
    stage = replace(FIT, clip_norm=1e-3)
    engine = Trainer(network, PostTraining(), FRAMES, Workspace(Path()), [stage])
    optimizer, _ = engine.start(stage)
    engine.step(stage, optimizer, torch.arange(3), 1)
    norm = math.sqrt(sum(float(p.grad.square().sum()) for p in network.parameters() if p.grad is not None))
    assert norm == pytest.approx(1e-3, rel=1e-3)


def test_the_moving_average_is_what_a_stage_ends_with(tmp_path: Path) -> None:
    network, shadow = toy(), toy()
    stage = replace(FIT, epochs=1, batch=4, ema=0.9)
    before = network.line.weight.detach().clone()
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    train(tmp_path / "a", stage, network=network)
    train(tmp_path / "b", replace(stage, ema=None), network=shadow)
    assert torch.allclose(network.line.weight, before + 0.1 * (shadow.line.weight - before), atol=1e-6)


def test_masked_weights_stay_zero(tmp_path: Path) -> None:
    network = toy()
    kept = masks_by_magnitude(network, ["line.weight"], 0.4)["line.weight"].bool()
    magnitudes = network.line.weight.detach().abs()
    assert (~kept).sum() == int(0.4 * kept.numel())
    assert magnitudes[kept].min() >= magnitudes[~kept].max()
    scheme = PostTraining(prunable=".*weight")
    train(tmp_path, replace(FIT, epochs=2, sparsity=0.4), network=network, scheme=scheme)
    assert (network.line.weight[~kept] == 0).all()
    assert (network.line.weight[kept] != 0).all()


class Rounded(Scheme):
    """A learned step for all weights, straight-through rounding, and a rate under a Laplace-like model."""

    sections = frozenset()

    def __init__(self) -> None:
        self.log_step = nn.Parameter(torch.tensor(-5.0))

    def parameters(self) -> Sequence[nn.Parameter]:
        return [self.log_step]

    def substitute(self, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        step = self.log_step.exp()
        scaled = {name: tensor / step for name, tensor in tensors.items()}
        return {name: step * (x + (x.round() - x).detach()) for name, x in scaled.items()}

    def rate(self, tensors: Mapping[str, Tensor]) -> Tensor:
        return torch.stack([(1 + t.abs() / self.log_step.exp()).log2().sum() for t in tensors.values()]).sum()

    def state(self) -> dict[str, Tensor]:
        return {"log_step": self.log_step.detach()}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        self.log_step.data.copy_(state["log_step"])

    def numbers(self) -> list[int]:
        return []

    @classmethod
    def from_numbers(cls, numbers: Sequence[int]) -> Self:
        return cls()

    def write(self, network: Network) -> dict[str, bytes]:
        return {}

    def read(self, network: Network, sections: Mapping[str, bytes]) -> None:
        return


def test_a_scheme_can_quantize_and_constrain_the_rate_while_training(tmp_path: Path) -> None:
    bits = {}
    for weight in (0.0, 1e-4, 1e-2):
        scheme, folder = Rounded(), tmp_path / str(weight)
        folder.mkdir()
        network = train(folder, replace(FIT, epochs=40, rate_weight=weight), scheme=scheme)
        bits[weight] = float(scheme.rate(dict(network.named_parameters())).detach())
        assert float(scheme.log_step.detach()) != -5.0
    assert bits[0.0] > bits[1e-4] > bits[1e-2]


class Codes(Network):
    """Frames of one code each, which an encoder makes."""

    def __init__(self) -> None:
        super().__init__((12, 12))
        self.codes = nn.Parameter(torch.zeros(4, 8))
        self.line = nn.Linear(8, 3 * 12 * 12)

    def forward(self, at: Patches) -> Tensor:
        return self.line(self.codes[at.frames]).sigmoid().view(-1, 3, 12, 12)


class Pooling(Encoder):
    """A code from each frame and the one before it."""

    makes = frozenset({"codes"})

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(2 * 27, 8)

    def forward(self, video: FrameLookup, frames: Tensor) -> Mapping[str, Tensor]:
        both = [nn.functional.avg_pool2d(video(at), 4).flatten(1) for at in (frames, (frames - 1).clamp(min=0))]
        return {"codes": self.line(torch.cat(both, 1))}


def test_an_encoder_is_trained_and_the_network_ends_with_what_it_made(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network, encoder = Codes(), Pooling()
    first = encoder.line.weight.detach().clone()
    stage = replace(FIT, epochs=60, lr=0.1)
    engine = Trainer(network, PostTraining(), FRAMES, Workspace(tmp_path), [stage], encoder)
    engine.run()
    assert not torch.equal(encoder.line.weight, first)
    with torch.no_grad():
        made = encoder(engine.samples.whole, torch.arange(4))["codes"]
        shown = network(Patches.of_frames(torch.arange(4), (1, 1)))
    assert torch.allclose(network.codes, made, atol=1e-6)
    assert (shown - FRAMES.float() / 255).abs().mean() < 0.1
    again = Codes()
    Trainer(again, PostTraining(), FRAMES, Workspace(tmp_path), [stage], Pooling()).run()  # all from the checkpoint
    assert torch.equal(again.codes, network.codes)


def test_a_stage_can_leave_the_encoder_alone(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network, encoder = Codes(), Pooling()
    first = encoder.line.weight.detach().clone()
    stage = replace(FIT, trainable=r"(?!encoder\.).*")
    Trainer(network, PostTraining(), FRAMES, Workspace(tmp_path), [stage], encoder).run()
    assert torch.equal(encoder.line.weight, first)


@pytest.mark.parametrize("scheme", [PostTraining, Rounded])
@pytest.mark.parametrize("stop_after", [1, 4, 6, 9])
def test_a_killed_training_ends_as_one_never_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: type[Scheme], stop_after: int
) -> None:
    monkeypatch.setattr("rdbench.codecs.inr.training.checkpoint.CHECKPOINT_SECONDS", 0.0)
    stages = (
        replace(FIT, epochs=4, ema=0.9, rate_weight=1e-4),
        replace(FIT, name="again", epochs=6, sparsity=0.3, optimizer="adamw"),
    )
    (tmp_path / "whole").mkdir()
    whole = train(tmp_path / "whole", *stages, scheme=scheme())
    calls = 0

    def stop(done: float, total: float, text: str) -> None:
        nonlocal calls
        calls += 1
        if calls == stop_after:
            raise KeyboardInterrupt

    (tmp_path / "cut").mkdir()
    engine = Trainer(toy(), scheme(), FRAMES, Workspace(tmp_path / "cut", progress=stop), stages)
    with pytest.raises(KeyboardInterrupt):
        engine.run()
    engine.checkpoint.wait()
    resumed = train(tmp_path / "cut", *stages, network=Toy(), scheme=scheme())
    for ours, theirs in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    curves = [
        [(row["stage"], row["epoch"], row["psnr"]) for row in csv.DictReader((tmp_path / name / "fit.csv").open())]
        for name in ("whole", "cut")
    ]
    assert curves[0] == curves[1]
    assert len(curves[0]) == 10


def test_a_diverging_training_is_an_error(tmp_path: Path) -> None:
    network = toy()
    with torch.no_grad():
        network.line.bias[0] = torch.nan
    with pytest.raises(RdbenchError, match=r"diverged.*--seed"):
        train(tmp_path, FIT, network=network)


def test_a_checkpoint_of_another_recipe_is_an_error(tmp_path: Path) -> None:
    train(tmp_path, FIT)
    with pytest.raises(RdbenchError, match=r"another recipe.*delete it"):
        train(tmp_path, replace(FIT, lr=0.01))


@pytest.mark.parametrize("damage", ["head", "cut", "flipped", "empty", "other"])
def test_a_damaged_checkpoint_is_set_aside_and_the_training_starts_again(
    tmp_path: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "whole").mkdir()
    expected = train(tmp_path / "whole", FIT)
    train(tmp_path, FIT)
    path = tmp_path / "checkpoint.pt"
    whole = path.read_bytes()
    first, middle, last = (len(whole) * share // 4 for share in (1, 2, 3))
    if damage == "other":
        torch.save({"network": {}}, path)
    else:
        path.write_bytes({
            "head": b"PK\x03\x04 cut", "cut": whole[:middle], "empty": b"",
            "flipped": whole[:first] + bytes(255 - byte for byte in whole[first:last]) + whole[last:],
        }[damage])  # fmt: skip
    damaged = path.read_bytes()
    again = train(tmp_path, FIT)
    assert (tmp_path / "checkpoint.pt.damaged").read_bytes() == damaged
    assert "starts again" in capsys.readouterr().err
    for before, after in zip(expected.parameters(), again.parameters(), strict=True):
        assert torch.equal(before, after)


class Twin(Toy):
    """Two copies of the line; the second one is the first's from stage `both` on."""

    def __init__(self) -> None:
        super().__init__()
        self.lines = nn.Parameter(torch.stack([self.line.weight.detach(), torch.zeros_like(self.line.weight)]))

    def enter(self, stage: Stage) -> Sequence[str]:
        if stage.name != "both":
            return ()
        with torch.no_grad():
            self.lines[1] = self.lines[0]
        return ["lines"]

    def forward(self, at: Patches) -> Tensor:
        cells = 4 * at.frames + 2 * at.rows + at.columns
        return nn.functional.linear(nn.functional.one_hot(cells, 16).float(), self.lines[0]).sigmoid().view(-1, 3, 6, 6)


def test_a_stage_can_carry_on_schedule_and_optimizer_of_the_one_before(tmp_path: Path) -> None:
    first = replace(FIT, epochs=3, schedule_tail=5)
    second = replace(FIT, name="both", epochs=5, schedule_offset=3)
    whole = replace(FIT, epochs=8)
    rates = [first.learning_rate(e) for e in (0, 1, 2.5)] + [second.learning_rate(e) for e in (0, 1, 5)]
    assert rates == [whole.learning_rate(e) for e in (0, 1, 2.5, 3, 4, 8)]
    torch.manual_seed(0)
    engine = Trainer(Twin(), PostTraining(), FRAMES, Workspace(tmp_path), [first, second])
    carried = engine._run_stage(0, None, None)
    lines = dict(engine.network.named_parameters())["lines"]
    before = {key: value.clone() for key, value in carried.state[lines].items()}
    assert (before["exp_avg"][1] == 0).all()
    engine.stages = [first, replace(second, epochs=0), second]
    switched = engine._run_stage(1, None, carried)
    assert torch.equal(lines[1], lines[0])
    for moment in ("exp_avg", "exp_avg_sq"):
        assert torch.equal(switched.state[lines][moment], before[moment][:1].expand(2, -1, -1))
    after = engine._run_stage(2, None, switched).state[lines]
    assert 3 * float(after["step"]) == 8 * float(before["step"])


def test_a_steps_patches_cover_as_much_as_its_frames(tmp_path: Path) -> None:
    samples = Trainer(toy(), PostTraining(), FRAMES, Workspace(tmp_path), [FIT]).samples
    assert samples.batch(replace(FIT, batch=2)) == 2
    assert samples.batch(replace(FIT, batch=2, by_patches=True)) == 8
