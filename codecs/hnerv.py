"""HNeRV: A Hybrid Neural Representation for Videos (H. Chen et al., CVPR 2023): frame -> embedding -> frame.

An encoder network, which never travels, makes a tiny embedding of each frame; a decoder whose parameters are spread
evenly renders it. The size counts embeddings and decoder, as the paper does, and both travel. What the paper leaves
open and we decided: strides beyond its frame sizes and small sizes (`inr/embedding_based.py`), and the width of layer 0
where the paper's widths miss a size.
"""

from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from .inr.codec import ClipHeader
from .inr.embedding_based import ContentEncoder, EmbeddingCodec, EmbeddingSettings, embedding_geometry
from .inr.networks.encoder import Encoder
from .inr.networks.layers.blocks import UpBlock, tapered_widths
from .inr.networks.network import Network, NetworkConfig, Patches, UpsamplingConfig


@dataclass(frozen=True)
class HNeRVConfig(UpsamplingConfig):
    """The network in numbers; those of the paper where a default is given."""

    stem: int
    """c: channels of layer 0."""
    channels: int
    """c again: what the widths of the stages begin with."""
    embedding: int = 16
    """d: channels of an embedding."""
    lower: int = 12
    """No stage has fewer channels."""
    reduction: int = 120
    """100 r: every stage has r times fewer channels."""
    least_kernel: int = 1
    most_kernel: int = 5

    def widths(self) -> list[int]:
        """Channels after layer 0 and after each stage."""
        return [self.stem, *tapered_widths(self.channels, len(self.strides), self.reduction / 100, self.lower)]

    def kernels(self) -> list[int]:
        """Kernel sizes of the stages: from the least in steps of two up to the most."""
        return [min(self.least_kernel + 2 * stage, self.most_kernel) for stage in range(len(self.strides))]


class HNeRV(Network):
    """Layer 0, stages with growing kernels and slowly falling widths, head (section 3.2)."""

    latents = per_frame = frozenset({"embeddings"})

    def __init__(self, config: HNeRVConfig, frames: int) -> None:
        super().__init__(config.patch_size)
        self.config = config
        self.embeddings = nn.Parameter(torch.zeros(frames, config.embedding, config.rows, config.columns))
        widths = config.widths()
        self.stem = nn.Sequential(nn.Conv2d(config.embedding, config.stem, 1), nn.GELU())
        stages = zip(pairwise(widths), config.strides, config.kernels(), strict=True)
        self.blocks = nn.Sequential(*(UpBlock(a, b, stride, nn.GELU, kernel) for (a, b), stride, kernel in stages))
        self.head = nn.Conv2d(widths[-1], 3, 3, padding=1)

    def forward(self, at: Patches) -> Tensor:
        """The frames."""
        x = self.blocks(self.stem(self.embeddings[at.frames]))
        return (torch.tanh(self.head(x)) + 1) / 2


class HNeRVSettings(EmbeddingSettings):
    """HNeRV's recipe, and what its ablations change (tables 6 and 9 to 12)."""

    reduction: float = Field(1.2, ge=1, le=4)
    kernels: Literal["1-5", "1-3", "1-7", "3-3"] = "1-5"
    """The least and the most."""


class HNeRVCodec(EmbeddingCodec):
    """HNeRV with its pruning, quantization and entropy coding (section 4.1 and supplement)."""

    name = "hnerv"
    reference = "Chen et al., HNeRV: A Hybrid Neural Representation for Videos, CVPR 2023"
    Settings = HNeRVSettings
    config = HNeRVConfig
    presets = MappingProxyType(
        {
            "paper": {},
            "quick": {"epochs": 60, "finetune_epochs": 10, "lr": 2e-3, "batch": 1},
            "tiny": {"epochs": 20, "finetune_epochs": 4, "lr": 4e-3, "batch": 1},
        }
    )

    def shaped(self, clip: ClipHeader, share: float, size: int) -> HNeRVConfig:
        """The widths follow from c, which is 68 at 1.5M; the floor of 12 falls with it below (our choice)."""
        geometry, s = embedding_geometry(clip), self.settings
        channels = max(1, round(68 * share))
        return HNeRVConfig(
            geometry.rows, geometry.columns, geometry.strides, stem=channels, channels=channels,
            embedding=self.embedding_channels(clip, geometry.rows * geometry.columns, size),
            lower=max(1, round(min(12, 34 * share))), reduction=round(100 * s.reduction),
            least_kernel=int(s.kernels[0]), most_kernel=int(s.kernels[2]),
        )  # fmt: skip

    @classmethod
    def build(cls, config: NetworkConfig, clip: ClipHeader) -> HNeRV:
        """The network."""
        assert isinstance(config, HNeRVConfig)
        return HNeRV(config, clip.frames)

    def encoder(self, network: Network, clip: ClipHeader) -> Encoder:
        """ConvNeXt stages."""
        assert isinstance(network, HNeRV)
        return ContentEncoder(network.config, network.config.embedding)
