"""Pruning: weights that are held at zero from a training stage on."""

import re
from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor

from ..networks.network import Network, count_parameters
from .scheme import Scheme

Masks = dict[str, Tensor]
"""Masks by the name of the weight; 1 keeps an element, 0 drops it."""
ChooseMasks = Callable[[Network, Iterable[str], float], Masks]
"""Returns masks of the named weights for a sparsity."""


def masks_by_magnitude(network: Network, names: Iterable[str], sparsity: float) -> Masks:
    """Masks that drop the smallest abs(w); `sparsity` is a share of the named weights, all together (NeRV)."""
    scores = {name: network.get_parameter(name).detach().abs() for name in names}
    return _drop_smallest(scores, int(sparsity * sum(score.numel() for score in scores.values())))


def masks_by_scaled_magnitude(network: Network, names: Iterable[str], sparsity: float) -> Masks:
    """Masks that drop the smallest abs(w) / sqrt(numel); `sparsity` is a share of all parameters (HiNeRV).

    The score prunes large tensors harder.
    """
    weights = {name: network.get_parameter(name).detach() for name in names}
    scores = {name: weight.abs() / (weight.numel() ** 0.5 + 1e-6) for name, weight in weights.items()}
    count = int(sparsity * count_parameters(network))
    return _drop_smallest(scores, min(count, sum(weight.numel() for weight in weights.values()) - 1))


def _drop_smallest(scores: Mapping[str, Tensor], count: int) -> Masks:
    """Masks that drop the `count` smallest scores of all weights together."""
    if count < 1:
        return {name: torch.ones_like(score) for name, score in scores.items()}
    threshold = torch.cat([score.flatten() for score in scores.values()]).kthvalue(count).values
    return {name: (score > threshold).to(score.dtype) for name, score in scores.items()}


class PruningScheme(Scheme):
    """A scheme with masks; a subclass decides when weights are pruned."""

    def __init__(self, prunable: str, choose_masks: ChooseMasks) -> None:
        """`prunable`: regular expression that must match the whole name of a weight that may be pruned."""
        self.prunable = prunable
        self._choose_masks = choose_masks
        self._masks: Masks = {}

    def prune(self, network: Network, sparsity: float) -> None:
        """Chooses new masks and applies them; a sparsity of zero removes all masks."""
        names = [name for name, _ in network.named_parameters() if re.fullmatch(self.prunable, name)]
        self._masks = self._choose_masks(network, names, sparsity) if sparsity else {}
        self.after_step(network)

    def after_step(self, network: Network) -> None:
        """Sets masked weights to zero."""
        weights = dict(network.named_parameters())
        with torch.no_grad():
            for name, mask in self._masks.items():
                weights[name].mul_(mask)

    def state(self) -> dict[str, Tensor]:
        """The masks."""
        return self._masks

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Restores the masks of a checkpoint."""
        self._masks = dict(state)
