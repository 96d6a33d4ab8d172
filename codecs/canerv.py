"""CANeRV-style: a network that adapts to sequence, frames, structure, after CANeRV (L. Tang et al., arXiv 2502.06181).

Of the paper, the abstract, the related work and the caption of its figure are known to us, so this is a design of ours
along their statements, not the authors' network. They state three adaptations, each of which can be switched off.
Sequence (DSA): candidate changes of the architecture are compared by the rate and distortion that they give, and the
best is kept (caption); `profile=balanced`, or another name of a profile, trains that one without a comparison. Frames
(DFA): the network captures the dynamics between frames (abstract); `no-dfa` switches it off. Structure (HSA): the
network captures spatial structure inside frames to restore detail (abstract); `no-hsa` switches it off, and `no-skips`,
`no-side-heads` and `no-edges` a part of it.

How each of them works, the backbone (TeNeRV's without fusion and groups of pictures), the losses, the schedule, the
compression and all numbers are our choice.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from rdbench.codec import Host, RatePoint, Source, Workspace

from .inr.codec import ClipHeader
from .inr.compression.quant_noise import MOST_BITS, QuantNoise
from .inr.networks.encoder import Encoder
from .inr.networks.layers.convnext import normalize_channels
from .inr.networks.layers.depthwise import Depthwise
from .inr.networks.layers.fused_block import depthwise
from .inr.networks.layers.mlp import normalized_mlp
from .inr.networks.layers.precision import in_float32
from .inr.networks.layers.temporal_grids import MultiLevelGrid, level_lengths
from .inr.networks.network import Network, NetworkConfig, Patches, UpsamplingConfig
from .inr.networks.patch_network import (
    BASE_GRID_CELLS,
    choose_base_grid,
    fewest_channels,
    most_time_steps,
    step_counts,
    zero_biases,
)
from .inr.networks.side_heads import SideHeads
from .inr.networks.sizing import solve_width
from .inr.presets import presets_of
from .inr.recipes.losses import MIXES
from .inr.recipes.stage import Stage
from .inr.selecting import SelectingCodec
from .inr.training.end_to_end import QUICK, TINY, EndToEndSettings

SHOWN_AS = "CANeRV-style"
"""How records and figures name the codec."""
SELECT, FIT = "select", "fit"
"""Names of the training stages before quantization; profiles are compared after the first."""
LEVELS = 3
"""Levels of the grids, each with half the time steps of the one before."""
CODE = 8
"""Numbers of a frame's code, which begins as zeros."""
CODE_MAP_DEVIATION, CODE_SCALE = 0.1, 0.1
"""Deviation of the initial weights that map codes, and what a code is multiplied with: Adam's steps are long where only
one step of an epoch has a gradient."""
EXPANSION, LAST_EXPANSION = 4, 1
"""Hidden width of a refinement layer over its channels, and the same in the last stage."""
SIZE = 3_000_000
"""Parameters of the network whose widths are the defaults."""
GRID_VALUES = 2 * 525 * BASE_GRID_CELLS
"""Values of all grids in that network at 600 frames: channels times time steps times cells of the levels."""
STEP_FRAMES = 2
"""Frames for each time step of the grids' first level; more in small networks of long clips."""
SIDE_WEIGHT, EDGE_WEIGHT = 0.1, 0.1
"""Weight of each side output's loss, and of the differences between neighboring pixels in the loss."""
ADAPTED = 2
"""Stages with skips, the last ones (3 and 4 of four), and with side heads, those before the last (2 and 3)."""
SEARCH = "search"
"""The value of `profile` that compares all."""


class Profile(NamedTuple):
    """A candidate architecture; each meets the size with widths of its own."""

    reduction: tuple[int, int]
    """Ratio of the channels of a stage to those of the next, as a fraction."""
    grids: int
    """Factor on the channels of the grids."""
    kernels: tuple[int, ...]
    """Sizes of the depthwise kernels of the last four stages; earlier ones have the first of these."""


PROFILES = MappingProxyType(
    {
        "balanced": Profile((2, 1), 1, (3, 3, 3, 3)),
        "late": Profile((3, 2), 1, (3, 3, 3, 3)),  # more channels in late stages, for textures
        "grids": Profile((2, 1), 2, (3, 3, 3, 3)),  # more values in time, for motion
        "kernels": Profile((2, 1), 1, (3, 5, 7, 5)),  # wider neighborhoods, for structure
    }
)
"""The candidates, by the names of the option; the bitstream has their position in this order."""


@dataclass(frozen=True)
class CANeRVConfig(UpsamplingConfig):
    """The network's configuration; the defaults are those of the balanced 3M at 1080p."""

    channels: int = 264
    """Channels of the stem and of the first stage (C_0)."""
    hidden: int = 1056
    """Hidden width of the first stage's layers: four times `channels`, adjusted to meet a size exactly."""
    grid_channels: int = 2
    """Channels of each level of the grids (c)."""
    time_steps: int = 300
    """Time steps of the grids' first level; half as many in each next one."""
    lower: int = 16
    """Fewest channels of a stage."""
    depth: int = 3
    """Refinement layers of every stage but the last."""
    last_depth: int = 1
    """Refinement layers of the last stage."""
    profile: int = 0
    """DSA: the profile, as a position in PROFILES."""
    codes: int = 1
    """DFA: 1 for a network with a code for each frame."""
    skips: int = 1
    """HSA: 1 for a network whose last stages also read the output before the last one."""

    choices = MappingProxyType({"profile": len(PROFILES), "codes": 2, "skips": 2})

    @property
    def chosen(self) -> Profile:
        """The profile."""
        return tuple(PROFILES.values())[self.profile]

    def widths(self) -> list[int]:
        """Channels of the stem and of each stage."""
        times, over = self.chosen.reduction
        widths = [self.channels] * 2
        for _ in self.strides[1:]:
            widths.append(max(widths[-1] * over // times, self.lower))
        return widths

    def kernels(self) -> list[int]:
        """Sizes of the depthwise kernels of each stage."""
        known = self.chosen.kernels
        return [known[max(0, len(known) - len(self.strides) + stage)] for stage in range(len(self.strides))]


def grid_steps(first: int) -> list[int]:
    """Time steps of each level of the grids: `first`, and half as many in each next one."""
    return level_lengths(first, LEVELS, 2)


class Refinement(nn.Module):
    """x + pointwise(GELU(pointwise(norm(depthwise(x))))), where the frame's code modulates the depthwise part (DFA)."""

    def __init__(self, channels: int, hidden: int, kernel: int, modulated: bool) -> None:
        super().__init__()
        self.depthwise = Depthwise(channels, kernel)
        self.modulation = nn.Linear(CODE, 2 * channels) if modulated else None
        if self.modulation is not None and not self.modulation.weight.is_meta:  # there it would import a compiler
            nn.init.normal_(self.modulation.weight, std=CODE_MAP_DEVIATION)
        self.norm = nn.LayerNorm(channels)
        self.widen, self.narrow = nn.Linear(channels, hidden), nn.Linear(hidden, channels)

    def forward(self, x: Tensor, codes: Tensor | None) -> Tensor:
        """`[B, h, w, C]` and the frames' codes `[B, 8]` -> `[B, h, w, C]`."""
        norm, y = self.norm, self._filtered(x, codes)
        return x + normalized_mlp(y, norm.weight, norm.bias, norm.eps, self.widen, self.narrow)

    def _filtered(self, x: Tensor, codes: Tensor | None) -> Tensor:
        """(1 + s) (depthwise(x)) + b with s and b from the code, as one convolution with kernels for each frame."""
        if self.modulation is None or codes is None:
            plain: Tensor = self.depthwise(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
            return plain
        gain, shift = self.modulation(codes).chunk(2, dim=1)
        weight, bias = self.depthwise.weight, self.depthwise.bias
        assert bias is not None
        return depthwise(x, weight[:, 0] * (1 + gain)[..., None, None], bias * (1 + gain) + shift)


class Upsampling(nn.Module):
    """A pointwise convolution of normalized features, then bilinear upsampling; in this order it costs less."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.project, self._stride = nn.Linear(before, after), stride

    def forward(self, x: Tensor) -> Tensor:
        """`[B, h, w, C]` -> `[B, s h, s w, C']`."""
        y: Tensor = self.project(normalize_channels(x)).permute(0, 3, 1, 2)
        if self._stride > 1:
            y = functional.interpolate(y, scale_factor=self._stride, mode="bilinear", align_corners=False)
        return y.permute(0, 2, 3, 1)


class UpStage(nn.Module):
    """Upsampling, refinement layers; with a skip, the output before the last one is added first (HSA)."""

    def __init__(self, up: Upsampling, skip: Upsampling | None, layers: Sequence[Refinement]) -> None:
        super().__init__()
        self.up, self.skip, self.layers = up, skip, nn.ModuleList(layers)

    def forward(self, x: Tensor, earlier: Tensor | None, codes: Tensor | None) -> Tensor:
        """The last stage's output, the one before it, and the codes -> `[B, h', w', C']`."""
        y: Tensor = self.up(x)
        if self.skip is not None and earlier is not None:
            y = y + self.skip(earlier)
        for layer in self.layers:
            y = layer(y, codes)
        return y


def up_stages(config: CANeRVConfig) -> nn.ModuleList:
    """The stages; the last two have skips, where there is an output two before theirs, the stem's included."""
    widths, strides, stages = config.widths(), config.strides, []
    for number, (stride, kernel) in enumerate(zip(strides, config.kernels(), strict=True)):
        after, last = widths[number + 1], number + 1 == len(strides)
        hidden = config.hidden if number == 0 else after * (LAST_EXPANSION if last else EXPANSION)
        skip = None
        if config.skips and number >= max(1, len(strides) - ADAPTED):
            skip = Upsampling(widths[number - 1], after, strides[number - 1] * stride)
        depth = config.last_depth if last else config.depth
        layers = [Refinement(after, hidden, kernel, bool(config.codes)) for _ in range(depth)]
        stages.append(UpStage(Upsampling(widths[number], after, stride), skip, layers))
    return nn.ModuleList(stages)


class CANeRV(Network):
    """Grids over time, stem, stages, head; a code for each frame."""

    def __init__(self, config: CANeRVConfig, frames: int) -> None:
        super().__init__(config.patch_size)
        self.config = config
        cells = config.rows * config.columns
        levels = [(steps, config.grid_channels) for steps in grid_steps(config.time_steps)]
        self.grids = MultiLevelGrid(levels, cells, frames)
        self.feature_grids = {
            f"grids.levels.{number}": (length, config.rows, config.columns)
            for number, length in enumerate(self.grids.lengths())
        }
        self.codes = nn.Parameter(torch.zeros(frames, CODE)) if config.codes else None
        self.stem = nn.Conv2d(LEVELS * config.grid_channels, config.channels, 3, padding=1)
        self.stages = up_stages(config)
        self.head = nn.Linear(config.widths()[-1], 3)
        self.side: tuple[SideHeads, ...] = ()
        """Side heads of the training, in a tuple because they are no part of this network."""
        zero_biases(self)

    def features(self, at: Patches) -> list[Tensor]:
        """The outputs of the stages, `[B, h, w, C]` each."""
        rows, columns = self.config.rows, self.config.columns
        cells = torch.arange(rows * columns, device=at.frames.device).expand(len(at.frames), -1)
        x = self.stem(self.grids(at.frames, cells).unflatten(1, (rows, columns)).permute(0, 3, 1, 2))
        codes = None if self.codes is None else CODE_SCALE * self.codes[at.frames]
        outputs: list[Tensor] = [x.permute(0, 2, 3, 1)]
        for stage in self.stages:
            outputs.append(stage(outputs[-1], outputs[-2] if len(outputs) > 1 else None, codes))
        return outputs[1:]

    def forward(self, at: Patches) -> Tensor:
        """The frames, `[B, 3, H, W]`."""
        return self._shown(self.features(at)[-1])

    def _shown(self, x: Tensor) -> Tensor:
        return torch.sigmoid(in_float32(self.head, x)).permute(0, 3, 1, 2)

    def training_outputs(self, at: Patches) -> Sequence[tuple[float | Tensor, Tensor]]:
        """The frames, and small ones from the side heads."""
        features = self.features(at)
        small = [output for heads in self.side for output in heads.outputs(features[-1 - len(heads) : -1])]
        return [(1.0, self._shown(features[-1])), *small]


class CANeRVSettings(EndToEndSettings):
    """The recipe, and what switches each adaptation off."""

    epochs: int = Field(300, ge=1)
    """Epochs of training before quantization."""
    select: float = Field(0.1, gt=0, lt=1)
    """Share of the epochs, the first ones, after which profiles are compared; until then L1 is the whole loss."""
    quantize_epochs: int = Field(30, ge=0)
    """Epochs of quantization-aware training."""
    lr: float = Field(2e-3, gt=0)
    """Learning rate of the training, which a schedule changes over its epochs."""
    batch: int = Field(1, ge=1)
    """Frames per training step."""
    bits: int = Field(6, ge=2, le=MOST_BITS)
    """Bits of a quantized weight before entropy coding: TeNeRV's, where 8 took 35% more bytes for 0.05 dB."""
    noise: float = Field(0.9, ge=0, le=1)
    """Share of the weights that are quantized in each step of quantization-aware training."""
    last_depth: int = Field(1, ge=1, le=8)
    """Refinement layers of the last stage."""
    profile: Literal["search", "balanced", "late", "grids", "kernels"] = "search"
    """`search` compares the profiles (DSA); a profile's name switches the sequence-level adaptation off."""
    no_dfa: bool = False
    """No codes of frames: no frame-level adaptation."""
    no_hsa: bool = False
    """No structural adaptation: neither skips nor side heads nor edges in the loss."""
    no_skips: bool = False
    """No skips from the output before the last one."""
    no_side_heads: bool = False
    """No small outputs during training."""
    no_edges: bool = False
    """No differences between neighboring pixels in the loss."""


class CANeRVCodec(SelectingCodec):
    """CANeRV-style: profiles compared, then quantization-aware training (Quant-Noise) and arithmetic coding."""

    name = "canerv"
    revision = 5
    reference = "CANeRV-style, a design of ours after Tang et al., CANeRV: Content Adaptive Neural Representation, 2025"
    Settings = CANeRVSettings
    config = CANeRVConfig
    free_width = "hidden"
    scheme = QuantNoise
    db_per_doubling, tie = 2.0, 1.0  # a profile differs by 0.5 dB between seeds, and 0.8 dB were none at the end
    presets = presets_of(
        quick={"epochs": 70, "quantize_epochs": 5, "lr": 1e-2, **QUICK},
        tiny={"epochs": 16, "quantize_epochs": 2, "lr": 5e-3, **TINY},
        best={"optimizer": "muon"},
    )

    @classmethod
    def version(cls, host: Host) -> str:
        """As for all INR codecs, after what it is."""
        return f"{SHOWN_AS} {super().version(host)}"

    def encode(self, source: Source, point: RatePoint, bitstream: Path, workspace: Workspace) -> None:
        """As all codecs with candidates; the record says that it is CANeRV-style."""
        workspace.report["shown_as"] = SHOWN_AS
        super().encode(source, point, bitstream, workspace)

    def scaled(self, clip: ClipHeader, share: float) -> CANeRVConfig:
        """As `shaped`, where the grids keep their share of the parameters."""
        return self.shaped(clip, share, share**2 * SIZE)

    def _solved(self, clip: ClipHeader, size: int) -> NetworkConfig:
        return solve_width(size, lambda x: self.shaped(clip, x, size), lambda c: self.build(c, clip), self.free_width)

    def shaped(self, clip: ClipHeader, share: float, size: float) -> CANeRVConfig:
        """The 3M network with all widths times `share`, and with the grids of a network of `size` parameters.

        So all profiles and ablations of a size have the same grids and strides. In symbols, `channels` is C_0 and
        `grid_channels` c.
        """
        s = self.settings
        number = max(0, [SEARCH, *PROFILES].index(s.profile) - 1)  # the balanced one for `search`
        values, width = size / SIZE * GRID_VALUES, max(1, round(264 * share))
        wanted = step_counts(clip.frames, STEP_FRAMES)
        first = most_time_steps(wanted, values, lambda steps: sum(grid_steps(steps)))
        geometry, channels = choose_base_grid(clip.width, clip.height, values / sum(grid_steps(first)))
        return CANeRVConfig(
            geometry.rows, geometry.columns, geometry.strides, channels=width, hidden=EXPANSION * width,
            grid_channels=channels * list(PROFILES.values())[number].grids, time_steps=first,
            lower=fewest_channels(share), last_depth=s.last_depth, profile=number, codes=int(not s.no_dfa),
            skips=int(not (s.no_hsa or s.no_skips)),
        )  # fmt: skip

    @classmethod
    def build(cls, config: NetworkConfig, clip: ClipHeader) -> CANeRV:
        """The network."""
        assert isinstance(config, CANeRVConfig)
        return CANeRV(config, clip.frames)

    def encoder(self, network: Network, clip: ClipHeader) -> Encoder | None:
        """The side heads (HSA), which the network then shows its features to."""
        assert isinstance(network, CANeRV)
        widths = network.config.widths()[1:-1][-ADAPTED:]
        if self.settings.no_hsa or self.settings.no_side_heads or not widths:
            return None
        network.side = (SideHeads(widths, SIDE_WEIGHT, FIT),)
        return network.side[0]

    def recipe(self) -> Sequence[Stage]:
        """L1 for the comparison of profiles; the whole loss from there on; quantization-aware at a tenth of the rate.

        Each stage ends at a hundredth of its learning rate: at a high one, the quality of one network changes by more
        from step to step than profiles differ.
        """
        s = self.settings
        first = min(s.epochs, max(1, round(s.select * s.epochs)))
        edges = () if s.no_hsa or s.no_edges else ((EDGE_WEIGHT, "edges"),)
        select = Stage(SELECT, first, s.lr, warmup=0.2, floor=0.01, batch=s.batch, loss=MIXES["l1"], clip_norm=1.0)
        whole = (*MIXES["l1_ms_ssim_5"], *edges)
        fit = replace(select, name=FIT, epochs=s.epochs - first, warmup=0.05, loss=whole)
        quantized = replace(fit, name="quantize", epochs=s.quantize_epochs, lr=s.lr / 10, warmup=0.0, noise=s.noise)
        return select, fit, quantized

    def compression(self) -> QuantNoise:
        """Quant-Noise without pruning."""
        return QuantNoise(self.settings.bits)

    @property
    def candidate_name(self) -> str:
        """The profile."""
        return str(self.settings.profile)

    def candidates(self) -> "list[CANeRVCodec]":
        """A codec for each profile, the balanced one first."""
        if self.settings.profile != SEARCH:
            return []
        return [CANeRVCodec(self.settings.model_copy(update={"profile": name})) for name in PROFILES]

    def trial_scheme(self) -> QuantNoise:
        """8 bits without fine-tuning."""
        return QuantNoise(MOST_BITS)
