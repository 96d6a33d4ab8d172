"""HNeRV: A Hybrid Neural Representation for Videos (H. Chen et al., CVPR 2023): frame -> embedding -> frame.

An encoder network computes a tiny embedding of each frame; a decoder whose parameters are spread evenly over its stages
renders the frame from it. Embeddings and decoder are transmitted, and the size counts both, as in the paper; the
encoder is not transmitted. The paper leaves open, and we chose: strides for frame sizes that it does not have and the
channels of embeddings in small models (`inr/embedding_based.py`), and the width of layer 0 where the paper's widths
miss a size.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from .inr.codec import ClipHeader
from .inr.embedding_based import ContentEncoder, EmbeddingCodec, EmbeddingSettings, embedding_geometry
from .inr.networks.encoder import Encoder
from .inr.networks.layers.blocks import UpBlock, tapered_widths
from .inr.networks.layers.precision import in_float32
from .inr.networks.network import Network, NetworkConfig, Patches, UpsamplingConfig
from .inr.networks.sizing import TOLERANCE
from .inr.presets import presets_of

NAMED_TOLERANCE = {(1280, 640): 0.02}
"""Largest relative error of a size by width and height of the frame: the paper's 750K model has 760,291 parameters."""


@dataclass(frozen=True)
class HNeRVConfig(UpsamplingConfig):
    """The network's configuration; the defaults are those of the paper."""

    stem: int
    """Channels of layer 0 (c)."""
    channels: int
    """Channels that those of the stages derive from (c too); `stem` differs where a size is met that way."""
    embedding: int = 16
    """Channels of an embedding (d)."""
    lower: int = 12
    """Smallest number of channels after a stage (Ch_min)."""
    reduction: int = 120
    """Ratio of the channels of a stage to those of the next, in percent (100 r)."""
    least_kernel: int = 1
    """Kernel size of the first stage (K_min)."""
    most_kernel: int = 5
    """Largest kernel size (K_max)."""

    def widths(self) -> list[int]:
        """Channels after layer 0 and after each stage."""
        return [self.stem, *tapered_widths(self.channels, len(self.strides), self.reduction / 100, self.lower)]

    def kernels(self) -> list[int]:
        """Kernel sizes of the stages, K_min, K_min + 2, ..., never above K_max."""
        return [min(self.least_kernel + 2 * stage, self.most_kernel) for stage in range(len(self.strides))]


class HNeRV(Network):
    """Embeddings -> layer 0 -> stages with growing kernels and slowly falling widths -> head (section 3.2)."""

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
        """The frames, `[B, 3, H, W]`."""
        x = self.blocks(self.stem(self.embeddings[at.frames]))
        return (torch.tanh(in_float32(self.head, x)) + 1) / 2


class HNeRVSettings(EmbeddingSettings):
    """HNeRV's recipe and compression, and what its ablations change (tables 6 and 9 to 12)."""

    reduction: float = Field(1.2, ge=1, le=4)
    """Ratio of the channels of a stage to those of the next (r)."""
    kernels: Literal["1-5", "1-3", "1-7", "3-3"] = "1-5"
    """Smallest and largest kernel size (K_min and K_max)."""


class HNeRVCodec(EmbeddingCodec):
    """HNeRV with its pruning, quantization and entropy coding (section 4.1 and supplement)."""

    name = "hnerv"
    reference = "Chen et al., HNeRV: A Hybrid Neural Representation for Videos, CVPR 2023"
    revision = 5
    Settings = HNeRVSettings
    config = HNeRVConfig
    second_width = "lower"
    presets = presets_of(
        quick={"epochs": 60, "finetune_epochs": 10, "lr": 2e-3, "batch": 1},
        tiny={"epochs": 20, "finetune_epochs": 4, "lr": 4e-3, "batch": 1},
        best={"optimizer": "muon", "epochs": 54, "finetune_epochs": 9, "lr": 4e-3},
    )

    def shaped(self, clip: ClipHeader, share: float, size: int) -> HNeRVConfig:
        """The network of the paper's 1.5M model with widths times `share`: `channels` is c, 68 at share 1.

        `embedding` is d, and `lower` is Ch_min, 12 in the paper and fewer in small networks (our choice).
        """
        geometry, s = embedding_geometry(clip), self.settings
        channels = max(1, round(68 * share))
        return HNeRVConfig(
            geometry.rows, geometry.columns, geometry.strides, stem=channels, channels=channels,
            embedding=self.embedding_channels(clip, geometry.rows * geometry.columns, size),
            lower=max(1, round(min(12, 34 * share))), reduction=round(100 * s.reduction),
            least_kernel=int(s.kernels[0]), most_kernel=int(s.kernels[2]),
        )  # fmt: skip

    def tolerance(self, clip: ClipHeader) -> float:
        """Larger for the paper's frame size, so that its models have the sizes that it names them by."""
        return NAMED_TOLERANCE.get((clip.width, clip.height), TOLERANCE)

    @classmethod
    def build(cls, config: NetworkConfig, clip: ClipHeader) -> HNeRV:
        """The network."""
        assert isinstance(config, HNeRVConfig)
        return HNeRV(config, clip.frames)

    def encoder(self, network: Network, clip: ClipHeader) -> Encoder:
        """The ConvNeXt encoder of section 3.1."""
        assert isinstance(network, HNeRV)
        return ContentEncoder(network.config, network.config.embedding)
