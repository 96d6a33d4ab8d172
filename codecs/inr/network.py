"""What the engine asks of a network, its cost, and how a base grid and strides follow from a resolution."""

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

STRIDES = {
    1: (1,), 2: (2,), 4: (2, 2), 6: (3, 2), 8: (2, 2, 2), 10: (5, 2), 20: (5, 2, 2), 40: (5, 2, 2, 2),
    60: (5, 3, 2, 2), 80: (5, 2, 2, 2, 2), 120: (5, 3, 2, 2, 2), 240: (5, 3, 2, 2, 2, 2),
}  # fmt: skip
"""Upsampling strides by their product: those of the papers at 720p (80) and 1080p (120), others by habit."""

BASE_CELLS = 9 * 16
"""The papers' base grid for 16:9; other shapes get about as many cells (our choice)."""


@dataclass(frozen=True)
class Geometry:
    """A base grid and the strides that lead from it to at least the frame; what is too much is cropped."""

    rows: int
    columns: int
    strides: tuple[int, ...]


def choose_geometry(width: int, height: int) -> Geometry:
    """The strides whose base grid is nearest to 9x16 cells and pads the frame least (our choice beyond 16:9)."""

    def misfit(total: int) -> float:
        rows, columns = math.ceil(height / total), math.ceil(width / total)
        padding = rows * columns * total * total / (width * height) - 1
        return abs(math.log(rows * columns / BASE_CELLS)) + 4 * padding

    total = min(STRIDES, key=misfit)
    return Geometry(math.ceil(height / total), math.ceil(width / total), STRIDES[total])


class FrameNetwork(Protocol):
    """A network that renders frames: indices `[B]` -> `[B, 3, height, width]` in 0..1."""

    def __call__(self, indices: Tensor) -> Tensor:
        """The frames with these indices."""
        ...


def count_parameters(network: nn.Module) -> int:
    """The number of parameters, all of which travel."""
    return sum(parameter.numel() for parameter in network.parameters())


def count_macs(network: nn.Module, frames: Tensor) -> int:
    """Multiply-accumulates of convolutions and linear layers for these frames, biases excluded."""
    total = 0

    def hook(module: nn.Module, _: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        weight = module.weight
        assert isinstance(weight, Tensor)
        positions = output.numel() // weight.shape[0]
        total += positions * weight.numel()

    layers = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    handles = [layer.register_forward_hook(hook) for layer in layers]
    with torch.no_grad():
        network(frames)
    for handle in handles:
        handle.remove()
    return total
