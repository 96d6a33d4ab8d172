"""NVRC: Neural Video Representation Compression (H. M. Kwan et al., NeurIPS 2024).

HiNeRV's stages behind large feature grids of four resolutions, each with a stem of its own. Network and compression
(`inr/compression/nvrc/scheme.py`) are trained end to end; all parameters of both are transmitted. Our choice: how
widths and grids follow from size, length and resolution (`scaled`); lambda where the rate point does not give it, and
RGB as the output of trainings for YUV (`inr/training/end_to_end.py`); with what entropy models begin.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, cast

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from rdbench.codec import Clip, RatePoint

from .hinerv import up_stages
from .inr.codec import ClipHeader, InrCodec
from .inr.compression.nvrc.scheme import HierarchicalScheme
from .inr.networks.layers.temporal_grids import GRID_INIT, local_time_steps, steps_from_centers
from .inr.networks.layers.windows import Window
from .inr.networks.network import MOST_FRAMES, NetworkConfig, Patches, choose_geometry, count_parameters
from .inr.networks.patch_network import PatchConfig, PatchNetwork, fewest_channels, zero_biases
from .inr.presets import presets_of
from .inr.recipes.losses import MIXES
from .inr.recipes.stage import Stage
from .inr.training.end_to_end import QUICK, TINY, YUV_LAMBDA, EndToEnd, EndToEndSettings
from .inr.training.rate_distortion import lambda_label, split_label

LEVELS = 4
"""Most feature grids; the paper's number."""
COARSEST_ROWS = 5
"""Fewest rows of a grid other than the finest, which gives the paper's four levels at 45 rows (our choice)."""
KERNEL = 3
"""Side of the stems' kernels."""
LOCAL_RATIO = 4
"""Channels of the first local encoding over those of the finest grid."""
STRIDES = MappingProxyType({
    2: (2,), 4: (2, 2), 6: (3, 2), 8: (2, 2, 2), 12: (3, 2, 2), 16: (2, 2, 2, 2), 24: (3, 2, 2, 2),
    48: (3, 2, 2, 2, 2), 96: (3, 2, 2, 2, 2, 2),
})  # fmt: skip
"""Upsampling strides by their product: the paper's at 1080p (24); the others are our choice."""
FINEST_GRID_CELLS = 45 * 80
"""Cells of the paper's finest grid at 16:9."""
SCALES = MappingProxyType({"S1": (224, 1), "S2": (336, 2), "S3": (512, 4), "S4": (768, 8)})
"""The paper's scales: channels C_0, and channels c_g of the finest grid."""
MOST_WITH_COMPRESSION = 1.1
"""Above so many times a scale's own parameters lies no published number of them."""
SHORT_CLIP, SHORT_STEPS, LONG_STEPS = 150, 50, 200
"""Time steps of the scales' finest grids: SHORT_STEPS up to so many frames (MCL-JCV), LONG_STEPS beyond (UVG)."""
SHORT_PAIRS = (("S1", 0.25), ("S1", 0.5), ("S2", 1.0), ("S2", 2.0), ("S3", 4.0), ("S3", 8.0))
LONG_PAIRS = (("S2", 1.0), ("S2", 2.0), ("S3", 4.0), ("S3", 8.0), ("S4", 16.0), ("S4", 32.0))
"""Scales and lambdas of table 6 for RGB, for short clips and for all others."""
PAPER_FRAME, PAPER_EPOCHS = (1920, 1080), 360
"""Frame size, and the fewest epochs of stage 1, with which table 6 gives the default rate points."""
LOCAL_VALUES = 400_000
"""Most values of all local encodings at the widths of S2, and in proportion to its parameters at others (our choice:
6 % of them; S2 has 180,000 at 600 frames)."""
FEWEST_LOCAL_STEPS = 32
"""Fewest time steps of local encodings on clips of as many frames, with which 20K was measured at 32 frames (our
choice)."""
FEWEST_VALUES = 2 / 3
"""Fewest values of a cell of the finest grid in one time step; below, the grid gets fewer cells (our choice)."""


@dataclass(frozen=True)
class NVRCConfig(PatchConfig):
    """The network's configuration; the defaults are those of the paper's S2 at 1080p."""

    channels: int = 336
    hidden: int = 1344
    lower: int = 1
    grid_frames: int = 200
    """Time steps of the finest grid."""
    grid_channels: int = 2
    """Channels of the finest grid; each coarser one has twice as many, and half the time steps, rows and columns."""
    local_channels: int = 8
    """Channels of the first stage's local encoding; each later one has half."""
    depth: int = 3
    """Blocks of every stage but the last, which has one."""
    expansion: int = 4
    """Hidden width of a block over its channels."""
    coarser: int = LEVELS - 1
    """Grids besides the finest."""
    local_frames: int = 0
    """Time steps of the first level of the local encodings; 0: one for each frame, as in the paper."""

    choices = MappingProxyType({"coarser": LEVELS, "local_frames": MOST_FRAMES + 1})

    @property
    def depths(self) -> tuple[int, ...]:
        """Blocks of each stage."""
        return self.per_stage(self.depth, 1)

    @property
    def expansions(self) -> tuple[int, ...]:
        """Hidden width of each stage's blocks over its channels."""
        return self.per_stage(self.expansion, self.expansion)


def coarser_levels(rows: int) -> int:
    """Grids besides the finest, which has so many rows."""
    return sum(rows >> level >= COARSEST_ROWS for level in range(1, LEVELS))


def published(scale: str, clip: ClipHeader) -> NVRCConfig:
    """A scale of the paper for a clip; beyond 1080p's frame size the base grid and the strides are our choice."""
    channels, grid_channels = SCALES[scale]
    geometry = choose_geometry(clip.width, clip.height, STRIDES, FINEST_GRID_CELLS)
    steps = SHORT_STEPS if clip.frames <= SHORT_CLIP else LONG_STEPS
    return NVRCConfig(
        geometry.rows, geometry.columns, geometry.strides,
        channels=channels, hidden=4 * channels, grid_frames=min(steps, clip.frames), grid_channels=grid_channels,
        local_channels=LOCAL_RATIO * grid_channels, coarser=coarser_levels(geometry.rows),
    )  # fmt: skip


class GridLevel(nn.Module):
    """A feature grid `[C, T_g, h, w]` and its 3x3x3 convolution, sampled by trilinear interpolation.

    The paper convolves the whole grid, then interpolates. Both are linear, so interpolation in time may come first: the
    time steps under the kernel are interpolated, and a 3x3 convolution of one frame, with three times the channels,
    replaces that of the whole grid.
    """

    def __init__(self, shape: tuple[int, int, int, int], width: int, frames: int) -> None:
        super().__init__()
        self.frames, self.sides = frames, shape[1:]
        self.values = nn.Parameter(torch.empty(shape).uniform_(-GRID_INIT, GRID_INIT))
        self.stem = nn.Conv2d(KERNEL * shape[0], width, KERNEL, padding=KERNEL // 2)

    def forward(self, frames: Tensor, rows: int, columns: int) -> Tensor:
        """The features of frames `[B]` at this resolution: `[B, C_0, rows, columns]`."""
        steps = steps_from_centers(frames, self.values.shape[1], self.frames)
        padded = functional.pad(self.values, (0, 0, 0, 0, 1, 1))
        taps = torch.arange(KERNEL, device=frames.device)
        earlier, later = (
            padded.index_select(1, (step[:, None] + taps).flatten()) for step in (steps.earlier, steps.later)
        )
        weights = steps.weight.repeat_interleave(KERNEL)[None, :, None, None].to(padded.dtype)
        interpolated = torch.lerp(earlier, later, weights)
        x = self.stem(interpolated.unflatten(1, (-1, KERNEL)).permute(1, 0, 2, 3, 4).flatten(1, 2)).float()
        return functional.interpolate(x, size=(rows, columns), mode="bilinear", align_corners=False)

    def at_cells(self, frames: Tensor, at: tuple[Tensor, Tensor], total: tuple[int, int]) -> Tensor:
        """The features of some cells of frames `[B]`, equal to those in `forward`: `[B, h, w, C_0]`.

        `at`: rows `[B, h]` and columns `[B, w]`, ascending, out of `total`. Only the windows of the grid that these
        cells read are convolved and interpolated, at a cost that does not grow with the frame.
        """
        vertical, horizontal = (Window.of(*axis) for axis in zip(at, total, self.sides[1:], strict=True))
        read = self._window(frames, vertical, horizontal).flatten(1, 2)
        x = functional.conv2d(read, self.stem.weight, self.stem.bias).float()
        y = vertical.resample(x.permute(0, 2, 3, 1))
        return horizontal.resample(y.transpose(1, 2)).transpose(1, 2)

    def _window(self, frames: Tensor, vertical: Window, horizontal: Window) -> Tensor:
        """What the kernels read of the grid, interpolated in time, zero outside: `[B, C, KERNEL, h', w']`."""
        length, height, width = self.sides
        rows, columns = (
            (axis.indices(1) + 1).clamp(max=side + 1) for axis, side in ((vertical, height), (horizontal, width))
        )
        cells = (rows[:, :, None] * (width + 2) + columns[:, None, :])[:, None]
        taps = torch.arange(KERNEL, device=frames.device)
        padded = functional.pad(self.values, (1, 1, 1, 1, 1, 1)).flatten(1)

        def values_at(step: Tensor) -> Tensor:
            at = (step[:, None] + taps)[..., None, None] * ((height + 2) * (width + 2)) + cells
            read: Tensor = padded.index_select(1, at.flatten()).unflatten(1, at.shape).transpose(0, 1)
            return read

        return steps_from_centers(frames, length, self.frames).interpolate(values_at)


class NVRC(PatchNetwork):
    """Grids with their stems, HiNeRV's stages, head (section 3.2, figure 2)."""

    def __init__(self, config: NVRCConfig, frames: int) -> None:
        super().__init__(config)
        levels = [self._level(config, level, frames) for level in range(config.coarser + 1)]
        self.levels = nn.ModuleList(levels)
        self.feature_grids = {f"levels.{number}.values": level.sides for number, level in enumerate(levels)}
        self.stages = up_stages(config, config.local_channels, config.local_frames or frames, frames)
        self.head = nn.Linear(config.widths()[-1], 3)
        zero_biases(self)

    @staticmethod
    def _level(config: NVRCConfig, level: int, frames: int) -> GridLevel:
        sides = (max(1, side >> level) for side in (config.grid_frames, config.rows, config.columns))
        time_steps, height, width = sides
        return GridLevel((config.grid_channels << level, time_steps, height, width), config.channels, frames)

    def features(self, frames: Tensor) -> Tensor:
        """The sum of all levels' features of frames `[B]`: `[B, rows, columns, C_0]`."""
        features = [level(frames, self.config.rows, self.config.columns) for level in self.levels]
        return torch.stack(features).sum(0).permute(0, 2, 3, 1)

    def features_at(self, frames: Tensor, at: tuple[Tensor, Tensor]) -> Tensor:
        """The same features at some cells alone, rows `[B, h]` and columns `[B, w]`: `[B, h, w, C_0]`."""
        total = (self.config.rows, self.config.columns)
        levels = cast(Iterable[GridLevel], self.levels)
        return torch.stack([level.at_cells(frames, at, total) for level in levels]).sum(0)

    def forward(self, at: Patches) -> Tensor:
        """The patches, or whole frames."""
        layout = self.layout(at)
        if layout.whole:
            features = self.features(at.frames)
        else:
            features = self.features_at(at.frames, layout.cell_positions(layout.margins.stem))
        return self.decode(features, at.frames, layout)


def published_size(network: NVRC) -> int:
    """Parameters of the network and of its compression, to 10,000 as the paper gives them."""
    # context models draw initial values, which are not needed here
    with torch.device("cpu"), torch.random.fork_rng(devices=[]):
        return round(count_parameters(network) + sum(HierarchicalScheme().counts(network).values()), -4)


class NVRCSettings(EndToEndSettings):
    """The recipe (section 3.4 and 4.1)."""

    compression: Literal["nvrc"] = "nvrc"
    epochs: int = Field(PAPER_EPOCHS, ge=1)
    """Epochs of stage 1, with soft rounding and noise."""
    finetune_epochs: int = Field(30, ge=0)
    """Epochs of stage 2, with rounded weights."""
    lr: float = Field(2e-3, gt=0)
    """Learning rate of the training, which a schedule changes over its epochs."""
    batch: int = Field(1, ge=1)
    """Frames per training step; with `patches`, as many patches as these frames hold."""
    patches: bool = True
    """Trains on patches, in the paper of 1/144 of the frame."""


class NVRCCodec(InrCodec):
    """NVRC: network and compression, trained together."""

    name = "nvrc"
    reference = "Kwan et al., NVRC: Neural Video Representation Compression, NeurIPS 2024"
    Settings = NVRCSettings
    config = NVRCConfig
    free_width = "hidden"
    second_width = "channels"
    revision = 5
    scheme = HierarchicalScheme
    presets = presets_of(
        quick={"epochs": 70, "finetune_epochs": 6, "lr": 2e-2, "patches": False, **QUICK},
        tiny={"epochs": 16, "finetune_epochs": 2, "lr": 5e-3, "patches": False, **TINY},
        best={"optimizer": "muon"},
    )

    def scaled(self, clip: ClipHeader, share: float) -> NVRCConfig:
        """The paper's S2 with all widths times `share`; grids keep their share of the parameters (our choice).

        In the paper's symbols, `channels` is C_0, `grid_frames` T_g, `grid_channels` c_g, and `local_channels` c_e.

        Where the finest grid has fewer cells than the paper's, one stride of 4 replaces the first two, so that the
        stages work at the same resolutions as with the paper's grid; local encodings then have half as many channels.
        Those of small networks have fewer time steps than a long clip has frames.
        """
        time_steps = max(1, min(200, round(clip.frames / 3)))
        values = 2 * 200 * FINEST_GRID_CELLS * share**2 / time_steps
        cells = FINEST_GRID_CELLS
        while values / cells < FEWEST_VALUES and cells > FINEST_GRID_CELLS // 64:
            cells //= 4
        geometry, local_ratio = choose_geometry(clip.width, clip.height, STRIDES, cells), LOCAL_RATIO
        strides = geometry.strides
        if cells < FINEST_GRID_CELLS and len(strides) > 2 and strides[0] == 2:
            strides, local_ratio = (4, *strides[2:]), LOCAL_RATIO // 2
        values_per_cell = max(1.0, values / (geometry.rows * geometry.columns))
        channels = int(values_per_cell + 0.01)
        width, local = max(1, round(336 * share)), local_ratio * channels
        local_steps = max(FEWEST_LOCAL_STEPS, local_time_steps(strides, local, share**2 * LOCAL_VALUES, clip.frames))
        return NVRCConfig(
            geometry.rows, geometry.columns, strides,
            channels=width, hidden=4 * width, grid_frames=time_steps, grid_channels=channels, local_channels=local,
            lower=fewest_channels(share), coarser=coarser_levels(geometry.rows),
            local_frames=local_steps if local_steps < clip.frames else 0,
        )  # fmt: skip

    def _nearest(self, clip: ClipHeader, size: int) -> tuple[NetworkConfig, int]:
        """The paper's scale that has so many parameters, with or without the compression's; else by `scaled`."""
        for scale in SCALES:
            config = published(scale, clip)
            network = self._without_memory(config, clip)
            own = count_parameters(network)
            if size == own or (own < size < MOST_WITH_COMPRESSION * own and size == published_size(network)):
                return config, size
        return super()._nearest(clip, size)

    @classmethod
    def _without_memory(cls, config: NVRCConfig, clip: ClipHeader) -> NVRC:
        with torch.device("meta"):
            return cls.build(config, clip)

    def rate_point(self, label: str, clip: Clip) -> RatePoint:
        """A scale of the paper, as `S2-lambda1`, or any size, as `100K-lambda0.5`; lambda may be left out."""
        scale, given = split_label(label)
        if scale not in SCALES:
            return super().rate_point(label, clip)
        header = ClipHeader.of(clip)
        size = count_parameters(self._without_memory(published(scale, header), header))
        weight = EndToEnd.of(self.settings).lambda_for(size, clip, self.recipe()[-1].loss) if given is None else given
        return RatePoint(lambda_label(scale, given), {"size": size, "lambda": weight})

    def rate_points(self, clip: Clip) -> Sequence[RatePoint]:
        """Table 6's pairs of scale and lambda for 1080p and at least the paper's epochs; else as of other codecs."""
        if (clip.format.width, clip.format.height) != PAPER_FRAME or self.settings.epochs < PAPER_EPOCHS:
            return super().rate_points(clip)
        factor = YUV_LAMBDA if self.settings.distortion == "yuv" else 1
        pairs = SHORT_PAIRS if clip.frames <= SHORT_CLIP else LONG_PAIRS
        return [self.rate_point(lambda_label(scale, factor * weight), clip) for scale, weight in pairs]

    @classmethod
    def build(cls, config: NetworkConfig, clip: ClipHeader) -> NVRC:
        """The network."""
        assert isinstance(config, NVRCConfig)
        return NVRC(config, clip.frames)

    def recipe(self) -> Sequence[Stage]:
        """Stage 1 with soft rounding and noise, stage 2 with a growing share of rounded weights."""
        s = self.settings
        first = Stage(
            "fit", s.epochs, s.lr, warmup=30 / 360, warmup_start=0.005, floor=0.05, batch=s.batch, by_patches=s.patches,
            loss=MIXES["l1_ms_ssim_5"],
        )  # fmt: skip
        return EndToEnd.of(s).stages([first], s.finetune_epochs)

    def compression(self) -> HierarchicalScheme:
        """The scheme of the paper."""
        return EndToEnd.of(self.settings).compression()
