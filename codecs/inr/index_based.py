"""What the codecs of a frame index, NeRV and its descendants, share: settings, recipe, pruning and quantization."""

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar, Literal

from pydantic import Field

from .codec import InrCodec
from .compression.post_training import MOST_BITS, Channel, PostTraining
from .presets import presets_of
from .recipes.losses import MIXES
from .recipes.stage import Stage
from .training.rate_distortion import InrSettings

BETAS = (0.5, 0.999)
"""Betas of Adam in NeRV's code and in that of its descendants."""
WARMUP = 0.2
"""Share of the epochs in which the learning rate rises, in NeRV's code and in the commands of NeRV++'s."""
LARGE, SMALL = 26, 8
"""Channels of the base grid of the papers' S and XS, which differ in nothing else."""
NARROWEST = 1 / 28
"""Smallest share of the other widths with the channels of XS: a hidden layer of 18."""
LossName = Literal["l1_ssim", "l1_ms_ssim", "l2_ssim", "l2_l1", "l1", "l2", "ssim"]


def shrunk_widths(share: float) -> tuple[int, float]:
    """Channels of the base grid for `share` of those of S, and the share of the papers' widths that all others have.

    From L down to XS only the channels shrink, as in NeRV++'s paper. Our choice: below XS only the other widths do
    until they are at NARROWEST, then the channels again, and with one channel the others.
    """
    channels = LARGE * share
    if channels >= SMALL:
        return round(channels), 1.0
    others = channels / SMALL
    if others >= NARROWEST:
        return SMALL, others
    channels = SMALL * others / NARROWEST
    return max(1, round(channels)), NARROWEST * min(1.0, channels)


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
    beta1: float = Field(BETAS[0], ge=0, lt=1, exclude_if=lambda value: value == BETAS[0])
    """beta1 of Adam: 0.5 in NeRV's code and in that of its descendants; records leave 0.5 out."""
    warmup: float = Field(WARMUP, ge=0, lt=1, exclude_if=lambda value: value == WARMUP)
    """Share of the training's epochs in which the learning rate rises; records leave 0.2 out."""
    batch: int = Field(1, ge=1)
    """Frames per training step."""
    loss: LossName = "l1_ssim"
    """The training loss; of two terms the first has the weight 0.7, the second 0.3."""
    prune: float = Field(0.4, ge=0, lt=1)
    """Share of the weights that is pruned."""
    bits: int = Field(8, ge=2, le=MOST_BITS)
    """Bits of a quantized weight before entropy coding."""
    ranges: Channel = Field("output", exclude_if=lambda value: value == "output")
    """Channels of a weight that have a range of quantized values each: `output` as in NeRV's code, or `input`; records
    leave `output` out."""
    entropy: Literal["arithmetic", "huffman"] = "arithmetic"
    """Entropy coder; NeRV's paper uses Huffman coding."""
    frequencies: int = Field(80, ge=1, le=200)
    """Frequencies of the positional encoding of time (L in the papers)."""


class IndexCodec(InrCodec):
    """A network of the frame index: trained, pruned, fine-tuned without warm-up, quantized to 8 bit, entropy coded."""

    scheme = PostTraining
    presets = presets_of(
        quick={"epochs": 60, "finetune_epochs": 10, "lr": 5e-3},
        tiny={"epochs": 14, "finetune_epochs": 4, "lr": 6e-3, "frequencies": 40},
    )
    prunable: ClassVar[str] = r"(?!head\.).*weight"
    """Names of the weights that may be pruned: all but those of the head, and no biases (NeRV's code)."""

    def recipe(self) -> Sequence[Stage]:
        """Training, then fine-tuning of the pruned network (NeRV, sections 3.2, 3.3 and 4.1)."""
        s = self.settings
        betas = (s.beta1, *BETAS[1:])
        fit = Stage("fit", s.epochs, s.lr, s.warmup, batch=s.batch, loss=MIXES[s.loss], betas=betas)
        finetune = fit.finetuned(s.finetune_epochs, s.finetune_lr)
        return fit, replace(finetune, sparsity=s.prune)

    def compression(self) -> PostTraining:
        """NeRV's post-training quantization and entropy coding (section 3.3)."""
        return PostTraining(self.settings.bits, self.settings.entropy, self.prunable, self.settings.ranges)
