"""T-NeRV: Combining Frame and GOP Embeddings for Neural Video Representation (J. E. Saethre et al., CVPR 2024).

Embeddings of frames by a large encoder that does not travel, features of groups of pictures from three grids, a
decoder told the time in every stage, flows to four neighbors, and the rate of all that travels in the loss. T-NeRV is
patented (US 2025/0168367 A1, US 12,634,488 B2); this implementation is for research. Our choice: the first width and
how widths, embeddings and grids share a size, hidden widths of the time networks, frames beyond the clip repeat its
ends, weight decay, no warm-up of the fine-tuning.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, product
from types import MappingProxyType
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from rdbench.errors import BitstreamError

from .inr.codec import ClipHeader
from .inr.compression.entropy_constrained import EntropyConstrained
from .inr.embedding_based import ContentEncoder, EmbeddingCodec, padded
from .inr.networks.encoder import Encoder, FrameLookup
from .inr.networks.flow_guided import REFERENCES, FlowNetwork
from .inr.networks.layers.blocks import modulate, tapered_widths
from .inr.networks.layers.convnext import convnext
from .inr.networks.layers.encoding import sinusoids
from .inr.networks.layers.grids import TemporalGrid, grid_lengths
from .inr.networks.layers.warping import blend_warped
from .inr.networks.network import Network, NetworkConfig, UpsamplingConfig, choose_geometry, count_parameters
from .inr.recipes.losses import MIXES
from .inr.recipes.stage import Stage
from .inr.training.rate_distortion import InrSettings

REDUCTION = 1.2
LEVELS = 3
ENCODER_WIDTHS = (64, 128, 256, 512)
ENCODER_DEPTHS = (3, 3, 9, 6, 3)
ENCODER_TIME = 512
EMBEDDING_SHARE, GRID_SHARE = 0.22, 0.26
"""Of a size (the paper's 3.0M has 20 % and 24 %, its 9.3M 23 % and 28 %, its 12.4M 24 % and 18 %)."""
MOST_CHANNELS = 64
"""Of embeddings and of each grid, where frames are small and few."""
CLOSE = 0.015
"""A network that misses a size by no more is taken."""


@dataclass(frozen=True)
class TNeRVConfig(UpsamplingConfig):
    """The network in numbers; those of all of the paper's where a default is given."""

    channels: int
    """C_0."""
    embedding: int
    """c_E; 0: no embeddings."""
    grid: int
    """c_i of each grid; 0: none."""
    lower: int = 12
    time: int = 128
    """Hidden width of the network of the time code."""
    code: int = 128
    """Width of the time code u."""
    frequencies: int = 80
    flow: int = 1
    adain: int = 1
    plain: int = 0
    """5x5 convolutions in place of two of 3x3."""

    choices = MappingProxyType({"embedding": 4096, "grid": 4096, "flow": 2, "adain": 2, "plain": 2})

    def flow_after(self) -> int:
        """The block whose output the flows are read from: the third from the end."""
        return max(0, len(self.strides) - 3)


def varied(config: TNeRVConfig) -> list[TNeRVConfig]:
    """This network and others like it, the most alike first."""
    steps = sorted(
        product(range(-2, 3), range(-2, 3), range(-2, 3), range(-1, 5)), key=lambda step: sum(map(abs, step))
    )
    own = (config.channels, config.embedding, config.grid, config.lower)
    found = []
    for step in steps:
        values = [max(1, value + by) if value else 0 for value, by in zip(own, step, strict=True)]
        found.append(replace(config, channels=values[0], embedding=values[1], grid=values[2], lower=values[3]))
    return list(dict.fromkeys(found))


class Block(nn.Module):
    """AdaIN, convolution, pixel shuffle, GELU; from the third block on two convolutions (figure 4)."""

    def __init__(self, config: TNeRVConfig, number: int, before: int, after: int) -> None:
        super().__init__()
        self.statistics = nn.Linear(config.code, 2 * before) if config.adain else None
        stride, kernel = config.strides[number], min(2 * number + 1, 5)
        wide = after * stride**2
        convs: list[nn.Module] = [nn.Conv2d(before, wide, kernel, padding=kernel // 2)]
        if kernel == 5 and not config.plain:
            middle = middle_width(before, wide)
            first = nn.Conv2d(before, middle, 3, padding=1)
            convs = [first, nn.GELU(), nn.Conv2d(middle, wide, 3, padding=1)]
        self.up = nn.Sequential(*convs, nn.PixelShuffle(stride), nn.GELU())
        if self.statistics is not None:
            nn.init.zeros_(self.statistics.weight)
            nn.init.zeros_(self.statistics.bias)

    def forward(self, x: Tensor, u: Tensor) -> Tensor:
        """`[B, C, h, w]` -> `[B, C', s h, s w]`, told the time code `[B, code]`."""
        if self.statistics is not None:
            gain, shift = self.statistics(u).chunk(2, dim=1)
            x = modulate(x, 1 + gain, shift)
        y: Tensor = self.up(x)
        return y


def middle_width(before: int, after: int) -> int:
    """Of two 3x3 convolutions with as many weights as one of 5x5 (section 4.3)."""
    return max(1, round(25 * before * after / (9 * (before + after))))


class TNeRV(FlowNetwork):
    """Embeddings and grids -> pre-block -> blocks -> independent frame and flows (figure 3)."""

    def __init__(self, config: TNeRVConfig, frames: int) -> None:
        super().__init__(config.patch_size, frames)
        self.config, self.flow = config, bool(config.flow)
        size = (config.rows, config.columns)
        embeddings = torch.zeros(frames, config.embedding, *size)
        self.embeddings = nn.Parameter(embeddings) if config.embedding else None
        lengths = grid_lengths(max(1, frames // 2), LEVELS) if config.grid else []
        self.grids = nn.ModuleList(TemporalGrid(rows, config.grid, *size, frames) for rows in lengths)
        self.per_frame = frozenset({"embeddings"} if config.embedding else ())
        self.latents = self.per_frame | {f"grids.{number}.rows" for number in range(len(lengths))}
        self.time = nn.Sequential(
            nn.Linear(2 * config.frequencies, config.time), nn.GELU(), nn.Linear(config.time, config.code)
        ) if config.adain else None  # fmt: skip
        latent = config.embedding + len(lengths) * config.grid
        self.pre = nn.Conv2d(latent, config.channels, 3, padding=1)
        widths = [config.channels, *tapered_widths(config.channels, len(config.strides), REDUCTION, config.lower)]
        self.blocks = nn.ModuleList(Block(config, number, a, b) for number, (a, b) in enumerate(pairwise(widths)))
        self._flow_after = config.flow_after()
        self._flow_scale = math.prod(config.strides[self._flow_after + 1 :])
        motion = nn.Conv2d(widths[self._flow_after + 1], 3 * len(REFERENCES), 3, padding=1)
        self.motion = motion if config.flow else None
        self.head = nn.Conv2d(widths[-1], 5 if config.flow else 3, 3, padding=1)

    def independent_frames(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Independent frames with the logits of the last blend, and flows."""
        parts = [] if self.embeddings is None else [self.embeddings[frames]]
        x, motion = self.pre(torch.cat([*parts, *(grid(frames) for grid in self.grids)], dim=1)), torch.empty(0)
        u = x if self.time is None else self.time(sinusoids(frames.double() / self.frames, self.config.frequencies))
        for number, block in enumerate(self.blocks):
            x = block(x, u)
            if self.motion is not None and number == self._flow_after:
                motion = self.motion(x)
        image = self.head(x)
        return torch.cat([(torch.tanh(image[:, :3]) + 1) / 2, image[:, 3:]], dim=1), motion

    def aggregate(self, references: Tensor, motion: Tensor) -> Tensor:
        """Flows and logits are brought to full size bilinearly, then the softmax (equation 2)."""
        full = functional.interpolate(motion.float(), scale_factor=float(self._flow_scale), mode="bilinear")
        count = 2 * references.shape[1]
        return blend_warped(references, full[:, :count] * self._flow_scale, full[:, count:].softmax(dim=1))

    def inside(self, frames: Tensor) -> Tensor:
        """The clip's end for those beyond it."""
        return frames.clamp(0, self.frames - 1)


class TNeRVEncoder(Encoder):
    """ConvNeXt, whose embeddings are masked by features of the time (section 4.1, equation 1)."""

    makes = frozenset({"embeddings"})

    def __init__(self, config: TNeRVConfig, frames: int, tiny: bool, temporal: bool) -> None:
        super().__init__()
        self._size, self._frames, self._levels = config.patch_size, frames, config.frequencies
        shape, count = (config.embedding, config.rows, config.columns), len(config.strides)
        widths = [*(ENCODER_WIDTHS + ENCODER_WIDTHS[-1:] * count)[: count - 1], config.embedding]
        depths = [*(ENCODER_DEPTHS[:4] + ENCODER_DEPTHS[3:4] * count)[: count - 1], ENCODER_DEPTHS[-1]]
        large = None if tiny else convnext(3, widths, config.strides, depths)
        self.stages = large or ContentEncoder(config, config.embedding).stages
        hidden = nn.Linear(2 * self._levels, ENCODER_TIME), nn.GELU(), nn.Linear(ENCODER_TIME, ENCODER_TIME), nn.GELU()
        last = nn.Linear(ENCODER_TIME, math.prod(shape))
        self.time = nn.Sequential(*hidden, last, nn.Unflatten(1, shape)) if temporal else None
        self.shares = nn.Parameter(torch.zeros(frames)) if temporal else None

    def forward(self, video: FrameLookup, frames: Tensor) -> Mapping[str, Tensor]:
        """The embeddings of these frames, `[B, c_E, h, w]`."""
        made: Tensor = self.stages(padded(video(frames), self._size))
        if self.time is not None and self.shares is not None:
            features = self.time(sinusoids(frames.double() / self._frames, self._levels))
            made = made * (1 + self.shares[frames].view(-1, 1, 1, 1) * features)
        return {"embeddings": made}


class TNeRVSettings(InrSettings):
    """The recipe (sections 5 and 5.2), and what the ablations of table 3 switch off."""

    compression: Literal["entropy-constrained"] = "entropy-constrained"
    epochs: int = Field(1200, ge=1)
    """Of pre-training, without the rate."""
    finetune_epochs: int = Field(600, ge=1)
    """For each lambda."""
    lr: float = Field(5e-4, gt=0)
    batch: int = Field(1, ge=1)
    frequencies: int = Field(80, ge=1, le=200)
    no_grids: bool = False
    """E1: embeddings alone."""
    no_embeddings: bool = False
    """E2: grids alone."""
    no_temporal: bool = False
    """E3: embeddings that are told no time; with `tiny_encoder` E5."""
    tiny_encoder: bool = False
    """E4: HNeRV's encoder."""
    no_flow: bool = False
    """D1: independent frames alone."""
    no_adain: bool = False
    """D2: a decoder that is told no time."""
    plain: bool = False
    """D3: 5x5 convolutions."""


class TNeRVCodec(EmbeddingCodec):
    """T-NeRV with its entropy-constrained fit."""

    name = "tnerv"
    reference = "Saethre et al., Combining Frame and GOP Embeddings for Neural Video Representation, CVPR 2024"
    Settings = TNeRVSettings
    config = TNeRVConfig
    free_width = "time"
    scheme = EntropyConstrained
    presets = MappingProxyType(
        {
            "paper": {},
            "quick": {"epochs": 60, "finetune_epochs": 30, "lr": 2e-3, "tiny_encoder": True},
            "tiny": {"epochs": 12, "finetune_epochs": 6, "lr": 3e-3, "frequencies": 40, "tiny_encoder": True},
        }
    )

    def shaped(self, clip: ClipHeader, share: float, size: int) -> TNeRVConfig:
        """C_0 is 225 at share 1; embeddings and grids have fixed parts of the size."""
        geometry, s, less = choose_geometry(clip.width, clip.height), self.settings, min(1.0, 2 * share)
        cells = geometry.rows * geometry.columns
        rows = sum(grid_lengths(max(1, clip.frames // 2), LEVELS))
        embedding, grid = (
            0 if without else min(MOST_CHANNELS, max(1, round(part * size / (cells * count))))
            for without, part, count in (
                (s.no_embeddings, EMBEDDING_SHARE, clip.frames), (s.no_grids, GRID_SHARE, rows)
            )
        )  # fmt: skip
        return TNeRVConfig(
            geometry.rows, geometry.columns, geometry.strides, max(1, round(225 * share)), embedding, grid,
            lower=max(2, round(12 * less)), time=max(1, round(128 * less)), code=max(1, round(128 * less)),
            frequencies=s.frequencies, flow=int(not s.no_flow), adain=int(not s.no_adain), plain=int(s.plain),
        )  # fmt: skip

    def _solved(self, clip: ClipHeader, size: int) -> NetworkConfig:
        """Where the time code's width cannot take up the rest, others vary by one or two."""
        near = super()._solved(clip, size)
        assert isinstance(near, TNeRVConfig)

        def missing(config: TNeRVConfig) -> int:
            with torch.device("meta"):
                return size - count_parameters(self.build(config, clip))

        def filled(config: TNeRVConfig) -> TNeRVConfig:
            step = 2 * config.frequencies + 1 + config.code if config.adain else size
            return replace(config, time=max(1, min(4 * config.code, config.time + round(missing(config) / step))))

        if abs(missing(near)) <= CLOSE * size:
            return near
        return next((c for c in map(filled, varied(near)) if abs(missing(c)) <= CLOSE * size), near)

    def scaled(self, clip: ClipHeader, share: float) -> TNeRVConfig:
        """For a size of 12.4M."""
        return self.shaped(clip, share, 12_400_000)

    @classmethod
    def build(cls, config: NetworkConfig, clip: ClipHeader) -> TNeRV:
        """The network."""
        assert isinstance(config, TNeRVConfig)
        if not config.embedding and not config.grid:
            raise BitstreamError("The bitstream's network sees nothing of the frames; encode the clip again.")
        return TNeRV(config, clip.frames)

    def encoder(self, network: Network, clip: ClipHeader) -> Encoder | None:
        """ConvNeXt, or HNeRV's."""
        assert isinstance(network, TNeRV)
        s = self.settings
        if not network.config.embedding:
            return None
        return TNeRVEncoder(network.config, clip.frames, s.tiny_encoder, not s.no_temporal)

    def recipe(self) -> Sequence[Stage]:
        """Pre-training, and fine-tuning with the rate."""
        s = self.settings
        fit = Stage(
            "fit", s.epochs, s.lr, floor=0.075, batch=s.batch, loss=MIXES["l1_ssim"], optimizer="adamw",
            weight_decay=0.01, decayed="model",
        )  # fmt: skip
        return fit, replace(fit, name="finetune", epochs=s.finetune_epochs, warmup=0.0, rate_weight=1.0)

    def compression(self) -> EntropyConstrained:
        """C-NeRV's, with quantizers for each embedding."""
        return EntropyConstrained()
