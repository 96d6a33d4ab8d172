"""Uniform quantization after training, and decoded weights."""

import pytest
import torch
from torch import Tensor, nn

from rdbench.codecs.inr.compression.post_training import PostTraining, dequantize, quantize
from rdbench.codecs.inr.networks.network import Network, Patches
from rdbench.errors import BitstreamError, RdbenchError


class Line(Network):
    """A frame is a row of the weights."""

    def __init__(self) -> None:
        super().__init__((6, 6))
        self.line = nn.Linear(108, 16)

    def forward(self, at: Patches) -> Tensor:
        return self.line.weight.view(-1, 3, 6, 6)[at.frames]


def line() -> Line:
    torch.manual_seed(0)
    return Line()


@pytest.mark.parametrize("bits", [2, 6, 8, 12])
def test_quantization_keeps_zeros_and_has_errors_of_half_a_step(bits: int) -> None:
    torch.manual_seed(1)
    weight = torch.randn(5, 7, 3, 3) * torch.tensor([1e-3, 0.1, 1.0, 30.0, 0.0]).view(5, 1, 1, 1)
    weight[weight.abs() < 0.02 * weight.abs().amax(dim=(1, 2, 3), keepdim=True)] = 0
    symbols, ranges = quantize(weight, bits)
    back = dequantize(symbols, ranges, weight.shape)
    assert ((back == 0) | (weight != 0)).all()
    steps = torch.from_numpy(ranges[:, 1].astype("float32")).view(5, 1, 1, 1)
    assert ((back - weight).abs() <= 0.501 * steps).all()
    widest = weight.amax(dim=(1, 2, 3)) - weight.amin(dim=(1, 2, 3))
    assert (steps.flatten() <= 1.02 * (widest / (1 << bits)) + 1e-3 * widest + 1e-7).all()


def test_weights_beyond_float16_are_an_error() -> None:
    with pytest.raises(RdbenchError, match="--seed"):
        quantize(torch.tensor([[1e9, 1.0]]), 8)


@pytest.mark.parametrize("coder", ["arithmetic", "huffman"])
def test_decoded_weights_are_the_same_with_any_number_of_threads(coder: str) -> None:
    sections = PostTraining(8, coder).write(line())
    restored = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        with torch.device("meta"):
            network = Line()
        PostTraining(8, coder).read(network, sections)
        restored.append(network.line.weight.detach())
    torch.set_num_threads(1)
    assert torch.equal(*restored)
    assert (restored[0] - line().line.weight).abs().max() < 0.01
    with torch.device("meta"):
        network = Line()
    with pytest.raises(BitstreamError):
        PostTraining(8, coder).read(network, {**sections, "ranges": b""})
