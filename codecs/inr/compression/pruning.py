"""Pruning: weights that are held at zero from a stage of the fit on."""

import re
from abc import abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor

from ..networks.network import Network
from .scheme import Scheme

Masks = dict[str, Tensor]
"""By the name of the weight; 1 keeps, 0 drops."""


class PruningScheme(Scheme):
    """A scheme with masks; how weights are chosen for them is left to its subclass."""

    def __init__(self, prunable: str) -> None:
        """`prunable` matches in full the names of the weights that pruning looks at."""
        self.prunable = prunable
        self._masks: Masks = {}

    @abstractmethod
    def masks(self, network: Network, names: list[str], sparsity: float) -> Masks:
        """Masks for these weights that drop the share `sparsity`."""

    def prune(self, network: Network, sparsity: float) -> None:
        """Chooses the masks anew; none without a sparsity."""
        names = [name for name, _ in network.named_parameters() if re.fullmatch(self.prunable, name)]
        self._masks = self.masks(network, names, sparsity) if sparsity else {}
        self.after_step(network)

    def after_step(self, network: Network) -> None:
        """Masked weights stay zero."""
        weights = dict(network.named_parameters())
        with torch.no_grad():
            for name, mask in self._masks.items():
                weights[name].mul_(mask)

    def state(self) -> dict[str, Tensor]:
        """The masks."""
        return self._masks

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """The masks of a checkpoint."""
        self._masks = dict(state)


def drop_smallest(scores: Mapping[str, Tensor], count: int) -> Masks:
    """Masks that drop the `count` smallest scores over all weights together."""
    if count < 1:
        return {name: torch.ones_like(score) for name, score in scores.items()}
    threshold = torch.cat([score.flatten() for score in scores.values()]).kthvalue(count).values
    return {name: (score > threshold).to(score.dtype) for name, score in scores.items()}
