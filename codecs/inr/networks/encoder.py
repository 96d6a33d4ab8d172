"""The interface of encoder networks, which compute per-frame tensors from the source frames during training.

An encoder network is not transmitted: the tensors that it computes for all frames are transmitted in its place.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping

from torch import Tensor, nn

from ..recipes.stage import Stage

FrameLookup = Callable[[Tensor], Tensor]
"""The source frames by index: `[B]` -> `[B, 3, H, W]` in 0..1."""


class Encoder(nn.Module, ABC):
    """An encoder network, trained together with the network; its outputs replace parameters of the network."""

    makes: frozenset[str]
    """Names of the replaced parameters, which are transmitted; their first axis is the frame index."""

    def frames_needed(self, chosen: Tensor) -> Tensor:
        """The frames, without repetitions, whose embeddings a batch of the frames `chosen` `[B]` reads."""
        return chosen

    def advance(self, stage: Stage, progress: float) -> None:
        """Prepares for a training step; `progress` is the share of the stage's schedule that has passed, in 0..1."""
        return

    @abstractmethod
    def forward(self, video: FrameLookup, frames: Tensor) -> Mapping[str, Tensor]:
        """The values of every parameter in `makes` for the frames `[B]`: `[B, ...]` each."""
