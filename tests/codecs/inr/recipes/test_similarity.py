"""SSIM and MS-SSIM have the values and the gradients of pytorch-msssim."""

from collections.abc import Callable

import pytest
import torch
from pytorch_msssim import ms_ssim as peer_ms_ssim
from pytorch_msssim import ssim as peer_ssim
from torch import Tensor

from rdbench.codecs.inr.recipes.losses import MIXES, loss_of
from rdbench.codecs.inr.recipes.similarity import ms_ssim, ssim

torch.set_num_threads(1)
Measure = Callable[..., Tensor]


def with_gradient(measure: Measure, output: Tensor, target: Tensor, **options: object) -> tuple[float, Tensor]:
    output = output.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    value = measure(output, target, **options)
    value.backward()
    assert output.grad is not None
    return float(value.detach()), output.grad


def images(shape: tuple[int, ...], layout: torch.memory_format) -> tuple[Tensor, Tensor]:
    """A smooth image with noise, and the same with other noise."""
    torch.manual_seed(0)
    rows, columns = torch.arange(shape[2]), torch.arange(shape[3])
    smooth = 0.5 + 0.3 * torch.sin(rows / 7)[:, None] * torch.cos(columns / 5)
    first, second = ((smooth + 0.1 * torch.rand(shape)).contiguous(memory_format=layout) for _ in range(2))
    return first, second


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(
    ("ours", "peer", "shape", "window"),
    [
        (ssim, peer_ssim, (2, 3, 45, 37), 11),
        (ssim, peer_ssim, (1, 1, 5, 6), 5),
        (ms_ssim, peer_ms_ssim, (1, 3, 161, 170), 11),
        (ms_ssim, peer_ms_ssim, (2, 3, 65, 83), 5),
    ],
)
def test_values_and_gradients_are_the_peers(
    ours: Measure, peer: Measure, shape: tuple[int, ...], window: int, layout: torch.memory_format
) -> None:
    output, target = images(shape, layout)
    value, gradient = with_gradient(ours, output, target, window=window)
    expected, right = with_gradient(peer, output, target, win_size=window, data_range=1.0)
    assert value == pytest.approx(expected, rel=1e-6)
    assert torch.allclose(gradient, right, rtol=1e-3, atol=1e-4 * float(right.abs().max()))


def test_an_axis_shorter_than_the_window_is_not_filtered() -> None:
    output, target = images((1, 3, 8, 20), torch.contiguous_format)
    value, gradient = with_gradient(ssim, output, target)
    with pytest.warns(UserWarning, match="Skipping Gaussian Smoothing"):
        expected, right = with_gradient(peer_ssim, output, target, data_range=1.0)
    assert value == pytest.approx(expected, rel=1e-6)
    assert torch.allclose(gradient, right, rtol=1e-3, atol=1e-4 * float(right.abs().max()))


def test_an_image_is_like_itself_and_opposites_count_as_zero() -> None:
    image, _ = images((1, 3, 90, 90), torch.contiguous_format)
    assert float(ssim(image, image)) == pytest.approx(1.0)
    assert float(ms_ssim(image, image, window=5)) == pytest.approx(1.0)
    checks = (torch.arange(90)[:, None] + torch.arange(90)).remainder(2).float().expand(1, 3, 90, 90)
    value, gradient = with_gradient(ms_ssim, 1 - checks, checks, window=5)
    assert value == 0.0
    assert bool(gradient.isfinite().all())


def test_the_gradient_is_that_of_differences_in_float64() -> None:
    torch.manual_seed(0)
    output, target = (torch.rand(1, 2, 13, 12, dtype=torch.float64) for _ in range(2))
    assert torch.autograd.gradcheck(lambda x: ssim(x, target), output.requires_grad_())


def test_the_yuv_loss_is_the_geometric_mean_of_the_planes_errors() -> None:
    torch.manual_seed(0)
    output, target = torch.rand(1, 3, 90, 90), torch.rand(1, 3, 90, 90)
    red, green, blue = (output - target)[0].double()
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    planes = (luma, (blue - luma) / 1.772, (red - luma) / 1.402)
    errors = [float(plane.square().mean()) for plane in planes]
    expected = errors[0] ** 0.75 * errors[1] ** 0.125 * errors[2] ** 0.125
    assert float(loss_of(((1.0, "yuv_mse"),), output, target)) == pytest.approx(expected, rel=1e-5)
    assert [name for _, name in MIXES["yuv"]] == ["yuv_mse", "ms_ssim_luma"]
