"""T-NeRV: Combining Frame and GOP Embeddings for Neural Video Representation (J. E. Saethre et al., CVPR 2024).

A decoder renders a frame from its embedding, which a large encoder network computes during training, and from features
of groups of pictures, read from three temporal grids. Every stage is conditioned on time, and four neighboring frames
are warped by optical flow and blended in. Embeddings, grids and decoder are transmitted, the encoder is not; the rate
of all that is transmitted is part of the loss. T-NeRV is patented (US 2025/0168367 A1, US 12,634,488 B2); this
implementation is for research. Our choice: C_0, and how decoder, embeddings and grids share a size that is not
published; hidden widths of the MLPs of time; the first and last frame in place of frames beyond the clip; weight decay;
no warm-up of the fine-tuning; on small frames, with three blocks or fewer, the flow follows the first one, a pointwise
convolution, so that the paper's ablations of flow and blocks do not transfer there.
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
from .inr.networks.layers.blocks import tapered_widths
from .inr.networks.layers.convnext import convnext
from .inr.networks.layers.encoding import sinusoids
from .inr.networks.layers.modulation import modulate
from .inr.networks.layers.precision import in_float32
from .inr.networks.layers.temporal_grids import TemporalGrid, grid_lengths
from .inr.networks.layers.upsampling import UpConvolution
from .inr.networks.layers.warping import blend_warped
from .inr.networks.network import Network, NetworkConfig, UpsamplingConfig, choose_geometry, count_parameters
from .inr.presets import presets_of
from .inr.recipes.losses import MIXES
from .inr.recipes.stage import Stage
from .inr.training.rate_distortion import InrSettings

REDUCTION = 1.2
"""Ratio of the channels of a stage to those of the next (the paper's C_{i-1} / C_i)."""
LEVELS = 3
"""Number of temporal grids."""
ENCODER_WIDTHS = (64, 128, 256, 512)
"""Channels of the encoder's stages but the last."""
ENCODER_DEPTHS = (3, 3, 9, 6, 3)
"""Blocks in the encoder's stages."""
ENCODER_TIME = 512
"""Hidden width of the MLP that computes the encoder's features of time."""
EMBEDDING_SHARE, GRID_SHARE = 0.22, 0.26
"""Shares of embeddings and grids in a size (in the paper 20 % and 24 % of 3.0M, 23 % and 28 % of 9.3M, 24 % and 18 % of
12.4M)."""
MOST_CHANNELS = 64
"""Largest number of channels of embeddings and of each grid; it matters where frames are small and few."""
PUBLISHED: Mapping[tuple[int, int, int, int], tuple[int, int, int]] = MappingProxyType(
    {(1280, 720, 600, 12_400_000): (225, 35, 30), (1920, 960, 600, 3_000_000): (97, 8, 11),
     (1920, 1080, 600, 9_300_000): (163, 25, 35)}
)  # fmt: skip
"""C_0, c_E and c_i of the paper's models, by width, height, frames and size; at 1080p c_E and c_i follow from the
paper's 2.2M embeddings, 2.6M grids and 4.5M decoder, and C_0 from the size (our choice)."""


@dataclass(frozen=True)
class TNeRVConfig(UpsamplingConfig):
    """The network's configuration; the defaults hold for all of the paper's models."""

    channels: int
    """Channels after the pre-block (C_0)."""
    embedding: int
    """Channels of an embedding (c_E); 0 for a network without embeddings."""
    grid: int
    """Channels of each grid (c_i); 0 for a network without grids."""
    lower: int = 12
    """Smallest number of channels after a block."""
    time: int = 128
    """Hidden width of the MLP that computes the time code."""
    code: int = 128
    """Width of the time code (u_t)."""
    frequencies: int = 80
    """Frequencies of the positional encoding of time."""
    flow: int = 1
    """1 for a network with flows."""
    adain: int = 1
    """1 for blocks that the time code modulates."""
    plain: int = 0
    """1 for one 5x5 convolution in place of two of 3x3."""

    choices = MappingProxyType({"embedding": 4096, "grid": 4096, "flow": 2, "adain": 2, "plain": 2})


def similar_configs(config: TNeRVConfig) -> list[TNeRVConfig]:
    """The configuration and others whose channels differ by a few, the most similar first."""
    steps = sorted(
        product(range(-2, 3), range(-2, 3), range(-2, 3), range(-1, 5)), key=lambda step: sum(map(abs, step))
    )
    widths = (config.channels, config.embedding, config.grid, config.lower)
    found = []
    for step in steps:
        values = [max(1, width + change) if width else 0 for width, change in zip(widths, step, strict=True)]
        found.append(replace(config, channels=values[0], embedding=values[1], grid=values[2], lower=values[3]))
    return list(dict.fromkeys(found))


class Block(nn.Module):
    """AdaIN, convolution, pixel shuffle, GELU; two convolutions from the third block on (figure 4).

    AdaIN computes in float32 inside torch's autocast too.
    """

    def __init__(self, config: TNeRVConfig, number: int, before: int, after: int) -> None:
        super().__init__()
        self.statistics = nn.Linear(config.code, 2 * before) if config.adain else None
        stride, kernel = config.strides[number], min(2 * number + 1, 5)
        if kernel == 5 and not config.plain:
            middle = middle_width(before, after * stride**2)
            first = nn.Conv2d(before, middle, 3, padding=1)
            self.up = nn.Sequential(first, nn.GELU(), UpConvolution(middle, after, stride), nn.GELU())
        else:
            self.up = nn.Sequential(UpConvolution(before, after, stride, kernel), nn.GELU())
        if self.statistics is not None:
            nn.init.zeros_(self.statistics.weight)
            nn.init.zeros_(self.statistics.bias)

    def forward(self, x: Tensor, u: Tensor) -> Tensor:
        """`[B, C, h, w]` -> `[B, C', s h, s w]`, conditioned on the time code u `[B, code]`."""
        if self.statistics is not None:
            scale, shift = in_float32(self.statistics, u).chunk(2, dim=1)
            x = modulate(x.float(), 1 + scale, shift)
        y: Tensor = self.up(x)
        return y


def middle_width(before: int, after: int) -> int:
    """Channels between two 3x3 convolutions that have as many weights as one of 5x5 (section 4.3)."""
    return max(1, round(25 * before * after / (9 * (before + after))))


class TNeRV(FlowNetwork):
    """Embeddings and grids -> pre-block -> blocks -> independent frame and flows -> frame (figure 3)."""

    def __init__(self, config: TNeRVConfig, frames: int) -> None:
        super().__init__(config.patch_size, frames, config.strides)
        self.config = config
        size = (config.rows, config.columns)
        embeddings = torch.zeros(frames, config.embedding, *size)
        self.embeddings = nn.Parameter(embeddings) if config.embedding else None
        lengths = grid_lengths(max(1, frames // 2), LEVELS) if config.grid else []
        self.grids = nn.ModuleList(TemporalGrid(length, config.grid, *size, frames) for length in lengths)
        self.per_frame = frozenset({"embeddings"} if config.embedding else ())
        self.latents = self.per_frame | {f"grids.{number}.rows" for number in range(len(lengths))}
        self.time = nn.Sequential(
            nn.Linear(2 * config.frequencies, config.time), nn.GELU(), nn.Linear(config.time, config.code)
        ) if config.adain else None  # fmt: skip
        features = config.embedding + len(lengths) * config.grid
        self.pre = nn.Conv2d(features, config.channels, 3, padding=1)
        widths = [config.channels, *tapered_widths(config.channels, len(config.strides), REDUCTION, config.lower)]
        self.blocks = nn.ModuleList(Block(config, number, a, b) for number, (a, b) in enumerate(pairwise(widths)))
        # made without flows too, so that the head starts from the same random weights in both cases
        motion = nn.Conv2d(widths[self._flow_stage + 1], 3 * len(REFERENCES), 3, padding=1)
        self.motion = motion if config.flow else None
        self.head = nn.Conv2d(widths[-1], 5 if config.flow else 3, 3, padding=1)

    def independent_frames(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Independent frames from the embeddings and the features of the grids, conditioned on time t = i / N."""
        features = [] if self.embeddings is None else [self.embeddings[frames]]
        x = self.pre(torch.cat([*features, *(grid(frames) for grid in self.grids)], dim=1))
        # blocks without AdaIN ignore the code
        t = sinusoids(frames.double() / self.frames, self.config.frequencies)
        return self.decode(x, x if self.time is None else in_float32(self.time, t))

    def aggregate(self, references: Tensor, motion: Tensor) -> Tensor:
        """The warped and blended references; flows and logits are upsampled before the softmax (equation 2)."""
        full = functional.interpolate(motion.float(), scale_factor=float(self._flow_scale), mode="bilinear")
        count = 2 * references.shape[1]
        return blend_warped(references, full[:, :count] * self._flow_scale, full[:, count:].softmax(dim=1))

    def resolve_border(self, indices: Tensor) -> Tensor:
        """The indices, with the first or last frame in place of those beyond the clip (our choice)."""
        return indices.clamp(0, self.frames - 1)


class TNeRVEncoder(Encoder):
    """ConvNeXt, whose output is scaled by 1 + alpha_t s_t with features s_t of time (section 4.1, equation 1).

    `tiny`: whether it is HNeRV's encoder; `temporal`: whether the features of time are used.
    """

    makes = frozenset({"embeddings"})

    def __init__(self, config: TNeRVConfig, frames: int, tiny: bool, temporal: bool) -> None:
        super().__init__()
        self._size, self._frames, self._frequencies = config.patch_size, frames, config.frequencies
        shape, count = (config.embedding, config.rows, config.columns), len(config.strides)
        widths = [*(ENCODER_WIDTHS + ENCODER_WIDTHS[-1:] * count)[: count - 1], config.embedding]
        depths = [*(ENCODER_DEPTHS[:4] + ENCODER_DEPTHS[3:4] * count)[: count - 1], ENCODER_DEPTHS[-1]]
        large = None if tiny else convnext(3, widths, config.strides, depths)
        self.stages = large or ContentEncoder(config, config.embedding).stages
        hidden = (
            nn.Linear(2 * self._frequencies, ENCODER_TIME),
            nn.GELU(),
            nn.Linear(ENCODER_TIME, ENCODER_TIME),
            nn.GELU(),
        )
        last = nn.Linear(ENCODER_TIME, math.prod(shape))
        self.time = nn.Sequential(*hidden, last, nn.Unflatten(1, shape)) if temporal else None
        self.shares = nn.Parameter(torch.zeros(frames)) if temporal else None

    def forward(self, video: FrameLookup, frames: Tensor) -> Mapping[str, Tensor]:
        """The embeddings of the frames `[B]`: `[B, c_E, h, w]`."""
        embeddings: Tensor = self.stages(padded(video(frames), self._size))
        if self.time is not None and self.shares is not None:
            features = self.time(sinusoids(frames.double() / self._frames, self._frequencies))
            embeddings = embeddings * (1 + self.shares[frames].view(-1, 1, 1, 1) * features)
        return {"embeddings": embeddings}


class TNeRVSettings(InrSettings):
    """The recipe (sections 5 and 5.2), and the switches of the ablations in table 3."""

    compression: Literal["entropy-constrained"] = "entropy-constrained"
    epochs: int = Field(1200, ge=1)
    """Epochs of pre-training, without the rate in the loss."""
    finetune_epochs: int = Field(600, ge=1)
    """Epochs of fine-tuning for each lambda."""
    lr: float = Field(5e-4, gt=0)
    """Learning rate of the training, which a schedule changes over its epochs."""
    batch: int = Field(1, ge=1)
    """Frames per training step."""
    frequencies: int = Field(80, ge=1, le=200)
    """Frequencies of the positional encoding."""
    no_grids: bool = False
    """E1: embeddings without grids."""
    no_embeddings: bool = False
    """E2: grids without embeddings."""
    no_temporal: bool = False
    """E3: an encoder without features of time; with `tiny_encoder` E5."""
    tiny_encoder: bool = False
    """E4: HNeRV's encoder."""
    no_flow: bool = False
    """D1: independent frames without flows and blending."""
    no_adain: bool = False
    """D2: a decoder that is not conditioned on time."""
    plain: bool = False
    """D3: one 5x5 convolution in place of two of 3x3."""


class TNeRVCodec(EmbeddingCodec):
    """T-NeRV with its entropy-constrained training."""

    name = "tnerv"
    reference = "Saethre et al., Combining Frame and GOP Embeddings for Neural Video Representation, CVPR 2024"
    revision = 4
    Settings = TNeRVSettings
    config = TNeRVConfig
    free_width = "time"
    scheme = EntropyConstrained
    presets = presets_of(
        quick={"epochs": 60, "finetune_epochs": 30, "lr": 2e-3, "tiny_encoder": True},
        tiny={"epochs": 12, "finetune_epochs": 6, "lr": 3e-3, "frequencies": 40, "tiny_encoder": True},
        best={"optimizer": "muon", "epochs": 49, "finetune_epochs": 24, "lr": 4e-3},
    )

    def shaped(self, clip: ClipHeader, share: float, size: int) -> TNeRVConfig:
        """The paper's 720p network with widths times `share`: `channels` is C_0, 225 at share 1.

        `embedding` is c_E and `grid` c_i, which take fixed shares of `size` (our choice).
        """
        geometry, s, less = choose_geometry(clip.width, clip.height), self.settings, min(1.0, 2 * share)
        cells = geometry.rows * geometry.columns
        time_steps = sum(grid_lengths(max(1, clip.frames // 2), LEVELS))
        embedding, grid = (
            0 if without else min(MOST_CHANNELS, max(1, round(part * size / (cells * count))))
            for without, part, count in (
                (s.no_embeddings, EMBEDDING_SHARE, clip.frames), (s.no_grids, GRID_SHARE, time_steps)
            )
        )  # fmt: skip
        return TNeRVConfig(
            geometry.rows, geometry.columns, geometry.strides, max(1, round(225 * share)), embedding, grid,
            lower=max(2, round(12 * less)), time=max(1, round(128 * less)), code=max(1, round(128 * less)),
            frequencies=s.frequencies, flow=int(not s.no_flow), adain=int(not s.no_adain), plain=int(s.plain),
        )  # fmt: skip

    def _solved(self, clip: ClipHeader, size: int) -> NetworkConfig:
        """The configuration for the size; where the time MLP cannot absorb the rest, other widths vary by a few."""
        solved = self._published(clip, size) or super()._solved(clip, size)
        assert isinstance(solved, TNeRVConfig)

        def missing(config: TNeRVConfig) -> int:
            with torch.device("meta"):
                return size - count_parameters(self.build(config, clip))

        def filled(config: TNeRVConfig) -> TNeRVConfig:
            parameters_of_unit = 2 * config.frequencies + 1 + config.code if config.adain else size
            time = config.time + round(missing(config) / parameters_of_unit)
            return replace(config, time=max(1, min(4 * max(32, config.code), time)))

        most = self.tolerance(clip) * size
        if abs(missing(solved)) <= most:
            return solved
        others = map(filled, similar_configs(solved))
        return next((config for config in others if abs(missing(config)) <= most), solved)

    def _published(self, clip: ClipHeader, size: int) -> TNeRVConfig | None:
        """The paper's model of this size for such a clip; None where there is none."""
        widths = PUBLISHED.get((clip.width, clip.height, clip.frames, size))
        if widths is None or self.settings.no_grids or self.settings.no_embeddings:
            return None
        channels, embedding, grid = widths
        return replace(self.shaped(clip, 1.0, size), channels=channels, embedding=embedding, grid=grid)

    def scaled(self, clip: ClipHeader, share: float) -> TNeRVConfig:
        """The paper's 12.4M network at 720p with widths times `share`: `channels` is C_0, 225 at share 1."""
        return self.shaped(clip, share, 12_400_000)

    @classmethod
    def build(cls, config: NetworkConfig, clip: ClipHeader) -> TNeRV:
        """The network. Raises BitstreamError for one with neither embeddings nor grids."""
        assert isinstance(config, TNeRVConfig)
        if not config.embedding and not config.grid:
            raise BitstreamError("The bitstream's network has neither embeddings nor grids; encode the clip again.")
        return TNeRV(config, clip.frames)

    def encoder(self, network: Network, clip: ClipHeader) -> Encoder | None:
        """The large ConvNeXt encoder or HNeRV's; None without embeddings."""
        assert isinstance(network, TNeRV)
        s = self.settings
        if not network.config.embedding:
            return None
        return TNeRVEncoder(network.config, clip.frames, s.tiny_encoder, not s.no_temporal)

    def recipe(self) -> Sequence[Stage]:
        """Pre-training, then fine-tuning with the rate in the loss."""
        s = self.settings
        fit = Stage(
            "fit", s.epochs, s.lr, floor=0.075, batch=s.batch, loss=MIXES["l1_ssim"], optimizer="adamw",
            weight_decay=0.01, decayed="model",
        )  # fmt: skip
        return fit, replace(fit, name="finetune", epochs=s.finetune_epochs, warmup=0.0, rate_weight=1.0)

    def compression(self) -> EntropyConstrained:
        """C-NeRV's entropy-constrained quantization, with a quantizer for each frame's embedding."""
        return EntropyConstrained()
