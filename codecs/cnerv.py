"""C-NeRV: Video Compression With Entropy-Constrained Neural Representations (C. Gomes et al., CVPR 2023).

Maps of time and place, encoded, through convolutions alone; the time is told to every stage again, by a scale and a
shift; the rate of the weights is part of the loss (`inr/compression/entropy_constrained.py`). No public code exists.
Our choice, in E-NeRV's manner, where we know the paper only through others: two convolutions as the stem, the first
stage factorized, widths halved from stage to stage, a pointwise head, the time code's widths, the recipe's epochs.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from types import MappingProxyType
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from .inr.codec import ClipHeader, InrCodec
from .inr.compression.entropy_constrained import EntropyConstrained
from .inr.networks.layers.blocks import FirstBlock, UpBlock, halved_widths, mlp, modulate
from .inr.networks.layers.encoding import sinusoids
from .inr.networks.network import Network, NetworkConfig, Patches, UpsamplingConfig, choose_geometry
from .inr.recipes.losses import MIXES
from .inr.recipes.stage import Stage
from .inr.training.rate_distortion import RATE_SHARE, InrSettings


@dataclass(frozen=True)
class CNeRVConfig(UpsamplingConfig):
    """The network in numbers; those of our 12.5M at 720p where a default is given."""

    channels: int = 256
    """Of the stem."""
    first: int = 512
    """After the first stage; each later one has half."""
    time: int = 128
    """Hidden width of the network of the time code."""
    code: int = 128
    """Width of the time code."""
    lower: int = 96
    frequencies: int = 80


class CNeRV(Network):
    """Coordinates -> stem -> stages, each modulated by the time -> head."""

    def __init__(self, config: CNeRVConfig, frames: int) -> None:
        super().__init__(config.patch_size)
        self.config, self._frames = config, frames
        channels, levels = config.channels, config.frequencies
        self.stem = nn.Sequential(
            nn.Conv2d(6 * levels, channels, 3, padding=1), nn.GELU(),
            nn.Conv2d(channels, channels, 3, padding=1), nn.GELU(),
        )  # fmt: skip
        self.code = mlp((2 * levels, config.time, config.code), nn.GELU)
        widths = [channels, *halved_widths(config.first, config.strides, config.lower)]
        stages = list(zip(pairwise(widths), config.strides, strict=True))
        (before, after), stride = stages[0]
        later = (UpBlock(a, b, s, nn.GELU) for (a, b), s in stages[1:])
        self.blocks = nn.ModuleList([FirstBlock(before, after, stride), *later])
        self.modulations = nn.ModuleList(nn.Linear(config.code, 2 * width) for width in widths[:-1])
        self.head = nn.Conv2d(widths[-1], 3, 1)

    def maps(self, time: Tensor) -> Tensor:
        """Encoded maps of time, x and y, `[B, 6 L, rows, columns]`, from the encoded time `[B, 2 L]`."""
        rows, columns, levels = self.config.rows, self.config.columns, self.config.frequencies
        x, y = (sinusoids(torch.arange(side, device=time.device).double() / side, levels) for side in (columns, rows))
        shape = (len(time), 2 * levels, rows, columns)
        each = (time[:, :, None, None], x.T[None, :, None, :], y.T[None, :, :, None])
        return torch.cat([part.expand(shape) for part in each], dim=1)

    def forward(self, at: Patches) -> Tensor:
        """The frames, from t = i / N."""
        time = sinusoids(at.frames.double() / self._frames, self.config.frequencies)
        code, x = self.code(time), self.stem(self.maps(time))
        for modulation, block in zip(self.modulations, self.blocks, strict=True):
            gain, shift = modulation(code).chunk(2, dim=1)
            x = block(modulate(x, 1 + gain, shift))
        return torch.sigmoid(self.head(x))


class CNeRVSettings(InrSettings):
    """The recipe; the rate counts in the last fifth of all epochs."""

    compression: Literal["entropy-constrained"] = "entropy-constrained"
    epochs: int = Field(1200, ge=1)
    """Before the rate counts; T-NeRV's."""
    lr: float = Field(5e-4, gt=0)
    batch: int = Field(1, ge=1)
    loss: Literal["l1_ssim", "l2"] = "l1_ssim"
    frequencies: int = Field(80, ge=1, le=200)


class CNeRVCodec(InrCodec):
    """C-NeRV with its entropy-constrained fit."""

    name = "cnerv"
    reference = "Gomes et al., Video Compression With Entropy-Constrained Neural Representations, CVPR 2023"
    Settings = CNeRVSettings
    config = CNeRVConfig
    free_width = "time"
    scheme = EntropyConstrained
    presets = MappingProxyType(
        {
            "paper": {},
            "quick": {"epochs": 60, "lr": 3e-3, "frequencies": 40},
            "tiny": {"epochs": 14, "lr": 5e-3, "frequencies": 20},
        }
    )

    def scaled(self, clip: ClipHeader, share: float) -> CNeRVConfig:
        """All widths in proportion; the time code's only below a third."""
        geometry, less = choose_geometry(clip.width, clip.height), min(1.0, 3 * share)
        return CNeRVConfig(
            geometry.rows, geometry.columns, geometry.strides,
            channels=max(1, round(256 * share)), first=max(2, round(512 * share)),
            time=max(1, round(128 * less)), code=max(1, round(128 * less)),
            lower=max(2, round(96 * min(1.0, share))), frequencies=self.settings.frequencies,
        )  # fmt: skip

    @classmethod
    def build(cls, config: NetworkConfig, clip: ClipHeader) -> CNeRV:
        """The network."""
        assert isinstance(config, CNeRVConfig)
        return CNeRV(config, clip.frames)

    def recipe(self) -> Sequence[Stage]:
        """One schedule, in whose last fifth the rate counts."""
        s = self.settings
        rated = max(1, round(s.epochs * RATE_SHARE / (1 - RATE_SHARE)))
        fit = Stage("fit", s.epochs, s.lr, batch=s.batch, loss=MIXES[s.loss], betas=(0.5, 0.999), schedule_tail=rated)
        return fit, replace(fit, name="rate", epochs=rated, schedule_offset=s.epochs, schedule_tail=0, rate_weight=1.0)

    def compression(self) -> EntropyConstrained:
        """The paper's own."""
        return EntropyConstrained()
