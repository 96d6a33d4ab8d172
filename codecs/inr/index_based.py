"""What the codecs of a frame index, NeRV and its descendants, share: settings, recipe, pruning and quantization."""

from collections.abc import Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import ClassVar, Literal

from pydantic import Field

from .codec import InrCodec
from .compression.post_training import MOST_BITS, PostTraining
from .recipes.losses import MIXES
from .recipes.stage import Stage
from .training.rate_distortion import InrSettings

BETAS = (0.5, 0.999)
"""Betas of Adam in NeRV's code and in that of its descendants."""
LossName = Literal["l1_ssim", "l1_ms_ssim", "l2_ssim", "l2_l1", "l1", "l2", "ssim"]


class IndexSettings(InrSettings):
    """The recipe (NeRV, section 4.1) and the compression; the defaults are those of NeRV's table 2."""

    epochs: int = Field(1200, ge=1)
    """Epochs of training, before the other stages."""
    finetune_epochs: int = Field(50, ge=0)
    """Epochs of fine-tuning after pruning."""
    lr: float = Field(5e-4, gt=0)
    """Learning rate of the training, which a schedule changes over its epochs."""
    finetune_lr: float = Field(1.0, gt=0)
    """Learning rate of fine-tuning, as a share of `lr`."""
    batch: int = Field(1, ge=1)
    """Frames per training step."""
    loss: LossName = "l1_ssim"
    """The training loss; of two terms the first has the weight 0.7, the second 0.3."""
    prune: float = Field(0.4, ge=0, lt=1)
    """Share of the weights that is pruned."""
    bits: int = Field(8, ge=2, le=MOST_BITS)
    """Bits of a quantized weight before entropy coding."""
    entropy: Literal["arithmetic", "huffman"] = "arithmetic"
    """Entropy coder; NeRV's paper uses Huffman coding."""
    frequencies: int = Field(80, ge=1, le=200)
    """Frequencies of the positional encoding of time (L in the papers)."""


class IndexCodec(InrCodec):
    """A network of the frame index: trained, pruned, fine-tuned without warm-up, quantized to 8 bit, entropy coded."""

    scheme = PostTraining
    presets = MappingProxyType(
        {
            "paper": {},
            "quick": {"epochs": 60, "finetune_epochs": 10, "lr": 5e-3},
            "tiny": {"epochs": 14, "finetune_epochs": 4, "lr": 6e-3, "frequencies": 40},
        }
    )
    prunable: ClassVar[str] = r"(?!head\.).*weight"
    """Names of the weights that may be pruned: all but those of the head, and no biases (NeRV's code)."""

    def recipe(self) -> Sequence[Stage]:
        """Training, then fine-tuning of the pruned network (NeRV, sections 3.2, 3.3 and 4.1)."""
        s = self.settings
        fit = Stage("fit", s.epochs, s.lr, batch=s.batch, loss=MIXES[s.loss], betas=BETAS)
        finetune = fit.finetuned(s.finetune_epochs, s.finetune_lr)
        return fit, replace(finetune, sparsity=s.prune)

    def compression(self) -> PostTraining:
        """NeRV's post-training quantization and entropy coding (section 3.3)."""
        return PostTraining(self.settings.bits, self.settings.entropy, self.prunable)
