"""NeRV: Neural Representations for Videos (H. Chen et al., NeurIPS 2021): frame index -> whole frame.

What the paper leaves open and we decided: how the channels shrink for sizes below NeRV-S (`scaled`), the base grid
beyond 16:9 (`inr/networks/network.py`), the encoding in float64, and what travels (`inr/compression/post_training.py`).
"""

from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType
from typing import Literal

import torch
from torch import Tensor, nn

from .inr.codec import ClipHeader
from .inr.index_based import IndexCodec, IndexSettings
from .inr.networks.layers.blocks import ACTIVATIONS, UpBlock, halved_widths, mlp
from .inr.networks.layers.encoding import sinusoids
from .inr.networks.network import Network, NetworkConfig, Patches, UpsamplingConfig, choose_geometry


@dataclass(frozen=True)
class NeRVConfig(UpsamplingConfig):
    """The network in numbers; those of the paper's Bunny models where a default is given."""

    channels: int
    """fc: channels of the base grid."""
    stem: int = 512
    lower: int = 96
    """No stage has fewer channels."""
    expansion: int = 1
    frequencies: int = 80
    activation: int = 0

    choices = MappingProxyType({"activation": len(ACTIVATIONS)})


class NeRV(Network):
    """Stem and NeRV blocks (section 3.1, figure 2)."""

    def __init__(self, config: NeRVConfig, frames: int) -> None:
        super().__init__(config.patch_size)
        self.config, self._frames = config, frames
        act = ACTIVATIONS[config.activation]
        cells = config.rows * config.columns * config.channels
        self.stem = mlp((2 * config.frequencies, config.stem, cells), act)
        widths = halved_widths(config.channels * config.expansion, config.strides, config.lower)
        stages = zip(pairwise([config.channels, *widths]), config.strides, strict=True)
        self.blocks = nn.Sequential(*(UpBlock(a, b, stride, act) for (a, b), stride in stages))
        self.head = nn.Conv2d(widths[-1], 3, 1)

    def forward(self, at: Patches) -> Tensor:
        """The frames, from t = i / N."""
        x = self.stem(sinusoids(at.frames.double() / self._frames, self.config.frequencies))
        x = x.view(-1, self.config.channels, self.config.rows, self.config.columns)
        return (torch.tanh(self.head(self.blocks(x))) + 1) / 2


class NeRVSettings(IndexSettings):
    """NeRV's recipe, and its activation."""

    activation: Literal["gelu", "swish"] = "gelu"


class NeRVCodec(IndexCodec):
    """NeRV with its pruning, quantization and entropy coding (sections 3.2 and 3.3)."""

    name = "nerv"
    reference = "Chen et al., NeRV: Neural Representations for Videos, NeurIPS 2021"
    revision = 3
    Settings = NeRVSettings
    config = NeRVConfig

    def scaled(self, clip: ClipHeader, share: float) -> NeRVConfig:
        """From NeRV-S up only the base channels grow, as in the paper; below, all widths shrink (our choice)."""
        geometry = choose_geometry(clip.width, clip.height)
        settings, less = self.settings, min(share, 1.0)
        return NeRVConfig(
            geometry.rows, geometry.columns, geometry.strides,
            channels=max(1, round(26 * share)), stem=max(1, round(512 * less)), lower=max(1, round(96 * less)),
            frequencies=settings.frequencies, activation=("gelu", "swish").index(settings.activation),
        )  # fmt: skip

    @classmethod
    def build(cls, config: NetworkConfig, clip: ClipHeader) -> NeRV:
        """The network."""
        assert isinstance(config, NeRVConfig)
        return NeRV(config, clip.frames)
