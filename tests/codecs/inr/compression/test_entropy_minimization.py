"""Consistent entropy minimization: weights return, and damaged steps are refused."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from rdbench.codecs.inr.compression.entropy_minimization import EntropyMinimization
from rdbench.codecs.inr.networks.network import Network, Patches
from rdbench.codecs.inr.recipes.stage import Stage
from rdbench.errors import BitstreamError


class Linear(Network):
    """A layer, and embeddings of three frames."""

    latents = frozenset({"embeddings"})
    per_frame = frozenset({"embeddings"})

    def __init__(self) -> None:
        super().__init__((4, 6))
        self.layer = nn.Linear(20, 30)
        self.embeddings = nn.Parameter(torch.randn(3, 8))

    def forward(self, at: Patches) -> Tensor:
        raise NotImplementedError


def coded() -> tuple[EntropyMinimization, Linear, dict[str, bytes]]:
    torch.manual_seed(0)
    network, scheme = Linear(), EntropyMinimization()
    scheme.enter(network, Stage("finetune", 1, 1e-3, rate_weight=1.0))
    return scheme, network, scheme.write(network)


def test_decoded_weights_are_the_quantized_ones() -> None:
    scheme, network, sections = coded()
    with torch.device("meta"):
        decoded = Linear()
    EntropyMinimization.from_numbers(scheme.numbers()).read(decoded, sections)
    for name, value in scheme.substitute(dict(network.named_parameters())).items():
        assert torch.allclose(decoded.get_parameter(name), value, rtol=1e-5, atol=1e-6)


def test_damaged_steps_are_refused() -> None:
    _, _, sections = coded()
    steps = sections["steps"]
    infinite = np.full(len(steps) // 4, np.inf, "<f4").tobytes()
    for bad in (b"", steps[:-1], steps[:-4], steps[:-3], steps + b"\0", steps + b"\0\0\0\0", infinite):
        with torch.device("meta"):
            network = Linear()
        with pytest.raises(BitstreamError):
            EntropyMinimization().read(network, {**sections, "steps": bad})
