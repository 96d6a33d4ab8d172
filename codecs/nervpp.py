"""NeRV++: An Enhanced Implicit Neural Video Representation (A. Ghorbel et al., 2024), and NeRV*++ as `nervpp[star]`.

NeRV with enlarged blocks: a pointwise projection, a separable residual block, the NeRV block, another separable
residual block, and a bilinear skip from the projection. The bitstream holds the network's parameters.
The hidden width of 512 in the stem, the lower width of 80, the pointwise head and the 40 frequencies are solved from
the published numbers of parameters. The inside of NeRV*++ (hidden width 3n, a second depthwise convolution, here at
the end) is inferred from its published size and cost. Our choice: the smaller learning rate of fine-tuning (half).
"""

from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from .inr.codec import ClipHeader
from .inr.index_based import IndexCodec, IndexSettings
from .inr.networks.index_network import IndexNetwork
from .inr.networks.layers.blocks import UpBlock, halved_widths
from .inr.networks.network import NetworkConfig, UpsamplingConfig, choose_geometry


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
        depthwise = [nn.Conv2d(channels, channels, 3, padding=1, groups=channels) for _ in range(1 + star)]
        pointwise = (nn.Conv2d(channels, hidden, 1), nn.GELU(), nn.Conv2d(hidden, channels, 1))
        super().__init__(depthwise[0], *pointwise, *depthwise[1:])


class Block(nn.Module):
    """Projection, residual block, NeRV block, residual block, and the bilinear skip from the projection (figure 2)."""

    def __init__(self, before: int, after: int, stride: int, star: bool) -> None:
        super().__init__()
        self.stride = stride
        self.projection = nn.Conv2d(before, after, 1)
        self.refine_before, self.refine_after = SeparableResidual(after, star), SeparableResidual(after, star)
        self.up = UpBlock(after, after, stride, nn.SiLU)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, before, h, w]` -> `[B, after, s h, s w]`."""
        projected = self.projection(x)
        upsampled = self.up(projected + self.refine_before(projected))
        skip = functional.interpolate(projected, scale_factor=self.stride, mode="bilinear", align_corners=False)
        refined: Tensor = upsampled + self.refine_after(upsampled) + skip
        return refined


class NeRVpp(IndexNetwork):
    """NeRV's MLP, enlarged blocks, NeRV's head."""

    def __init__(self, config: NeRVppConfig, frames: int) -> None:
        super().__init__(config, frames, config.frequencies, config.stem, config.channels, nn.SiLU)
        self.config = config
        widths = [config.channels, *halved_widths(config.channels, config.strides, config.lower)]
        stages = zip(pairwise(widths), config.strides, strict=True)
        self.blocks = nn.Sequential(*(Block(a, b, stride, bool(config.star)) for (a, b), stride in stages))
        self.head = nn.Conv2d(widths[-1], 3, 1)


class NeRVppSettings(IndexSettings):
    """The paper's recipe (section 4); beta1 of Adam is 0.5 as in its code, where the text has 0.9."""

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


class NeRVppCodec(IndexCodec):
    """NeRV++ and NeRV*++."""

    name = "nervpp"
    reference = "Ghorbel et al., NeRV++: An Enhanced Implicit Neural Video Representation, arXiv 2402.18305"
    Settings = NeRVppSettings
    config = NeRVppConfig

    def scaled(self, clip: ClipHeader, share: float) -> NeRVppConfig:
        """The paper's S with widths times `share`: `channels` is the code's fc, 26 at share 1.

        Above share 1 only `channels` grows, as from S to L; below it, all widths shrink (our choice).
        """
        geometry = choose_geometry(clip.width, clip.height)
        less = min(share, 1.0)
        return NeRVppConfig(
            geometry.rows, geometry.columns, geometry.strides,
            channels=max(1, round(26 * share)), stem=max(1, round(512 * less)), lower=max(1, round(80 * less)),
            frequencies=self.settings.frequencies, star=int(self.settings.star),
        )  # fmt: skip

    @classmethod
    def build(cls, config: NetworkConfig, clip: ClipHeader) -> NeRVpp:
        """The network."""
        assert isinstance(config, NeRVppConfig)
        return NeRVpp(config, clip.frames)
