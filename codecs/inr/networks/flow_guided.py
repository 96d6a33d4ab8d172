"""Networks that blend each frame with neighboring frames warped by optical flow.

FFNeRV (section 3.3) introduced them, T-NeRV (section 4.3) has them too. The network renders an independent frame for
each index, and flows and blending weights at a lower resolution. The independent frames of four neighbors, the
references, are warped by the flows and blended to the aggregated frame, which is blended with the independent frame.
No gradient flows through references: training takes them from a frame buffer, which holds the latest independent
frame of each index, in 8 bits as the clip itself (our choice: at 1080p half a gigabyte for 80 frames).
"""

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from .layers.precision import in_float32
from .layers.recomputed import lean
from .network import Network, Patches, to_samples
from .render_batches import frames_on_cpu

REFERENCES = (-2, -1, 1, 2)
"""Offsets of the reference frames from the frame."""
AUXILIARY_WEIGHT = 0.1
"""Loss weight of the independent frame and of the aggregated frame (FFNeRV's code)."""
FRAMES_AT_ONCE = 4
"""Most frames in a batch that fills the frame buffer before the first training step (our choice)."""


def flow_stage(strides: Sequence[int]) -> int:
    """Index of the block whose output the flow head reads: the third from the end.

    With the papers' five blocks that is the third one. With three or fewer, on small frames, it is the first (our
    choice), where T-NeRV has a pointwise convolution: there flows see neighboring cells through the pre-block alone.
    """
    return max(0, len(strides) - 3)


class FlowNetwork(Network):
    """Blocks, the flow head and the image head, with the buffer of independent frames.

    A subclass builds the modules, renders independent frames (with `decode`), and defines how references are
    aggregated and what stands in for frames beyond the clip.
    """

    blocks: nn.ModuleList
    motion: nn.Conv2d | None
    """The flow head; None without flows."""
    head: nn.Conv2d
    """The image head: the independent frame and, with flows, two logits of the last blend."""

    def __init__(self, patch_size: tuple[int, int], frames: int, strides: Sequence[int]) -> None:
        super().__init__(patch_size)
        self.frames = frames
        self._flow_stage = flow_stage(strides)
        self._flow_scale = math.prod(strides[self._flow_stage + 1 :])
        self._buffer: Tensor | None = None
        self._rendered: dict[int, tuple[Tensor, Tensor]] = {}

    @abstractmethod
    def independent_frames(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Independent frames for the indices `[B]`, as `decode` returns them."""

    @abstractmethod
    def aggregate(self, references: Tensor, motion: Tensor) -> Tensor:
        """The aggregated frame `[B, 3, H, W]` of references `[B, A, 3, H, W]`, warped and blended."""

    @abstractmethod
    def resolve_border(self, indices: Tensor) -> Tensor:
        """The indices with those beyond the clip replaced; -1 stands for a black frame."""

    def decode(self, x: Tensor, *condition: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs of both heads for features `[B, C, h, w]`; every block also gets `condition`.

        Image `[B, 5, H, W]`: the independent frame in 0..1, then the logits of independent and aggregated frame in the
        last blend; three channels without flows. Motion `[B, 3 A, H / s, W / s]` for A references: the flows (dx, dy)
        in pixels of this resolution, then the logits of the references; empty without flows.
        """
        motion = x.new_empty(0)
        for number, block in enumerate(self.blocks):
            x = lean(block, x, *condition)
            if self.motion is not None and number == self._flow_stage:
                motion = in_float32(self.motion, x)
        image = in_float32(self.head, x)
        return torch.cat([(torch.tanh(image[:, :3]) + 1) / 2, image[:, 3:]], dim=1), motion

    def blend(self, image: Tensor, motion: Tensor, references: Tensor) -> tuple[Tensor, Tensor]:
        """The frame and the aggregated frame, `[B, 3, H, W]` each, from references `[B, A, 3, H, W]`."""
        aggregated = self.aggregate(references, motion)
        shares = image[:, 3:].float().softmax(dim=1)
        return shares[:, :1] * image[:, :3] + shares[:, 1:] * aggregated, aggregated

    def reference_indices(self, frames: Tensor) -> Tensor:
        """Indices `[B, A]` of the references of frames `[B]`; -1 stands for a black frame."""
        return self.resolve_border(torch.stack([frames + offset for offset in REFERENCES], dim=1))

    def training_outputs(self, at: Patches) -> Sequence[tuple[float, Tensor]]:
        """The frame, the independent and the aggregated frame; references come from the frame buffer."""
        if self.motion is None:
            return [(1.0, self(at))]
        if self._buffer is None:
            self._buffer = self._render_all(at.frames.device)
        image, motion = self.independent_frames(at.frames)
        self._buffer[at.frames] = to_samples(image[:, :3].detach())
        indices = self.reference_indices(at.frames)
        references = self._buffer[indices.clamp(min=0)].float() / 255 * (indices >= 0)[..., None, None, None]
        frames, aggregated = self.blend(image, motion, references)
        return [(1.0, frames), (AUXILIARY_WEIGHT, image[:, :3]), (AUXILIARY_WEIGHT, aggregated)]

    @torch.no_grad()
    def _render_all(self, device: torch.device) -> Tensor:
        """The independent frames of the clip, `[N, 3, H, W]`, in 8 bits."""
        buffer = torch.empty(self.frames, 3, *self.patch_size, dtype=torch.uint8, device=device)
        count = frames_on_cpu(math.prod(self.patch_size), FRAMES_AT_ONCE)
        for first in range(0, self.frames, count):
            indices = torch.arange(first, min(first + count, self.frames), device=device)
            buffer[first : first + len(indices)] = to_samples(self.independent_frames(indices)[0][:, :3])
        return buffer

    def forward(self, at: Patches) -> Tensor:
        """The frames; independent frames that the following frames refer to are cached, so each is rendered once."""
        if self.motion is None:
            return self.independent_frames(at.frames)[0]
        asked, references = at.frames.tolist(), self.reference_indices(at.frames).tolist()
        needed = {index for row in references for index in row if index >= 0} | set(asked)
        missing = sorted(needed - self._rendered.keys())
        if missing:
            image, motion = self.independent_frames(torch.tensor(missing, device=at.frames.device))
            self._rendered |= {index: (image[n], motion[n]) for n, index in enumerate(missing)}
        image, motion = (torch.stack([self._rendered[index][part] for index in asked]) for part in (0, 1))
        frames, _ = self.blend(image, motion, self._rendered_references(references))
        # frames are asked for in display order: later frames refer to none before the last one's first reference
        kept = set() if self.training else {i for i in needed if i >= max(asked) + min(REFERENCES)}
        self._rendered = {index: self._rendered[index] for index in kept}
        return frames

    def _rendered_references(self, indices: Sequence[Sequence[int]]) -> Tensor:
        """The cached references `[B, A, 3, H, W]`, rounded to float16, which defines the frames of a bitstream."""
        black = torch.zeros_like(next(iter(self._rendered.values()))[0][:3])
        rows = [[black if i < 0 else self._rendered[i][0][:3].half().float() for i in row] for row in indices]
        return torch.stack([torch.stack(row) for row in rows])

    def train(self, mode: bool = True) -> Self:
        """Switches the mode and empties the cache of rendered frames, because the weights may change."""
        self._rendered = {}
        return super().train(mode)

    def one_pass(self, at: Patches) -> None:
        """Renders the independent frames, flows and logits of these frames once, for counting the cost."""
        self.independent_frames(at.frames)

    def buffer_bytes(self) -> int:
        """The frame buffer; none without flows."""
        return 0 if self.motion is None else 3 * self.frames * math.prod(self.patch_size)

    def get_extra_state(self) -> Tensor | None:
        """The frame buffer, for checkpoints."""
        return self._buffer

    def set_extra_state(self, state: Any) -> None:
        """Restores the frame buffer."""
        self._buffer = state
