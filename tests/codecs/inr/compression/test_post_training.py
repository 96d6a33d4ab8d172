"""Uniform quantization after training, and decoded weights."""

import pytest
import torch
from torch import Tensor, nn

from rdbench.codecs.inr.compression.post_training import CHANNELS, Channel, PostTraining, dequantize, quantize
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


def test_input_channels_have_ranges_of_their_own_and_a_depthwise_kernel_has_one() -> None:
    torch.manual_seed(1)
    weight = torch.randn(6, 4, 3, 3) * torch.tensor([1e-3, 0.1, 1.0, 30.0]).view(1, 4, 1, 1)
    symbols, ranges = quantize(weight, 8, "input")
    assert ranges.shape == (4, 2)
    steps = torch.from_numpy(ranges[:, 1].astype("float32")).view(1, 4, 1, 1)
    back = dequantize(symbols, ranges, weight.shape, "input")
    assert ((back - weight).abs() <= 0.501 * steps).all()
    assert steps.flatten()[0] < 1e-4
    ours, theirs = quantize(weight, 8, "input"), quantize(weight.transpose(0, 1).contiguous(), 8)
    assert (ours[0] == theirs[0]).all()
    assert (ours[1] == theirs[1]).all()
    for vector in (torch.randn(9, 1, 3, 3), torch.randn(7)):
        symbols, ranges = quantize(vector, 8, "input")
        assert ranges.shape == (1, 2)
        back = dequantize(symbols, ranges, vector.shape, "input")
        assert ((back - vector).abs() <= 0.501 * float(ranges[0, 1])).all()


def test_weights_beyond_float16_are_an_error() -> None:
    with pytest.raises(RdbenchError, match="--seed"):
        quantize(torch.tensor([[1e9, 1.0]]), 8)


@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize("coder", ["arithmetic", "huffman"])
def test_decoded_weights_are_the_same_with_any_number_of_threads(coder: str, channel: Channel) -> None:
    ours = PostTraining(8, coder, channel=channel)
    sections = ours.write(line())
    assert len(sections["ranges"]) == 4 * (1 + {"output": 16, "input": 108}[channel])
    scheme = PostTraining.from_numbers(ours.numbers())
    assert (scheme.bits, scheme.coder, scheme.channel) == (8, coder, channel)
    restored = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        with torch.device("meta"):
            network = Line()
        scheme.read(network, sections)
        restored.append(network.line.weight.detach())
    torch.set_num_threads(1)
    assert torch.equal(*restored)
    assert (restored[0] - line().line.weight).abs().max() < 0.01
    with torch.device("meta"):
        network = Line()
    with pytest.raises(BitstreamError):
        scheme.read(network, {**sections, "ranges": b""})


@pytest.mark.parametrize("numbers", [[], [8], [8, 0, 2], [8, 0, 1, 0], [8, 9], [13, 0], [1, 0, 1]])
def test_settings_that_do_not_exist_are_refused(numbers: list[int]) -> None:
    with pytest.raises(BitstreamError):
        PostTraining.from_numbers(numbers)


def test_the_format_of_output_channels_is_the_one_before() -> None:
    assert PostTraining(8).numbers() == [8, 0]
    assert PostTraining(8, channel="input").numbers() == [8, 0, 1]
