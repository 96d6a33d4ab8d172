"""Depthwise convolution whose kernels depend on the group of pictures (TeNeRV, section III-B)."""

import torch
from torch import Tensor, nn
from torch.nn import functional


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
        """`[B, h, w, C]` -> the same shape, each sample with the kernels of its group `[B]`.

        Of several groups one grouped convolution with the samples as channels; nothing is copied for one sample.
        """
        batch, height, width, channels = x.shape
        if in_one_group(groups, len(self.kernels)):
            own = self.kernels[groups[0]] if len(self.kernels) > 1 else self.kernels[0]
            same = functional.conv2d(x.permute(0, 3, 1, 2), own.view(-1, 1, 3, 3), padding=1, groups=channels)
            return same.permute(0, 2, 3, 1)
        flat = x.permute(1, 2, 0, 3).reshape(1, height, width, batch * channels).permute(0, 3, 1, 2)
        kernels = self.kernels[groups].view(batch * channels, 1, 3, 3)
        y = functional.conv2d(flat, kernels, padding=1, groups=batch * channels)
        return y.permute(0, 2, 3, 1).view(height, width, batch, channels).permute(2, 0, 1, 3)
