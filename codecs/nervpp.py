"""NeRV++: An Enhanced Implicit Neural Video Representation (A. Ghorbel et al., 2024), and NeRV*++ as `nervpp[star]`.

NeRV with enlarged blocks: a pointwise projection, a separable residual block, the NeRV block, another separable
residual block, and a bilinear skip from the projection. The bitstream holds the network's parameters.
The hidden width of 512 in the stem, the lower width of 80, the pointwise head and the 40 frequencies are solved from
the published numbers of parameters; below the paper's XS see `shrunk_widths`. The inside of NeRV*++ (hidden width 3n, a
second depthwise convolution, here at the end, in both residual blocks) is inferred from its published size and cost:
the text changes "its primary SCRB", one of the two, and names an inverted bottleneck for every SCRB, but figure 2 and
the size of NeRV++ have no wider layer, and wider layers in one of the two cannot meet both numbers of NeRV*++.
Our choice: the smaller learning rate of fine-tuning (half); where the text says nothing or differs, the repository's
initial values, beta1, warm-up and ranges per input channel, each measured in results/measured/index_based.md.
"""

from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from .inr.codec import ClipHeader
from .inr.compression.post_training import Channel
from .inr.index_based import IndexCodec, IndexSettings, shrunk_widths
from .inr.networks.index_network import IndexNetwork
from .inr.networks.layers.blocks import UpBlock, halved_widths
from .inr.networks.layers.depthwise import Depthwise
from .inr.networks.layers.pointwise import Pointwise
from .inr.networks.layers.recomputed import lean
from .inr.networks.network import Network, NetworkConfig, UpsamplingConfig, choose_geometry
from .inr.presets import presets_of


@dataclass(frozen=True)
class NeRVppConfig(UpsamplingConfig):
    """The network's configuration; the defaults are those of the paper's S."""

    channels: int = 26
    """Channels of the base grid (the code's fc): 8, 26, 58, 112 for XS, S, M, L."""
    stem: int = 512
    """Width of the MLP's hidden layer."""
    lower: int = 80
    """Smallest number of channels after a stage but the first."""
    frequencies: int = 40
    """Frequencies of the positional encoding (L)."""
    star: int = 0
    """1 for NeRV*++."""

    choices = MappingProxyType({"star": 2})


class SeparableResidual(nn.Sequential):
    """SCRB: a depthwise 3x3 convolution and two pointwise ones with a GELU between (figure 2).

    NeRV*++ has three times as many hidden channels and a second depthwise convolution.
    """

    def __init__(self, channels: int, star: bool) -> None:
        hidden = 3 * channels if star else channels
        depthwise = [Depthwise(channels, 3) for _ in range(1 + star)]
        pointwise = (Pointwise(channels, hidden), nn.GELU(), Pointwise(hidden, channels))
        super().__init__(depthwise[0], *pointwise, *depthwise[1:])


class Block(nn.Module):
    """Projection, residual block, NeRV block, residual block, and the bilinear skip from the projection (figure 2)."""

    def __init__(self, before: int, after: int, stride: int, star: bool) -> None:
        super().__init__()
        self.stride = stride
        self.projection = Pointwise(before, after)
        self.refine_before, self.refine_after = SeparableResidual(after, star), SeparableResidual(after, star)
        self.up = UpBlock(after, after, stride, nn.SiLU)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, before, h, w]` -> `[B, after, s h, s w]`."""
        projected = self.projection(x)
        upsampled = self.up(projected + self.refine_before(projected))
        skip = functional.interpolate(projected, scale_factor=self.stride, mode="bilinear", align_corners=False)
        refined: Tensor = upsampled + lean(self.refine_after, upsampled) + skip
        return refined


class NeRVpp(IndexNetwork):
    """NeRV's MLP, enlarged blocks, NeRV's head."""

    def __init__(self, config: NeRVppConfig, frames: int) -> None:
        super().__init__(config, frames, config.frequencies, config.stem, config.channels, nn.SiLU)
        self.config = config
        widths = [config.channels, *halved_widths(config.channels, config.strides, config.lower)]
        stages = zip(pairwise(widths), config.strides, strict=True)
        self.blocks = nn.Sequential(*(Block(a, b, stride, bool(config.star)) for (a, b), stride in stages))
        self.head = Pointwise(widths[-1], 3)


@torch.no_grad()
def initialize(network: nn.Module) -> None:
    """Sets the initial values of the repository's later network.

    Xavier's uniform ones in convolutions, a normal distribution of deviation 0.02 in linear layers; biases are zero.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.xavier_uniform_(module.weight)
        elif isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=0.02)
        if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)


class NeRVppSettings(IndexSettings):
    """The paper's recipe (section 3.1); beta1 is 0.5 and the warm-up 0.2 as in its code, in the text 0.9 and none."""

    epochs: int = Field(300, ge=1)
    """Epochs of training, before the other stages."""
    finetune_epochs: int = Field(100, ge=0)
    """Epochs of fine-tuning after pruning."""
    finetune_lr: float = Field(0.5, gt=0)
    prune: float = Field(0.2, ge=0, lt=1)
    frequencies: int = Field(40, ge=1, le=200)
    """Frequencies of the positional encoding."""
    star: bool = False
    """Whether the network is NeRV*++."""
    initial: Literal["torch", "xavier"] = "xavier"
    """Initial values: torch's, as NeRV has them, or `xavier`, those of the repository's later network."""
    ranges: Channel = "input"
    """Channels of a weight that have a range of quantized values each, `output` or, as in the repository, `input`;
    then a depthwise layer has one range."""


class NeRVppCodec(IndexCodec):
    """NeRV++ and NeRV*++."""

    name = "nervpp"
    reference = "Ghorbel et al., NeRV++: An Enhanced Implicit Neural Video Representation, arXiv 2402.18305"
    revision = 4
    Settings = NeRVppSettings
    config = NeRVppConfig
    second_width = "lower"
    presets = presets_of(
        quick=IndexCodec.presets["quick"],
        tiny=IndexCodec.presets["tiny"],
        best={"optimizer": "muon", "epochs": 56, "finetune_epochs": 9, "lr": 1e-2},
    )

    def scaled(self, clip: ClipHeader, share: float) -> NeRVppConfig:
        """The paper's S with `share` of its base grid's channels (the code's fc, 26), XS with 8 of them.

        Below XS, see `shrunk_widths`.
        """
        geometry = choose_geometry(clip.width, clip.height)
        channels, others = shrunk_widths(share)
        return NeRVppConfig(
            geometry.rows, geometry.columns, geometry.strides,
            channels=channels, stem=max(1, round(512 * others)), lower=max(1, round(80 * others)),
            frequencies=self.settings.frequencies, star=int(self.settings.star),
        )  # fmt: skip

    def build_for(self, clip: ClipHeader, size: int) -> tuple[Network, NetworkConfig]:
        """The network of about `size` parameters, with the initial values that the settings choose."""
        network, config = super().build_for(clip, size)
        if self.settings.initial == "xavier":
            initialize(network)
        return network, config

    @classmethod
    def build(cls, config: NetworkConfig, clip: ClipHeader) -> NeRVpp:
        """The network."""
        assert isinstance(config, NeRVppConfig)
        return NeRVpp(config, clip.frames)
