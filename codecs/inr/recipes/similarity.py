"""SSIM and MS-SSIM as losses: Z. Wang et al., IEEE Transactions on Image Processing 2004, and Asilomar 2003.

Gaussian windows of sigma 1.5, valid convolution, samples in 0..1, as in pytorch-msssim. Four maps are filtered for both
images together, where the definition has five, and the gradient is written out: half a NeRV's step was SSIM otherwise.
Nothing here makes the host wait for a GPU.
"""

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

SIGMA = 1.5
"""Deviation of the window in pixels."""
LUMINANCE, CONTRAST = 0.01**2, 0.03**2
"""Constants of the terms of luminance, and of contrast and structure, for samples in 0..1."""
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents of the scales of MS-SSIM, the finest first."""


def ssim(output: Tensor, target: Tensor, window: int = 11) -> Tensor:
    """The mean SSIM of images `[B, C, H, W]`; the gradient is that of `output`.

    An axis shorter than the window is not filtered.
    """
    both, _ = _means(output, target, window)
    return both.mean()


def ms_ssim(output: Tensor, target: Tensor, window: int = 11) -> Tensor:
    """The mean MS-SSIM over five scales of images `[B, C, H, W]`; the gradient is that of `output`.

    Negative terms count as zero. The images need more than 16 (window - 1) rows and columns.
    """
    result: Tensor | None = None
    for scale, weight in enumerate(SCALE_WEIGHTS, start=1):
        both, structure = _means(output, target, window)
        term = functional.relu(both if scale == len(SCALE_WEIGHTS) else structure).pow(weight)
        result = term if result is None else result * term
        if scale < len(SCALE_WEIGHTS):
            odd = [side % 2 for side in output.shape[2:]]
            output, target = (functional.avg_pool2d(image, 2, padding=odd) for image in (output, target))
    assert result is not None
    return result.mean()


def _means(output: Tensor, target: Tensor, window: int) -> tuple[Tensor, Tensor]:
    """The means of SSIM and of its term of contrast and structure over each plane, `[B, C]` each."""
    means: tuple[Tensor, Tensor] = _Means.apply(output, target, window)  # type: ignore[no-untyped-call]
    return means


class _Means(torch.autograd.Function):
    """The means of both maps with a gradient for the first image alone.

    With the window's means a, b of the images x, y, s of x^2 + y^2 and p of x y:
    l = (2 a b + C1) / (a^2 + b^2 + C1), c = (2 p - 2 a b + C2) / (s - a^2 - b^2 + C2), and SSIM is l c.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, window: int) -> tuple[Tensor, Tensor]:
        given = x, y
        x, y = (image.contiguous(memory_format=_layout(x.device)) for image in (x, y))
        stacked = torch.cat([x, y, x.square().addcmul_(y, y), x * y], dim=1)
        height, width = (window if side >= window else 1 for side in x.shape[2:])
        taps = (height, width)
        a, b, s, p = _filtered(stacked, taps, padded=False).chunk(4, dim=1)
        # one block of memory, which large frames give back to the system after the step
        spread, structure, power, luminance = s.new_empty(4, *s.shape)
        product, squares = a * b, a.square().addcmul_(b, b)
        torch.sub(s, squares, out=spread).add_(CONTRAST)
        torch.sub(p, product, out=structure).mul_(2).add_(CONTRAST).div_(spread)
        torch.add(squares, LUMINANCE, out=power)
        torch.mul(product, 2, out=luminance).add_(LUMINANCE).div_(power)
        ctx.save_for_backward(*given, a, b, spread, structure, power, luminance)
        ctx.taps = taps
        return (luminance * structure).mean((2, 3)), structure.mean((2, 3))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        x, y, a, b, spread, structure, power, luminance = ctx.saved_tensors
        of_both, of_structure = (g[:, :, None, None] / math.prod(a.shape[2:]) for g in gradients)
        to_product = (luminance * of_both).add_(of_structure).mul_(2).div_(spread)
        to_squares = to_product * structure
        to_mean = (b - a * luminance).mul_(structure).div_(power).mul_(2 * of_both)
        to_mean.addcmul_(a, to_squares).addcmul_(b, to_product, value=-1)
        together = torch.cat([to_mean, to_squares, to_product], dim=1)
        means, squares, products = _filtered(together, ctx.taps, padded=True).chunk(3, dim=1)
        return means.addcmul(x, squares, value=-1).addcmul_(y, products), None, None


def _filtered(x: Tensor, taps: tuple[int, int], padded: bool) -> Tensor:
    """Each channel of `[B, C, H, W]` filtered by windows of so many rows and columns.

    `padded`: with zeros around it, which is the transpose of the valid filter, as windows are symmetric.
    """
    channels = x.shape[1]
    x = x.contiguous(memory_format=_layout(x.device))
    for axis, count in enumerate(taps):
        distances = torch.arange(count, dtype=x.dtype, device=x.device) - count // 2
        weights = torch.exp(-distances.square() / (2 * SIGMA**2))
        shape, padding = ((count, 1), (count - 1, 0)) if axis == 0 else ((1, count), (0, count - 1))
        kernel = (weights / weights.sum()).view(1, 1, *shape).expand(channels, 1, *shape)
        if count > 1:
            x = functional.conv2d(x, kernel, padding=padding if padded else 0, groups=channels)
    return x.contiguous()


def _layout(device: torch.device) -> torch.memory_format:
    """Channels last on a CPU, whose depthwise convolutions are eight times as fast then (measured).

    Not on CUDA, whose kernels for that layout may round to TF32.
    """
    return torch.channels_last if device.type == "cpu" else torch.contiguous_format
