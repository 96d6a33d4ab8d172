"""Encoder networks: what makes a network's per-frame tensors of the source while it is fitted; they never travel."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping

from torch import Tensor, nn

FrameLookup = Callable[[Tensor], Tensor]
"""Frames by index, `[B]` -> `[B, 3, H, W]` in 0..1."""


class Encoder(nn.Module, ABC):
    """Trained with the network. What it makes stands in for parameters of the network that do travel."""

    makes: frozenset[str]
    """The names of those parameters; their first axis counts frames."""

    def frames_needed(self, chosen: Tensor) -> Tensor:
        """The frames, each once, whose embeddings a batch of these frames reads."""
        return chosen

    @abstractmethod
    def forward(self, video: FrameLookup, frames: Tensor) -> Mapping[str, Tensor]:
        """The rows of these frames `[B]` for every name that it makes."""
