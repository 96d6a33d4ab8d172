"""Convolutions with a pixel shuffle, and pointwise ones: torch's values and gradients."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from rdbench.codecs.inr.networks.layers.pointwise import Pointwise
from rdbench.codecs.inr.networks.layers.upsampling import UpConvolution

torch.set_num_threads(1)


def torchs(layer: UpConvolution, x: Tensor) -> Tensor:
    y = functional.conv2d(x, layer.weight, layer.bias, padding=layer.kernel_size[0] // 2)
    return functional.pixel_shuffle(y, layer.factor)


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("size", [(2, 3), (20, 31)])  # fewer and more pixels than weights of a channel
@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("factor", [1, 2, 3, 5])
def test_values_and_gradients_are_torchs(
    factor: int, kernel: int, size: tuple[int, int], layout: torch.memory_format
) -> None:
    torch.manual_seed(0)
    layer = UpConvolution(6, 4, factor, kernel)
    x = torch.randn(2, 6, *size).contiguous(memory_format=layout).requires_grad_()
    ours, theirs = layer(x), torchs(layer, x)
    assert ours.shape == (2, 4, factor * size[0], factor * size[1])
    assert torch.allclose(ours, theirs, atol=1e-5)
    given, leaves = torch.randn(ours.shape), [x, *layer.parameters()]
    pairs = zip(torch.autograd.grad(ours, leaves, given), torch.autograd.grad(theirs, leaves, given), strict=True)
    assert all(torch.allclose(own, other, rtol=1e-4, atol=1e-3) for own, other in pairs)


def test_output_is_torchs_to_the_bit_in_channels_last() -> None:
    """Frames of existing bitstreams stay as they are."""
    torch.manual_seed(0)
    for before, after, factor, kernel in ((43, 43, 2, 3), (19, 16, 2, 3), (22, 18, 2, 5), (48, 24, 2, 1)):
        layer = UpConvolution(before, after, factor, kernel).to(memory_format=torch.channels_last)
        x = torch.randn(1, before, 24, 40).contiguous(memory_format=torch.channels_last)
        assert torch.equal(layer(x), torchs(layer, x))


def test_layers_begin_with_the_weights_of_torchs() -> None:
    for ours, theirs in (
        (UpConvolution(5, 3, 2, 3), nn.Conv2d(5, 12, 3, padding=1)),
        (Pointwise(5, 7), nn.Conv2d(5, 7, 1)),
    ):
        for layer in (ours, theirs):
            torch.manual_seed(3)
            layer.reset_parameters()
        assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))
        assert list(ours.state_dict()) == list(theirs.state_dict())


def test_a_pointwise_layer_is_torchs_convolution() -> None:
    torch.manual_seed(0)
    layer, x = Pointwise(6, 4), torch.randn(2, 6, 5, 7)
    assert torch.allclose(layer(x), functional.conv2d(x, layer.weight, layer.bias), atol=1e-5)
