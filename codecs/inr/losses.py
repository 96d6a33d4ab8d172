"""Losses between frames or patches `[B, 3, H, W]` in 0..1, and the weighted mixes of them that the papers use."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from pytorch_msssim import ms_ssim, ssim
from torch import Tensor
from torch.nn import functional

Mix = tuple[tuple[float, str], ...]
"""Weights and names of terms."""


def _ssim(output: Tensor, target: Tensor) -> Tensor:
    similarity: Tensor = ssim(output, target, data_range=1.0, size_average=True)
    return 1 - similarity


def _ms_ssim(output: Tensor, target: Tensor) -> Tensor:
    similarity: Tensor = ms_ssim(output, target, data_range=1.0, size_average=True)
    return 1 - similarity


SMALL_WINDOW = 5
SCALES = 5
"""Of MS-SSIM, each of half the size."""


def _ms_ssim_5(output: Tensor, target: Tensor) -> Tensor:
    """1 - MS-SSIM with a window of 5 (HiNeRV); SSIM for patches that five scales do not fit (our choice)."""
    fits = min(output.shape[-2:]) > (SMALL_WINDOW - 1) << (SCALES - 1)
    measure = ms_ssim if fits else ssim
    similarity: Tensor = measure(output, target, data_range=1.0, size_average=True, win_size=SMALL_WINDOW)
    return 1 - similarity


TERMS: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = MappingProxyType(
    {"l1": functional.l1_loss, "l2": functional.mse_loss, "ssim": _ssim, "ms_ssim": _ms_ssim, "ms_ssim_5": _ms_ssim_5}
)
"""1 - SSIM and 1 - MS-SSIM are pytorch-msssim's: 11-tap window (or the name's), sigma 1.5, valid convolution, mean over
channels."""

MIXES: Mapping[str, Mix] = MappingProxyType(
    {
        "l1_ssim": ((0.7, "l1"), (0.3, "ssim")),  # NeRV, equation 2, alpha = 0.7
        "l1_ms_ssim": ((0.7, "l1"), (0.3, "ms_ssim")),
        "l1_ms_ssim_5": ((0.7, "l1"), (0.3, "ms_ssim_5")),  # HiNeRV
        "l2_ssim": ((0.7, "l2"), (0.3, "ssim")),
        "l1_l2": ((0.7, "l1"), (0.3, "l2")),
        "l1": ((1.0, "l1"),),
        "l2": ((1.0, "l2"),),
        "ssim": ((1.0, "ssim"),),
    }
)
"""The mixes by the names that settings use; those of NeRV's ablation (its table 10) and MS-SSIM."""


def loss_of(mix: Mix, output: Tensor, target: Tensor) -> Tensor:
    """The weighted sum of the terms, means over everything."""
    return torch.stack([weight * TERMS[name](output, target) for weight, name in mix]).sum()
