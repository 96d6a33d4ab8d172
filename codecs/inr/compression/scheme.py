"""A compression scheme: how the weights of a network become bytes, and what it does while they are fitted."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar, Self

from torch import Tensor, nn

from rdbench.errors import BitstreamError

from ..networks.network import Network
from ..recipes.stage import Stage


class Scheme(ABC):
    """One of the ways to compress; the engine calls it at every stage and step of the fit.

    Post-training schemes only hold masks and write at the end. Quantization-aware ones `substitute` the weights that
    the forward pass sees; entropy-constrained ones have `parameters` of their own and a `rate` for the loss.
    """

    sections: ClassVar[frozenset[str]]
    """The names of the sections that `write` gives and `read` needs."""

    def enter(self, network: Network, stage: Stage) -> None:
        """A stage begins, with these weights."""
        return

    def advance(self, progress: float) -> None:
        """A step begins, after this share of its stage."""
        return

    def parameters(self) -> Sequence[nn.Parameter]:
        """What the scheme itself learns."""
        return ()

    def substitute(self, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """What the forward pass sees in place of these tensors, all that travel by name; those not named stay."""
        return {}

    def rate(self, tensors: Mapping[str, Tensor]) -> Tensor | None:
        """The bits that these tensors, all that travel, take under the scheme's model; None where it models none.

        Called right after `substitute`, with the same tensors.
        """
        return None

    def after_step(self, network: Network) -> None:
        """The optimizer has changed the weights."""
        return

    def state(self) -> dict[str, Tensor]:
        """What a checkpoint keeps."""
        return {}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """What `state` gave."""
        return

    def numbers(self) -> list[int]:
        """The scheme's choices as integers, which `from_numbers` reads; they travel. Here there are none."""
        return []

    @classmethod
    def from_numbers(cls, numbers: Sequence[int]) -> Self:
        """The scheme with these choices. Raises BitstreamError for what is none."""
        if numbers:
            raise BitstreamError("The bitstream's quantization is damaged; encode the clip again.")
        return cls()

    @abstractmethod
    def write(self, network: Network) -> dict[str, bytes]:
        """The sections that hold the network's weights."""

    @abstractmethod
    def read(self, network: Network, sections: Mapping[str, bytes]) -> None:
        """Gives the network, still on the meta device, memory on the CPU and the weights of the sections.

        Raises BitstreamError where they do not fit it, before memory for the weights is taken.
        """
