"""HiNeRV: Video Compression with Hierarchical Encoding-based Neural Representation (H. M. Kwan et al., NeurIPS 2023).

Learned grids over time, a stem, and stages of bilinear upsampling, local encodings and ConvNeXt blocks. The network is
trained on patches and rendered in whole frames; it is pruned, then trained with quantized weights. All of its
parameters are transmitted. Our choice: how grids and widths follow from size, length and resolution (`scaled`): in
small networks, local encodings have fewer time steps than a long clip has frames; patches where 80 pixels do not divide
the frame (`inr/networks/layers/patchwise.py`); the probability models of the entropy coder
(`inr/compression/quant_noise.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from pydantic import Field
from torch import Tensor, nn

from .inr.codec import ClipHeader, InrCodec
from .inr.compression.quant_noise import MOST_BITS, QuantNoise
from .inr.networks.layers.convnext import NORM_EPSILON, normalize_channels
from .inr.networks.layers.depthwise import Depthwise
from .inr.networks.layers.fusable import FusableBlock
from .inr.networks.layers.fused_block import Block as BlockTensors
from .inr.networks.layers.mlp import normalized_mlp
from .inr.networks.layers.patchwise import PatchLayout, add_cells, add_masked, crop, masked
from .inr.networks.layers.temporal_grids import LocalEncoding, MultiLevelGrid, local_channels, local_time_steps
from .inr.networks.network import MOST_FRAMES, NetworkConfig, Patches
from .inr.networks.patch_network import (
    BASE_GRID_CELLS,
    PatchConfig,
    PatchNetwork,
    StageShape,
    choose_base_grid,
    fewest_channels,
    most_time_steps,
    zero_biases,
)
from .inr.presets import presets_of
from .inr.recipes.losses import MIXES
from .inr.recipes.stage import Stage
from .inr.training.end_to_end import QUICK, TINY, EndToEndSettings

GRID_VALUES = 2 * 150 * BASE_GRID_CELLS
"""Values of the first level of the base grid in the paper's S: channels times time steps times cells."""
LOCAL_VALUES = 250_000
"""Values of all local encodings in the paper's S: 226,800 at 600 frames, and some more, so that the paper's networks
have a time step for each frame."""
PRUNABLE = r"(stem|head|stages\.\d+\.blocks\.\d+\.\w+)\.weight"
"""Names of the weights that are pruned: neither grids nor local encodings (section 3.5)."""


@dataclass(frozen=True)
class HiNeRVConfig(PatchConfig):
    """The network's configuration; the defaults are those of the paper's S at 1080p."""

    channels: int = 280
    hidden: int = 1120
    lower: int = 1
    grid_frames: int = 150
    """Time steps of the first level of the base grid."""
    grid_channels: int = 2
    """Channels of the first level of the base grid; the second has half the time steps and twice the channels."""
    local_channels: int = 4
    """Channels of the first stage's local encoding; each later one has half."""
    local_frames: int = 0
    """Time steps of the first level of the local encodings; 0: one for each frame, as in the paper."""
    depth: int = 3
    """Blocks of the first stage."""
    later_depth: int = 3
    """Blocks of each stage between the first and the last."""
    last_depth: int = 1
    """Blocks of the last stage."""
    expansion: int = 4
    """Hidden width of a block over its channels."""
    last_expansion: int = 1
    """The same in the last stage."""

    choices = MappingProxyType({"local_frames": MOST_FRAMES + 1})

    @property
    def depths(self) -> tuple[int, ...]:
        """Blocks of each stage; a single stage is the last."""
        all_but_last = [self.depth, *[self.later_depth] * len(self.strides)][: len(self.strides) - 1]
        return (*all_but_last, self.last_depth)

    @property
    def expansions(self) -> tuple[int, ...]:
        """Hidden width of each stage's blocks over its channels."""
        return self.per_stage(self.expansion, self.last_expansion)


class Block(FusableBlock):
    """ConvNeXt block without biases, layer scale or affine normalization; residual if the width stays (section 3.3)."""

    def __init__(self, before: int, after: int, hidden: int) -> None:
        super().__init__()
        self.depthwise = Depthwise(before, 3, bias=False)
        self.widen = nn.Linear(before, hidden, bias=False)
        self.narrow = nn.Linear(hidden, after, bias=False)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """`[B, h, w, C]` -> `[B, h, w, C']`."""
        if self.implementation is not None:
            return self.implementation(x, self.tensors(), mask)
        y = self.depthwise(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        y = normalized_mlp(y, None, None, NORM_EPSILON, self.widen, self.narrow)
        return add_masked(x, y, mask) if x.shape[-1] == y.shape[-1] else masked(y, mask)

    def tensors(self) -> BlockTensors:
        """What an implementation computes the block from."""
        residual = self.widen.in_features == self.narrow.out_features
        kernels = self.depthwise.weight[:, 0]
        return BlockTensors(kernels, None, None, None, self.widen, self.narrow, NORM_EPSILON, residual)


class UpStage(nn.Module):
    """Normalization, bilinear upsampling, local encoding, blocks (section 3.3)."""

    def __init__(self, shape: StageShape, channels: int, local_frames: int, frames: int) -> None:
        super().__init__()
        self.encoding = LocalEncoding(channels, shape.stride, shape.before, local_frames, frames)
        widths = [shape.before, *[shape.after] * shape.depth]
        self.blocks = nn.ModuleList(Block(width, shape.after, shape.hidden) for width in widths[:-1])

    def forward(self, x: Tensor, frames: Tensor, layout: PatchLayout, scale: int, margins: tuple[int, int]) -> Tensor:
        """Features with the first margin `[B, h, w, C]` -> with the second `[B, h', w', C']`.

        `scale`: pixels per side of a base-grid cell after the upsampling.
        """
        stride, (before, after) = self.encoding.stride, margins
        x = layout.upsample(normalize_channels(x), stride, before)
        mask = layout.mask(scale, after)
        x = masked(crop(add_cells(x, self.encoding(frames)), before * stride - after), mask)
        for block in self.blocks:
            x = block(x, mask)
        return x


def up_stages(config: PatchConfig, channels: int, local_frames: int, frames: int) -> nn.ModuleList:
    """The stages; local encodings have `local_frames` time steps, the first has so many channels."""
    shapes = config.stage_shapes()
    counts = local_channels(channels, len(shapes))
    return nn.ModuleList(
        UpStage(shape, count, local_frames, frames) for shape, count in zip(shapes, counts, strict=True)
    )


class HiNeRV(PatchNetwork):
    """Base grid, stem, stages, head (section 3, figure 2)."""

    def __init__(self, config: HiNeRVConfig, frames: int) -> None:
        super().__init__(config)
        levels = [(max(1, config.grid_frames >> level), config.grid_channels << level) for level in (0, 1)]
        self.base = MultiLevelGrid(levels, config.rows * config.columns, frames)
        self.feature_grids = {
            f"base.levels.{number}": (length, config.rows, config.columns)
            for number, length in enumerate(self.base.lengths())
        }
        self.stem = nn.Conv2d(3 * config.grid_channels, config.channels, 3, padding=1)
        self.stages = up_stages(config, config.local_channels, config.local_frames or frames, frames)
        self.head = nn.Linear(config.widths()[-1], 3)
        zero_biases(self)

    def forward(self, at: Patches) -> Tensor:
        """The patches, or whole frames."""
        layout = self.layout(at)
        features = self.base(at.frames, layout.cell_indices(layout.margins.base))
        return self.decode(self.apply_stem(self.stem, features, layout), at.frames, layout)


class HiNeRVSettings(EndToEndSettings):
    """The recipe of the paper's compression models (section 4.1)."""

    epochs: int = Field(300, ge=1)
    """Epochs of training, before the other stages."""
    prune_epochs: int = Field(60, ge=0)
    """Epochs of fine-tuning after pruning."""
    quantize_epochs: int = Field(30, ge=0)
    """Epochs of quantization-aware training."""
    lr: float = Field(2e-3, gt=0)
    """Learning rate of the training, which a schedule changes over its epochs."""
    batch: int = Field(1, ge=1)
    """Frames per training step; with `patches`, as many patches, sampled from all frames, as these frames hold."""
    patches: bool = True
    """Trains on patches, in the paper of 1/144 of the frame; whole frames need no margins and are a third faster."""
    prune: float = Field(0.15, ge=0, lt=1)
    """Share of all parameters that is pruned."""
    bits: int = Field(6, ge=2, le=MOST_BITS)
    """Bits of a quantized weight before entropy coding."""
    noise: float = Field(0.9, ge=0, le=1)
    """Share of the weights that are quantized in each step of quantization-aware training."""
    depth: int = Field(3, ge=1, le=8)
    """Blocks of every stage but the last: 4 in the paper's XL, 5 in XXL."""


class HiNeRVCodec(InrCodec):
    """HiNeRV with its pruning, Quant-Noise and arithmetic coding."""

    name = "hinerv"
    reference = "Kwan et al., HiNeRV: Video Compression with Hierarchical Encoding-based Neural Representation, 2023"
    Settings = HiNeRVSettings
    config = HiNeRVConfig
    free_width = "hidden"
    revision = 5
    scheme = QuantNoise
    presets = presets_of(
        quick={"epochs": 60, "prune_epochs": 10, "quantize_epochs": 5, "lr": 1e-2, "patches": False} | QUICK,
        tiny={"epochs": 14, "prune_epochs": 2, "quantize_epochs": 2, "lr": 5e-3, "patches": False} | TINY,
        best={"optimizer": "muon"},
    )

    def scaled(self, clip: ClipHeader, share: float) -> HiNeRVConfig:
        """The paper's S with all widths times `share`; grids keep their share of the parameters (our choice).

        In the symbols of the paper and its code, `channels` is C_0, `grid_frames` T_b, `grid_channels` c_b,
        `local_channels` c_e, and `depth` the d of all stages but the last. Local encodings keep their share by fewer
        time steps: one for each of 132 frames of 320x180 would take two thirds of 40K.
        """
        most, values = max(1, min(150, round(0.3 * clip.frames))), share**2 * GRID_VALUES
        time_steps = most_time_steps(range(most, 0, -1), values)
        geometry, channels = choose_base_grid(clip.width, clip.height, values / time_steps)
        local_steps = local_time_steps(geometry.strides, 2 * channels, share**2 * LOCAL_VALUES, clip.frames)
        width = max(1, round(280 * share))
        return HiNeRVConfig(
            geometry.rows, geometry.columns, geometry.strides,
            channels=width, hidden=4 * width, grid_frames=time_steps, grid_channels=channels,
            local_channels=2 * channels, local_frames=local_steps if local_steps < clip.frames else 0,
            depth=self.settings.depth, later_depth=self.settings.depth,
            lower=fewest_channels(share),
        )  # fmt: skip

    @classmethod
    def build(cls, config: NetworkConfig, clip: ClipHeader) -> HiNeRV:
        """The network."""
        assert isinstance(config, HiNeRVConfig)
        return HiNeRV(config, clip.frames)

    def recipe(self) -> Sequence[Stage]:
        """Training, fine-tuning after pruning, quantization-aware training (section 3.5).

        Fine-tuning restarts at the full learning rate, without warm-up; the last stage has a tenth of it.
        """
        s = self.settings
        fit = Stage(
            "fit", s.epochs, s.lr, warmup=0.1, warmup_start=0.01, floor=0.01, cosine_over="all",
            batch=s.batch, by_patches=s.patches, loss=MIXES["l1_ms_ssim_5"], clip_norm=1.0,
        )  # fmt: skip
        pruned = replace(fit, name="prune", epochs=s.prune_epochs, warmup=0.0, sparsity=s.prune)
        return fit, pruned, replace(pruned, name="quantize", epochs=s.quantize_epochs, lr=s.lr / 10, noise=s.noise)

    def compression(self) -> QuantNoise:
        """The paper's pruning, Quant-Noise and arithmetic coding (section 3.5)."""
        return QuantNoise(self.settings.bits, PRUNABLE)
