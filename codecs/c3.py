"""C3: a tiny model for every spatio-temporal patch of a clip (Kim, Bauer, Theis, Schwarz, Dupont, CVPR 2024).

A patch is latent grids, a network that turns them into colors, and networks that predict each latent from its context
for the entropy coder. Up to nine models are trained for a patch, and the best is kept ("C3 Adaptive"). The released
code (google-deepmind/c3_neural_compression) estimates the rate; this codec writes the bits and decodes them.

Our choice: the eight lambdas, which are not published; patches of nearly equal size where the paper's do not divide the
clip; entropy networks in fixed point, and latents along wavefronts; a share of probability for rare values, where the
estimate counts at most 16 bits; one distribution for several tensors of the networks; empty grids, which take no bits;
in the second phase, the parameters of the lowest loss themselves, where the released code keeps those a step later.
"""

import re
from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field

from rdbench.codec import Clip, RatePoint, Settings
from rdbench.errors import UsageError

from .inr.c3.context import VARIANTS
from .inr.c3.latents import Shape
from .inr.c3.patch_codec import Candidate, PatchDecoder, PatchEncoder, candidates_of, even_sides
from .inr.c3.training import Plan
from .inr.clip_header import ClipHeader
from .inr.pieces.codec import PieceCodec
from .inr.presets import presets_of

LAMBDAS = (0.02, 0.01, 0.005, 0.002, 0.001, 0.0005, 0.0002, 0.0001)
"""Default weights of the bits per pixel, beside the mean squared error of samples in 0..1 (our choice: they follow from
the slopes between the paper's published points)."""
LARGEST_LAMBDA = 100.0
PAIRS = ((True, True), (True, False), (False, True))
"""Per-frame convolution and start at the mean color: the pairs of the released sweep."""
ADAPTIVE: Literal["adaptive"] = "adaptive"
MACS_PER_SECOND = 4e9
"""Speed of training on one CPU core, for `rdbench plan` (measured once): narrow layers wait for memory."""
Choice = Literal["search", "yes", "no"]


def patch_sides(weight: float) -> Shape:
    """Frames, rows and columns of a patch by lambda, which divide UVG's clips (the released sweep)."""
    if weight > 1e-3:
        return 75, 270, 320
    return (60, 180, 240) if weight > 2e-4 else (30, 180, 240)


class C3Settings(Settings):
    """The model and its training; the defaults are those of the released sweep."""

    variant: Literal["a", "b", "c", "adaptive"] = ADAPTIVE
    """Context: `a` one network for all grids, `b` one for each, `c` with windows at learned places; or the best."""
    per_frame_conv: Choice = "search"
    """Whether the residual convolutions are two-dimensional; else they reach into the frames beside."""
    mean_init: Choice = "search"
    """Whether the last bias starts at the patch's mean color."""
    noise_steps: int = Field(100_000, ge=1)
    """Steps of the first phase: soft rounding around noise."""
    rounding_steps: int = Field(10_000, ge=0)
    """Most steps of the second phase: rounding."""
    lr: float = Field(1e-2, gt=0)
    """Learning rate at the beginning of the first phase, which ends at 0 along a cosine."""
    clip_norm: float = Field(3e-2, gt=0)
    """Largest norm of a gradient; the sweep has 1e-2 for Beauty."""
    mask_steps: int = Field(1000, ge=1)
    """Steps after which variant c's windows are placed, and its training begins anew."""
    mask_window: int = Field(65, ge=5, le=65)
    """Side of the window in which their places are learned."""
    search: Literal["pairs", "axes"] = "pairs"
    """Quantization steps of the networks: all pairs for weights and biases, or one after the other (our choice)."""


class C3Codec(PieceCodec):
    """C3 with a bitstream."""

    name: ClassVar[str] = "c3"
    revision = 3
    reference = (
        "Kim et al., C3: High-performance and low-complexity neural compression from a single image or video, CVPR 2024"
    )
    Settings = C3Settings
    presets = presets_of(
        quick={"variant": "b", "per_frame_conv": "yes", "mean_init": "yes", "noise_steps": 600,
                      "rounding_steps": 60, "mask_steps": 60, "mask_window": 17, "search": "axes"},
        tiny={"variant": "b", "per_frame_conv": "yes", "mean_init": "yes", "noise_steps": 120,
                     "rounding_steps": 20, "mask_steps": 10, "mask_window": 9, "search": "axes"},
    )  # fmt: skip

    def rate_points(self, clip: Clip) -> Sequence[RatePoint]:
        """Eight lambdas."""
        return [self.rate_point(label(weight), clip) for weight in LAMBDAS]

    def rate_point(self, label: str, clip: Clip) -> RatePoint:
        """Any lambda, as `lambda0.001`. Raises UsageError."""
        match = re.fullmatch(r"lambda(\d{1,3}(?:\.\d{1,9})?)", label)
        weight = float(match[1]) if match else 0.0
        if not 0 < weight <= LARGEST_LAMBDA:
            raise UsageError(f"{label!r} is no rate point of {self.name}; write it as lambda0.001.")
        return RatePoint(label, {"lambda": weight})

    def candidates(self) -> list[Candidate]:
        """The models that are trained for a patch."""
        s = self.settings
        variants = list(VARIANTS.values()) if s.variant == ADAPTIVE else [VARIANTS[s.variant]]
        return candidates_of(variants, _pairs(s.per_frame_conv, s.mean_init))

    def estimate_seconds(self, clip: Clip, point: RatePoint, device: str) -> float | None:
        """The multiply-accumulates of all steps, three passes each; None on a GPU."""
        if device.startswith("cuda"):
            return None
        header = ClipHeader.of(clip)
        s, candidates = self.settings, self.candidates()
        volume = even_sides(header, patch_sides(float(point.settings["lambda"])))
        one = PatchDecoder(header, volume, candidates, "cpu")
        macs = float(sum(one.macs(piece) for piece in one.pieces) * len(candidates))
        steps = int(s.noise_steps) + int(s.rounding_steps)
        return 3 * macs * steps / MACS_PER_SECOND

    def encoder(self, clip: ClipHeader, point: RatePoint, device: str) -> PatchEncoder:
        """The encoder of a clip at a lambda."""
        s, weight = self.settings, float(point.settings["lambda"])
        plan = Plan(s.noise_steps, s.rounding_steps, s.lr, s.clip_norm, s.mask_steps, s.mask_window, s.search)
        return PatchEncoder(even_sides(clip, patch_sides(weight)), self.candidates(), weight, plan)

    @classmethod
    def decoder(cls, clip: ClipHeader, numbers: Sequence[int], device: str) -> PatchDecoder:
        """The decoder for an encoder's numbers. Raises BitstreamError."""
        return PatchDecoder.from_numbers(clip, numbers, device)


def label(weight: float) -> str:
    """`lambda0.001`."""
    return f"lambda{weight:.9f}".rstrip("0").rstrip(".")


def _pairs(per_frame: Choice, mean: Choice) -> list[tuple[bool, bool]]:
    """The pairs that the settings leave: those of the sweep, or the one that both settings name."""
    allowed = [{"search": (True, False), "yes": (True,), "no": (False,)}[choice] for choice in (per_frame, mean)]
    pairs = [pair for pair in PAIRS if pair[0] in allowed[0] and pair[1] in allowed[1]]
    return pairs or [(per_frame == "yes", mean == "yes")]
