"""Bounds through which inward gradients pass."""

import torch

from rdbench.codecs.inr.compression.nvrc.bounds import bounded
from rdbench.codecs.inr.compression.nvrc.quantizer_parameters import normal_bits


def test_a_value_beyond_a_bound_comes_back_but_goes_no_further() -> None:
    x = torch.tensor([-12.0, -12.0, -5.0, 1.0, 1.0], requires_grad=True)
    y = bounded(x, -10.0, 0.0)
    assert y.tolist() == [-10, -10, -5, 0, 0]
    y.backward(torch.tensor([-1.0, 1.0, 1.0, 1.0, -1.0]))  # descent raises what has a negative gradient
    assert x.grad is not None
    assert x.grad.tolist() == [-1, 0, 1, 1, 0]


def test_a_model_recovers_from_a_deviation_below_the_least_one() -> None:
    log_deviation = torch.tensor(-6.0, requires_grad=True)
    codes = torch.tensor([-2.0, 0.0, 1.0, 3.0])
    optimizer = torch.optim.Adam([log_deviation], lr=0.1)
    for _ in range(200):
        optimizer.zero_grad()
        normal_bits(codes, torch.zeros(4), log_deviation.exp()).sum().backward()
        optimizer.step()
    assert 1.5 < float(log_deviation.detach().exp()) < 2.3  # their root mean square is 1.87
