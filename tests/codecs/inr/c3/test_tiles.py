"""Functions in tiles: the same values and gradients as at once."""

import pytest
import torch
from torch import Tensor

from rdbench.codecs.inr.c3.rate import fast_latent_bits, latent_bits
from rdbench.codecs.inr.c3.tiles import pointwise, sum_in_tiles


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch) -> None:
    monkeypatch.setattr("rdbench.codecs.inr.c3.tiles.TILE", 8)


def doubles(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, requires_grad=True)


def test_a_sum_and_its_gradients() -> None:
    torch.manual_seed(0)
    x, rows, weight = doubles(29), doubles(29, 3), doubles(3)

    def function(x: Tensor, rows: Tensor, weight: Tensor) -> Tensor:
        return x.square() * (rows @ weight).tanh()

    ours, expected = sum_in_tiles(function, [x, rows], [weight]), function(x, rows, weight).sum()
    assert ours.item() == pytest.approx(expected.item(), rel=1e-12)
    ours_to, expected_to = (torch.autograd.grad(3 * y, [x, rows, weight]) for y in (ours, expected))
    assert all(torch.allclose(a, b) for a, b in zip(ours_to, expected_to, strict=True))


def test_values_of_a_function_and_its_derivative() -> None:
    torch.manual_seed(0)
    x, factors = doubles(3, 4, 5), torch.randn(3, 4, 5, dtype=torch.float64)
    ours = pointwise(torch.sin, x)
    assert torch.equal(ours, torch.sin(x))
    assert torch.allclose(torch.autograd.grad(ours, x, factors)[0], torch.cos(x) * factors)


def test_without_gradients_there_is_no_graph() -> None:
    x = doubles(9)
    with torch.no_grad():
        assert not sum_in_tiles(torch.sin, [x], []).requires_grad
        assert not pointwise(torch.sin, x).requires_grad


def test_the_formula_of_the_rates_gradient() -> None:
    torch.manual_seed(0)
    latents = ((torch.randn(5000, dtype=torch.float64) * 5).round() * 0.3).requires_grad_()
    numbers = torch.stack([torch.randn(5000), torch.randn(5000) * 8 - 8], dim=-1).double().requires_grad_()
    ours, expected, factors = fast_latent_bits(latents, numbers), latent_bits(latents, numbers), torch.rand(5000)
    assert torch.allclose(ours, expected, atol=1e-11)
    assert 100 < int((expected == 16).sum()) < 4900
    ours_to, expected_to = (torch.autograd.grad(y, [latents, numbers], factors.double()) for y in (ours, expected))
    assert all(torch.allclose(a, b, rtol=1e-9, atol=1e-10) for a, b in zip(ours_to, expected_to, strict=True))
