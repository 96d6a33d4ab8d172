"""NIRVANA: groups of frames, each with a small network over patches, autoregressive (S. Maiya et al., CVPR 2023).

A group's network maps the center of a patch to the patch in all frames of the group. Networks are trained one after the
other, each from the last one's weights; the weights are rounded latents whose rate is part of the loss, and what is
coded of them is, where that is cheaper, their difference to the last group's (`inr/nirvana/`).

Our choice, where the released code has no bitstream or leaves something open: latents are rounded in the forward pass
with a straight-through gradient; each frame of the group has its own channels and time code before the grouped
convolutions (`order=channel` is the released order); padding is not scored; the state of least loss is kept, not that
of highest PSNR; biases and convolutions are coded with 8 bits and then as differences in the same steps; the rate in
the loss of a group after another is that of all its differences (`rate=latents` is the released one); every 32nd group
is coded alone; sizes of patches, widths and channels below the paper's resolution.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from itertools import pairwise
from types import MappingProxyType
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from rdbench.codec import Clip, RatePoint, Settings
from rdbench.errors import BitstreamError, UsageError

from .inr.codec import MACS_PER_SECOND, ClipHeader
from .inr.nirvana.groups import (
    KINDS,
    GroupNetwork,
    GroupState,
    GroupTraining,
    Rates,
    Recipe,
    Target,
    read_group,
    write_group,
)
from .inr.nirvana.latents import LatentLinear, siren_bound
from .inr.pieces.codec import PieceCodec
from .inr.pieces.decoder import PieceDecoder, PieceEncoder, PieceRun, Trained
from .inr.pieces.layout import Piece, groups_of_frames
from .inr.pieces.stream import Parts
from .inr.presets import presets_of

W0 = 30.0
"""Frequency of the sines."""
FIRST_LATENT_BOUND, LATENT_BOUND = 200.0, 3.0
"""Bounds of the initial latents of the first layer and of the others."""
UP = 2
"""Upsampling of the pixel shuffle."""
TIME_BASE = 100.0
"""Ratio of successive frequencies of the time code."""
MOST_LATENTS = 1 << 25
RENDER_PATCHES = 256
"""Patches that are rendered at once (our choice)."""
LAMBDA = 1e-3
"""The released code's weight of the bits per latent beside the mean squared error."""
LAMBDAS = (0.01, 0.003, LAMBDA, 0.0003)
"""Weights of the default rate points (our choice)."""
SIDES = ((720, 32), (128, 16), (0, 8))
"""Sides of patches from these heights on: the paper's at 1080p, the others are our choice."""
WIDTHS = MappingProxyType({32: 512, 16: 64, 8: 32})
"""Widths of the default rate points by the side of a patch; 512 is the paper's."""
LABEL = re.compile(r"width(\d{1,5})(?:-lambda(\d{1,3}(?:\.\d{1,9})?))?")


@dataclass(frozen=True)
class NirvanaConfig:
    """The network; the defaults are the released command's."""

    group: int = 3
    """Frames of a group."""
    patch: int = 32
    """Side of a patch, a multiple of 4."""
    width: int = 512
    layers: int = 3
    """Linear layers."""
    channels: int = 16
    """Channels of a patch before the convolutions."""
    frame_major: int = 1
    """1: frame by frame, each with all channels; 0: channel by channel, as released."""
    stages: int = 1
    """Stages of the distribution of a layer's latents."""
    intra_every: int = 32
    """Groups from one that is coded alone to the next."""

    def check(self) -> "NirvanaConfig":
        """The configuration itself. Raises BitstreamError for one that no encoder makes."""
        limits = (256, 256, 1 << 14, 32, 256, 2, 8, 1 << 20)
        least = (1, 4, 1, 2, 1, 0, 1, 1)
        inside = all(low <= n < high for n, low, high in zip(astuple(self), least, limits, strict=True))
        latents = self.width * (2 + (self.layers - 2) * self.width + self.channels * (self.patch // UP) ** 2)
        if not inside or self.patch % 4 or latents > MOST_LATENTS:
            raise BitstreamError("The bitstream's network is damaged; encode the clip again.")
        return self


class TimeCode(nn.Module):
    """Adds fixed sinusoids of the frame's place in the group to every channel: `[N, C, h, w]` -> `[N, C G, h, w]`."""

    code: Tensor

    def __init__(self, channels: int, group: int, frame_major: bool) -> None:
        super().__init__()
        self._frame_major = frame_major
        angles = [
            [TIME_BASE ** -(channel // 2) * frame + channel % 2 * math.pi / 2 for frame in range(group)]
            for channel in range(channels)
        ]
        # in Python, because powers of tensors on the meta device import torch._dynamo
        code = torch.tensor([[math.sin(angle) for angle in row] for row in angles])
        self.register_buffer("code", code, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Channels of a frame side by side, or frames of a channel side by side as released."""
        coded = x[:, :, None] + self.code[None, :, :, None, None]
        return (coded.transpose(1, 2) if self._frame_major else coded).flatten(1, 2)


class Nirvana(GroupNetwork):
    """Sine layers on the coordinates of a patch, a linear layer to a small map, two grouped convolutions."""

    def __init__(self, config: NirvanaConfig) -> None:
        super().__init__()
        self.config, side = config, config.patch // UP
        widths = [2, *[config.width] * (config.layers - 1), config.channels * side**2]
        self.layers = nn.ModuleList(
            LatentLinear(
                inputs, outputs, siren_bound(inputs, W0) if number else 1 / inputs,
                LATENT_BOUND if number else FIRST_LATENT_BOUND,
            )
            for number, (inputs, outputs) in enumerate(pairwise(widths))
        )  # fmt: skip
        self.time_code = TimeCode(config.channels, config.group, bool(config.frame_major))
        group, hidden = config.group, config.patch
        self.up = nn.Conv2d(config.channels * group, hidden * group, 3, padding=1, groups=group)
        self.head = nn.Conv2d(hidden * group // UP**2, 3 * group, 3, padding=1, groups=group)

    def forward(self, coordinates: Tensor) -> Tensor:
        """`[N, 2]` -> `[N, G, 3, p, p]`."""
        config, x = self.config, coordinates
        for layer in self.layers[:-1]:
            x = torch.sin(W0 * layer(x))
        x = self.layers[-1](x).view(-1, config.channels, config.patch // UP, config.patch // UP)
        x = self.time_code(x).contiguous(memory_format=torch.channels_last)  # grouped convolutions are 5 times as fast
        x = functional.gelu(functional.pixel_shuffle(self.up(x), UP))
        rendered: Tensor = self.head(x).unflatten(1, (config.group, 3))
        return rendered

    def macs(self, patches: int) -> int:
        """Multiply-accumulates of a group with this many patches."""
        linear = sum(layer.latents.numel() for layer in self.latent_layers())
        convolved = (
            self.up.weight.numel() * (self.config.patch // UP) ** 2 + self.head.weight.numel() * self.config.patch**2
        )
        return patches * (linear + convolved)


@dataclass(frozen=True)
class PatchGrid:
    """The patches of a frame that is padded with zeros on all sides to whole patches."""

    height: int
    width: int
    side: int

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of patches."""
        return -(-self.height // self.side), -(-self.width // self.side)

    @property
    def padding(self) -> tuple[int, int, int, int]:
        """Columns left and right, rows above and below."""
        rows, columns = (n * self.side for n in self.shape)
        above, left = (rows - self.height) // 2, (columns - self.width) // 2
        return left, columns - self.width - left, above, rows - self.height - above

    def coordinates(self) -> Tensor:
        """Row and column of every patch's center pixel, in -1..1 from the first to the last padded pixel: `[N, 2]`."""
        rows, columns = self.shape
        y, x = (torch.arange(n) * self.side + self.side // 2 for n in (rows, columns))
        grid = torch.stack(torch.meshgrid(y, x, indexing="ij"), dim=-1).flatten(0, 1).float()
        last = torch.tensor([rows * self.side - 1, columns * self.side - 1], dtype=torch.float32)
        return (grid / last - 0.5) * 2

    def split(self, frames: Tensor) -> Tensor:
        """`[G, C, H, W]` -> `[N, G, C, p, p]`, padded with zeros."""
        padded = functional.pad(frames, self.padding)
        rows, columns = self.shape
        cells = padded.unflatten(3, (columns, self.side)).unflatten(2, (rows, self.side))
        patches: Tensor = cells.permute(2, 4, 0, 1, 3, 5).flatten(0, 1).contiguous()
        return patches

    def join(self, patches: Tensor) -> Tensor:
        """The inverse of `split`."""
        rows, columns = self.shape
        whole: Tensor = patches.unflatten(0, (rows, columns)).permute(2, 3, 0, 4, 1, 5).flatten(4, 5).flatten(2, 3)
        left, _, above, _ = self.padding
        return whole[:, :, above : above + self.height, left : left + self.width]


class NirvanaDecoder(PieceDecoder[GroupState]):
    """Reads the latents of a group, with the last group's where they are differences, and renders its patches."""

    kinds = KINDS

    def __init__(self, clip: ClipHeader, config: NirvanaConfig, device: str) -> None:
        self.config, self.device = config, device
        self.grid = PatchGrid(clip.height, clip.width, config.patch)
        self.pieces = groups_of_frames(clip, config.group, config.intra_every)
        self.coordinates = self.grid.coordinates().to(device)
        with torch.device("meta"):
            self._shape = Nirvana(config)

    def read(self, piece: Piece, parts: Parts, reference: GroupState | None) -> GroupState:
        """The group's numbers and network. Raises BitstreamError."""
        network = Nirvana(self.config).to(self.device)
        return read_group(network, parts, reference, self.config.stages)

    def render(self, piece: Piece, state: GroupState) -> Tensor:
        """The frames of the group."""
        chunks = [state.network(part) for part in self.coordinates.split(RENDER_PATCHES)]
        return self.grid.join(torch.cat(chunks))[: piece.frames]

    def parameters(self, piece: Piece) -> int:
        """Latents, biases, convolutions and scales."""
        return sum(parameter.numel() for parameter in self._shape.parameters())

    def macs(self, piece: Piece) -> int:
        """Multiply-accumulates of the group."""
        return self._shape.macs(len(self.coordinates))


class NirvanaEncoder(PieceEncoder[GroupState]):
    """Trains a group from the last one's best state."""

    def __init__(
        self, config: NirvanaConfig, grid: PatchGrid, settings: "NirvanaSettings", weight: float, device: str
    ) -> None:
        self.numbers = astuple(config)
        self._config, self._grid, self._settings, self._weight = config, grid, settings, weight
        self._device = device

    def recipe(self, piece: Piece) -> Recipe:
        """The released code's, with more iterations for the first group of the clip."""
        s = self._settings
        iterations = s.iterations * (s.first if piece.number == 0 else 1)
        return Recipe(
            max(1, round(iterations)), s.lr, s.lr * s.latent_lr, s.lr * s.scale_lr, s.distribution_lr, self._weight,
            s.rate == "difference",
        )  # fmt: skip

    def train(
        self, piece: Piece, frames: Tensor, reference: GroupState | None, before: Trained | None, run: PieceRun
    ) -> Trained:
        """The state of least loss."""
        missing = self._config.group - len(frames)
        whole = torch.cat([frames, frames[-1:].expand(missing, -1, -1, -1)]) if missing else frames
        visible = torch.ones(1, 1, *frames.shape[2:], device=frames.device)
        grid = self._grid
        coordinates = grid.coordinates().to(frames.device)
        target = Target(coordinates, grid.split(whole.float() / 255), grid.split(visible))
        recipe = self.recipe(piece)
        of_difference = recipe.rate_of_difference and reference is not None
        training = GroupTraining(*self._models(of_difference), recipe, reference)
        if before is not None:
            training.start_from(before)
        return training.run(target, run)

    def _models(self, of_difference: bool) -> tuple[Nirvana, Rates]:
        with torch.random.fork_rng(devices=()):  # a resumed training has its random numbers already
            network = Nirvana(self._config)
            rates = Rates(network, self._config.stages, of_difference)
        return network.to(self._device), rates.to(self._device)

    def write(self, piece: Piece, trained: Trained, reference: GroupState | None) -> Parts:
        """The bytes of a group. Raises RdbenchError."""
        network, rates = self._models(trained.notes["of_difference"])
        network.load_state_dict(trained.tensors)
        rates.load_state_dict(trained.notes["rates"])
        return write_group(network, rates, reference)

    def sample(self, piece: Piece, reference: GroupState | None) -> Trained:
        """Initial latents, which are those of every group."""
        torch.manual_seed(piece.number)
        network, rates = self._models(False)
        return Trained(network.state_dict(), notes={"rates": rates.state_dict(), "of_difference": False})


FEW = MappingProxyType({"lr": 5e-3, "latent_lr": 30.0, "scale_lr": 0.04, "distribution_lr": 2e-2})
"""Learning rates for few iterations (our choice): latents and distributions must get where the paper's get in 2,000,
and scales, at the released code's rate, change sign before that."""


class NirvanaSettings(Settings):
    """The released recipe; numbers of iterations are our choice, since the paper's were not available."""

    group: int = Field(3, ge=1, le=64)
    """Frames of a group."""
    patch: int = Field(0, ge=0, le=128, multiple_of=4)
    """Side of a patch; 0: by the height of the clip."""
    layers: int = Field(3, ge=2, le=16)
    """Linear layers, sine layers but the last (SIREN)."""
    channels: int = Field(0, ge=0, le=64)
    """Channels of a patch before the convolutions; 0: half the side of a patch, as in the paper."""
    order: Literal["frame", "channel"] = "frame"
    """Order of channels at the grouped convolutions; `channel` is the released code's."""
    iterations: int = Field(2000, ge=1)
    """Iterations of a group."""
    first: float = Field(4.0, gt=0)
    """Iterations of the clip's first group, as a multiple."""
    lr: float = Field(2e-4, gt=0)
    """Learning rate of biases and convolutions."""
    latent_lr: float = Field(100.0, gt=0)
    """Learning rate of the latents, as a multiple."""
    scale_lr: float = Field(10.0, gt=0)
    """Learning rate of the scales, as a multiple."""
    distribution_lr: float = Field(1e-4, gt=0)
    """Learning rate of the distributions of latents."""
    stages: int = Field(1, ge=1, le=4)
    """Stages of the distribution of the latents."""
    rate: Literal["difference", "latents"] = "difference"
    """What the rate in the loss is of; the released code has that of the latents."""
    intra: int = Field(32, ge=1)
    """Groups from one that is coded alone to the next (our choice)."""


class NirvanaCodec(PieceCodec):
    """NIRVANA."""

    name = "nirvana"
    reference = "Maiya et al., NIRVANA: Neural Implicit Representations of Videos with Adaptive Networks, CVPR 2023"
    Settings = NirvanaSettings
    presets = presets_of(quick={"iterations": 80, **FEW}, tiny={"iterations": 8, **FEW})

    def config(self, clip: ClipHeader, width: int) -> NirvanaConfig:
        """The network for a clip of this size."""
        s = self.settings
        patch = s.patch or next(side for rows, side in SIDES if clip.height >= rows)
        return NirvanaConfig(
            s.group, patch, width, s.layers, s.channels or patch // 2, int(s.order == "frame"), s.stages, s.intra
        )

    def rate_points(self, clip: Clip) -> Sequence[RatePoint]:
        """The paper's width at its resolution and the same share of the samples below it, with four lambdas."""
        width = WIDTHS[self.config(ClipHeader.of(clip), 1).patch]
        labels = (f"width{width}" if weight == LAMBDA else f"width{width}-lambda{weight}" for weight in LAMBDAS)
        return [self.rate_point(label, clip) for label in labels]

    def rate_point(self, label: str, clip: Clip) -> RatePoint:
        """A width and, where it is not the released code's 0.001, a lambda: `width512`, `width64-lambda0.0001`."""
        match = LABEL.fullmatch(label)
        width, weight = (int(match[1]), float(match[2] or LAMBDA)) if match else (0, 0.0)
        try:
            self.config(ClipHeader.of(clip), width).check()
        except BitstreamError as error:
            text = f"{label!r} is no rate point of nirvana; write a width and a lambda, as width64-lambda0.001."
            raise UsageError(text) from error
        return RatePoint(label, {"width": width, "lambda": weight})

    def encode_macs(self, clip: Clip, point: RatePoint) -> float:
        """Three passes of every iteration of every group."""
        header = ClipHeader.of(clip)
        encoder = self.encoder(header, point, "meta")
        decoder = self.decoder(header, encoder.numbers, "meta")
        return float(sum(3 * encoder.recipe(piece).iterations * decoder.macs(piece) for piece in decoder.pieces))

    def estimate_seconds(self, clip: Clip, point: RatePoint, device: str) -> float | None:
        """The multiply-accumulates at MACS_PER_SECOND; None on a GPU."""
        return None if device.startswith("cuda") else self.encode_macs(clip, point) / MACS_PER_SECOND

    def encoder(self, clip: ClipHeader, point: RatePoint, device: str) -> NirvanaEncoder:
        """The encoder of a clip."""
        config = self.config(clip, int(point.settings["width"]))
        grid = PatchGrid(clip.height, clip.width, config.patch)
        return NirvanaEncoder(config, grid, self.settings, float(point.settings["lambda"]), device)

    @classmethod
    def decoder(cls, clip: ClipHeader, numbers: Sequence[int], device: str) -> NirvanaDecoder:
        """The decoder. Raises BitstreamError."""
        if len(numbers) != len(astuple(NirvanaConfig())):
            raise BitstreamError("The bitstream's network is damaged; encode the clip again.")
        return NirvanaDecoder(clip, NirvanaConfig(*numbers).check(), device)
