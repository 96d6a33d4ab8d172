"""Losses between frames or patches `[B, 3, H, W]` in 0..1, and the weighted sums of them that the papers use."""

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType

import torch
from torch import Tensor
from torch.nn import functional

from rdbench.video.color import LUMA_WEIGHTS

from .similarity import SCALE_WEIGHTS, ms_ssim, ssim

Mix = tuple[tuple[float, str], ...]
"""Weights and names of loss terms."""
Terms = tuple[tuple[float, Callable[[Tensor, Tensor], Tensor]], ...]
"""Weights and functions of loss terms."""

SMALL_WINDOW = 5
"""Window of SSIM in HiNeRV's loss, small enough for patches."""
PLANE_WEIGHTS = (6 / 8, 1 / 8, 1 / 8)
LEAST_ERROR = 1e-10


def _ssim(output: Tensor, target: Tensor) -> Tensor:
    return 1 - ssim(output, target)


def _ms_ssim(output: Tensor, target: Tensor, window: int = 11) -> Tensor:
    """1 - MS-SSIM; 1 - SSIM where the scales do not fit (our choice)."""
    measure = ms_ssim if min(output.shape[2:]) > (window - 1) << (len(SCALE_WEIGHTS) - 1) else ssim
    return 1 - measure(output, target, window)


def _yuv(rgb: Tensor) -> Tensor:
    red, green, blue = rgb.unbind(1)
    kr, kb = LUMA_WEIGHTS["bt601"]
    luma = kr * red + (1 - kr - kb) * green + kb * blue
    return torch.stack([luma, (blue - luma) / (2 * (1 - kb)), (red - luma) / (2 * (1 - kr))], 1)


def _yuv_mse(output: Tensor, target: Tensor) -> Tensor:
    errors = (_yuv(output) - _yuv(target)).square().mean((0, 2, 3))
    logarithms = errors.clamp(min=LEAST_ERROR).log().unbind()
    return torch.stack([weight * each for weight, each in zip(PLANE_WEIGHTS, logarithms, strict=True)]).sum().exp()


def _ms_ssim_luma(output: Tensor, target: Tensor) -> Tensor:
    return _ms_ssim(_yuv(output)[:, :1], _yuv(target)[:, :1], SMALL_WINDOW)


def _spectrum(output: Tensor, target: Tensor) -> Tensor:
    difference = torch.fft.fft2(output - target)
    return torch.view_as_real(difference).abs().mean()


def _edges(output: Tensor, target: Tensor) -> Tensor:
    difference = output - target
    sums = [difference.diff(dim=axis).abs().sum() for axis in (2, 3)]
    return torch.stack(sums).sum() / difference.numel()


TERMS: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = MappingProxyType(
    {
        "l1": functional.l1_loss, "l2": functional.mse_loss, "ssim": _ssim, "ms_ssim": _ms_ssim,
        "ms_ssim_5": partial(_ms_ssim, window=SMALL_WINDOW), "spectrum": _spectrum,
        "yuv_mse": _yuv_mse, "ms_ssim_luma": _ms_ssim_luma, "edges": _edges,
    }
)  # fmt: skip
"""1 - SSIM and 1 - MS-SSIM have the values of pytorch-msssim (`similarity.py`): a window of 11 taps or the name's, mean
over channels. The spectrum's is the mean absolute difference of real and imaginary parts, the transform not normalized
(HNeRV-Boost). `edges` is the sum of the mean absolute errors of the differences between horizontal and between vertical
neighbors. `yuv_mse` is the geometric mean, weighted 6:1:1, of the squared errors of the planes (BT.601, 4:4:4)."""

MIXES: Mapping[str, Mix] = MappingProxyType(
    {
        "l1_ssim": ((0.7, "l1"), (0.3, "ssim")),  # NeRV, equation 2, alpha = 0.7
        "l1_ms_ssim": ((0.7, "l1"), (0.3, "ms_ssim")),
        "l1_ms_ssim_5": ((0.7, "l1"), (0.3, "ms_ssim_5")),  # HiNeRV
        "l2_ssim": ((0.7, "l2"), (0.3, "ssim")),
        "l2_l1": ((0.7, "l2"), (0.3, "l1")),  # as in NeRV's code
        "boost": ((42.0, "l1"), (18.0, "ms_ssim"), (1.0, "spectrum")),  # HNeRV-Boost: 60 (0.7, 0.3) and the spectrum
        "yuv": ((0.99, "yuv_mse"), (0.01, "ms_ssim_luma")),  # NVRC, equation 11
        "l1": ((1.0, "l1"),),
        "l2": ((1.0, "l2"),),
        "ssim": ((1.0, "ssim"),),
    }
)
"""Loss mixes by the names that settings use; NeRV's ablation (its table 10), and those with MS-SSIM."""


def loss_of(mix: Mix, output: Tensor, target: Tensor) -> Tensor:
    """The weighted sum of the terms, means over everything."""
    return weighted_sum(terms_of(mix), output, target)


def terms_of(mix: Mix) -> Terms:
    """The weights and functions of a mix; torch.compile cannot look them up in a read-only mapping itself."""
    return tuple((weight, TERMS[name]) for weight, name in mix)


def weighted_sum(terms: Terms, output: Tensor, target: Tensor) -> Tensor:
    """The weighted sum of the terms, means over everything."""
    return torch.stack([weight * term(output, target) for weight, term in terms]).sum()
