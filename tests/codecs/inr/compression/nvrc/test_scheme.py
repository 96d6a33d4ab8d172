"""NVRC's scheme: proxies of rounding, the rate in the loss and in the file, decoded weights."""

import math

import pytest
import torch

from rdbench.codecs.inr.compression.nvrc.scheme import HierarchicalScheme, Parts, initial_log_step
from rdbench.codecs.inr.compression.nvrc.soft_rounding import expected_before, kumaraswamy, soft_round
from rdbench.codecs.inr.recipes.stage import Stage
from rdbench.codecs.nvrc import NVRC, NVRCConfig


def test_soft_rounding_lies_between_identity_and_rounding() -> None:
    x = torch.linspace(-3.3, 3.3, 100)
    assert torch.allclose(soft_round(x, 30.0), x, atol=1e-3)
    assert (soft_round(x, 0.02) - x.round()).abs().median() < 1e-4
    whole = torch.arange(-3.0, 4.0)
    assert torch.allclose(expected_before(whole, 0.3), whole, atol=1e-5)


@pytest.mark.parametrize(("shape", "deviation"), [(1.0, 12**-0.5), (2.0, 0.2)])
def test_noise_is_uniform_at_one_and_narrower_above(shape: float, deviation: float) -> None:
    torch.manual_seed(0)
    noise = kumaraswamy(torch.zeros(200_000), shape)
    assert noise.abs().max() <= 0.5
    assert float(noise.std()) == pytest.approx(deviation, rel=0.15 if shape > 1 else 0.01)


def test_initial_steps_spread_six_bits_over_each_range_and_deviations_are_the_weights() -> None:
    """A code then takes log2(deviation sqrt(2 pi e) / step) bits, whatever its distribution."""
    for span, step in ((0.63, 0.01), (1e-4, math.exp(-6)), (50.0, math.exp(-2))):
        assert math.exp(initial_log_step(torch.linspace(-span / 3, 2 * span / 3, 9))) == pytest.approx(step)
    torch.manual_seed(0)
    network, scheme = (
        NVRC(NVRCConfig(12, 20, (2, 2), 40, 160, 1, 9, 1, 2, coarser=1), 20),
        HierarchicalScheme(Parts(0, False, False)),
    )
    with torch.no_grad():
        for level in network.levels:
            level.values.copy_(0.05 * torch.randn_like(level.values))
    scheme.enter(network, Stage("fit", 1, 1e-3, proxy="mixed"))
    scheme.advance(1.0)
    tensors = dict(network.named_parameters())
    scheme.substitute(tensors)
    bits = scheme.rate(tensors)
    assert bits is not None
    coded = [tensor.detach() for tensor in tensors.values() if tensor.dim() > 1]
    by_hand = sum(
        tensor.numel()
        * math.log2(float(tensor.std()) * math.sqrt(2 * math.pi * math.e) / math.exp(initial_log_step(tensor)))
        for tensor in coded
    )
    assert float(bits.detach()) == pytest.approx(by_hand, rel=0.02)


def entered(parts: Parts) -> tuple[NVRC, HierarchicalScheme]:
    """A network with grids of deviation 0.1, and its scheme in a stage with soft rounding."""
    torch.manual_seed(0)
    network, scheme = NVRC(NVRCConfig(12, 20, (2, 2), 40, 160, 1, 9, 1, 2, coarser=1), 20), HierarchicalScheme(parts)
    with torch.no_grad():
        for level in network.levels:
            level.values.copy_(0.1 * torch.randn_like(level.values))
    scheme.enter(network, Stage("fit", 1, 1e-3, proxy="soft"))
    return network, scheme


def test_context_models_begin_where_their_grids_are() -> None:
    """Grids then take about the bits of a Gaussian with their deviation, as they do under a Gaussian each."""
    bits = []
    for context in (2, 0):
        network, scheme = entered(Parts(context, coded=False))
        scheme.substitute(dict(network.named_parameters()))
        found = scheme.rate(dict(network.named_parameters()))
        assert found is not None
        bits.append(float(found.detach()))
    assert bits[0] == pytest.approx(bits[1], rel=0.02)


@pytest.mark.parametrize("coded", [True, False])
def test_a_step_for_the_distortion_leaves_the_entropy_models(coded: bool) -> None:
    """Neither gradients of zero, by which momentum would still move them, nor any others; the rate moves all."""
    network, scheme = entered(Parts(2, coded=coded))
    tensors = dict(network.named_parameters())
    sum(value.square().sum() for value in scheme.substitute(tensors).values()).backward()
    moved = [parameter.grad is not None for parameter in scheme.parameters()]
    steps = [parameter for parameter, moves in zip(scheme.parameters(), moved, strict=True) if moves]
    assert 0 < len(steps) < len(moved)
    assert all(parameter.grad.abs().max() > 0 for parameter in steps)
    scheme.substitute(tensors)
    bits = scheme.rate(tensors)
    assert bits is not None
    bits.backward()
    idle = [parameter for parameter in scheme.parameters() if parameter.grad is None]
    assert all(parameter.numel() == 0 for parameter in idle)


@pytest.mark.parametrize("parts", [Parts(2), Parts(0), Parts(0, dual=False, coded=False, grid_steps=False)])
def test_the_rate_is_that_of_the_file_and_decoded_weights_are_the_quantized_ones(parts: Parts) -> None:
    torch.manual_seed(0)
    config = NVRCConfig(12, 20, (2, 2), 40, 160, 1, 9, 1, 2, coarser=1)
    network, scheme = NVRC(config, 20), HierarchicalScheme(parts)
    with torch.no_grad():
        for level in network.levels:
            level.values.copy_(0.01 * torch.randn_like(level.values))
    scheme.enter(network, Stage("fit", 1, 1e-3, proxy="mixed"))
    scheme.advance(1.0)  # all rounded
    tensors = dict(network.named_parameters())
    quantized, bits = scheme.substitute(tensors), scheme.rate(tensors)
    assert bits is not None
    sections = scheme.write(network)
    written = 8 * sum(len(sections[name]) for name in ("second", "grids", "layers"))
    assert float(bits.detach()) == pytest.approx(written, rel=0.02, abs=600)
    with torch.device("meta"):
        again = NVRC(config, 20)
    HierarchicalScheme.from_numbers(scheme.numbers()).read(again, sections)
    for name, value in quantized.items():
        assert torch.allclose(again.get_parameter(name), value, atol=1e-6, rtol=1e-2)


def test_weights_of_a_network_without_grids_return() -> None:
    torch.manual_seed(0)
    config = NVRCConfig(12, 20, (2, 2), 40, 160, 1, 9, 1, 2, coarser=1)
    network, scheme = NVRC(config, 20), HierarchicalScheme()
    network.feature_grids = {}
    scheme.enter(network, Stage("fit", 1, 1e-3, proxy="mixed"))
    scheme.advance(1.0)
    quantized = scheme.substitute(dict(network.named_parameters()))
    sections = scheme.write(network)
    assert len(sections["grids"]) < 8
    with torch.device("meta"):
        again = NVRC(config, 20)
    again.feature_grids = {}
    HierarchicalScheme().read(again, sections)
    for name, value in quantized.items():
        assert torch.allclose(again.get_parameter(name), value, atol=1e-6, rtol=1e-2)
