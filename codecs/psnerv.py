"""PS-NeRV: Patch-wise Stylized Neural Representations for Videos (Y. Bai et al., ICIP 2023).

A frame is a grid of patches, each rendered from its place and time; features are modulated in every stage (AdaIN).
Neither the paper's body nor any code could be obtained: that patches and AdaIN are used is the paper's, all else is
inferred by us: 2x2 patches, what drives the style, widths as NeRV's, and the loss on the tiled frame, where SSIM
sees the borders of the patches.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
from pydantic import Field
from torch import Tensor, nn

from .inr.codec import ClipHeader
from .inr.index_based import IndexCodec, IndexSettings
from .inr.networks.layers.blocks import UpBlock, halved_widths, mlp, modulate
from .inr.networks.layers.encoding import sinusoids
from .inr.networks.network import Network, NetworkConfig, Patches, UpsamplingConfig, choose_geometry


@dataclass(frozen=True)
class PSNeRVConfig(UpsamplingConfig):
    """The network in numbers."""

    channels: int = 26
    stem: int = 512
    style: int = 128
    """Width of the style code."""
    lower: int = 96
    frequencies: int = 80
    place_frequencies: int = 16
    """Levels of the encoding of the patch's row and column."""
    grid_rows: int = 2
    grid_columns: int = 2


class PSNeRV(Network):
    """(place, time) -> stem -> NeRV blocks, each on features that the style code has modulated."""

    def __init__(self, config: PSNeRVConfig, frames: int) -> None:
        super().__init__(config.patch_size)
        self.config, self._frames = config, frames
        self.grid = (config.grid_rows, config.grid_columns)
        fed = 2 * (config.frequencies + 2 * config.place_frequencies)
        self.stem = mlp((fed, config.stem, config.rows * config.columns * config.channels), nn.GELU)
        self.style = mlp((fed, config.style, config.style), nn.GELU)
        widths = [config.channels, *halved_widths(config.channels, config.strides, config.lower)]
        stages = zip(pairwise(widths), config.strides, strict=True)
        self.blocks = nn.ModuleList(UpBlock(a, b, stride, nn.GELU) for (a, b), stride in stages)
        self.modulations = nn.ModuleList(nn.Linear(config.style, 2 * channels) for channels in widths[:-1])
        self.head = nn.Conv2d(widths[-1], 3, 1)

    def embed(self, at: Patches) -> Tensor:
        """The encodings of t = i / N, column and row (as shares of the frame), side by side."""
        time = sinusoids(at.frames.double() / self._frames, self.config.frequencies)
        places = (at.columns.double() / self.grid[1], at.rows.double() / self.grid[0])
        return torch.cat([time, *(sinusoids(place, self.config.place_frequencies) for place in places)], dim=1)

    def forward(self, at: Patches) -> Tensor:
        """The patches."""
        embedding = self.embed(at)
        style = self.style(embedding)
        x = self.stem(embedding).view(-1, self.config.channels, self.config.rows, self.config.columns)
        for modulation, block in zip(self.modulations, self.blocks, strict=True):
            gain, shift = modulation(style).chunk(2, dim=1)
            x = block(modulate(x, 1 + gain, shift))
        return (torch.tanh(self.head(x)) + 1) / 2


class PSNeRVSettings(IndexSettings):
    """NeRV's recipe (inferred), and the patches."""

    epochs: int = Field(300, ge=1)
    patches: int = Field(2, ge=1, le=8)
    """Rows and columns of patches in a frame."""


class PSNeRVCodec(IndexCodec):
    """PS-NeRV, compressed by NeRV's chain."""

    name = "psnerv"
    reference = "Bai et al., PS-NeRV: Patch-wise Stylized Neural Representations for Videos, ICIP 2023"
    Settings = PSNeRVSettings
    config = PSNeRVConfig

    def scaled(self, clip: ClipHeader, share: float) -> PSNeRVConfig:
        """Widths as `nerv` scales them."""
        cells = self.settings.patches
        geometry = choose_geometry(-(-clip.width // cells), -(-clip.height // cells))
        less = min(share, 1.0)
        return PSNeRVConfig(
            geometry.rows, geometry.columns, geometry.strides,
            channels=max(1, round(26 * share)), stem=max(1, round(512 * less)), style=max(1, round(128 * less)),
            lower=max(1, round(96 * less)), frequencies=self.settings.frequencies,
            grid_rows=cells, grid_columns=cells,
        )  # fmt: skip

    @classmethod
    def build(cls, config: NetworkConfig, clip: ClipHeader) -> PSNeRV:
        """The network."""
        assert isinstance(config, PSNeRVConfig)
        return PSNeRV(config, clip.frames)
