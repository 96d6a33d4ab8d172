"""The perceptron in parts, and GELU: values and gradients against torch's own."""

from itertools import pairwise

import pytest
import torch
from torch.nn import functional

from rdbench.codecs.inr.c3.gelu import gelu
from rdbench.codecs.inr.c3.perceptron import PIXELS, perceptron


def test_gelu_and_its_gradient() -> None:
    x = torch.linspace(-12, 12, 4001, dtype=torch.float64, requires_grad=True)
    ours, theirs = gelu(x), functional.gelu(x, approximate="tanh")
    assert torch.allclose(ours, theirs, rtol=1e-12, atol=1e-14)
    (a,), (b,) = (torch.autograd.grad(y.square().sum(), x) for y in (ours, theirs))
    assert torch.allclose(a, b, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("widths", [(5, 32, 32, 3), (2, 7, 3), (4, 3)])
def test_values_and_gradients_are_those_of_linear_layers(widths) -> None:
    torch.manual_seed(0)
    count = 2 * PIXELS + 17
    x = torch.randn(widths[0], count, dtype=torch.float64, requires_grad=True)
    pairs = list(pairwise(widths))
    weights = [torch.randn(after, before, dtype=torch.float64, requires_grad=True) for before, after in pairs]
    biases = [torch.randn(after, dtype=torch.float64, requires_grad=True) for _, after in pairs]
    expected = x.t()
    for number, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        hidden = functional.gelu(expected, approximate="tanh") if number else expected
        expected = functional.linear(hidden, weight, bias)
    ours, factors = perceptron(x, weights, biases), torch.randn(count, widths[-1], dtype=torch.float64)
    assert torch.allclose(ours, expected, atol=1e-11)
    inputs = [x, *weights, *biases]
    pairs_of_gradients = zip(*(torch.autograd.grad(y, inputs, factors) for y in (ours, expected)), strict=True)
    assert all(torch.allclose(a, b, atol=1e-9) for a, b in pairs_of_gradients)
