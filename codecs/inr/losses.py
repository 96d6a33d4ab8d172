"""Losses between frames `[B, 3, H, W]` in 0..1, as the papers write them."""

from collections.abc import Callable

from pytorch_msssim import ssim
from torch import Tensor
from torch.nn import functional

Loss = Callable[[Tensor, Tensor], Tensor]


def l1_ssim(output: Tensor, target: Tensor) -> Tensor:
    """0.7 L1 + 0.3 (1 - SSIM) (NeRV, equation 2, alpha = 0.7)."""
    similarity: Tensor = ssim(output, target, data_range=1.0, size_average=True)
    return 0.7 * functional.l1_loss(output, target) + 0.3 * (1 - similarity)


LOSSES: dict[str, Loss] = {"l1_ssim": l1_ssim, "l1": functional.l1_loss, "l2": functional.mse_loss}
