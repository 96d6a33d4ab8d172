"""The GPU memory that a training is expected to need, from a step on the meta device, which takes no memory."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..networks.encoder import Encoder
from ..networks.network import Network, Patches, TrainingOutputs, compared
from ..recipes.losses import loss_of
from ..recipes.stage import Stage

CONTEXT_BYTES = 600 << 20
"""CUDA's context and the workspaces of its libraries (our choice)."""
COPIES_OF_WEIGHTS = 8
"""Weights, gradients, two moments, their average, and what a compression scheme and a checkpoint hold (our choice)."""
MEGABYTE = 1 << 20


def expected_memory_mb(
    network: Network, encoder: Encoder | None, stages: Sequence[Stage], frames: int, height: int, width: int
) -> float:
    """MiB of a training with these stages; network and encoder are on the meta device.

    Activations count as float32, although CUDA keeps about half of them in bfloat16: more than is needed, so that jobs
    side by side do not run out of memory.
    """
    modules = [network, *([encoder] if encoder is not None else [])]
    weights = 4 * sum(parameter.numel() for module in modules for parameter in module.parameters())
    clip = 3 * frames * height * width
    steps = [_step_bytes(network, encoder, stage, min(stage.batch, frames), height, width) for stage in stages]
    held = clip + network.buffer_bytes()
    total = CONTEXT_BYTES + COPIES_OF_WEIGHTS * weights + held + max(steps, default=0)
    return total / MEGABYTE


def _step_bytes(
    network: Network, encoder: Encoder | None, stage: Stage, batch: int, height: int, width: int
) -> int:  # fmt: skip
    """Bytes that the step's backward pass reads; a step of patches has as many pixels as its whole frames."""
    storages: dict[int, int] = {}
    kept: list[Tensor] = []  # while a tensor lives, its storage's number is its own

    def pack(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        storage = tensor.untyped_storage()
        storages[storage._cdata] = storage.nbytes()
        return tensor

    numbers = torch.zeros(batch, dtype=torch.long, device="meta")
    target = torch.empty(batch, 3, height, width, device="meta")
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        if encoder is not None:
            encoder(lambda chosen: torch.empty(len(chosen), 3, height, width, device="meta"), numbers)
        for _, output in TrainingOutputs(network)(Patches.of_frames(numbers, network.frame_grid)):
            shown, reference = compared(output, target, network)
            loss_of(stage.loss, shown.float(), reference)
    return sum(storages.values())
