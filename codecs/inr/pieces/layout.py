"""Pieces: boxes of frames, rows and columns that are coded one after the other and cover the clip once."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Generic, Protocol, TypeVar

from rdbench.errors import BitstreamError

from ..codec import ClipHeader

MOST_PIECES = 1 << 16
"""The most pieces of a clip (our choice)."""
State = TypeVar("State")
"""What a decoder needs to render a piece: weights, latents."""


@dataclass(frozen=True)
class Piece:
    """A box in the clip, in frames and pixels of the clip, not of anything padded."""

    number: int
    """Its place in the order of coding, from 0."""
    first: int
    """Its first frame."""
    frames: int
    top: int
    left: int
    height: int
    width: int
    after: int | None = None
    """The number of the earlier piece whose decoded state this one needs; None where it decodes alone."""

    @property
    def values(self) -> int:
        """Samples of its three planes."""
        return 3 * self.frames * self.height * self.width

    @property
    def time(self) -> tuple[int, int]:
        """Its first frame and the one after its last."""
        return self.first, self.first + self.frames


def groups_of_frames(clip: ClipHeader, size: int, intra_every: int) -> list[Piece]:
    """Pieces of `size` whole frames (the last may have fewer), each after the one before it.

    Every `intra_every`-th piece, from the first on, decodes alone.
    """
    starts = range(0, clip.frames, size)
    return [
        Piece(
            number, first, min(size, clip.frames - first), 0, 0, clip.height, clip.width,
            None if number % intra_every == 0 else number - 1,
        )
        for number, first in enumerate(starts)
    ]  # fmt: skip


def boxes(clip: ClipHeader, frames: int, height: int, width: int) -> list[Piece]:
    """Independent pieces of this size, frames first, then row by row; those at the end and the edges are smaller."""
    corners = [
        (first, top, left)
        for first in range(0, clip.frames, frames)
        for top in range(0, clip.height, height)
        for left in range(0, clip.width, width)
    ]
    return [
        Piece(
            number, first, min(frames, clip.frames - first), top, left,
            min(height, clip.height - top), min(width, clip.width - left),
        )
        for number, (first, top, left) in enumerate(corners)
    ]  # fmt: skip


def spans_of(pieces: Sequence[Piece], clip: ClipHeader) -> list[list[Piece]]:
    """The pieces by their spans of frames, in display order. Raises BitstreamError unless they cover the clip once."""
    spans = [list(group) for _, group in groupby(pieces, lambda piece: piece.time)]
    edges = [group[0].time for group in spans]
    covered = all(sum(p.height * p.width for p in group) == clip.pixels for group in spans)
    in_order = [0, *(end for _, end in edges)] == [*(first for first, _ in edges), clip.frames]
    inside = all(
        p.top >= 0 and p.left >= 0 and p.top + p.height <= clip.height and p.left + p.width <= clip.width
        and p.number == number and (p.after is None or 0 <= p.after < number)
        for number, p in enumerate(pieces)
    )  # fmt: skip
    if not (covered and in_order and inside and len(pieces) <= MOST_PIECES):
        raise BitstreamError("The bitstream's pieces do not cover its clip; encode it again.")
    return spans


class ReadsPieces(Protocol[State]):
    """Whatever turns the bytes of a piece into its state."""

    @property
    def pieces(self) -> Sequence[Piece]:
        """All pieces in the order of coding."""
        ...

    def read_piece(self, number: int, reference: State | None) -> State:
        """The state of a piece, given that of the piece it comes after. Raises BitstreamError."""
        ...


class States(Generic[State]):
    """The states of pieces, decoded when they are asked for; those that no later piece needs are dropped."""

    def __init__(self, reader: ReadsPieces[State]) -> None:
        self._reader = reader
        self._known: dict[int, State] = {}
        self._last_use = {piece.after: piece.number for piece in reader.pieces if piece.after is not None}

    def of(self, number: int) -> State:
        """The state of a piece. Decodes what it depends on, back to a piece that decodes alone or is still known."""
        missing = list(self._missing(number))
        state = self._known[number] if not missing else None
        for each in reversed(missing):
            state = self._known[each] = self._reader.read_piece(each, self.reference(each))
            for known in [known for known in self._known if self._last_use.get(known, known) <= each]:
                del self._known[known]
        assert state is not None
        return state

    def reference(self, number: int) -> State | None:
        """The state that a piece needs; None where it decodes alone."""
        after = self._reader.pieces[number].after
        if after is None:
            return None
        return self._known[after] if after in self._known else self.of(after)

    def _missing(self, number: int) -> Iterator[int]:
        at: int | None = number
        while at is not None and at not in self._known:
            yield at
            at = self._reader.pieces[at].after


def mean_squares_to_db(total: float, values: int) -> float:
    """PSNR in dB from a sum of squared errors of 8-bit samples."""
    return -10 * math.log10(max(total / values / 255**2, 1e-10))
