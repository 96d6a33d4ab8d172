"""C3's model of one spatio-temporal patch."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .context import Box, ContextNetwork, Variant, networks_of
from .latents import Q_STEP, Quantizer, Shape, grid_shapes, upsample
from .synthesis import Synthesis
from .tiles import pointwise

HIDDEN = (32, 32)
"""Widths of the synthesis network's hidden layers."""
INTERPOLATION_MACS = 16
"""Multiply-accumulates of trilinear interpolation, for each pixel and grid (the released counter)."""


@dataclass(frozen=True)
class PatchDesign:
    """All that decides the shapes of a patch's parameters."""

    volume: Shape
    variant: Variant
    per_frame: bool
    """Whether the residual convolutions are two-dimensional."""
    boxes: tuple[Box | None, ...]
    """The place of each entropy network's window in the frame before."""
    window: int
    """Side of these windows."""


class PatchModel(nn.Module):
    """Latents, synthesis network and entropy networks of a patch."""

    def __init__(self, design: PatchDesign) -> None:
        super().__init__()
        self.design = design
        shapes = grid_shapes(design.volume, design.variant.grids)
        self.latents = nn.ParameterList([torch.zeros(shape) for shape in shapes])
        """The grids, without their gains."""
        self.synthesis = Synthesis(design.variant.grids, HIDDEN, design.per_frame)
        self.contexts = networks_of(design.variant, design.boxes, design.window)

    def integers(self, quantizer: Quantizer) -> list[Tensor]:
        """The grids times their gains (2^i for grid i), in units of Q_STEP, quantized."""
        return [pointwise(quantizer, grid * (2.0**i / Q_STEP)) for i, grid in enumerate(self.latents)]

    def forward(self, quantizer: Quantizer) -> tuple[Tensor, Tensor]:
        """The frames `[T, 3, H, W]` and the bits of all latents."""
        grids = [grid * Q_STEP for grid in self.integers(quantizer)]
        return self.render(grids), self.bits(grids)

    def render(self, grids: Sequence[Tensor]) -> Tensor:
        """The frames of quantized grids, `[T, 3, H, W]`."""
        frames: Tensor = self.synthesis(upsample(grids, self.design.volume))
        return frames

    def context(self, grid: int) -> ContextNetwork:
        """The entropy network of a grid."""
        network = self.contexts[grid if self.design.variant.per_grid else 0]
        assert isinstance(network, ContextNetwork)
        return network

    def bits(self, grids: Sequence[Tensor]) -> Tensor:
        """The estimated bits of quantized grids."""
        return torch.stack([self.context(i).bits(grid) for i, grid in enumerate(grids)]).sum()

    @property
    def macs_per_pixel(self) -> tuple[int, int, int]:
        """Multiply-accumulates for each pixel: entropy networks, synthesis, interpolation (the released counter)."""
        grids = range(self.design.variant.grids)
        entropy = sum(self.context(i).macs // 8**i for i in grids)
        return entropy, self.synthesis.macs_per_pixel, INTERPOLATION_MACS * (len(grids) - 1)
