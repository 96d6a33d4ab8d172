"""DNeRV: Modeling Inherent Dynamics via Difference Neural Representation (Q. Zhao et al., CVPR 2023).

HNeRV with a second embedding of each frame, computed from its differences to the frames before and after: it has few
channels and more rows and columns. A gated unit in the middle of the decoder fuses both. Decoding a frame needs no
other frame. Both embeddings and the decoder are transmitted. The paper's sizes ("3M") count the decoder alone; here,
as everywhere, the size is all that is transmitted, and the difference embeddings are most of it in long clips. The
compression is HNeRV's (DNeRV's code has none). Our choice: other frame sizes than 960x1920, and smaller difference
embeddings where they would take more than half of a size (`difference_shapes`).
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from types import MappingProxyType

import torch
from pydantic import Field
from torch import Tensor, nn

from rdbench.errors import BitstreamError

from .inr.codec import ClipHeader
from .inr.embedding_based import (
    EMBEDDING_WIDTH,
    LARGEST_SHARE,
    EmbeddingCodec,
    EmbeddingSettings,
    embedding_geometry,
    padded,
)
from .inr.networks.encoder import Encoder, FrameLookup
from .inr.networks.layers.blocks import UpBlock
from .inr.networks.layers.convnext import ChannelNorm
from .inr.networks.layers.depthwise import Depthwise
from .inr.networks.layers.pointwise import Pointwise
from .inr.networks.layers.precision import in_float32
from .inr.networks.network import Geometry, Network, NetworkConfig, Patches, UpsamplingConfig
from .inr.presets import presets_of
from .inr.recipes.losses import MIXES
from .inr.recipes.stage import Stage

KERNELS = (1, 3, 5)
"""Kernel sizes of the first stages; the later stages have the last of these."""
REDUCTION = 1.2
"""Ratio of the channels of a stage to those of the next."""
DIFFERENCE_CHANNELS = 2
"""Channels of a difference embedding."""
BETAS = (0.5, 0.999)
"""Betas of Adam."""
CLIP_NORM = 0.1
"""Largest norm of the gradient."""
LARGEST_STRIDE = 4
"""Largest stride in the encoder of differences (our choice; the code has 4, 3 and 2)."""


@dataclass(frozen=True)
class DNeRVConfig(UpsamplingConfig):
    """The network's configuration; the defaults are those of the released one."""

    stem: int
    """Channels of layer 0 (c2)."""
    channels: int
    """Channels that those of the stages derive from (c2 too); `stem` differs where a size is met that way."""
    fuse: int = 3
    """Number of stages before the fusion; difference embeddings have the size of the last one's input."""
    embedding: int = 16
    """Channels of a content embedding (d)."""
    difference: int = DIFFERENCE_CHANNELS
    """Channels of a difference embedding; 0 for a network without differences and fusion."""

    choices = MappingProxyType({"difference": 17})

    def widths(self) -> list[int]:
        """Channels after layer 0 and after each stage, rounded down as in the code."""
        widths = [self.channels]
        for _ in self.strides:
            widths.append(max(1, int(widths[-1] / REDUCTION)))
        return [self.stem, *widths[1:]]

    @property
    def difference_size(self) -> tuple[int, int]:
        """Rows and columns of a difference embedding: those of the input of the last stage before the fusion."""
        up = math.prod(self.strides[: self.fuse - 1])
        return self.rows * up, self.columns * up


class Fusion(nn.Module):
    """CCU: a gate replaces content features by a mix of content and difference features (section 3.3)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in range(4))

    def forward(self, content: Tensor, difference: Tensor) -> Tensor:
        """The fused features; inputs and output are `[B, C, h, w]`."""
        mixed = torch.tanh(self.convs[0](content) + self.convs[1](difference))
        gate = torch.sigmoid(self.convs[2](content) + self.convs[3](difference))
        return torch.lerp(content, mixed, gate)


class DNeRV(Network):
    """Content embeddings -> layer 0 -> stages -> head; difference features are fused in after stage `fuse`."""

    def __init__(self, config: DNeRVConfig, frames: int) -> None:
        super().__init__(config.patch_size)
        self.config = config
        widths, kernels = config.widths(), [*KERNELS, *[KERNELS[-1]] * len(config.strides)]
        self.embeddings = nn.Parameter(torch.zeros(frames, config.embedding, config.rows, config.columns))
        self.stem = nn.Conv2d(config.embedding, widths[0], 1)
        stages = zip(pairwise(widths), config.strides, kernels, strict=False)
        self.blocks = nn.ModuleList(UpBlock(a, b, stride, nn.GELU, kernel) for (a, b), stride, kernel in stages)
        self.head = nn.Conv2d(widths[-1], 3, 3, padding=1)
        names = {"embeddings"}
        if config.difference:
            names.add("differences")
            before, after, stride = widths[config.fuse - 1], widths[config.fuse], config.strides[config.fuse - 1]
            self.differences = nn.Parameter(torch.zeros(frames, config.difference, *config.difference_size))
            self.lift = nn.Sequential(nn.Conv2d(config.difference, before, 1), UpBlock(before, after, stride, nn.GELU))
            self.fusion = Fusion(after)
        self.latents = self.per_frame = frozenset(names)

    def forward(self, at: Patches) -> Tensor:
        """The frames, `[B, 3, H, W]`."""
        x = self.stem(self.embeddings[at.frames])
        for number, block in enumerate(self.blocks, start=1):
            x = block(x)
            if self.config.difference and number == self.config.fuse:
                x = self.fusion(x, self.lift(self.differences[at.frames]))
        return torch.sigmoid(in_float32(self.head, x))


class PlainBlock(nn.Module):
    """A ConvNeXt block without normalization and scale, which the code declares but never applies."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            Depthwise(channels, 7),
            Pointwise(channels, 4 * channels), nn.GELU(), Pointwise(4 * channels, channels),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, h, w]` -> `[B, C, h, w]`."""
        refined: Tensor = x + self.layers(x)
        return refined


def encoder_stages(before: int, after: int, strides: Sequence[int]) -> nn.Sequential:
    """Convolutions of kernel = stride, each normalized and followed by a block, then a pointwise convolution.

    All begin with torch's initial weights, as in the released code; HNeRV's encoder begins with smaller ones.
    `[B, before, s h, s w]` -> `[B, after, h, w]` for the product s of the strides.
    """
    layers: list[nn.Module] = []
    for stride in strides:
        down = nn.Conv2d(before, EMBEDDING_WIDTH, stride, stride)
        layers += [down, ChannelNorm(EMBEDDING_WIDTH), PlainBlock(EMBEDDING_WIDTH)]
        before = EMBEDDING_WIDTH
    return nn.Sequential(*layers, nn.Conv2d(before, after, 1))


def difference_strides(strides: Sequence[int], fuse: int) -> list[int]:
    """Strides from the frame to the input of stage `fuse`; neighbors with a product of at most 4 become one."""
    joined: list[int] = []
    for stride in strides[fuse - 1 :]:
        if joined and joined[-1] * stride <= LARGEST_STRIDE:
            joined[-1] *= stride
        else:
            joined.append(stride)
    return joined


class DifferenceEncoder(Encoder):
    """Content embeddings from a frame, difference embeddings from the frame and its two neighbors.

    At the ends of the clip the frame itself stands in for the missing neighbor.
    """

    def __init__(self, network: DNeRV) -> None:
        super().__init__()
        config = network.config
        self._size, self._last = config.patch_size, len(network.embeddings) - 1
        self.makes = network.per_frame
        self.content = encoder_stages(3, config.embedding, config.strides)
        if config.difference:
            self.motion = encoder_stages(6, config.difference, difference_strides(config.strides, config.fuse))

    def forward(self, video: FrameLookup, frames: Tensor) -> Mapping[str, Tensor]:
        """Both embeddings of the frames `[B]`, each `[B, channels, rows, columns]`."""
        current = video(frames)
        embeddings = {"embeddings": self.content(padded(current, self._size))}
        if "differences" in self.makes:
            before, after = video((frames - 1).clamp(min=0)), video((frames + 1).clamp(max=self._last))
            differences = torch.stack([current - before, after - current], dim=2).flatten(1, 2)  # R- R+ G- G+ B- B+
            embeddings["differences"] = self.motion(padded(differences, self._size))
        return embeddings


class DNeRVSettings(EmbeddingSettings):
    """The recipe of the released code, and HNeRV's compression."""

    lr: float = Field(5e-4, gt=0)
    """Learning rate of the training, which a schedule changes over its epochs."""
    batch: int = Field(1, ge=1)
    """Frames per training step."""
    difference: int = Field(DIFFERENCE_CHANNELS, ge=0, le=16)
    """Channels of a difference embedding; 0 for a network without differences and fusion."""


class DNeRVCodec(EmbeddingCodec):
    """DNeRV with HNeRV's pruning, quantization and entropy coding."""

    name = "dnerv"
    reference = "Zhao et al., DNeRV: Modeling Inherent Dynamics via Difference Neural Representation, CVPR 2023"
    revision = 6
    Settings = DNeRVSettings
    config = DNeRVConfig
    presets = presets_of(
        quick={"epochs": 60, "finetune_epochs": 10, "lr": 2e-3},
        tiny={"epochs": 14, "finetune_epochs": 4, "lr": 4e-3},
        best={"optimizer": "muon", "epochs": 54, "finetune_epochs": 9, "lr": 8e-3},
    )

    def shaped(self, clip: ClipHeader, share: float, size: int) -> DNeRVConfig:
        """The released network with widths times `share`: `channels` is c2, 92 at share 1, and `embedding` is d."""
        geometry = embedding_geometry(clip)
        channels, cells = max(1, round(92 * share)), geometry.rows * geometry.columns
        embedding = self.embedding_channels(clip, cells, size if not self.settings.difference else size // 2)
        limit = LARGEST_SHARE * size / clip.frames - embedding * cells
        fuse, difference = next(
            shape for shape in difference_shapes(geometry, self.settings.difference) if within(geometry, shape, limit)
        )
        return DNeRVConfig(
            geometry.rows, geometry.columns, geometry.strides, stem=channels, channels=channels, fuse=fuse,
            embedding=embedding, difference=difference,
        )  # fmt: skip

    @classmethod
    def build(cls, config: NetworkConfig, clip: ClipHeader) -> DNeRV:
        """The network. Raises BitstreamError for a fusion beyond the last stage."""
        assert isinstance(config, DNeRVConfig)
        if config.fuse > len(config.strides):
            raise BitstreamError("The bitstream's network is damaged; encode the clip again.")
        return DNeRV(config, clip.frames)

    def encoder(self, network: Network, clip: ClipHeader) -> Encoder:
        """The encoder of content and differences."""
        assert isinstance(network, DNeRV)
        return DifferenceEncoder(network)

    def recipe(self) -> Sequence[Stage]:
        """Training, then fine-tuning of the pruned network, both with clipped gradients."""
        s = self.settings
        fit = Stage(
            "fit", s.epochs, s.lr, warmup_ends="step", batch=s.batch, loss=MIXES[s.loss], betas=BETAS,
            clip_norm=CLIP_NORM,
        )  # fmt: skip
        finetune = fit.finetuned(s.finetune_epochs, s.finetune_lr)
        return fit, replace(finetune, sparsity=s.prune)


def difference_shapes(geometry: Geometry, channels: int) -> Iterator[tuple[int, int]]:
    """Pairs of `fuse` and the channels of the difference embedding: the paper's first, then ever smaller ones.

    In the paper differences enter after two stages of large strides; for a base grid of 64 cells or more, such as
    9x16, after one stage (our choice).
    """
    most = min(len(geometry.strides), 3 if geometry.rows * geometry.columns < 64 else 2)
    yield from ((fuse, count) for fuse in range(most, 0, -1) for count in range(channels, 0, -1))
    yield 1, 0


def within(geometry: Geometry, shape: tuple[int, int], limit: float) -> bool:
    """Whether a frame's difference embedding of this shape has at most `limit` values; always where it has none."""
    fuse, channels = shape
    up = math.prod(geometry.strides[: fuse - 1])
    return channels == 0 or channels * geometry.rows * geometry.columns * up * up <= limit
