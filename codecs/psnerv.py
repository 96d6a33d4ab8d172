"""PS-NeRV: Patch-wise Stylized Neural Representations for Videos (Y. Bai et al., ICIP 2023).

A frame is a grid of patches. Each is rendered from its position and time by a network like NeRV, whose features are
modulated in every stage by a style code (AdaIN). The bitstream holds the network's parameters. Neither the
paper's body nor any code could be obtained: that patches and AdaIN are used is the paper's, all else is inferred by
us: 2x2 patches, a style code computed from position and time, widths and compression as NeRV's, and a loss on the
tiled frame, so that SSIM includes the borders between patches.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
from pydantic import Field
from torch import Tensor, nn

from .inr.codec import ClipHeader
from .inr.compression.post_training import Channel
from .inr.index_based import IndexCodec, IndexSettings, shrunk_widths
from .inr.networks.index_network import ModulatedNetwork
from .inr.networks.layers.blocks import UpBlock, halved_widths, mlp
from .inr.networks.layers.encoding import sinusoids
from .inr.networks.layers.pointwise import Pointwise
from .inr.networks.layers.precision import in_float32
from .inr.networks.network import NetworkConfig, Patches, UpsamplingConfig, choose_geometry


@dataclass(frozen=True)
class PSNeRVConfig(UpsamplingConfig):
    """The network's configuration."""

    channels: int = 26
    """Channels of the base grid."""
    stem: int = 512
    """Width of the MLP's hidden layer."""
    style: int = 128
    """Width of the style code."""
    lower: int = 96
    """Smallest number of channels after a stage but the first."""
    frequencies: int = 80
    """Frequencies of the positional encoding of time."""
    place_frequencies: int = 16
    """Frequencies of the positional encodings of the patch's row and column."""
    grid_rows: int = 2
    """Rows of patches in a frame."""
    grid_columns: int = 2
    """Columns of patches in a frame."""


class PSNeRV(ModulatedNetwork):
    """Position and time -> MLP -> base grid -> NeRV blocks, whose inputs the style code modulates."""

    def __init__(self, config: PSNeRVConfig, frames: int) -> None:
        super().__init__(config.patch_size)
        self.config, self._frames = config, frames
        self.grid = (config.grid_rows, config.grid_columns)
        inputs = 2 * (config.frequencies + 2 * config.place_frequencies)
        self.stem = mlp((inputs, config.stem, config.rows * config.columns * config.channels), nn.GELU)
        self.style = mlp((inputs, config.style, config.style), nn.GELU)
        widths = [config.channels, *halved_widths(config.channels, config.strides, config.lower)]
        stages = zip(pairwise(widths), config.strides, strict=True)
        self.blocks = nn.ModuleList(UpBlock(a, b, stride, nn.GELU) for (a, b), stride in stages)
        self.modulations = nn.ModuleList(nn.Linear(config.style, 2 * channels) for channels in widths[:-1])
        self.head = Pointwise(widths[-1], 3)

    def embed(self, at: Patches) -> Tensor:
        """The concatenated encodings of t = i / N, column and row (as shares of the frame), `[B, inputs]`."""
        time = sinusoids(at.frames.double() / self._frames, self.config.frequencies)
        position = (at.columns.double() / self.grid[1], at.rows.double() / self.grid[0])
        return torch.cat([time, *(sinusoids(part, self.config.place_frequencies) for part in position)], dim=1)

    def forward(self, at: Patches) -> Tensor:
        """The patches, `[B, 3, h, w]`."""
        embedding = self.embed(at)
        style = self.style(embedding)
        base = self.stem(embedding).view(-1, self.config.channels, self.config.rows, self.config.columns)
        return (torch.tanh(in_float32(self.head, self.upsample(base, style))) + 1) / 2


class PSNeRVSettings(IndexSettings):
    """NeRV's recipe and compression (inferred), and the number of patches."""

    epochs: int = Field(300, ge=1)
    """Epochs of training, before the other stages."""
    patches: int = Field(2, ge=1, le=8)
    """Rows and columns of patches in a frame."""
    ranges: Channel = "input"
    """Channels of a weight that have a range of quantized values each, `output` or `input` (as NeRV here)."""


class PSNeRVCodec(IndexCodec):
    """PS-NeRV with NeRV's pruning, quantization and entropy coding."""

    name = "psnerv"
    reference = "Bai et al., PS-NeRV: Patch-wise Stylized Neural Representations for Videos, ICIP 2023"
    revision = 4
    second_width = "style"
    Settings = PSNeRVSettings
    config = PSNeRVConfig

    def scaled(self, clip: ClipHeader, share: float) -> PSNeRVConfig:
        """Widths scaled as NeRV's (inferred): `share` of 26 channels; below 8, see `shrunk_widths`."""
        cells = self.settings.patches
        geometry = choose_geometry(-(-clip.width // cells), -(-clip.height // cells))
        channels, others = shrunk_widths(share)
        return PSNeRVConfig(
            geometry.rows, geometry.columns, geometry.strides,
            channels=channels, stem=max(1, round(512 * others)), style=max(1, round(128 * others)),
            lower=max(1, round(96 * others)), frequencies=self.settings.frequencies,
            grid_rows=cells, grid_columns=cells,
        )  # fmt: skip

    @classmethod
    def build(cls, config: NetworkConfig, clip: ClipHeader) -> PSNeRV:
        """The network."""
        assert isinstance(config, PSNeRVConfig)
        return PSNeRV(config, clip.frames)
