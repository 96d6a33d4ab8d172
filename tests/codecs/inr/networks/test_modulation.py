"""Scales and shifts for each channel, with and without instance normalization: torch's values and gradients."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from rdbench.codecs.inr.networks.layers.modulation import EPSILON, modulate, scale_and_shift

torch.set_num_threads(1)


def scaled(x: Tensor, gain: Tensor, shift: Tensor) -> Tensor:
    return x * gain[..., None, None] + shift[..., None, None]


def normalized(x: Tensor, gain: Tensor, shift: Tensor) -> Tensor:
    return scaled(functional.instance_norm(x, eps=EPSILON), gain, shift)


def tensors(batch: int, height: int, width: int, layout: torch.memory_format) -> list[Tensor]:
    torch.manual_seed(0)
    x = (3 + torch.randn(batch, 5, height, width)).contiguous(memory_format=layout)
    return [x, torch.randn(batch, 5), torch.randn(batch, 5)]


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize(("height", "width"), [(9, 14), (1, 7), (6, 1)])
@pytest.mark.parametrize(("ours", "torchs"), [(scale_and_shift, scaled), (modulate, normalized)])
def test_values_and_gradients_are_torchs_in_double_precision(
    ours: Callable[..., Tensor], torchs: Callable[..., Tensor], height: int, width: int, layout: torch.memory_format
) -> None:
    leaves = [tensor.requires_grad_() for tensor in tensors(3, height, width, layout)]
    exact = [leaf.detach().double().contiguous().requires_grad_() for leaf in leaves]
    y, expected = ours(*leaves), torchs(*exact)
    given = torch.randn(y.shape)
    assert y.shape == leaves[0].shape
    assert torch.allclose(y.double(), expected, atol=1e-5)
    theirs = torch.autograd.grad(expected, exact, given.double())
    for own, other in zip(torch.autograd.grad(y, leaves, given), theirs, strict=True):
        assert torch.allclose(own.double(), other, atol=2e-5 * float(other.abs().max() + 1))


def test_gradients_agree_with_finite_differences() -> None:
    for function in (scale_and_shift, modulate):
        leaves = [tensor.double().requires_grad_() for tensor in tensors(2, 3, 4, torch.channels_last)]
        assert torch.autograd.gradcheck(function, leaves)


def test_a_plane_of_one_pixel_becomes_the_shift() -> None:
    x, gain, shift = tensors(2, 1, 1, torch.channels_last)
    assert torch.equal(modulate(x, gain, shift)[..., 0, 0], shift)


def test_scaling_is_exact() -> None:
    """Frames of existing bitstreams stay as they are."""
    for layout in (torch.channels_last, torch.contiguous_format):
        for dtype in (torch.float32, torch.bfloat16):
            x, gain, shift = (tensor.to(dtype) for tensor in tensors(2, 9, 14, layout))
            assert torch.equal(scale_and_shift(x, gain, shift), scaled(x, gain, shift))


def test_large_mean_does_not_hurt_the_variance() -> None:
    x = 1000 + torch.randn(1, 2, 30, 40).contiguous(memory_format=torch.channels_last)
    plain = functional.instance_norm(x.double(), eps=EPSILON)
    assert torch.allclose(modulate(x, torch.ones(1, 2), torch.zeros(1, 2)).double(), plain, atol=2e-3)
