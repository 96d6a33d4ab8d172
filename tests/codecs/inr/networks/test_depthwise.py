"""Depthwise convolution with gradients in columns: the values and the gradients of torch's."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from rdbench.codecs.inr.networks.layers.depthwise import Depthwise, convolve_depthwise

torch.set_num_threads(1)


def tensors(batch: int, height: int, width: int, kernel: int, layout: torch.memory_format) -> tuple[Tensor, ...]:
    torch.manual_seed(0)
    x, given = (torch.randn(batch, 6, height, width).contiguous(memory_format=layout) for _ in range(2))
    return x, torch.randn(6, 1, kernel, kernel), torch.randn(6), given


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize(("height", "width"), [(9, 14), (2, 3), (1, 1)])
@pytest.mark.parametrize("kernel", [1, 3, 5, 7, 9, 11])
def test_gradients_are_those_of_torch_in_double_precision(
    kernel: int, height: int, width: int, layout: torch.memory_format
) -> None:
    x, kernels, bias, given = tensors(3, height, width, kernel, layout)
    leaves = [tensor.requires_grad_() for tensor in (x, kernels, bias)]
    y = convolve_depthwise(*leaves)
    exact = [leaf.detach().double().requires_grad_() for leaf in leaves]
    expected = functional.conv2d(*exact, padding=kernel // 2, groups=6)
    assert torch.allclose(y.double(), expected, atol=1e-5)
    ours, theirs = torch.autograd.grad(y, leaves, given), torch.autograd.grad(expected, exact, given.double())
    for own, other in zip(ours, theirs, strict=True):
        assert own.shape == other.shape
        assert torch.allclose(own.double(), other, atol=1e-5 * float(other.abs().max() + 1))


def test_output_is_torchs_to_the_bit() -> None:
    x, kernels, bias, _ = tensors(2, 9, 14, 7, torch.channels_last)
    plain = functional.conv2d(x, kernels, bias, padding=3, groups=6)
    assert torch.equal(convolve_depthwise(x, kernels.requires_grad_(), bias), plain)


def test_only_what_is_asked_for_gets_a_gradient() -> None:
    x, kernels, _, given = tensors(2, 9, 14, 7, torch.channels_last)
    (gradient,) = torch.autograd.grad(convolve_depthwise(x, kernels.requires_grad_(), None), [kernels], given)
    assert gradient.shape == kernels.shape


def test_autocast_computes_in_bfloat16_and_gives_gradients_in_float32() -> None:
    x, kernels, bias, given = tensors(2, 19, 24, 7, torch.channels_last)
    leaves = [tensor.requires_grad_() for tensor in (x, kernels, bias)]
    with torch.autocast("cpu", torch.bfloat16):
        y = convolve_depthwise(*leaves)
        plain = functional.conv2d(*leaves, padding=3, groups=6)
    assert y.dtype == torch.bfloat16
    assert torch.equal(y, plain)
    exact = torch.autograd.grad(functional.conv2d(*leaves, padding=3, groups=6), leaves, given)
    for own, other in zip(torch.autograd.grad(y, leaves, given.bfloat16()), exact, strict=True):
        assert own.dtype == torch.float32
        assert float((own - other).norm() / other.norm()) < 0.02


def test_a_layer_begins_with_the_weights_of_torchs() -> None:
    torch.manual_seed(3)
    ours = Depthwise(5, 7)
    torch.manual_seed(3)
    theirs = torch.nn.Conv2d(5, 5, 7, padding=3, groups=5)
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))
    x = torch.rand(1, 5, 8, 8)
    assert torch.equal(ours(x), theirs(x))
