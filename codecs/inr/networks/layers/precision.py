"""The layers that compute in float32 whatever the precision of the others."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional


def in_float32(layer: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """The layer's output in float32, also inside torch's autocast.

    For the last layer of a network: samples in bfloat16 would be steps of 1/256, as coarse as the frames' own.
    """
    if isinstance(layer, nn.Conv2d) and layer.kernel_size == (1, 1):
        layer = _as_product(layer)
    if not torch.amp.is_autocast_available(x.device.type):  # tensors on the meta device
        return layer(x)
    with torch.autocast(x.device.type, enabled=False):
        return layer(x.float())


def _as_product(conv: nn.Conv2d) -> Callable[[Tensor], Tensor]:
    """A pointwise convolution as a matrix product, on a CPU twice as fast (measured: 3 of 16 channels, 320x180)."""

    def product(x: Tensor) -> Tensor:
        return functional.linear(x.permute(0, 2, 3, 1), conv.weight.flatten(1), conv.bias).permute(0, 3, 1, 2)

    return product
