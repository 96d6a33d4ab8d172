"""Video: a format and frames, read in display order, in batches, on demand."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal

import numpy as np
import numpy.typing as npt

Plane = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
Chroma = Literal["420", "422", "444", "rgb", "gray"]

BATCH = 8
"""Default number of frames in a batch (our choice): 50 MB of 1080p RGB."""


@dataclass(frozen=True)
class VideoFormat:
    """What one frame is. `chroma` `rgb` means planes R, G, B of full range; `gray` one plane."""

    width: int
    height: int
    chroma: Chroma = "420"
    bit_depth: int = 8
    frame_rate: Fraction = Fraction(25)
    full_range: bool = False

    @property
    def peak(self) -> int:
        """The largest sample value: 255 at 8 bit, 1023 at 10 bit."""
        return (1 << self.bit_depth) - 1

    @property
    def dtype(self) -> np.dtype[np.uint8] | np.dtype[np.uint16]:
        """uint8 at 8 bit, little-endian uint16 above."""
        return np.dtype(np.uint8) if self.bit_depth == 8 else np.dtype("<u2")

    @property
    def plane_shapes(self) -> tuple[tuple[int, int], ...]:
        """(height, width) of each plane; odd sizes round the chroma planes up."""
        h, w = self.height, self.width
        if self.chroma == "gray":
            return ((h, w),)
        ch = (h + 1) // 2 if self.chroma == "420" else h
        cw = (w + 1) // 2 if self.chroma in ("420", "422") else w
        return ((h, w), (ch, cw), (ch, cw))

    @property
    def cuts_chroma(self) -> bool:
        """Whether the size is odd in a direction in which chroma is subsampled."""
        return bool((self.width % 2 and self.chroma in ("420", "422")) or (self.height % 2 and self.chroma == "420"))

    def with_planes(self, chroma: Chroma, bit_depth: int) -> "VideoFormat":
        """The format after conversion to other YUV planes; RGB, which is always of full range, becomes limited."""
        full_range = self.full_range and self.chroma != "rgb"
        return replace(self, chroma=chroma, bit_depth=bit_depth, full_range=full_range)

    @property
    def whole_frame_rate(self) -> int:
        """The frame rate rounded to whole frames per second, at least 1."""
        return max(1, round(self.frame_rate))

    @property
    def frame_bytes(self) -> int:
        """Bytes of one frame as planar raw video."""
        return sum(h * w for h, w in self.plane_shapes) * self.dtype.itemsize


@dataclass(frozen=True)
class Frames:
    """Some consecutive frames: a `[T, h, w]` array for each plane, in the format's order and dtype."""

    planes: tuple[Plane, ...]

    def __len__(self) -> int:
        return int(self.planes[0].shape[0])


class Video(ABC):
    """Frames that can be read again and again from the start; nothing is held in memory between batches."""

    format: VideoFormat
    frames: int | None
    """Number of frames; None where it is only known after reading to the end."""

    @abstractmethod
    def batches(self, size: int = BATCH) -> Iterator[Frames]:
        """The frames in display order, `size` at a time (the last batch may be shorter)."""

    def span(self, first: int, end: int, size: int = BATCH) -> Iterator[Frames]:
        """The existing frames among `first` to `end` - 1, in batches of up to `size`.

        This implementation reads from the start and skips; a video with random access overrides it.
        """
        position = 0
        for batch in self.batches(size):
            low, high = max(first - position, 0), min(end - position, len(batch))
            position += len(batch)
            if low < high:
                yield Frames(tuple(plane[low:high] for plane in batch.planes))
            if position >= end:
                return
