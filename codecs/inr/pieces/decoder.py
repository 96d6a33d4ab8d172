"""What a codec that codes pieces provides: a decoder of pieces, and an encoder of them."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol

from torch import Tensor

from .layout import Piece, State
from .stream import Parts


class PieceDecoder(ABC, Generic[State]):
    """Reads and renders the pieces of one clip, from the numbers in its header."""

    kinds: Sequence[str]
    """Names of the parts of a piece, in the order in which a file has them: ASCII, each a section."""
    pieces: Sequence[Piece]
    """All pieces in the order of coding: spans of frames in display order, the pieces of one span together."""

    @abstractmethod
    def read(self, piece: Piece, parts: Parts, reference: State | None) -> State:
        """The state of a piece on the device, from its bytes and the state of `piece.after`.

        It is what `encode` continues from and what `render` shows, so that both sides have the same. Raises
        BitstreamError for bytes that fit no piece, before it allocates what they ask for.
        """

    @abstractmethod
    def render(self, piece: Piece, state: State) -> Tensor:
        """The piece as values in 0..1 (beyond, they are clamped): `[frames, 3, height, width]` on the device."""

    @abstractmethod
    def parameters(self, piece: Piece) -> int:
        """Numbers that are transmitted for a piece."""

    @abstractmethod
    def macs(self, piece: Piece) -> int:
        """Multiply-accumulates of the networks that decode a piece."""


@dataclass(frozen=True)
class Trained:
    """A piece after training, or one of several candidates for it."""

    tensors: Mapping[str, Tensor]
    """All that `PieceEncoder.write` needs, and all that the training of the next piece may start from."""
    cost: float = 0.0
    """What is to be least among candidates."""
    notes: Mapping[str, Any] = field(default_factory=dict)
    """What goes with the tensors, of the kinds that `PieceRun.save` takes."""


class PieceRun(Protocol):
    """What the engine gives the training of a piece."""

    seed: int
    """Follows from the job's seed, the piece and the candidate; torch's generators already have it."""
    candidate: int
    """From 0."""
    saved: Mapping[str, Any] | None
    """The state with which an interrupted training of this candidate goes on; None where it begins."""

    def report(self, share: float, psnr: float) -> None:
        """Reports the share of this training that is done, in 0..1, and its PSNR in dB."""
        ...

    @property
    def due(self) -> bool:
        """Whether it is time to `save`."""
        ...

    def save(self, state: Mapping[str, Any]) -> None:
        """Keeps tensors, numbers, strings, and lists and mappings of them, for `saved`; torch's generators too."""
        ...


class PieceEncoder(ABC, Generic[State]):
    """Trains and writes the pieces of one clip."""

    numbers: Sequence[int]
    """Non-negative integers for the file's header, from which `PieceCodec.decoder` makes the decoder."""

    def candidates(self, piece: Piece) -> int:
        """How many trainings of a piece compete; the one of least cost is written."""
        return 1

    @abstractmethod
    def train(
        self, piece: Piece, frames: Tensor, reference: State | None, before: Trained | None, run: PieceRun
    ) -> Trained:
        """Trains a piece.

        `frames`: its samples, 8 bit, `[frames, 3, height, width]` on the device. `reference`: the decoded state of
        `piece.after`. `before`: the training of the piece before it in the order of coding, as it was written.
        Raises RdbenchError where the training diverges.
        """

    @abstractmethod
    def write(self, piece: Piece, trained: Trained, reference: State | None) -> Parts:
        """The bytes of a piece, of every kind. Raises RdbenchError for weights beyond all bounds."""

    @abstractmethod
    def sample(self, piece: Piece, reference: State | None) -> Trained:
        """A piece without training that takes about as long to decode, for `rdbench bench decode`."""
