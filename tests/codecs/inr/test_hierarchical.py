"""NVRC's compression: proxies of rounding, bits that the file really takes, weights that come back."""

import pytest
import torch

from rdbench.codecs.inr.compression.hierarchical import Hierarchical, Parts
from rdbench.codecs.inr.compression.soft_rounding import expected_before, kumaraswamy, soft_round
from rdbench.codecs.inr.recipe import Stage
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


@pytest.mark.parametrize("parts", [Parts(2), Parts(0), Parts(0, dual=False, coded=False, grid_steps=False)])
def test_the_rate_is_what_the_file_takes_and_weights_come_back(parts: Parts) -> None:
    torch.manual_seed(0)
    config = NVRCConfig(12, 20, (2, 2), 40, 160, 1, 9, 1, 2, coarser=1)
    network, scheme = NVRC(config, 20), Hierarchical(parts)
    with torch.no_grad():
        for level in network.levels:
            level.values.copy_(0.01 * torch.randn_like(level.values))
    scheme.enter(network, Stage("fit", 1, 1e-3, proxy="mixed"))
    scheme.advance(1.0)  # all rounded
    tensors = dict(network.named_parameters())
    shown, bits = scheme.substitute(tensors), scheme.rate(tensors)
    assert bits is not None
    sections = scheme.write(network)
    written = 8 * sum(len(sections[name]) for name in ("second", "grids", "layers"))
    assert float(bits.detach()) == pytest.approx(written, rel=0.02, abs=600)
    with torch.device("meta"):
        again = NVRC(config, 20)
    Hierarchical.from_numbers(scheme.numbers()).read(again, sections)
    for name, value in shown.items():
        assert torch.allclose(again.get_parameter(name), value, atol=1e-6, rtol=1e-2)
