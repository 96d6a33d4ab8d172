"""Quant-Noise: steps, pruning, quantized weights in training, and weights decoded from the bytes."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from rdbench.codecs.inr.compression.pruning import masks_by_scaled_magnitude
from rdbench.codecs.inr.compression.quant_noise import QuantNoise, largest, levels_of, steps_of, steps_shape
from rdbench.codecs.inr.networks.network import Network, Patches
from rdbench.codecs.inr.recipes.stage import Stage
from rdbench.errors import BitstreamError, RdbenchError

STAGE = Stage("quantize", 1, 1e-3, noise=0.9)


class Toy(Network):
    """A matrix, a convolution, a small tensor, a vector and copies."""

    def __init__(self) -> None:
        super().__init__((6, 6))
        self.line = nn.Linear(48, 30)
        self.conv = nn.Conv2d(24, 24, 3, groups=24, bias=False)
        self.small = nn.Parameter(torch.randn(5, 4))
        self.copies = nn.Parameter(torch.randn(3, 40, 2))

    def forward(self, at: Patches) -> Tensor:
        raise NotImplementedError


class Copied(QuantNoise):
    copies = "copies"


def toy(scheme: type[QuantNoise] = QuantNoise) -> tuple[Toy, QuantNoise]:
    torch.manual_seed(0)
    return Toy(), scheme(6, r"(line|conv)\.weight")


def test_weights_share_a_step_along_their_longest_axis() -> None:
    shapes = {(30, 48): (30, 1), (24, 1, 3, 3): (1, 1, 3, 3), (5, 4): (1, 1), (576, 24): (1, 24), (20, 20): (1, 1)}
    for shape, steps in shapes.items():
        assert largest(torch.rand(shape), False).shape == steps
    copies = torch.rand(3, 40, 2)
    assert largest(copies, True).shape == (1, 1, 2)
    assert torch.equal(largest(copies, True)[0, 0], copies.amax((0, 1)))


@pytest.mark.parametrize("copies", [False, True])
@pytest.mark.parametrize("shape", [(3, 21), (30, 4), (20, 20), (7, 2, 3), (25, 6, 1, 1), (2, 3, 40, 5)])
def test_the_number_of_steps_is_known_without_the_weights(shape: tuple[int, ...], copies: bool) -> None:
    assert steps_shape(shape, copies) == largest(torch.rand(shape), copies).shape


@pytest.mark.parametrize("bits", [2, 6, 8])
def test_the_quantizer_is_symmetric_and_covers_all(bits: int) -> None:
    weight = torch.linspace(-1.3, 1.3, 101)[None]
    step = steps_of(largest(weight, False), bits)
    assert float(step) == pytest.approx(2.6 / ((1 << bits) - 1) + 1e-6)
    levels = levels_of(weight, step, bits)
    assert levels.min() >= -(1 << bits - 1)
    assert levels.max() <= (1 << bits - 1) - 1
    assert ((levels * step - weight).abs() <= 0.501 * step).all()


def test_pruning_drops_a_share_of_all_parameters_and_large_tensors_harder() -> None:
    network, _ = toy()
    names = ["line.weight", "conv.weight"]
    masks = masks_by_scaled_magnitude(network, names, 0.15)
    total = sum(p.numel() for p in network.parameters())
    assert sum(int((mask == 0).sum()) for mask in masks.values()) == int(0.15 * total)
    weights = {name: network.get_parameter(name).detach() for name in names}
    scores = {name: weight.abs() / weight.numel() ** 0.5 for name, weight in weights.items()}
    dropped = torch.cat([scores[name][masks[name] == 0] for name in names])
    kept = torch.cat([scores[name][masks[name] == 1] for name in names])
    assert dropped.max() < kept.min()


def test_masks_are_chosen_once_and_kept() -> None:
    network, scheme = toy()
    scheme.enter(network, replace(STAGE, sparsity=0.15))
    first = {name: mask.clone() for name, mask in scheme.state().items()}
    with torch.no_grad():
        network.line.weight.add_(1.0)
    scheme.enter(network, replace(STAGE, sparsity=0.15))
    assert all(torch.equal(first[name], mask) for name, mask in scheme.state().items())
    assert (network.line.weight[first["line.weight"] == 0] == 0).all()


def test_a_share_of_the_elements_is_quantized_without_a_gradient() -> None:
    network, scheme = toy()
    scheme.enter(network, replace(STAGE, noise=0.0))
    assert scheme.substitute(dict(network.named_parameters())) == {}
    scheme.enter(network, STAGE)
    substitutes = scheme.substitute(dict(network.named_parameters()))
    assert set(substitutes) == {"line.weight", "conv.weight", "small", "copies"}
    weight, replaced = network.line.weight, substitutes["line.weight"]
    step = steps_of(largest(weight, False), 6)
    rounded = levels_of(weight, step, 6) * step
    same, off = replaced == weight, (replaced - rounded).abs() < 1e-6
    assert (same | off).all()
    assert 0.85 < float((~same).float().mean()) < 0.95
    replaced.sum().backward()
    assert weight.grad is not None
    peaks = weight.abs() == weight.abs().amax(1, keepdim=True)
    assert (weight.grad[~same & ~peaks] == 0).all()
    assert (weight.grad[same & ~peaks] == 1).all()


@pytest.mark.parametrize("scheme", [QuantNoise, Copied])
def test_a_network_comes_back_within_half_a_step_and_zeros_as_zeros(scheme: type[QuantNoise]) -> None:
    network, chosen = toy(scheme)
    chosen.enter(network, replace(STAGE, sparsity=0.2))
    sections = chosen.write(network)
    with torch.device("meta"):
        back = Toy()
    chosen.read(back, sections)
    for name, weight in network.named_parameters():
        decoded = back.get_parameter(name)
        if weight.dim() < 2:
            assert torch.equal(decoded, weight.half().float())
            continue
        step = steps_of(largest(weight, name == "copies" and scheme is Copied), 6)
        assert ((decoded - weight).abs() <= 0.51 * step).all()
        assert (decoded[weight == 0] == 0).all()
    again = chosen.write(back)
    assert len(again["weights"]) == pytest.approx(len(sections["weights"]), abs=64)


def test_the_alphabet_of_differences_is_twice_as_large() -> None:
    network, scheme = toy(Copied)
    with torch.no_grad():
        network.copies.copy_(torch.tensor([[1.0], [-1.0], [1.0]])[:, :, None].expand_as(network.copies))
    sections = scheme.write(network)
    with torch.device("meta"):
        back = Toy()
    scheme.read(back, sections)
    assert torch.allclose(back.copies, network.copies, atol=0.02)


@pytest.mark.parametrize(
    "damage",
    [
        lambda s: {**s, "steps": s["steps"][:-2]},
        lambda s: {**s, "steps": b"\x00\x7c" * (len(s["steps"]) // 2)},
        lambda s: {**s, "vectors": s["vectors"] + b"\0\0"},
        lambda s: {**s, "models": s["models"][:-1]},
        lambda s: {**s, "models": s["models"] + b"\1"},
        lambda s: {**s, "models": b"\xff" + s["models"][1:]},
        lambda s: {**s, "weights": s["weights"] + b"\1\0\0\0"},
        lambda s: {**s, "weights": s["weights"][:-1]},
        lambda s: {**s, "weights": b""},
    ],
)
def test_damage_is_refused(damage: Callable[[dict[str, bytes]], dict[str, bytes]]) -> None:
    network, scheme = toy()
    sections = scheme.write(network)
    with torch.device("meta"):
        back = Toy()
    with pytest.raises(BitstreamError):
        scheme.read(back, damage(sections))
    for numbers in ([], [1], [9], [6, 6]):
        with pytest.raises(BitstreamError):
            QuantNoise.from_numbers(numbers)


def test_weights_beyond_all_bounds_are_an_error() -> None:
    network, scheme = toy()
    for value in (1e9, torch.nan):
        with torch.no_grad():
            network.small[0, 0] = value
        with pytest.raises(RdbenchError, match="--seed"):
            scheme.write(network)
