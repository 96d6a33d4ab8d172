"""What the codecs that go back to NeRV share: settings, recipe, and pruning, quantization and entropy coding."""

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
"""Of Adam, in NeRV's code and its descendants'."""
LossName = Literal["l1_ssim", "l1_ms_ssim", "l2_ssim", "l1_l2", "l1", "l2", "ssim"]


class IndexSettings(InrSettings):
    """The recipe (NeRV, section 4.1); the defaults are those of NeRV's table 2."""

    epochs: int = Field(1200, ge=1)
    finetune_epochs: int = Field(50, ge=0)
    lr: float = Field(5e-4, gt=0)
    finetune_lr: float = Field(1.0, gt=0)
    """Of fine-tuning, as a share of `lr`."""
    batch: int = Field(1, ge=1)
    loss: LossName = "l1_ssim"
    prune: float = Field(0.4, ge=0, lt=1)
    """The share of weights that is pruned."""
    bits: int = Field(8, ge=2, le=MOST_BITS)
    entropy: Literal["arithmetic", "huffman"] = "arithmetic"
    """Huffman is what NeRV's paper uses."""
    frequencies: int = Field(80, ge=1, le=200)
    """Levels of the positional encoding of time."""


class IndexCodec(InrCodec):
    """A network of the frame's index: fitted, pruned, fitted again without warm-up, quantized to 8 bit and coded."""

    scheme = PostTraining
    presets = MappingProxyType(
        {
            "paper": {},
            "quick": {"epochs": 60, "finetune_epochs": 10, "lr": 5e-3},
            "tiny": {"epochs": 14, "finetune_epochs": 4, "lr": 6e-3, "frequencies": 40},
        }
    )
    prunable: ClassVar[str] = r"(?!head\.).*weight"
    """The weights that pruning looks at: neither head nor biases (NeRV's code)."""

    def recipe(self) -> Sequence[Stage]:
        """Fit and fine-tuning (NeRV, sections 3.2, 3.3 and 4.1)."""
        s = self.settings
        fit = Stage("fit", s.epochs, s.lr, batch=s.batch, loss=MIXES[s.loss], betas=BETAS)
        again = replace(fit, name="finetune", epochs=s.finetune_epochs, lr=s.lr * s.finetune_lr, warmup=0.0)
        return fit, replace(again, sparsity=s.prune)

    def compression(self) -> PostTraining:
        """NeRV's own (section 3.3)."""
        return PostTraining(self.settings.bits, self.settings.entropy, self.prunable)
