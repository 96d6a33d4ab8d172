"""C-NeRV: Video Compression With Entropy-Constrained Neural Representations (C. Gomes et al., CVPR 2023).

A network of convolutions alone renders a frame from encoded maps of time and position. Every stage is conditioned on
time again, by a scale and a shift. The rate of the weights is part of the loss, and the quantized weights are
transmitted with their quantizers (`inr/compression/entropy_constrained.py`). No public code exists, and we have the
paper only through others. Our choice, as in E-NeRV: two convolutions as the stem, the first stage factorized, widths
halved from stage to stage, a pointwise head, the time code's widths, the recipe's epochs.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from .inr.codec import ClipHeader, InrCodec
from .inr.compression.entropy_constrained import EntropyConstrained
from .inr.networks.index_network import ModulatedNetwork, factorized_blocks
from .inr.networks.layers.blocks import halved_widths, mlp
from .inr.networks.layers.encoding import sinusoids
from .inr.networks.layers.pointwise import Pointwise
from .inr.networks.layers.precision import in_float32
from .inr.networks.network import NetworkConfig, Patches, UpsamplingConfig, choose_geometry
from .inr.presets import presets_of
from .inr.recipes.losses import MIXES
from .inr.recipes.stage import Stage
from .inr.training.rate_distortion import RATE_SHARE, InrSettings


@dataclass(frozen=True)
class CNeRVConfig(UpsamplingConfig):
    """The network's configuration; the defaults are those of our 12.5M model at 720p."""

    channels: int = 256
    """Channels of the stem."""
    first: int = 512
    """Channels after the first stage; each later stage has half as many."""
    time: int = 128
    """Hidden width of the MLP that computes the time code."""
    code: int = 128
    """Width of the time code."""
    lower: int = 96
    """Smallest number of channels after a stage but the first."""
    frequencies: int = 80
    """Frequencies of the positional encodings of time and position (L)."""


class CNeRV(ModulatedNetwork):
    """Encoded coordinates -> stem -> stages, each modulated by the time code -> head."""

    def __init__(self, config: CNeRVConfig, frames: int) -> None:
        super().__init__(config.patch_size)
        self.config, self._frames = config, frames
        channels, frequencies = config.channels, config.frequencies
        self.stem = nn.Sequential(
            nn.Conv2d(6 * frequencies, channels, 3, padding=1), nn.GELU(),
            nn.Conv2d(channels, channels, 3, padding=1), nn.GELU(),
        )  # fmt: skip
        self.code = mlp((2 * frequencies, config.time, config.code), nn.GELU)
        widths = [channels, *halved_widths(config.first, config.strides, config.lower)]
        self.blocks = factorized_blocks(widths, config.strides)
        self.modulations = nn.ModuleList(nn.Linear(config.code, 2 * width) for width in widths[:-1])
        self.head = Pointwise(widths[-1], 3)

    def maps(self, time: Tensor) -> Tensor:
        """Encoded maps of time, x and y, `[B, 6 L, rows, columns]`, from the encoded time `[B, 2 L]`."""
        rows, columns, frequencies = self.config.rows, self.config.columns, self.config.frequencies
        x, y = (
            sinusoids(torch.arange(side, device=time.device).double() / side, frequencies) for side in (columns, rows)
        )
        shape = (len(time), 2 * frequencies, rows, columns)
        encodings = (time[:, :, None, None], x.T[None, :, None, :], y.T[None, :, :, None])
        return torch.cat([encoding.expand(shape) for encoding in encodings], dim=1)

    def forward(self, at: Patches) -> Tensor:
        """The frames, `[B, 3, H, W]`; time is t = i / N."""
        time = sinusoids(at.frames.double() / self._frames, self.config.frequencies)
        code, base = self.code(time), self.stem(self.maps(time))
        return torch.sigmoid(in_float32(self.head, self.upsample(base, code)))


class CNeRVSettings(InrSettings):
    """The recipe; the rate is part of the loss in the last fifth of all epochs."""

    compression: Literal["entropy-constrained"] = "entropy-constrained"
    epochs: int = Field(1200, ge=1)
    """Epochs before the rate is part of the loss (T-NeRV's number)."""
    lr: float = Field(5e-4, gt=0)
    """Learning rate of the training, which a schedule changes over its epochs."""
    batch: int = Field(1, ge=1)
    """Frames per training step."""
    loss: Literal["l1_ssim", "l2"] = "l1_ssim"
    """The training loss; of two terms the first has the weight 0.7, the second 0.3."""
    frequencies: int = Field(80, ge=1, le=200)
    """Frequencies of the positional encoding."""


class CNeRVCodec(InrCodec):
    """C-NeRV with its entropy-constrained training."""

    name = "cnerv"
    reference = "Gomes et al., Video Compression With Entropy-Constrained Neural Representations, CVPR 2023"
    revision = 4
    Settings = CNeRVSettings
    config = CNeRVConfig
    free_width = "time"
    second_width = "lower"
    scheme = EntropyConstrained
    presets = presets_of(
        quick={"epochs": 60, "lr": 3e-3, "frequencies": 40},
        tiny={"epochs": 14, "lr": 5e-3, "frequencies": 20},
        best={"optimizer": "muon", "lr": 6e-3},
    )

    def scaled(self, clip: ClipHeader, share: float) -> CNeRVConfig:
        """Our 12.5M model with widths times `share`; the time code shrinks only below a third.

        The paper's widths are not known to us: `channels` and `first` are our choice, `frequencies` is its L.
        """
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
        """One schedule in two stages: the rate is part of the loss in its last fifth."""
        s = self.settings
        rate_epochs = max(1, round(s.epochs * RATE_SHARE / (1 - RATE_SHARE)))
        fit = Stage(
            "fit", s.epochs, s.lr, batch=s.batch, loss=MIXES[s.loss], betas=(0.5, 0.999), schedule_tail=rate_epochs
        )
        return fit, replace(
            fit, name="rate", epochs=rate_epochs, schedule_offset=s.epochs, schedule_tail=0, rate_weight=1.0
        )

    def compression(self) -> EntropyConstrained:
        """The paper's entropy-constrained quantization."""
        return EntropyConstrained()
