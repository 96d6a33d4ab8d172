"""What the hybrid codecs, HNeRV and its descendants, share: an embedding of each frame, and a decoder network.

An encoder network computes the embeddings during training. The embeddings and the decoder are transmitted, the
encoder is not. The size of a model counts all that is transmitted.
"""

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor
from torch.nn import functional

from .codec import ClipHeader, InrCodec
from .compression.axis_quantization import AxisQuantization
from .compression.post_training import MOST_BITS
from .compression.scheme import Scheme
from .networks.encoder import Encoder, FrameLookup
from .networks.layers.convnext import convnext
from .networks.network import Geometry, NetworkConfig, UpsamplingConfig, choose_geometry
from .networks.sizing import grow_width
from .recipes.losses import MIXES
from .recipes.stage import Stage
from .training.rate_distortion import InrSettings

PUBLISHED: Mapping[tuple[int, int], tuple[int, ...]] = MappingProxyType(
    {
        (640, 1280): (5, 4, 4, 2, 2), (960, 1920): (5, 4, 4, 3, 2), (480, 960): (5, 4, 3, 2, 2),
        (1080, 1920): (5, 3, 2, 2, 2), (720, 1280): (5, 2, 2, 2, 2),
    }
)  # fmt: skip
"""Published strides by height and width of the frame: HNeRV's, and at 16:9 those of Boosting-NeRV."""

STRIDES: Mapping[int, tuple[int, ...]] = MappingProxyType(
    {
        1: (1,), 2: (2,), 4: (2, 2), 8: (2, 2, 2), 16: (2, 2, 2, 2), 24: (3, 2, 2, 2), 32: (2, 2, 2, 2, 2),
        48: (3, 2, 2, 2, 2), 64: (4, 2, 2, 2, 2), 80: (5, 2, 2, 2, 2), 96: (4, 3, 2, 2, 2), 120: (5, 3, 2, 2, 2),
        128: (4, 4, 2, 2, 2), 160: (5, 4, 2, 2, 2), 192: (4, 4, 3, 2, 2), 240: (5, 4, 3, 2, 2), 256: (4, 4, 4, 2, 2),
        320: (5, 4, 4, 2, 2), 384: (4, 4, 4, 3, 2), 480: (5, 4, 4, 3, 2), 640: (5, 4, 4, 4, 2),
        768: (4, 4, 4, 4, 3), 960: (5, 4, 4, 4, 3),
    }
)  # fmt: skip
"""Strides for all other frame sizes, by their product (our choice; in falling order, as HNeRV's are)."""

EMBEDDING_CELLS = 2 * 4
"""Cells of an embedding: HNeRV's 2x4, which its ablation found best."""
EMBEDDING_WIDTH = 64
"""Channels of all stages of an encoder network but the last."""
LARGEST_SHARE = 0.5
"""Largest share of a size that embeddings may take (our choice; 0.46 in the 3M models for 1080p)."""


def embedding_geometry(clip: ClipHeader) -> Geometry:
    """The published strides for a frame of this size, or those that give about 2x4 cells and pad the frame least."""
    strides = PUBLISHED.get((clip.height, clip.width))
    if strides is None:
        return choose_geometry(clip.width, clip.height, STRIDES, EMBEDDING_CELLS)
    up = math.prod(strides)
    return Geometry(math.ceil(clip.height / up), math.ceil(clip.width / up), strides)


def padded(frames: Tensor, size: tuple[int, int]) -> Tensor:
    """Frames `[B, C, H, W]`, padded to rows and columns `size` by repeating the last row and column."""
    padding = (0, size[1] - frames.shape[3], 0, size[0] - frames.shape[2])
    return functional.pad(frames, padding, "replicate") if any(padding) else frames


class ContentEncoder(Encoder):
    """Computes `embeddings` from frames by ConvNeXt stages with the strides of the decoder (HNeRV, section 3.1)."""

    makes = frozenset({"embeddings"})

    def __init__(self, config: UpsamplingConfig, channels: int) -> None:
        super().__init__()
        self._size = config.patch_size
        widths = [EMBEDDING_WIDTH] * (len(config.strides) - 1)
        self.stages = convnext(3, [*widths, channels], config.strides)

    def forward(self, video: FrameLookup, frames: Tensor) -> Mapping[str, Tensor]:
        """The embeddings of the frames `[B]`: `[B, d, h, w]`."""
        return {"embeddings": self.stages(padded(video(frames), self._size))}


class EmbeddingSettings(InrSettings):
    """The recipe (HNeRV, section 4.1) and the compression; the paper gives no epochs of fine-tuning (our choice)."""

    epochs: int = Field(300, ge=1)
    """Epochs of training, before the other stages."""
    finetune_epochs: int = Field(50, ge=0)
    """Epochs of fine-tuning after pruning."""
    lr: float = Field(1e-3, gt=0)
    """Learning rate of the training, which a schedule changes over its epochs."""
    finetune_lr: float = Field(0.5, gt=0)
    """Learning rate of fine-tuning, as a share of `lr` (our choice)."""
    batch: int = Field(2, ge=1)
    """Frames per training step."""
    loss: Literal["l2", "l1", "l1_ssim", "l1_ms_ssim"] = "l2"
    """The training loss; of two terms the first has the weight 0.7, the second 0.3."""
    prune: float = Field(0.1, ge=0, lt=1)
    """Share of the weights that is pruned."""
    bits: int = Field(8, ge=2, le=MOST_BITS)
    """Bits of a quantized weight before entropy coding."""
    embedding_bits: int = Field(8, ge=2, le=MOST_BITS)
    """Bits of a value of the embeddings: 8 in HNeRV's paper, 6 in the command of its repository."""
    entropy: Literal["arithmetic", "huffman"] = "arithmetic"
    """Entropy coder; HNeRV's paper uses Huffman coding."""
    embedding: int = Field(16, ge=1, le=256)
    """Channels of an embedding (d); fewer where they would take more than half of a size (our choice)."""


class EmbeddingCodec(InrCodec):
    """Embeddings from an encoder network, and a decoder: trained, pruned, fine-tuned, quantized, entropy coded."""

    scheme: ClassVar[type[Scheme]] = AxisQuantization
    prunable: ClassVar[str] = r".*weight"
    """Names of the weights that may be pruned: all of the decoder, no embeddings (HNeRV's supplement)."""

    @abstractmethod
    def shaped(self, clip: ClipHeader, share: float, size: int) -> NetworkConfig:
        """As `scaled`, with embeddings that leave room for a decoder in a model of `size` parameters."""

    def scaled(self, clip: ClipHeader, share: float) -> NetworkConfig:
        """The paper's network with all widths times `share`; embeddings have the paper's number of channels."""
        return self.shaped(clip, share, 1 << 62)

    def _scaled_to(self, clip: ClipHeader, size: int, share: float) -> NetworkConfig:
        """The network with embeddings for a model of `size` parameters."""
        return self.shaped(clip, share, size)

    def _solved(self, clip: ClipHeader, size: int) -> NetworkConfig:
        return grow_width(
            size, partial(self._scaled_to, clip, size), lambda c: self.build(c, clip), self.free_width,
            self.tolerance(clip),
        )  # fmt: skip

    def embedding_channels(self, clip: ClipHeader, cells: int, size: int) -> int:
        """Channels of an embedding of `cells` cells: the setting, or as many as half of the size holds.

        At least one.
        """
        channels: int = self.settings.embedding
        return max(1, min(channels, int(LARGEST_SHARE * size / (clip.frames * cells))))

    def recipe(self) -> Sequence[Stage]:
        """Training, then fine-tuning of the pruned network (HNeRV, section 4.1 and supplement)."""
        s = self.settings
        fit = Stage("fit", s.epochs, s.lr, warmup=0.1, warmup_ends="step", batch=s.batch, loss=MIXES[s.loss])
        finetune = fit.finetuned(s.finetune_epochs, s.finetune_lr)
        return fit, replace(finetune, sparsity=s.prune)

    def compression(self) -> Scheme:
        """HNeRV's quantization and entropy coding."""
        s = self.settings
        return AxisQuantization(s.bits, s.embedding_bits, s.entropy, self.prunable)
