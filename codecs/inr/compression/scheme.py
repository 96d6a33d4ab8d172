"""The interface of a compression scheme: how a network's weights become bytes, and its part in their training."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar, Self

from torch import Tensor, nn

from rdbench.errors import BitstreamError

from ..networks.network import Network
from ..recipes.stage import Stage
from .limits import DAMAGED_SETTINGS


class Scheme(ABC):
    """A way to compress a network; the trainer calls it at every stage and step of training.

    Post-training schemes only hold masks, and write at the end. Quantization-aware ones `substitute` the weights in
    the forward pass; entropy-constrained ones have trainable `parameters` of their own and a `rate` for the loss.
    """

    sections: ClassVar[frozenset[str]]
    """Names of the sections that `write` returns and `read` needs."""

    def enter(self, network: Network, stage: Stage) -> None:
        """Prepares for a training stage, which begins with these weights."""
        return

    def advance(self, progress: float) -> None:
        """Prepares for a training step; `progress` is the share of the stage that has passed, in 0..1."""
        return

    def parameters(self) -> Sequence[nn.Parameter]:
        """The scheme's own trainable parameters."""
        return ()

    def substitute(self, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Substitutes for tensors in the forward pass; those that it does not name are used as they are.

        `tensors`: all transmitted tensors by name.
        """
        return {}

    def rate(self, tensors: Mapping[str, Tensor]) -> Tensor | None:
        """The bits that all transmitted tensors take under the scheme's model; None where it models no rate.

        Called right after `substitute`, with the same tensors.
        """
        return None

    def after_step(self, network: Network) -> None:
        """Acts on the weights after a step of the optimizer."""
        return

    def state(self) -> dict[str, Tensor]:
        """The scheme's part of a checkpoint."""
        return {}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Restores what `state` returned."""
        return

    def numbers(self) -> list[int]:
        """The scheme's settings as integers, which are transmitted and read by `from_numbers`; none by default."""
        return []

    @classmethod
    def from_numbers(cls, numbers: Sequence[int]) -> Self:
        """The scheme with these settings. Raises BitstreamError for settings that do not exist."""
        if numbers:
            raise BitstreamError(DAMAGED_SETTINGS)
        return cls()

    @abstractmethod
    def write(self, network: Network) -> dict[str, bytes]:
        """The sections that hold the network's weights."""

    @abstractmethod
    def read(self, network: Network, sections: Mapping[str, bytes]) -> None:
        """Allocates the parameters of a network on the meta device on the CPU, and sets them to the sections' weights.

        Raises BitstreamError for sections that do not fit the network, before it allocates them.
        """
