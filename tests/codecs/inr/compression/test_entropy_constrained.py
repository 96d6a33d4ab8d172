"""The entropy-constrained scheme: the rate in the loss is that of the file; gradients; rate points."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from rdbench.codec import Clip, Workspace
from rdbench.codecs.inr.compression.entropy_constrained import LEVELS, EntropyConstrained, groups_of
from rdbench.codecs.inr.entropy.density import LARGEST_SYMBOL
from rdbench.codecs.inr.networks.network import Network, Patches
from rdbench.codecs.inr.recipes.losses import MIXES
from rdbench.codecs.inr.recipes.stage import Stage
from rdbench.codecs.inr.training.trainer import Trainer
from rdbench.codecs.nerv import NeRVCodec
from rdbench.errors import UsageError
from rdbench.video import VideoFormat

torch.set_num_threads(1)
RATE = Stage("rate", 1, 1e-3, rate_weight=1.0, loss=MIXES["l2"])


class Small(Network):
    """A grid, embeddings and a few layers, some of them small."""

    latents = frozenset({"rows", "embeddings"})
    per_frame = frozenset({"embeddings"})

    def __init__(self, frames: int = 4) -> None:
        super().__init__((4, 6))
        self.rows = nn.Parameter(torch.randn(3, 64, 2, 3))
        self.embeddings = nn.Parameter(torch.randn(frames, 64, 2, 3) * (1 + torch.arange(frames)).view(-1, 1, 1, 1))
        self.body = nn.Conv2d(64, 96, 3, padding=1)
        self.head = nn.Conv2d(96, 12, 1)

    def forward(self, at: Patches) -> Tensor:
        x = self.embeddings[at.frames] + self.rows[at.frames % 3]
        return torch.sigmoid(nn.functional.pixel_shuffle(self.head(torch.sin(self.body(x))), 2))


def small(frames: int = 4) -> Small:
    torch.manual_seed(0)
    return Small(frames)


def trained(folder: Path, weight: float, epochs: int = 40) -> tuple[Small, EntropyConstrained]:
    network, scheme = small(), EntropyConstrained()
    torch.manual_seed(1)
    frames = torch.randint(0, 255, (4, 3, 4, 6), dtype=torch.uint8)
    stage = Stage("rate", epochs, 1e-3, batch=4, rate_weight=weight, loss=MIXES["l2"])
    Trainer(network, scheme, frames, Workspace(folder), [stage]).run()
    return network, scheme


def payload(sections: dict[str, bytes]) -> int:
    return 8 * sum(len(sections[name]) for name in ("weights", "grids", "embeddings"))


@pytest.mark.parametrize("weight", [1e-4, 1e-2])
def test_the_rate_in_the_loss_is_that_of_the_file(tmp_path: Path, weight: float) -> None:
    network, scheme = trained(tmp_path, weight)
    rate = scheme.rate(dict(network.named_parameters()))
    assert rate is not None
    sections = scheme.write(network)
    assert payload(sections) == pytest.approx(float(rate.detach()), rel=0.01, abs=3 * 32)
    assert scheme.estimate(network) == float(rate.detach())
    tensors = len(list(network.parameters()))
    assert len(sections["scales"]) == 8 * (tensors - 1 + 4)  # an embedding has its own
    side = sum(len(sections[name]) for name in ("ranges", "table_model", "tables"))
    assert side < 100 * len(set(groups_of(network)))


def test_more_weight_of_the_rate_gives_fewer_bits(tmp_path: Path) -> None:
    bits = []
    for weight in (1e-8, 1e-3):
        (tmp_path / str(weight)).mkdir()
        network, scheme = trained(tmp_path / str(weight), weight)
        bits.append(payload(scheme.write(network)))
    assert bits[1] < 0.95 * bits[0]


def test_decoded_weights_are_the_trained_ones(tmp_path: Path) -> None:
    network, scheme = trained(tmp_path, 1e-3)
    sections = scheme.write(network)
    quantized = scheme.substitute(dict(network.named_parameters()))
    with torch.device("meta"):
        decoded = Small()
    EntropyConstrained.from_numbers(scheme.numbers()).read(decoded, sections)
    for name, value in quantized.items():
        assert torch.allclose(decoded.get_parameter(name), value, rtol=1e-5, atol=1e-7)


def entered() -> tuple[Small, EntropyConstrained, dict[str, Tensor]]:
    network, scheme = small(), EntropyConstrained()
    scheme.enter(network, RATE)
    return network, scheme, dict(network.named_parameters())


def test_the_gradient_is_the_mean_of_that_under_noise() -> None:
    _, scheme, tensors = entered()
    rate = scheme.rate(tensors)
    assert rate is not None
    (ours,) = torch.autograd.grad(rate, [tensors["rows"]])
    assert scheme._densities is not None
    with torch.no_grad():
        bits = scheme._densities.bits()[scheme._groups[0]].double()
        scale = float((scheme._scales[0] * scheme._log_lr_scale).exp())
        codes = tensors["rows"].flatten().double() / scale
        noise = (torch.arange(1000) + 0.5) / 1000 - 0.5
        places = (codes[:, None] + noise).floor().long() + LARGEST_SYMBOL
        by_hand = (bits[places + 1] - bits[places]).mean(1) / scale
    assert torch.allclose(ours.flatten().double(), by_hand, rtol=0.02, atol=0.02 * float(by_hand.abs().max()))


def test_the_rate_of_a_step_is_that_of_the_tensors_alone() -> None:
    results = []
    for inside in (False, True):
        network, scheme, tensors = entered()
        if inside:
            scheme.substitute(tensors)
        rate = scheme.rate(tensors)
        assert rate is not None
        learned = [*network.parameters(), *scheme.parameters()][:-1]  # the density's last bend has no gradient
        results.append([rate.detach(), *torch.autograd.grad(rate, learned, allow_unused=True)])
    alone, of_step = results
    assert all(
        a is b if a is None or b is None else torch.equal(a, b) for a, b in zip(alone, of_step, strict=True)
    )  # fmt: skip


def test_codes_of_other_tensors_are_not_used_again() -> None:
    _, scheme, tensors = entered()
    scheme.substitute(tensors)
    doubled = scheme.rate({name: 2 * tensor for name, tensor in tensors.items()})
    rate = scheme.rate(tensors)
    assert rate is not None
    assert doubled is not None
    assert float(doubled.detach()) > 1.05 * float(rate.detach())


def test_gradients_of_embeddings_count_for_all_frames() -> None:
    gradients = []
    for batch in (1, 4):
        network, scheme = small(), EntropyConstrained()
        scheme.enter(network, replace(RATE, batch=batch))
        rate = scheme.rate(dict(network.named_parameters()))
        assert rate is not None
        gradients.append(torch.autograd.grad(rate, [network.embeddings, network.rows, scheme.parameters()[0]]))
    assert torch.allclose(gradients[0][0], 4 * gradients[1][0], rtol=1e-4)
    assert all(torch.equal(a, b) for a, b in zip(gradients[0][1:], gradients[1][1:], strict=True))


def test_latents_along_time_are_smaller_and_the_weights_the_same() -> None:
    network = small(16)
    with torch.no_grad():
        network.embeddings.copy_(torch.randn(1, 64, 2, 3) + 0.02 * torch.randn(16, 64, 2, 3).cumsum(0))
    scheme = EntropyConstrained()
    scheme.enter(network, RATE)
    sections, quantized = scheme.write(network), scheme.substitute(dict(network.named_parameters()))
    assert (sections["embeddings"][0], sections["grids"][0]) == (1, 0)
    scales = (scheme._scales[1:17] * scheme._log_lr_scale).exp()
    rows = (network.embeddings.detach() / scales.view(-1, 1, 1, 1)).round()
    _, counts = rows.unique(return_counts=True)
    entropy = -float((counts * (counts / rows.numel()).log2()).sum())
    assert 8 * len(sections["embeddings"]) < 0.5 * entropy
    decoded = small(16)
    scheme.read(decoded, sections)
    for name, parameter in decoded.named_parameters():
        assert torch.allclose(parameter, quantized[name].detach(), atol=1e-5), name


def test_the_rate_has_gradients_for_everything_and_only_in_its_stage() -> None:
    network, scheme, tensors = entered()
    rate = scheme.rate(tensors)
    assert rate is not None
    rate.backward()  # type: ignore[no-untyped-call]
    learned = [*network.parameters(), *scheme.parameters()]
    assert sum(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in learned) >= len(learned) - 1
    before = EntropyConstrained()
    before.enter(network, Stage("fit", 1, 1e-3))
    assert (before.rate(tensors), dict(before.substitute(tensors)), list(before.parameters())) == (None, {}, [])


def test_frames_have_quantizers_of_their_own_and_share_a_density() -> None:
    network, scheme, _ = entered()
    assert scheme._rows["embeddings"] == 4
    scales = [(scheme._scales[1 + n] * scheme._log_lr_scale).exp().item() for n in range(4)]
    spans = [float((e.max() - e.min()).detach() / LEVELS) for e in network.embeddings]
    assert scales == pytest.approx(spans, rel=1e-3)
    assert len(set(groups_of(network))) == len(list(network.parameters())) - 1  # two biases share


def test_rate_points_are_sizes_with_a_lambda() -> None:
    codec = NeRVCodec(NeRVCodec.Settings(compression="entropy-constrained"))  # type: ignore[call-arg]
    clip = Clip(VideoFormat(160, 90, "rgb", 8, Fraction(25), full_range=True), 8, (20_000, 40_000, 80_000))
    points = codec.rate_points(clip)
    lambdas = ("1", "0.5", "0.25", "0.1", "0.05")
    assert [point.label for point in points] == [f"{n}K-lambda{w}" for n in (20, 40, 80) for w in lambdas]
    for point in points:
        assert codec.rate_point(point.label, clip) == point
    squared = NeRVCodec(NeRVCodec.Settings(compression="entropy-constrained", loss="l2"))  # type: ignore[call-arg]
    weights = [point.settings["lambda"] for point in squared.rate_points(clip)][:5]
    assert weights == [0.05, 0.025, 0.0125, 0.005, 0.0025]  # squared errors are smaller
    assert codec.rate_point("40K", clip).settings == {"size": 40_000, "lambda": 0.25}
    for label in ("40K-lambda0", "lambda1", "40K-lambda-1"):
        with pytest.raises(UsageError):
            codec.rate_point(label, clip)
    assert "compression" not in NeRVCodec.Settings().model_dump()
