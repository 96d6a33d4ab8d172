"""NeRV: Neural Representations for Videos (H. Chen et al., NeurIPS 2021): frame index -> whole frame.

An MLP maps the positional encoding of time to a base grid of features, which blocks of convolution and pixel shuffle
upsample to the frame. The bitstream holds the network's parameters. The paper leaves open, and we chose: how the
widths shrink below the smallest size that is published, the XS of NeRV++'s paper (`shrunk_widths`), the base grid for
frames that are not 16:9 (`inr/networks/network.py`), the encoding in float64, ranges of input channels in place of
the code's output channels, and the format of the bitstream (`inr/compression/post_training.py`).
"""

from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType
from typing import Literal

from torch import nn

from .inr.codec import ClipHeader
from .inr.compression.post_training import Channel
from .inr.index_based import IndexCodec, IndexSettings, shrunk_widths
from .inr.networks.index_network import IndexNetwork
from .inr.networks.layers.blocks import ACTIVATIONS, UpBlock, halved_widths
from .inr.networks.layers.pointwise import Pointwise
from .inr.networks.network import NetworkConfig, UpsamplingConfig, choose_geometry


@dataclass(frozen=True)
class NeRVConfig(UpsamplingConfig):
    """The network's configuration; the defaults are those of the paper's Bunny models."""

    channels: int
    """Channels of the base grid (the code's fc)."""
    stem: int = 512
    """Width of the MLP's hidden layer."""
    lower: int = 96
    """Smallest number of channels after a stage but the first (the code's lower_width)."""
    expansion: int = 1
    """Ratio of the channels after the first stage to those of the base grid."""
    frequencies: int = 80
    """Frequencies of the positional encoding (L)."""
    activation: int = 0
    """Index of the activation in `ACTIVATIONS`."""

    choices = MappingProxyType({"activation": len(ACTIVATIONS)})


class NeRV(IndexNetwork):
    """MLP, NeRV blocks and a pointwise head (section 3.1, figure 2)."""

    def __init__(self, config: NeRVConfig, frames: int) -> None:
        act = ACTIVATIONS[config.activation]
        super().__init__(config, frames, config.frequencies, config.stem, config.channels, act)
        self.config = config
        widths = halved_widths(config.channels * config.expansion, config.strides, config.lower)
        stages = zip(pairwise([config.channels, *widths]), config.strides, strict=True)
        self.blocks = nn.Sequential(*(UpBlock(a, b, stride, act) for (a, b), stride in stages))
        self.head = Pointwise(widths[-1], 3)


class NeRVSettings(IndexSettings):
    """NeRV's recipe and compression, and its activation."""

    activation: Literal["gelu", "swish"] = "gelu"
    """Activation: GELU in the paper, Swish in the commands of its repository."""
    ranges: Channel = "input"
    """Channels of a weight that have a range of quantized values each: its `output` channels in NeRV's code, its
    `input` channels here (our choice): fewer, so that ranges of 4 bytes take up to 15 % less of a small file."""


class NeRVCodec(IndexCodec):
    """NeRV with its pruning, quantization and entropy coding (sections 3.2 and 3.3)."""

    name = "nerv"
    reference = "Chen et al., NeRV: Neural Representations for Videos, NeurIPS 2021"
    revision = 5
    Settings = NeRVSettings
    config = NeRVConfig
    second_width = "lower"

    def scaled(self, clip: ClipHeader, share: float) -> NeRVConfig:
        """NeRV-S with `share` of its base grid's channels (the code's fc, 26); below 8, see `shrunk_widths`."""
        geometry, settings = choose_geometry(clip.width, clip.height), self.settings
        channels, others = shrunk_widths(share)
        return NeRVConfig(
            geometry.rows, geometry.columns, geometry.strides,
            channels=channels, stem=max(1, round(512 * others)), lower=max(1, round(96 * others)),
            frequencies=settings.frequencies, activation=("gelu", "swish").index(settings.activation),
        )  # fmt: skip

    @classmethod
    def build(cls, config: NetworkConfig, clip: ClipHeader) -> NeRV:
        """The network."""
        assert isinstance(config, NeRVConfig)
        return NeRV(config, clip.frames)
