"""HNeRV-Boost: Boosting Neural Representations for Videos with a Conditional Decoder (X. Zhang et al., CVPR 2024).

HNeRV whose features are conditioned on time after every stage, by residual blocks with affine transforms computed from
a time code. It has sines instead of GELUs, kernels of at most 3x3, a second block in the later stages, and a loss with
a term in the Fourier domain; a last training stage minimizes the entropy of all that is transmitted. Embeddings and
decoder are transmitted, and the size counts both. `hnerv-boost[tat=false]` leaves the residual blocks out,
`hnerv-boost[sine=false]` has GELUs. Our choice: SSIM in the loss where frames are too small for MS-SSIM, how the time
code shrinks for small sizes, and the encoding of time in float64.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from types import MappingProxyType
from typing import ClassVar, Literal

import pytorch_optimizer  # noqa: F401 - of the recipe; here it is imported before the clock of an encoding starts
import torch
from pydantic import Field
from torch import Tensor, nn

from .inr.codec import ClipHeader
from .inr.compression.entropy_minimization import EntropyMinimization
from .inr.compression.scheme import Scheme
from .inr.embedding_based import ContentEncoder, EmbeddingCodec, embedding_geometry
from .inr.networks.encoder import Encoder
from .inr.networks.layers.blocks import Activation, Sine, UpBlock, mlp, tapered_widths
from .inr.networks.layers.encoding import sinusoids
from .inr.networks.layers.modulation import scale_and_shift
from .inr.networks.layers.precision import in_float32
from .inr.networks.layers.recomputed import lean
from .inr.networks.network import Network, NetworkConfig, Patches, UpsamplingConfig
from .inr.presets import presets_of
from .inr.recipes.losses import MIXES
from .inr.recipes.stage import Stage
from .inr.training.rate_distortion import InrSettings

REDUCTION = 1.2
"""Ratio of the channels of a stage to those of the next."""
MOST_KERNEL = 3
"""Largest kernel size."""
BLOCKS = (1, 1, 2)
"""Blocks in the first stages; the later stages have as many as the last of these."""
BETAS = (0.98, 0.92, 0.99)
"""Betas of Adan."""


@dataclass(frozen=True)
class HNeRVBoostConfig(UpsamplingConfig):
    """The network's configuration; the defaults are those of the official models."""

    channels: int
    """Channels of layer 0 (C_0)."""
    embedding: int = 16
    """Channels of an embedding."""
    lower: int = 12
    """Smallest number of channels after a stage."""
    time: int = 64
    """Hidden width of the MLP that computes the time code."""
    code: int = 32
    """Width of the time code (u)."""
    frequencies: int = 80
    """Frequencies of the positional encoding of time."""
    tat: int = 1
    """1 for a network with time-aware residual blocks."""
    sine: int = 1
    """1 for sines, 0 for GELUs as activations."""

    choices = MappingProxyType({"tat": 2, "sine": 2})


class Affine(nn.Module):
    """SFT: x (1 + a(u)) + b(u), where two small networks compute a and b from the time code u `[B, code]`."""

    def __init__(self, channels: int, code: int) -> None:
        super().__init__()
        self.gain = nn.Sequential(nn.Linear(code, code), nn.ReLU(), nn.Linear(code, channels))
        self.shift = nn.Sequential(nn.Linear(code, code), nn.ReLU(), nn.Linear(code, channels))

    def forward(self, x: Tensor, u: Tensor) -> Tensor:
        """`[B, C, h, w]` -> `[B, C, h, w]`."""
        return scale_and_shift(x, 1 + self.gain(u), self.shift(u))


class TimeAwareResidual(nn.Module):
    """TAT: affine, convolution, GELU, affine, convolution, added to the input (section 3.2)."""

    def __init__(self, channels: int, code: int) -> None:
        super().__init__()
        self.affines = nn.ModuleList(Affine(channels, code) for _ in range(2))
        self.convs = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2))

    def forward(self, x: Tensor, u: Tensor) -> Tensor:
        """`[B, C, h, w]` -> `[B, C, h, w]`."""
        inner = nn.functional.gelu(self.convs[0](self.affines[0](x, u)))
        refined: Tensor = x + self.convs[1](self.affines[1](inner, u))
        return refined


class Stem(nn.Sequential):
    """Layer 0: a pointwise convolution and the activation."""

    def __init__(self, before: int, after: int, act: Activation) -> None:
        super().__init__(nn.Conv2d(before, after, 1), act())


class HNeRVBoost(Network):
    """HNeRV's decoder with sinusoidal blocks, each followed by a time-aware residual block."""

    latents = per_frame = frozenset({"embeddings"})

    def __init__(self, config: HNeRVBoostConfig, frames: int) -> None:
        super().__init__(config.patch_size)
        self.config, self._frames = config, frames
        self.embeddings = nn.Parameter(torch.zeros(frames, config.embedding, config.rows, config.columns))
        act: Activation = Sine if config.sine else nn.GELU
        self.time = mlp((2 * config.frequencies, config.time, config.code), Sine)
        widths = [config.channels, *tapered_widths(config.channels, len(config.strides), REDUCTION, config.lower)]
        blocks: list[nn.Module] = [Stem(config.embedding, widths[0], act)]
        outputs = [widths[0]]
        for number, ((a, b), stride) in enumerate(zip(pairwise(widths), config.strides, strict=True)):
            blocks.append(UpBlock(a, b, stride, act, kernel=min(1 + 2 * number, MOST_KERNEL)))
            count = BLOCKS[min(number, len(BLOCKS) - 1)]
            blocks += [UpBlock(b, b, 1, act) for _ in range(count - 1)]
            outputs += [b] * count
        self.blocks = nn.ModuleList(blocks)
        self.residuals = nn.ModuleList(TimeAwareResidual(c, config.code) for c in outputs) if config.tat else None
        self.head = nn.Conv2d(widths[-1], 3, 3, padding=1)

    def forward(self, at: Patches) -> Tensor:
        """The frames, `[B, 3, H, W]`; time is (i + 1) / N."""
        u = self.time(sinusoids((at.frames.double() + 1) / self._frames, self.config.frequencies))
        x = self.embeddings[at.frames]
        for number, block in enumerate(self.blocks):
            x = block(x)
            if self.residuals is not None:
                x = lean(self.residuals[number], x, u)
        return (torch.tanh(in_float32(self.head, x)) + 1) / 2


class HNeRVBoostSettings(InrSettings):
    """The recipe (section 4.1 and code); fine-tuning is the stage that minimizes the entropy."""

    epochs: int = Field(300, ge=1)
    """Epochs of training, before the other stages."""
    finetune_epochs: int = Field(100, ge=0)
    """Epochs in which the entropy is part of the loss."""
    lr: float = Field(3e-3, gt=0)
    """Learning rate of the training, which a schedule changes over its epochs."""
    finetune_lr: float = Field(1 / 6, gt=0)
    """Learning rate of fine-tuning, as a share of `lr`."""
    batch: int = Field(1, ge=1)
    """Frames per training step."""
    loss: Literal["boost", "l2", "l1_ms_ssim"] = "boost"
    """The training loss; `boost` is the paper's."""
    rate: float = Field(0.05, gt=0)
    """Weight of the rate (lambda): of the bits of the whole clip divided by the pixels of one frame."""
    target_bits: float = Field(4.0, gt=0)
    """Target bits per parameter; below it, only the distortion is part of the loss."""
    embedding: int = Field(16, ge=1, le=256)
    """Channels of an embedding; fewer where they would take more than half of a size (our choice)."""
    frequencies: int = Field(80, ge=1, le=200)
    """Frequencies of the positional encoding of time."""
    tat: bool = True
    """Whether stages end with time-aware residual blocks."""
    sine: bool = True
    """Whether activations are sines instead of GELUs."""


class HNeRVBoostCodec(EmbeddingCodec):
    """HNeRV-Boost with consistent entropy minimization (section 3.4)."""

    name = "hnerv-boost"
    reference = "Zhang et al., Boosting Neural Representations for Videos with a Conditional Decoder, CVPR 2024"
    revision = 5
    Settings = HNeRVBoostSettings
    config = HNeRVBoostConfig
    free_width = "time"
    second_width = "code"
    scheme: ClassVar[type[Scheme]] = EntropyMinimization
    presets = presets_of(
        quick={"epochs": 55, "finetune_epochs": 15, "lr": 6e-3, "finetune_lr": 0.3},
        tiny={"epochs": 12, "finetune_epochs": 6, "finetune_lr": 0.5, "frequencies": 40},
        best={"optimizer": "muon", "epochs": 52, "finetune_epochs": 14, "lr": 1.2e-2},
    )

    def shaped(self, clip: ClipHeader, share: float, size: int) -> HNeRVBoostConfig:
        """The network of the paper's 3M model with widths times `share`: `channels` is C_0, 95 at share 1.

        The time code and `lower`, 12 in the paper, shrink only below half of that (our choice).
        """
        geometry, s, less = embedding_geometry(clip), self.settings, min(1.0, 2 * share)
        return HNeRVBoostConfig(
            geometry.rows, geometry.columns, geometry.strides, channels=max(1, round(95 * share)),
            embedding=self.embedding_channels(clip, geometry.rows * geometry.columns, size),
            lower=max(1, round(12 * less)), time=max(1, round(64 * less)), code=max(1, round(32 * less)),
            frequencies=s.frequencies, tat=int(s.tat), sine=int(s.sine),
        )  # fmt: skip

    @classmethod
    def build(cls, config: NetworkConfig, clip: ClipHeader) -> HNeRVBoost:
        """The network."""
        assert isinstance(config, HNeRVBoostConfig)
        return HNeRVBoost(config, clip.frames)

    def encoder(self, network: Network, clip: ClipHeader) -> Encoder:
        """HNeRV's ConvNeXt encoder."""
        assert isinstance(network, HNeRVBoost)
        return ContentEncoder(network.config, network.config.embedding)

    def recipe(self) -> Sequence[Stage]:
        """Training, then the stage that minimizes the entropy too."""
        s = self.settings
        fit = Stage(
            "fit", s.epochs, s.lr, warmup=0.1, warmup_ends="step", batch=s.batch, loss=MIXES[s.loss], optimizer="adan",
            betas=BETAS,
        )  # fmt: skip
        finetune = fit.finetuned(s.finetune_epochs, s.finetune_lr)
        return fit, replace(finetune, rate_weight=s.rate, rate_area="frame")

    def compression(self) -> Scheme:
        """Consistent entropy minimization (CEM, section 3.4)."""
        return EntropyMinimization(self.settings.target_bits)
