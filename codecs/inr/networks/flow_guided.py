"""Networks that blend each frame with its neighbors, bent along flows (FFNeRV, section 3.3; T-NeRV, section 4.3).

Independent frames are drawn once, kept, and never a path for gradients.
"""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import Tensor

from .network import Network, Patches

REFERENCES = (-2, -1, 1, 2)
"""The frames around one that are bent to it."""
SIDE_WEIGHT = 0.1
"""Of the losses of the independent and of the aggregated frame."""
FRAMES_AT_ONCE = 4
"""Frames whose independent frames are drawn together before the first step (our choice)."""


class FlowNetwork(Network):
    """A subclass draws frames and says how references are aggregated; this class keeps what was drawn."""

    flow: bool
    """Whether there are flows at all."""

    def __init__(self, patch_size: tuple[int, int], frames: int) -> None:
        super().__init__(patch_size)
        self.frames = frames
        self._memory: Tensor | None = None
        self._rendered: dict[int, tuple[Tensor, Tensor]] = {}

    @abstractmethod
    def independent_frames(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Of these frames `[B, 5, H, W]`, and flows and logits `[B, 3 A, h, w]` for A references.

        The first three channels are the independent frame in 0..1, the others the logits of the last blend.
        """

    @abstractmethod
    def aggregate(self, references: Tensor, motion: Tensor) -> Tensor:
        """References `[B, A, 3, H, W]` bent and blended: `[B, 3, H, W]`."""

    @abstractmethod
    def inside(self, frames: Tensor) -> Tensor:
        """The frames that stand for these, some perhaps beyond the clip; -1 for a black one."""

    def blend(self, image: Tensor, motion: Tensor, references: Tensor) -> tuple[Tensor, Tensor]:
        """The frame and the aggregated frame, `[B, 3, H, W]`, from references `[B, A, 3, H, W]`."""
        aggregated = self.aggregate(references, motion)
        shares = image[:, 3:].float().softmax(dim=1)
        return shares[:, :1] * image[:, :3] + shares[:, 1:] * aggregated, aggregated

    def window(self, frames: Tensor) -> Tensor:
        """The references of frames `[B]`: `[B, A]`, -1 for a black one."""
        return self.inside(frames[:, None] + torch.tensor(REFERENCES, device=frames.device))

    def training_outputs(self, at: Patches) -> Sequence[tuple[float, Tensor]]:
        """The frame, the independent and the aggregated one; the references are as they were last drawn."""
        if not self.flow:
            return [(1.0, self(at))]
        if self._memory is None:
            self._memory = self._render_all(at.frames.device)
        image, motion = self.independent_frames(at.frames)
        self._memory[at.frames] = image[:, :3].detach().half()
        windows = self.window(at.frames)
        references = self._memory[windows.clamp(min=0)] * (windows >= 0)[..., None, None, None]
        frames, aggregated = self.blend(image, motion, references)
        return [(1.0, frames), (SIDE_WEIGHT, image[:, :3]), (SIDE_WEIGHT, aggregated)]

    @torch.no_grad()
    def _render_all(self, device: torch.device) -> Tensor:
        parts = torch.arange(self.frames, device=device).split(FRAMES_AT_ONCE)
        return torch.cat([self.independent_frames(part)[0][:, :3].half() for part in parts])

    def forward(self, at: Patches) -> Tensor:
        """The frames; what was drawn for frames close to the last one is kept, so that each is drawn once."""
        if not self.flow:
            return self.independent_frames(at.frames)[0]
        asked, windows = at.frames.tolist(), self.window(at.frames).tolist()
        needed = {i for row in windows for i in row if i >= 0} | set(asked)
        missing = sorted(needed - self._rendered.keys())
        if missing:
            image, motion = self.independent_frames(torch.tensor(missing, device=at.frames.device))
            self._rendered |= {i: (image[n], motion[n]) for n, i in enumerate(missing)}
        drawn, black = self._rendered, torch.zeros_like(self._rendered[asked[0]][0][:3])
        seen = [[black if i < 0 else drawn[i][0][:3].half().float() for i in row] for row in windows]
        image, motion = (torch.stack([drawn[i][part] for i in asked]) for part in (0, 1))
        frames, _ = self.blend(image, motion, torch.stack([torch.stack(row) for row in seen]))
        self._rendered = {} if self.training else {i: drawn[i] for i in needed if i >= max(asked) + min(REFERENCES)}
        return frames

    def train(self, mode: bool = True) -> Self:
        """Forgets what was drawn: the weights may change."""
        self._rendered = {}
        return super().train(mode)

    def one_pass(self, at: Patches) -> None:
        """One drawing of each frame."""
        self.independent_frames(at.frames)

    def get_extra_state(self) -> Tensor | None:
        """The frames as they were last drawn, for a checkpoint."""
        return self._memory

    def set_extra_state(self, state: Any) -> None:
        """What `get_extra_state` gave."""
        self._memory = state
