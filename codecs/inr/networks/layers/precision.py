"""The layers that compute in float32 whatever the precision of the others."""

from collections.abc import Callable

import torch
from torch import Tensor


def in_float32(layer: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """The layer's output in float32, also inside torch's autocast.

    For the last layer of a network: samples in bfloat16 would be steps of 1/256, as coarse as the frames' own.
    """
    if not torch.amp.is_autocast_available(x.device.type):  # tensors on the meta device
        return layer(x)
    with torch.autocast(x.device.type, enabled=False):
        return layer(x.float())
