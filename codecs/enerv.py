"""E-NeRV: Expedite Neural Video Representation with Disentangled Spatial-Temporal Context (Z. Li et al., ECCV 2022).

In place of NeRV's MLP, an embedding of time is multiplied with spatial tokens, one for each cell of the base grid, and
two small transformer blocks mix the tokens. Every stage is conditioned on time again, by a scale and a shift. The
bitstream holds the network's parameters. The paper's repository has no compression; the paper names NeRV's
pruning, quantization and entropy coding, which are used here. Our choice: the widths below the paper's sizes
(`scaled`), where those of heads and feed-forward layers are shares of the tokens' width, and the encodings in float64.
In the code a head has 64 channels at any width, and its other widths are free; options give them, as in
`enerv[block=128,head-width=64,feed-forward=64,stem=256,code=128,lower=12]`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from .inr.codec import ClipHeader
from .inr.index_based import IndexCodec, IndexSettings
from .inr.networks.index_network import ModulatedNetwork, factorized_blocks
from .inr.networks.layers.blocks import halved_widths, mlp
from .inr.networks.layers.encoding import sinusoids
from .inr.networks.layers.pointwise import Pointwise
from .inr.networks.layers.precision import in_float32
from .inr.networks.network import NetworkConfig, Patches, UpsamplingConfig, choose_geometry
from .inr.presets import presets_of
from .inr.recipes.stage import Stage


@dataclass(frozen=True)
class ENeRVConfig(UpsamplingConfig):
    """The network's configuration; the defaults are those of the official Bunny model."""

    channels: int = 196
    """Channels of the base grid (the code's fc)."""
    stem: int = 512
    """Hidden width of the MLP that embeds the time."""
    block: int = 256
    """Width of the tokens (the code's block_dim)."""
    head: int = 64
    """Width of an attention head."""
    hidden: int = 128
    """Hidden width of the feed-forward layers (the code's mlp_dim)."""
    code: int = 128
    """Width of the time code that modulates the stages."""
    lower: int = 96
    """Smallest number of channels after a stage but the first (the code's lower_width)."""
    expansion: int = 3
    """Ratio of the channels after the first stage to those of the base grid."""
    frequencies: int = 80
    """Frequencies of the positional encodings of time, row and column (L)."""


class Transformer(nn.Module):
    """Self-attention and a feed-forward layer on tokens, both residual, without normalization.

    A single head as wide as the tokens has no output layer (the code).
    """

    def __init__(self, width: int, heads: int, head: int, hidden: int) -> None:
        super().__init__()
        self.heads = heads
        self.queries_keys_values = nn.Linear(width, 3 * heads * head, bias=False)
        self.out = nn.Identity() if heads == 1 and head == width else nn.Linear(heads * head, width)
        self.feed_forward = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))

    def forward(self, x: Tensor) -> Tensor:
        """`[B, T, D]` -> `[B, T, D]`."""
        batch, count, _ = x.shape
        q, k, v = self.queries_keys_values(x).view(batch, count, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        x = x + self.out(mixed)
        tokens: Tensor = x + self.feed_forward(x)
        return tokens


class ENeRV(ModulatedNetwork):
    """Time embedding x spatial tokens -> base grid -> stages, each modulated by the time code."""

    scales_around_one = False

    def __init__(self, config: ENeRVConfig, frames: int) -> None:
        super().__init__(config.patch_size)
        self.config, self._frames = config, frames
        frequencies, width = config.frequencies, config.block
        self.time = mlp((2 * frequencies, config.stem, width), nn.GELU)
        self.code = mlp((2 * frequencies, config.code, config.code), nn.GELU)
        self.space = nn.Sequential(nn.Linear(4 * frequencies, width), nn.GELU())
        self.before, self.after = (Transformer(width, heads, config.head, config.hidden) for heads in (1, 8))
        same = config.channels == width
        self.base = nn.Identity() if same else nn.Sequential(nn.Linear(width, config.channels), nn.GELU())
        widths = [config.channels, *halved_widths(config.channels * config.expansion, config.strides, config.lower)]
        self.blocks = factorized_blocks(widths, config.strides)
        # the scales come out of a GELU: they are above -0.17, and near 0 at the start of training
        self.modulations = nn.ModuleList(
            nn.Sequential(nn.Linear(config.code, 2 * channels), nn.GELU()) for channels in widths[:-1]
        )
        self.head = Pointwise(widths[-1], 3)

    def tokens(self, device: torch.device) -> Tensor:
        """The spatial tokens before they are multiplied with the time embedding, `[1, rows * columns, D]`.

        They are computed from the coordinates of the cells, in [0, 1).
        """
        rows, columns = self.config.rows, self.config.columns
        cells = torch.arange(rows * columns, device=device).double()
        y, x = torch.div(cells, columns, rounding_mode="floor") / rows, cells % columns / columns
        codes = torch.cat([sinusoids(c, self.config.frequencies) for c in (y, x)], dim=1)
        tokens: Tensor = self.before(self.space(codes)[None])
        return tokens

    def forward(self, at: Patches) -> Tensor:
        """The frames, `[B, 3, H, W]`; time is t = i / (N - 1)."""
        time = sinusoids(at.frames.double() / max(1, self._frames - 1), self.config.frequencies)
        code = self.code(time)
        tokens = self.after(self.tokens(time.device) * self.time(time)[:, None])
        base = self.base(tokens).transpose(1, 2).unflatten(2, (self.config.rows, self.config.columns))
        return torch.sigmoid(in_float32(self.head, self.upsample(base, code)))


class ENeRVSettings(IndexSettings):
    """The recipe of the official repository, and NeRV's compression."""

    epochs: int = Field(300, ge=1)
    """Epochs of training, before the other stages."""
    block: int = Field(0, ge=0, le=1024)
    """Width of the tokens (the code's block_dim); 0: 256, and less below a third of the official size (our choice)."""
    head_width: int = Field(0, ge=0, le=256)
    """Width of an attention head, 64 in the code; 0: a quarter of the tokens' width (our choice)."""
    feed_forward: int = Field(0, ge=0, le=1024)
    """Hidden width of the feed-forward layers (the code's mlp_dim); 0: half of the tokens' width (our choice)."""
    stem: int = Field(0, ge=0, le=4096)
    """Hidden width of the MLP that embeds the time; 0: 512, shrinking as block; then it takes up the rest of a size."""
    code: int = Field(0, ge=0, le=1024)
    """Width of the time code, 128 in the code; 0: 128, shrinking as block (our choice)."""
    lower: int = Field(0, ge=0, le=1024)
    """Smallest number of channels after a stage but the first (lower_width); 0: 96, shrinking with the size."""


class ENeRVCodec(IndexCodec):
    """E-NeRV with NeRV's pruning, quantization and entropy coding."""

    name = "enerv"
    reference = "Li et al., E-NeRV: Expedite Neural Video Representation, ECCV 2022"
    revision = 5
    Settings = ENeRVSettings
    config = ENeRVConfig
    presets = presets_of(
        quick={**IndexCodec.presets["quick"], "lr": 3e-3},  # 5e-3 diverges at 320K parameters
        tiny=IndexCodec.presets["tiny"],
        best={"optimizer": "muon", "epochs": 54, "finetune_epochs": 9, "lr": 6e-3},
    )

    def scaled(self, clip: ClipHeader, share: float) -> ENeRVConfig:
        """The official Bunny model with widths times `share`: `channels` is the code's fc, `block` its block_dim.

        MLPs and tokens shrink only below a third, as in the 3M models of the literature; `lower` never grows.
        Widths that the settings give are neither scaled nor shrunk.
        """
        geometry, s = choose_geometry(clip.width, clip.height), self.settings
        less = min(1.0, 3 * share)
        block = s.block or max(4, round(256 * less))
        return ENeRVConfig(
            geometry.rows, geometry.columns, geometry.strides,
            channels=max(1, round(196 * share)), stem=s.stem or max(1, round(512 * less)), block=block,
            head=s.head_width or max(1, block // 4), hidden=s.feed_forward or max(1, block // 2),
            code=s.code or max(1, round(128 * less)), lower=s.lower or max(1, round(96 * min(1.0, share))),
            frequencies=s.frequencies,
        )  # fmt: skip

    def recipe(self) -> Sequence[Stage]:
        """NeRV's, with a warm-up that ends within an epoch."""
        return [replace(stage, warmup_ends="step") for stage in super().recipe()]

    @classmethod
    def build(cls, config: NetworkConfig, clip: ClipHeader) -> ENeRV:
        """The network."""
        assert isinstance(config, ENeRVConfig)
        return ENeRV(config, clip.frames)
