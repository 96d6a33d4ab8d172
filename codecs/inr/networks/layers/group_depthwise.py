"""Depthwise convolution whose kernels depend on the group of pictures (TeNeRV, section III-B)."""

import torch
from torch import Tensor, nn

from .fused_block import depthwise


def in_one_group(groups: Tensor, count: int) -> bool:
    """Whether all samples are known to be in one of so many groups: a GPU would have to wait for groups to be read."""
    can_be_read = groups.device.type == "cpu" and not torch.is_grad_enabled()
    return count == 1 or (can_be_read and bool((groups == groups[0]).all()))


class GroupDepthwise(nn.Module):
    """A depthwise 3x3 convolution with kernels for each group of pictures."""

    def __init__(self, copies: int, channels: int) -> None:
        super().__init__()
        initial = nn.Conv2d(channels, channels, 3, groups=channels, bias=False)
        self.kernels = nn.Parameter(initial.weight.detach().view(channels, 9).expand(copies, -1, -1).clone())

    def forward(self, x: Tensor, groups: Tensor) -> Tensor:
        """`[B, h, w, C]` -> the same shape, each sample with the kernels of its group `[B]`."""
        if in_one_group(groups, len(self.kernels)):
            own = self.kernels[groups[0]] if len(self.kernels) > 1 else self.kernels[0]
        else:
            own = self.kernels[groups]
        return depthwise(x, own.unflatten(-1, (3, 3)), None)
