"""Side heads: pointwise layers that show early features as small frames, during training alone (deep supervision)."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from ..recipes.stage import Stage
from .encoder import Encoder, FrameLookup
from .layers.precision import in_float32

FADING_SHARE = 1 / 3
"""Share of a schedule, the last, in which the weight falls to zero."""


class SideHeads(Encoder):
    """Heads that are trained with a network and not transmitted; as an encoder they make no embeddings."""

    makes: frozenset[str] = frozenset()
    weight: Tensor

    def __init__(self, widths: Sequence[int], weight: float, stage: str) -> None:
        """`widths`: channels of the features; `weight`: of each output's loss, in the training stage of this name."""
        super().__init__()
        self.heads = nn.ModuleList(nn.Linear(width, 3) for width in widths)
        self._largest, self._stage, self._active = weight, stage, True
        # a tensor, so that a compiled or recorded step reads the weight anew
        self.register_buffer("weight", torch.full((), weight), persistent=False)

    def __len__(self) -> int:
        """The number of heads."""
        return len(self.heads)

    def forward(self, video: FrameLookup, frames: Tensor) -> Mapping[str, Tensor]:
        """Nothing: the heads replace no parameter."""
        return {}

    def advance(self, stage: Stage, progress: float) -> None:
        """Sets the weight, which falls to zero over the last third of the schedule; no outputs in other stages."""
        self._active = stage.name.removeprefix("free ") == self._stage
        self.weight.fill_(self._largest * min(1.0, (1 - progress) / FADING_SHARE))

    def outputs(self, features: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
        """Features `[B, h, w, C]`, one map for each head -> weights and frames `[B, 3, h, w]` in 0..1."""
        if not self._active:
            return []
        shown = (in_float32(head, x) for head, x in zip(self.heads, features, strict=True))
        return [(self.weight, torch.sigmoid(x).permute(0, 3, 1, 2)) for x in shown]
