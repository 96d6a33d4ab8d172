"""DNeRV: Modeling Inherent Dynamics via Difference Neural Representation (Q. Zhao et al., CVPR 2023).

HNeRV with a second embedding of each frame: of its differences to the frames before and after, thin but larger. The
decoder fuses both in its middle by a gated unit. Decoding needs no other frame. The paper's sizes ("3M") count the
decoder alone; here, as everywhere, the size is all that travels, and the difference embeddings are most of it where
the clip is long. Its compression is HNeRV's (the code has none). Our choice: other frame sizes than 960x1920, and
smaller difference embeddings where they would take more than half of a size (`difference_shapes`).
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
from .inr.networks.layers.convnext import ChannelNorm, start_small
from .inr.networks.network import Geometry, Network, NetworkConfig, Patches, UpsamplingConfig
from .inr.recipes.losses import MIXES
from .inr.recipes.stage import Stage

KERNELS = (1, 3, 5)
"""Of the first stages; those after have the last."""
REDUCTION = 1.2
DIFFERENCE_CHANNELS = 2
BETAS = (0.5, 0.999)
CLIP_NORM = 0.1
LARGEST_STRIDE = 4
"""Of an encoder's stage for differences (our choice; the code has 4, 3 and 2)."""


@dataclass(frozen=True)
class DNeRVConfig(UpsamplingConfig):
    """The network in numbers; those of the released configuration where a default is given."""

    stem: int
    """c2: channels of layer 0."""
    channels: int
    """c2 again: what the widths of the stages begin with."""
    fuse: int = 3
    """The stages before the fusion; differences enter before the last of them."""
    embedding: int = 16
    difference: int = DIFFERENCE_CHANNELS

    choices = MappingProxyType({"difference": 17})

    def widths(self) -> list[int]:
        """Channels after layer 0 and after each stage, floored (the code)."""
        widths = [self.channels]
        for _ in self.strides:
            widths.append(max(1, int(widths[-1] / REDUCTION)))
        return [self.stem, *widths[1:]]

    @property
    def difference_size(self) -> tuple[int, int]:
        """Rows and columns of a difference embedding: those of the stage before the fusion."""
        up = math.prod(self.strides[: self.fuse - 1])
        return self.rows * up, self.columns * up


class Fusion(nn.Module):
    """CCU: what of the content features the gated mix of both replaces (section 3.3)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in range(4))

    def forward(self, content: Tensor, difference: Tensor) -> Tensor:
        """`[B, C, h, w]`, all three."""
        mixed = torch.tanh(self.convs[0](content) + self.convs[1](difference))
        gate = torch.sigmoid(self.convs[2](content) + self.convs[3](difference))
        return torch.lerp(content, mixed, gate)


class DNeRV(Network):
    """Content and difference embeddings, stages, fusion, head."""

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
        """The frames."""
        x = self.stem(self.embeddings[at.frames])
        for number, block in enumerate(self.blocks, start=1):
            x = block(x)
            if self.config.difference and number == self.config.fuse:
                x = self.fusion(x, self.lift(self.differences[at.frames]))
        return torch.sigmoid(self.head(x))


class PlainBlock(nn.Module):
    """A ConvNeXt block without normalization and scale, which the code has but never applies."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, channels, 7, padding=3, groups=channels),
            nn.Conv2d(channels, 4 * channels, 1), nn.GELU(), nn.Conv2d(4 * channels, channels, 1),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, h, w]`."""
        refined: Tensor = x + self.layers(x)
        return refined


def stages(before: int, after: int, strides: Sequence[int]) -> nn.Sequential:
    """Convolutions of kernel = stride, each normalized and followed by a block; at last a pointwise convolution."""
    layers: list[nn.Module] = []
    for stride in strides:
        down = nn.Conv2d(before, EMBEDDING_WIDTH, stride, stride)
        layers += [down, ChannelNorm(EMBEDDING_WIDTH), PlainBlock(EMBEDDING_WIDTH)]
        before = EMBEDDING_WIDTH
    network = nn.Sequential(*layers, nn.Conv2d(before, after, 1))
    network.apply(start_small)
    return network


def difference_strides(strides: Sequence[int], fuse: int) -> list[int]:
    """Those that lead from the frame to the stage before the fusion, neighbors joined while at most 4."""
    joined: list[int] = []
    for stride in strides[fuse - 1 :]:
        if joined and joined[-1] * stride <= LARGEST_STRIDE:
            joined[-1] *= stride
        else:
            joined.append(stride)
    return joined


class DifferenceEncoder(Encoder):
    """Content from a frame, differences from it and its two neighbors; at the ends the missing one is itself."""

    def __init__(self, network: DNeRV) -> None:
        super().__init__()
        config = network.config
        self._size, self._last = config.patch_size, len(network.embeddings) - 1
        self.makes = network.per_frame
        self.content = stages(3, config.embedding, config.strides)
        if config.difference:
            self.motion = stages(6, config.difference, difference_strides(config.strides, config.fuse))

    def forward(self, video: FrameLookup, frames: Tensor) -> Mapping[str, Tensor]:
        """The rows of these frames, `[B, d, h, w]` each."""
        shown = video(frames)
        made = {"embeddings": self.content(padded(shown, self._size))}
        if "differences" in self.makes:
            before, after = video((frames - 1).clamp(min=0)), video((frames + 1).clamp(max=self._last))
            both = torch.stack([shown - before, after - shown], dim=2).flatten(1, 2)  # R- R+ G- G+ B- B+
            made["differences"] = self.motion(padded(both, self._size))
        return made


class DNeRVSettings(EmbeddingSettings):
    """The recipe of the released code."""

    lr: float = Field(5e-4, gt=0)
    batch: int = Field(1, ge=1)
    difference: int = Field(DIFFERENCE_CHANNELS, ge=0, le=16)
    """Channels of a difference embedding; 0 leaves differences and fusion out."""


class DNeRVCodec(EmbeddingCodec):
    """DNeRV, compressed by HNeRV's chain."""

    name = "dnerv"
    reference = "Zhao et al., DNeRV: Modeling Inherent Dynamics via Difference Neural Representation, CVPR 2023"
    Settings = DNeRVSettings
    config = DNeRVConfig
    presets = MappingProxyType(
        {
            "paper": {},
            "quick": {"epochs": 60, "finetune_epochs": 10, "lr": 2e-3},
            "tiny": {"epochs": 14, "finetune_epochs": 4, "lr": 4e-3},
        }
    )

    def shaped(self, clip: ClipHeader, share: float, size: int) -> DNeRVConfig:
        """The widths follow from c2, which is 92 in the released configuration."""
        geometry = embedding_geometry(clip)
        channels, cells = max(1, round(92 * share)), geometry.rows * geometry.columns
        embedding = self.embedding_channels(clip, cells, size if not self.settings.difference else size // 2)
        limit = LARGEST_SHARE * size / clip.frames - embedding * cells
        fuse, difference = next(
            shape for shape in difference_shapes(geometry, self.settings.difference) if fits(geometry, shape, limit)
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
        """One for content and one for differences."""
        assert isinstance(network, DNeRV)
        return DifferenceEncoder(network)

    def recipe(self) -> Sequence[Stage]:
        """Fit and fine-tuning with clipped gradients."""
        s = self.settings
        fit = Stage("fit", s.epochs, s.lr, batch=s.batch, loss=MIXES[s.loss], betas=BETAS, clip_norm=CLIP_NORM)
        again = replace(fit, name="finetune", epochs=s.finetune_epochs, lr=s.lr * s.finetune_lr, warmup=0.0)
        return fit, replace(again, sparsity=s.prune)


def difference_shapes(geometry: Geometry, channels: int) -> Iterator[tuple[int, int]]:
    """Stage of the fusion and channels of the difference embedding, the paper's first, then ever smaller ones.

    The paper's enters after two stages of large strides; from a base grid of 9x16 on that is after one.
    """
    most = min(len(geometry.strides), 3 if geometry.rows * geometry.columns < 64 else 2)
    yield from ((fuse, count) for fuse in range(most, 0, -1) for count in range(channels, 0, -1))
    yield 1, 0


def fits(geometry: Geometry, shape: tuple[int, int], limit: float) -> bool:
    """Whether a frame's difference embedding of this shape has at most so many values; none always fits."""
    fuse, channels = shape
    up = math.prod(geometry.strides[: fuse - 1])
    return channels == 0 or channels * geometry.rows * geometry.columns * up * up <= limit
