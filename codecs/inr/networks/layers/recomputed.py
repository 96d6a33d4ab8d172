"""Modules whose inner values are computed again for the gradient where they would fill the memory."""

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .mlp import LARGE_MAP


def lean(module: nn.Module, x: Tensor, *others: Tensor) -> Tensor:
    """`module(x, *others)`; of a large map in a training on a CPU only the input is kept for the gradient.

    The values and the gradients are the same. A GPU, whose memory the frames do not fill, keeps all (our choice).
    """
    if x.device.type != "cpu" or x.numel() < LARGE_MAP:
        result: Tensor = module(x, *others)
        return result
    again: Tensor = checkpoint(module, x, *others, use_reentrant=False, preserve_rng_state=False)
    return again
