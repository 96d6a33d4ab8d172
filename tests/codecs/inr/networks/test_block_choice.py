"""The choice between the fused and the plain block."""

import math
from collections.abc import Callable

import torch
from torch import nn

from rdbench.codecs.inr.networks.layers.block_choice import block_implementation, faster, largest_difference
from rdbench.codecs.inr.networks.layers.fused_block import Block


def test_the_fastest_measurement_decides() -> None:
    times = {"fused": iter([9.0, 2.0, 5.0]), "plain": iter([3.0, 4.0, 3.5])}
    work: dict[str, Callable[[], str]] = {"fused": lambda: "fused", "plain": lambda: "plain"}

    def measure(run: Callable[[], object]) -> float:
        return next(times[str(run())])

    choice = faster(work, measure)
    assert (choice.name, choice.milliseconds) == ("fused", {"fused": 2.0, "plain": 3.0})
    assert choice.reason == "fused 2.000 ms, plain 3.000 ms"


def test_a_cpu_has_the_plain_layers_without_a_measurement() -> None:
    block = Block(torch.rand(4, 3, 3), None, None, None, nn.Linear(4, 8), nn.Linear(8, 4), 1e-6, True)
    choice = block_implementation(torch.rand(1, 3, 3, 4), block)
    assert (choice.name, choice.milliseconds) == ("plain", {})
    assert "CUDA" in choice.reason


def test_differences_are_relative_and_no_number_is_infinite() -> None:
    first, second = torch.tensor([1.0, 10.0]), torch.tensor([2.0, 10.0])
    assert math.isclose(largest_difference([first], [second]), 0.1, rel_tol=1e-6)
    assert largest_difference([first * math.nan], [second]) == math.inf
