"""Where two codecs are looked at: which frames of a clip, and which part of a frame. Pure functions over arrays."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]
"""`[H, W, 3]`: R, G, B of full range."""
Errors = npt.NDArray[np.float64]
"""`[H, W]`: the squared error of each pixel, the mean over its channels."""

Kind = Literal["a", "b", "difference", "median"]
KINDS: tuple[Kind, ...] = ("a", "b", "difference", "median")
"""Why a frame is chosen, in the order in which frames are: lowest quality of A, of B, largest difference, median."""
SHARE = 5
"""A crop is a square of this part of the frame's shorter side (our choice) ..."""
SMALLEST, LARGEST = 32, 216
"""... but of at least and at most so many pixels (our choice: 216 is a fifth of 1080 lines)."""


@dataclass(frozen=True)
class Crop:
    """A rectangle of a frame, in pixels."""

    top: int
    left: int
    height: int
    width: int

    def of(self, image: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """This part of an image or of a map."""
        return image[self.top : self.top + self.height, self.left : self.left + self.width]

    def overlap(self, other: "Crop") -> float:
        """The share of this crop that the other one covers, from 0 to 1."""
        high = min(self.top + self.height, other.top + other.height) - max(self.top, other.top)
        wide = min(self.left + self.width, other.left + other.width) - max(self.left, other.left)
        return max(high, 0) * max(wide, 0) / (self.height * self.width)


@dataclass(frozen=True)
class Choice:
    """A frame and why it was chosen: kinds with the rank among all frames, 0 being the first."""

    frame: int
    reasons: tuple[tuple[Kind, int], ...] = ()

    def text(self, a: str, b: str, metric: str) -> str:
        """The reasons in words, with the names of both codecs; of a frame that was asked for, nothing."""
        names = {"a": f"lowest {metric} of {a}", "b": f"lowest {metric} of {b}",
                 "difference": f"largest difference in {metric}", "median": f"median {metric}"}  # fmt: skip
        return "; ".join(names[kind] + (f" (no. {rank + 1})" if rank else "") for kind, rank in self.reasons)


def choose_frames(a: Sequence[float], b: Sequence[float], count: int) -> list[Choice]:
    """Up to `count` frames by the quality of each frame with both codecs, greater being better.

    The first ones are the worst of A, of B, the one with the largest difference and the median of both codecs' mean;
    then come the second of each kind, and so on. A frame that is first in several kinds takes one place.
    """
    chosen: dict[int, list[tuple[Kind, int]]] = {}
    for kind, rank, frame in _in_turn(_rankings(np.asarray(a, float), np.asarray(b, float))):
        if frame in chosen:
            if rank == 0:
                chosen[frame].append((kind, rank))
        elif len(chosen) < count:
            chosen[frame] = [(kind, rank)]
    return [Choice(frame, tuple(reasons)) for frame, reasons in chosen.items()]


def _rankings(a: Errors, b: Errors) -> dict[Kind, list[int]]:
    """All frames in the order of each kind; of equal ones the earlier first."""
    both = (a + b) / 2
    keys = (a, b, -np.abs(a - b), np.abs(both - np.median(both)))
    return {kind: np.argsort(key, kind="stable").tolist() for kind, key in zip(KINDS, keys, strict=True)}


def _in_turn(rankings: dict[Kind, list[int]]) -> Iterator[tuple[Kind, int, int]]:
    """Kind, rank and frame: the first of each kind, then the second of each."""
    for rank in range(len(rankings["a"])):
        for kind in KINDS:
            yield kind, rank, rankings[kind][rank]


def squared_errors(reference: Image, decoded: Image) -> Errors:
    """The squared error of each pixel, the mean over its channels."""
    difference = reference.astype(np.float64) - decoded
    return np.asarray((difference * difference).mean(axis=2))


def crop_size(height: int, width: int) -> int:
    """The side of the square crop of a frame of this size, in pixels."""
    side = min(height, width)
    return min(side, max(SMALLEST, min(LARGEST, side // SHARE)))


def difference_crop(a: Errors, b: Errors, size: int) -> Crop:
    """The square in which the sums of the squared errors of A and B differ most, in either direction."""
    return _largest(np.abs(_window_sums(a - b, size)), size)


def worst_crop(errors: Errors, size: int) -> Crop:
    """The square with the largest sum of squared errors."""
    return _largest(_window_sums(errors, size), size)


def _window_sums(values: Errors, size: int) -> Errors:
    """The sum over the square at each place, by its upper left corner: `[H - size + 1, W - size + 1]`."""
    integral = np.zeros((values.shape[0] + 1, values.shape[1] + 1))
    integral[1:, 1:] = values.cumsum(0).cumsum(1)
    lower, upper = integral[size:], integral[:-size]
    return np.asarray(lower[:, size:] - lower[:, :-size] - upper[:, size:] + upper[:, :-size])


def _largest(sums: Errors, size: int) -> Crop:
    top, left = np.unravel_index(int(np.argmax(np.round(sums, 6))), sums.shape)
    return Crop(int(top), int(left), size, size)


@dataclass(frozen=True)
class Side:
    """One of the two codecs that are compared, at one rate point."""

    codec: str
    rate_point: str
    bpp: float
    quality: float
    """Of the whole clip, the mean over its frames, in dB."""


@dataclass(frozen=True)
class Shot:
    """One frame: as it is in the clip, and as both codecs show it."""

    choice: Choice
    reference: Image
    decoded: tuple[Image, Image]
    quality: tuple[float, float]
    """Of this frame, in dB, as decoded and measured anew."""

    def crop(self, where: Literal["difference", "worst"]) -> Crop:
        """Where both codecs differ most, or where A is worst."""
        a, b = (squared_errors(self.reference, image) for image in self.decoded)
        size = crop_size(*self.reference.shape[:2])
        return difference_crop(a, b, size) if where == "difference" else worst_crop(a, size)


@dataclass(frozen=True)
class Comparison:
    """Two codecs on one clip, with the frames that were chosen."""

    dataset: str
    sequence: str
    metric: str
    """`PSNR RGB` or `PSNR YUV`: what `quality` is."""
    chosen_by: str
    """`PSNR` or `MS-SSIM`: by what the frames were chosen."""
    sides: tuple[Side, Side]
    shots: tuple[Shot, ...]
