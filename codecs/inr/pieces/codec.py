"""PieceCodec: the base of codecs that code a clip piece by piece (spatio-temporal patches, groups of frames)."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rdbench.codec import RatePoint, Source, Workspace
from rdbench.video import Video

from ..bitstream import section_bytes
from ..codec import ClipHeader
from ..trained import TrainedCodec
from .decoder import PieceDecoder, PieceEncoder
from .layout import States, spans_of
from .stream import index_of, read_head, write_pieces
from .training import PieceTraining
from .video import PieceReader, PieceVideo


class PieceCodec(TrainedCodec):
    """A codec whose bitstream is a sequence of pieces. A subclass gives rate points, an encoder and a decoder."""

    revision = 1

    @abstractmethod
    def encoder(self, clip: ClipHeader, point: RatePoint, device: str) -> PieceEncoder[Any]:
        """The encoder of a clip at a rate point."""

    @classmethod
    @abstractmethod
    def decoder(cls, clip: ClipHeader, numbers: Sequence[int], device: str) -> PieceDecoder[Any]:
        """The decoder for an encoder's `numbers`. Raises BitstreamError for numbers that no encoder gives."""

    def encode(self, source: Source, point: RatePoint, bitstream: Path, workspace: Workspace) -> None:
        """Trains and writes all pieces."""
        clip = header_of(source.rgb)
        encoder = self.encoder(clip, point, workspace.device)
        decoder = self.decoder(clip, encoder.numbers, workspace.device)
        _describe(decoder, clip, workspace)
        recipe = repr((self.name, self.settings, dict(point.settings), clip, list(encoder.numbers), workspace.seed))
        training = PieceTraining(encoder, decoder, clip, workspace, recipe)
        pieces = training.run(source.rgb)
        workspace.stopwatch.borrow("fit", training.inherited)
        write_pieces(bitstream, self.name, clip, encoder.numbers, decoder.kinds, pieces)

    def write_sample(self, source: Source, point: RatePoint, bitstream: Path, workspace: Workspace) -> None:
        """Writes all pieces without training."""
        clip = header_of(source.rgb)
        encoder = self.encoder(clip, point, workspace.device)
        decoder = self.decoder(clip, encoder.numbers, workspace.device)
        pieces: list[dict[str, bytes]] = []
        sample = _Sample(decoder, pieces)
        states = States(sample)
        for piece in decoder.pieces:
            reference = states.reference(piece.number)
            pieces.append(dict(encoder.write(piece, encoder.sample(piece, reference), reference)))
        write_pieces(bitstream, self.name, clip, encoder.numbers, decoder.kinds, pieces)

    @classmethod
    def open(cls, bitstream: Path, workspace: Workspace) -> PieceVideo:
        """What `decode` returns, with what a piece renders before rounding. Raises BitstreamError."""
        with workspace.stopwatch.part("entropy_decode"):
            clip, numbers, sections = read_head(bitstream, cls.name)
            decoder = cls.decoder(clip, numbers, workspace.device)
            stream = index_of(sections, decoder.kinds, len(decoder.pieces))
        _describe(decoder, clip, workspace)
        return PieceVideo(decoder, stream, clip, workspace)

    @classmethod
    def decode(cls, bitstream: Path, workspace: Workspace) -> Video:
        """Reads the header and the index; pieces are read when their frames are. Raises BitstreamError."""
        return cls.open(bitstream, workspace)

    @classmethod
    def states(cls, bitstream: Path) -> list[Any]:
        """The states of all pieces, on the CPU. Raises BitstreamError."""
        clip, numbers, sections = read_head(bitstream, cls.name)
        decoder = cls.decoder(clip, numbers, "cpu")
        stream = index_of(sections, decoder.kinds, len(decoder.pieces))
        known = States(PieceReader(decoder, stream, Workspace(bitstream.parent)))
        return [known.of(piece.number) for piece in decoder.pieces]

    @classmethod
    def ledger(cls, bitstream: Path) -> Mapping[str, int]:
        """Bytes of each kind of part, of the header and the index, and of the container."""
        return section_bytes(bitstream, cls.name)


class _Sample:
    """Pieces that are being written, as States reads them."""

    def __init__(self, decoder: PieceDecoder[Any], written: Sequence[Mapping[str, bytes]]) -> None:
        self.pieces, self._decoder, self._written = decoder.pieces, decoder, written

    def read_piece(self, number: int, reference: Any) -> Any:
        """The state of a piece."""
        return self._decoder.read(self.pieces[number], self._written[number], reference)


def header_of(video: Video) -> ClipHeader:
    """The header of a video; one of unknown length is read to its end."""
    fmt = video.format
    frames = video.frames if video.frames is not None else sum(len(batch) for batch in video.batches())
    return ClipHeader(fmt.width, fmt.height, frames, fmt.frame_rate.numerator, fmt.frame_rate.denominator).check()


def _describe(decoder: PieceDecoder[Any], clip: ClipHeader, workspace: Workspace) -> None:
    """Reports parameters and multiply-accumulates. Raises BitstreamError for pieces that do not cover the clip."""
    spans_of(decoder.pieces, clip)
    workspace.report["parameters"] = sum(decoder.parameters(piece) for piece in decoder.pieces)
    macs = sum(decoder.macs(piece) for piece in decoder.pieces)
    workspace.report["kmacs_per_pixel"] = macs / (1000 * clip.pixels * clip.frames)
