"""What a training begins with: the frames, and the untrained network, on the device."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rdbench.codec import Workspace
from rdbench.video import Video

from .clip_header import ClipHeader
from .compression.scheme import Scheme
from .networks.encoder import Encoder
from .networks.network import Network, NetworkConfig
from .recipes.stage import Stage
from .training.execution import Choice as ExecutionChoice
from .training.precision import Choice
from .training.trainer import Trainer


@dataclass(frozen=True)
class Prepared:
    """Frames, network and encoder before the first training step."""

    frames: Tensor
    """`[N, 3, H, W]`, 8 bit, on the device."""
    clip: ClipHeader
    network: Network
    config: NetworkConfig
    macs: int
    """Multiply-accumulates of one frame."""
    encoder: Encoder | None
    precision: Choice
    execution: ExecutionChoice = "auto"

    def trainer(self, scheme: Scheme, workspace: Workspace, stages: Sequence[Stage]) -> Trainer:
        """The trainer of these stages."""
        return Trainer(
            self.network, scheme, self.frames, workspace, stages, self.encoder, self.precision, self.execution
        )


def stacked(video: Video) -> Tensor:
    """All frames `[N, 3, H, W]`, 8 bit."""
    fmt = video.format
    if video.frames is None:
        return torch.cat([torch.from_numpy(np.stack(batch.planes, axis=1)) for batch in video.batches()])
    frames = torch.empty(video.frames, 3, fmt.height, fmt.width, dtype=torch.uint8)
    done = 0
    for batch in video.batches():
        frames[done : done + len(batch)] = torch.from_numpy(np.stack(batch.planes, axis=1))
        done += len(batch)
    return frames[:done]
