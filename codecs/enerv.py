"""E-NeRV: Expedite Neural Video Representation with Disentangled Spatial-Temporal Context (Z. Li et al., ECCV 2022).

NeRV's stem becomes a code of time and a grid of tokens of space, fused by two small transformer blocks; the time is
told to every stage again, by a scale and a shift. The paper has no code for compression and names NeRV's chain, which
is used here. Our choice: the widths below the paper's sizes (`scaled`), head and feed-forward widths as shares of the
tokens' width, the encodings in float64.
"""

from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from .inr.codec import ClipHeader
from .inr.index_based import IndexCodec, IndexSettings
from .inr.networks.layers.blocks import FirstBlock, UpBlock, halved_widths, mlp, modulate
from .inr.networks.layers.encoding import sinusoids
from .inr.networks.network import Network, NetworkConfig, Patches, UpsamplingConfig, choose_geometry


@dataclass(frozen=True)
class ENeRVConfig(UpsamplingConfig):
    """The network in numbers; those of the official Bunny model where a default is given."""

    channels: int = 196
    """fc: channels of the base grid."""
    stem: int = 512
    block: int = 256
    """Width of the tokens; a head is a quarter of it, the feed-forward layer half."""
    code: int = 128
    """Width of the time code that modulates the stages."""
    lower: int = 96
    expansion: int = 3
    frequencies: int = 80


class Transformer(nn.Module):
    """Attention and feed-forward layer on tokens `[B, T, D]`, both residual, without normalization."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, inner = heads, heads * max(1, width // 4)
        self.queries_keys_values = nn.Linear(width, 3 * inner, bias=False)
        self.out = nn.Linear(inner, width)
        hidden = max(1, width // 2)
        self.feed_forward = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))

    def forward(self, x: Tensor) -> Tensor:
        """The tokens."""
        batch, count, _ = x.shape
        q, k, v = self.queries_keys_values(x).view(batch, count, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        x = x + self.out(mixed)
        tokens: Tensor = x + self.feed_forward(x)
        return tokens


class ENeRV(Network):
    """Time code x space tokens -> base grid -> stages, each modulated by the time."""

    def __init__(self, config: ENeRVConfig, frames: int) -> None:
        super().__init__(config.patch_size)
        self.config, self._frames = config, frames
        levels, width = config.frequencies, config.block
        self.time = mlp((2 * levels, config.stem, width), nn.GELU)
        self.code = mlp((2 * levels, config.code, config.code), nn.GELU)
        self.space = nn.Sequential(nn.Linear(4 * levels, width), nn.GELU())
        self.before, self.after = Transformer(width, heads=1), Transformer(width, heads=8)
        same = config.channels == width
        self.base = nn.Identity() if same else nn.Sequential(nn.Linear(width, config.channels), nn.GELU())
        widths = [config.channels, *halved_widths(config.channels * config.expansion, config.strides, config.lower)]
        stages = list(zip(pairwise(widths), config.strides, strict=True))
        (first, after), stride = stages[0]
        later = (UpBlock(a, b, s, nn.GELU) for (a, b), s in stages[1:])
        self.blocks = nn.ModuleList([FirstBlock(first, after, stride), *later])
        self.modulations = nn.ModuleList(
            nn.Sequential(nn.Linear(config.code, 2 * channels), nn.GELU()) for channels in widths[:-1]
        )
        self.head = nn.Conv2d(widths[-1], 3, 1)

    def tokens(self, device: torch.device) -> Tensor:
        """The space tokens before they meet the time, `[1, rows * columns, D]`, from coordinates in [0, 1)."""
        rows, columns = self.config.rows, self.config.columns
        cells = torch.arange(rows * columns, device=device).double()
        y, x = torch.div(cells, columns, rounding_mode="floor") / rows, cells % columns / columns
        codes = torch.cat([sinusoids(c, self.config.frequencies) for c in (y, x)], dim=1)
        tokens: Tensor = self.before(self.space(codes)[None])
        return tokens

    def forward(self, at: Patches) -> Tensor:
        """The frames, from t = i / (N - 1)."""
        time = sinusoids(at.frames.double() / max(1, self._frames - 1), self.config.frequencies)
        code = self.code(time)
        z = self.after(self.tokens(time.device) * self.time(time)[:, None])
        x = self.base(z).transpose(1, 2).unflatten(2, (self.config.rows, self.config.columns))
        for modulation, block in zip(self.modulations, self.blocks, strict=True):
            gain, shift = modulation(code).chunk(2, dim=1)  # after a GELU: above -0.17, near 0 when the fit begins
            x = block(modulate(x, gain, shift))
        return torch.sigmoid(self.head(x))


class ENeRVSettings(IndexSettings):
    """The recipe of the official repository."""

    epochs: int = Field(300, ge=1)


class ENeRVCodec(IndexCodec):
    """E-NeRV, compressed by NeRV's chain."""

    name = "enerv"
    reference = "Li et al., E-NeRV: Expedite Neural Video Representation, ECCV 2022"
    Settings = ENeRVSettings
    config = ENeRVConfig
    presets = MappingProxyType(
        {**IndexCodec.presets, "quick": {**IndexCodec.presets["quick"], "lr": 3e-3}}  # 5e-3 diverges at 320K parameters
    )

    def scaled(self, clip: ClipHeader, share: float) -> ENeRVConfig:
        """Stages in proportion; stem and tokens shrink only below a third, as in the 3M models of the literature."""
        geometry = choose_geometry(clip.width, clip.height)
        less = min(1.0, 3 * share)
        return ENeRVConfig(
            geometry.rows, geometry.columns, geometry.strides,
            channels=max(1, round(196 * share)), stem=max(1, round(512 * less)), block=max(4, round(256 * less)),
            code=max(1, round(128 * less)), lower=max(1, round(96 * min(1.0, share))),
            frequencies=self.settings.frequencies,
        )  # fmt: skip

    @classmethod
    def build(cls, config: NetworkConfig, clip: ClipHeader) -> ENeRV:
        """The network."""
        assert isinstance(config, ENeRVConfig)
        return ENeRV(config, clip.frames)
