"""The bitstream of a clip coded in pieces: the container of the INR codecs, with an index of the pieces' parts.

    config    the clip, then the codec's own numbers
    lengths   the bytes of every part, piece by piece, each in the order of the kinds
    ...       a section for each kind of part, with those of all pieces one after the other

Integers are LEB128. The sections of one kind say where the bytes go; the index lets a decoder read one piece alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from itertools import accumulate
from pathlib import Path

from rdbench.errors import BitstreamError

from ..bitstream import pack_integers, read_stream, unpack_integers, write_stream
from ..codec import ClipHeader

Parts = Mapping[str, bytes]
"""The bytes of a piece by their kind."""
CONFIG, LENGTHS = "config", "lengths"
DAMAGED_PIECES = "The bitstream's pieces are damaged; encode the clip again."


def write_pieces(
    path: Path, codec: str, clip: ClipHeader, numbers: Sequence[int], kinds: Sequence[str], pieces: Sequence[Parts]
) -> None:
    """Writes the file; every piece has a part of every kind, which may be empty."""
    index = [len(parts[kind]) for parts in pieces for kind in kinds]
    head = {CONFIG: pack_integers([*astuple(clip), *numbers]), LENGTHS: pack_integers(index)}
    write_stream(path, codec, {**head, **{kind: b"".join(parts[kind] for parts in pieces) for kind in kinds}})


@dataclass(frozen=True)
class PieceStream:
    """The sections of a file and the edges of the pieces in them."""

    sections: Parts
    edges: Mapping[str, Sequence[int]]

    def parts(self, number: int) -> dict[str, bytes]:
        """The bytes of one piece by their kind."""
        return {kind: self.sections[kind][at[number] : at[number + 1]] for kind, at in self.edges.items()}


def read_head(path: Path, codec: str) -> tuple[ClipHeader, list[int], dict[str, bytes]]:
    """The clip, the codec's own numbers, and all sections. Raises BitstreamError."""
    sections = read_stream(path, codec)
    numbers, first = unpack_integers(sections.get(CONFIG, b"")), len(fields(ClipHeader))
    if len(numbers) < first:
        raise BitstreamError(DAMAGED_PIECES)
    return ClipHeader(*numbers[:first]).check(), numbers[first:], sections


def index_of(sections: Parts, kinds: Sequence[str], count: int) -> PieceStream:
    """The sections with the edges of `count` pieces. Raises BitstreamError where they do not fit."""
    lengths = unpack_integers(sections.get(LENGTHS, b""))
    if sections.keys() != {CONFIG, LENGTHS, *kinds} or len(lengths) != count * len(kinds):
        raise BitstreamError(DAMAGED_PIECES)
    edges = {kind: [0, *accumulate(lengths[number :: len(kinds)])] for number, kind in enumerate(kinds)}
    if any(at[-1] != len(sections[kind]) for kind, at in edges.items()):
        raise BitstreamError(DAMAGED_PIECES)
    return PieceStream(sections, edges)
