"""NeRV: Neural Representations for Videos (H. Chen et al., NeurIPS 2021): frame index -> whole frame.

What the paper leaves open and we decided: how the channels shrink for sizes below NeRV-S (`solve_width`), the base grid
beyond 16:9 (`inr/network.py`), the encoding in float64, and what travels (`inr/compression/post_training.py`).
"""

import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace
from types import MappingProxyType
from typing import Literal, Self

import torch
from pydantic import Field
from torch import Tensor, nn

from rdbench.codec import Clip, RatePoint, Settings, Workspace
from rdbench.errors import BitstreamError

from .inr.codec import MOST_PARAMETERS, ClipHeader, InrCodec
from .inr.compression.post_training import prune_masks
from .inr.fit import Fit, Stage
from .inr.network import choose_geometry

ACTIVATIONS = (nn.GELU, nn.SiLU)
MOST_STAGES = 8
MOST_PADDING = 8
"""No frame is rendered to more than so many times its area; `choose_geometry` stays far below."""
BASE = 1.25
"""b of the positional encoding (section 3.1)."""


@dataclass(frozen=True)
class NeRVConfig:
    """The network in numbers; those of the paper's Bunny models where a default is given."""

    rows: int
    columns: int
    channels: int
    """fc: channels of the base grid."""
    stem: int = 512
    lower: int = 96
    """No stage has fewer channels."""
    expansion: int = 1
    frequencies: int = 80
    activation: int = 0
    strides: tuple[int, ...] = (5, 2, 2, 2, 2)

    def widths(self) -> list[int]:
        """Channels after each stage: expanded first, then halved down to `lower`."""
        widths = [self.channels * self.expansion]
        for stride in self.strides[1:]:
            widths.append(max(widths[-1] // (1 if stride == 1 else 2), self.lower))
        return widths

    def parameters(self) -> int:
        """The number of parameters, by formula."""
        cells, fed = self.rows * self.columns * self.channels, 2 * self.frequencies
        stem = fed * self.stem + self.stem + (self.stem + 1) * cells
        before = [self.channels, *self.widths()]
        blocks = sum((9 * a + 1) * b * s * s for a, b, s in zip(before, before[1:], self.strides, strict=False))
        return stem + blocks + 3 * before[-1] + 3

    def numbers(self) -> list[int]:
        """The configuration as integers."""
        *scalars, strides = astuple(self)
        return [*scalars, *strides]

    @classmethod
    def from_numbers(cls, numbers: Sequence[int]) -> Self:
        """What `numbers` gave. Raises BitstreamError for what is no network."""
        scalars, strides = numbers[:8], tuple(numbers[8:])
        if len(scalars) < 8 or not 1 <= len(strides) <= MOST_STAGES:
            raise BitstreamError("The bitstream's network is damaged; encode the clip again.")
        rows, columns, channels, stem, lower, expansion, levels, activation = scalars
        config = cls(rows, columns, channels, stem, lower, expansion, levels, activation, strides)
        activation_known = config.activation < len(ACTIVATIONS)
        if min(*scalars[:7], *strides) < 1 or max(*numbers) > 1 << 20 or not activation_known:
            raise BitstreamError("The bitstream's network is damaged; encode the clip again.")
        if config.parameters() > MOST_PARAMETERS:
            raise BitstreamError(f"The bitstream describes more than {MOST_PARAMETERS} parameters; encode again.")
        return config


class NeRV(nn.Module):
    """Stem and NeRV blocks (section 3.1, figure 2): indices `[B]` -> frames `[B, 3, height, width]` in 0..1."""

    def __init__(self, config: NeRVConfig, width: int, height: int, frames: int) -> None:
        super().__init__()
        self.config, self._size, self._frames = config, (height, width), frames
        act = ACTIVATIONS[config.activation]
        cells = config.rows * config.columns * config.channels
        self.stem = nn.Sequential(
            nn.Linear(2 * config.frequencies, config.stem), act(), nn.Linear(config.stem, cells), act()
        )
        before = [config.channels, *config.widths()]
        self.blocks = nn.Sequential(
            *(
                nn.Sequential(nn.Conv2d(a, b * s * s, 3, padding=1), nn.PixelShuffle(s), act())
                for a, b, s in zip(before, before[1:], config.strides, strict=False)
            )
        )
        self.head = nn.Conv2d(before[-1], 3, 1)

    def encode_index(self, indices: Tensor) -> Tensor:
        """sin and cos of b^l pi t for l = 0..L-1, interleaved; t = i / N. In float64, or high bands are noise."""
        t = indices.double() / self._frames
        bands = torch.tensor(
            [BASE**level * math.pi for level in range(self.config.frequencies)],
            device=indices.device,
            dtype=torch.float64,
        )
        angles = t[:, None] * bands
        return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1).float()

    def forward(self, indices: Tensor) -> Tensor:
        """The frames with these indices."""
        x = self.stem(self.encode_index(indices))
        x = x.view(-1, self.config.channels, self.config.rows, self.config.columns)
        x = (torch.tanh(self.head(self.blocks(x))) + 1) / 2
        return x[..., : self._size[0], : self._size[1]]

    def prunable(self) -> list[str]:
        """The weights that pruning looks at: stem and blocks, neither head nor biases."""
        return [name for name, _ in self.named_parameters() if name.endswith("weight") and not name.startswith("head")]


def solve_width(config: NeRVConfig, size: int) -> NeRVConfig:
    """The configuration whose number of parameters is nearest to `size`.

    From NeRV's own named sizes up, only the base channels grow, as in the paper. Below, stem, base and lower channels
    shrink together in the proportions of NeRV-S (512 : 26 : 96), and the stem takes up the rest (our choice).
    """
    if replace(config, channels=26).parameters() <= size:
        best = min(range(26, 4096), key=lambda c: abs(replace(config, channels=c).parameters() - size))
        return replace(config, channels=best)

    def scaled(share: float) -> NeRVConfig:
        channels, stem, lower = (max(1, round(share * full)) for full in (26, 512, 96))
        return replace(config, channels=channels, stem=stem, lower=lower)

    near = min((scaled(step / 400) for step in range(1, 401)), key=lambda c: abs(c.parameters() - size))
    return min((replace(near, stem=s) for s in range(1, 2 * near.stem + 2)), key=lambda c: abs(c.parameters() - size))


class NeRVSettings(Settings):
    """The recipe (section 4.1); the defaults are those of the paper's table 2."""

    epochs: int = Field(1200, ge=1)
    finetune_epochs: int = Field(50, ge=0)
    lr: float = Field(5e-4, gt=0)
    batch: int = Field(1, ge=1)
    loss: Literal["l1_ssim", "l1", "l2"] = "l1_ssim"
    prune: float = Field(0.4, ge=0, lt=1)
    """The share of weights that is pruned."""
    bits: int = Field(8, ge=2, le=12)
    frequencies: int = Field(80, ge=1, le=200)
    activation: Literal["gelu", "swish"] = "gelu"


class NeRVCodec(InrCodec):
    """NeRV with its pruning, quantization and entropy coding (sections 3.2 and 3.3)."""

    name = "nerv"
    reference = "Chen et al., NeRV: Neural Representations for Videos, NeurIPS 2021"
    Settings = NeRVSettings
    presets = MappingProxyType(
        {
            "paper": {},
            "quick": {"epochs": 150, "finetune_epochs": 20, "lr": 2e-3},
            "tiny": {"epochs": 14, "finetune_epochs": 4, "lr": 6e-3, "frequencies": 40},
        }
    )

    def build_for(self, clip: ClipHeader, size: int) -> tuple[NeRV, list[int]]:
        """The network nearest to the size, with the strides that suit the clip."""
        grid = choose_geometry(clip.width, clip.height)
        activation = ("gelu", "swish").index(self.settings.activation)
        start = NeRVConfig(
            grid.rows,
            grid.columns,
            26,
            frequencies=self.settings.frequencies,
            activation=activation,
            strides=grid.strides,
        )
        config = solve_width(start, size)
        return NeRV(config, clip.width, clip.height, clip.frames), config.numbers()

    @classmethod
    def rebuild(cls, clip: ClipHeader, numbers: Sequence[int]) -> NeRV:
        """The network that the numbers describe, without memory for its weights yet."""
        config = NeRVConfig.from_numbers(numbers)
        up = math.prod(config.strides)
        height, width = config.rows * up, config.columns * up
        fits = 0 <= height - clip.height < up and 0 <= width - clip.width < up
        if not fits or height * width > MOST_PADDING * clip.height * clip.width:
            raise BitstreamError("The bitstream's network does not fit the size of its clip; encode it again.")
        with torch.device("meta"):
            return NeRV(config, clip.width, clip.height, clip.frames)

    def fit(self, network: nn.Module, frames: Tensor, workspace: Workspace) -> None:
        """Fit, prune the smallest weights, and fit the rest again without warm-up."""
        assert isinstance(network, NeRV)
        s = self.settings
        fit = Fit(network, frames, workspace, s.epochs + s.finetune_epochs)
        fit.run(Stage("fit", s.epochs, s.lr, loss=s.loss, batch=s.batch))
        masks = prune_masks(network, network.prunable(), s.prune)
        fit.run(Stage("finetune", s.finetune_epochs, s.lr, warmup=0.0, loss=s.loss, batch=s.batch), masks)

    def estimate_seconds(self, clip: Clip, point: RatePoint, device: str) -> float | None:
        """About 4 seconds of one core for a million pixels a step and 100K parameters (measured once, our machine)."""
        megapixels = clip.format.width * clip.format.height / 1e6
        steps = (self.settings.epochs + self.settings.finetune_epochs) * clip.frames
        return (
            None if device.startswith("cuda") else 0.5 * megapixels * steps * (int(point.settings["size"]) / 1e5) ** 0.5
        )
