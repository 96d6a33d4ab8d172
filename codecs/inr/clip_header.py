"""What a bitstream of an INR codec says of its clip."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Self

from rdbench.codec import Clip
from rdbench.errors import BitstreamError
from rdbench.video import VideoFormat

from .networks.network import MOST_FRAMES

LARGEST_SIDE = 1 << 15
LARGEST_FRAME = 1 << 26
"""Pixels of the largest frame."""


@dataclass(frozen=True)
class ClipHeader:
    """The clip in an INR bitstream, as integers."""

    width: int
    height: int
    frames: int
    rate_up: int
    rate_down: int

    @classmethod
    def of(cls, clip: Clip) -> Self:
        """The header of a clip."""
        fmt = clip.format
        return cls(fmt.width, fmt.height, clip.frames, fmt.frame_rate.numerator, fmt.frame_rate.denominator)

    @property
    def pixels(self) -> int:
        """Pixels of a frame."""
        return self.width * self.height

    @property
    def format(self) -> VideoFormat:
        """8-bit RGB, full range."""
        rate = Fraction(self.rate_up, self.rate_down)
        return VideoFormat(self.width, self.height, "rgb", 8, rate, full_range=True)

    def check(self) -> Self:
        """The header itself. Raises BitstreamError where no clip can have it."""
        sizes = (self.width, self.height, self.frames, self.rate_up, self.rate_down)
        too_large = max(self.width, self.height) > LARGEST_SIDE or self.width * self.height > LARGEST_FRAME
        if min(sizes) < 1 or too_large or self.frames > MOST_FRAMES:
            raise BitstreamError("The bitstream's header describes no possible clip; encode it again.")
        return self
