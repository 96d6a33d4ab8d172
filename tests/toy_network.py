"""A network of one layer, and frames for it: what tests of the training loop train in milliseconds."""

from typing import cast

import torch
from torch import Tensor, nn

from rdbench.codecs.inr.networks.network import Network, Patches

FRAMES = torch.arange(5 * 3 * 8 * 8, dtype=torch.int64).remainder(251).to(torch.uint8).view(5, 3, 8, 8)


class ToyNetwork(Network):
    """Rows of content and a layer."""

    latents = frozenset({"rows"})

    def __init__(self) -> None:
        torch.manual_seed(0)
        super().__init__((8, 8))
        self.rows = nn.Parameter(torch.randn(5, 6))
        self.line = nn.Linear(6, 192)

    def forward(self, at: Patches) -> Tensor:
        return cast(Tensor, self.line(self.rows[at.frames])).sigmoid().view(-1, 3, 8, 8)
