"""A clip coded in pieces as a video: pieces are decoded when their frames are asked for, a span of frames at a time."""

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rdbench.codec import Workspace
from rdbench.video import BATCH, Frames, Video

from ..codec import ClipHeader
from ..networks.network import to_samples
from ..rendering import synchronize
from .decoder import PieceDecoder
from .layout import Piece, States, spans_of
from .stream import PieceStream


class PieceReader:
    """The pieces of a file with the decoder that reads them."""

    def __init__(self, decoder: PieceDecoder[Any], stream: PieceStream, workspace: Workspace) -> None:
        self.pieces = decoder.pieces
        self._decoder, self._stream, self._workspace = decoder, stream, workspace

    def read_piece(self, number: int, reference: Any) -> Any:
        """The state of a piece. Raises BitstreamError."""
        with self._workspace.stopwatch.part("entropy_decode"):
            return self._decoder.read(self.pieces[number], self._stream.parts(number), reference)


class PieceVideo(Video):
    """The frames of all pieces, 8 bit; memory holds one span of frames and the states that are still needed."""

    def __init__(self, decoder: PieceDecoder[Any], stream: PieceStream, clip: ClipHeader, workspace: Workspace) -> None:
        """Raises BitstreamError for pieces that do not cover the clip."""
        self.format, self.frames = clip.format, clip.frames
        self._decoder, self._clip, self._workspace = decoder, clip, workspace
        self._spans = spans_of(decoder.pieces, clip)
        self._reader = PieceReader(decoder, stream, workspace)
        self._timed: list[tuple[int, float]] = []

    def batches(self, size: int = BATCH) -> Iterator[Frames]:
        """All frames."""
        return self.span(0, self._clip.frames, size)

    def span(self, first: int, end: int, size: int = BATCH) -> Iterator[Frames]:
        """The frames from `first` up to `end`, in batches of `size`; only the pieces that they need are decoded.

        Reports `render_fps`, the speed of the networks alone without the first (cold) span of frames, unless there is
        only one. Raises BitstreamError where a piece cannot be read.
        """
        states, waiting = States(self._reader), np.empty((0, 3, self._clip.height, self._clip.width), np.uint8)
        self._timed = []
        for group in self._spans:
            start, stop = group[0].time
            if start >= end or stop <= first:
                continue
            shown = self._shown(group, states)[max(0, first - start) : end - start]
            waiting = np.concatenate([waiting, shown]) if len(waiting) else shown
            while len(waiting) >= size:
                yield _frames(waiting[:size])
                waiting = waiting[size:]
        self._report_speed()
        if len(waiting):
            yield _frames(waiting)

    def rendered(self) -> Iterator[tuple[Piece, Tensor]]:
        """Every piece with its values in 0..1 before rounding, `[frames, 3, height, width]`."""
        states = States(self._reader)
        for piece in self._decoder.pieces:
            yield piece, self._render(piece, states.of(piece.number))

    def _shown(self, group: list[Piece], states: States[Any]) -> npt.NDArray[np.uint8]:
        """The frames of a span, `[frames, 3, H, W]`."""
        canvas = np.empty((group[0].frames, 3, self._clip.height, self._clip.width), np.uint8)
        seconds = 0.0
        for piece in group:
            state = states.of(piece.number)
            with self._workspace.stopwatch.part("render"):
                started = time.perf_counter()
                values = to_samples(self._render(piece, state)).cpu().numpy()
                seconds += time.perf_counter() - started
            canvas[:, :, piece.top : piece.top + piece.height, piece.left : piece.left + piece.width] = values
        self._timed.append((group[0].frames, seconds))
        return canvas

    @torch.inference_mode()
    def _render(self, piece: Piece, state: Any) -> Tensor:
        rendered = self._decoder.render(piece, state)
        synchronize(rendered.device)
        return rendered

    def _report_speed(self) -> None:
        if len(self._timed) > 1:
            frames, seconds = (sum(column) for column in zip(*self._timed[1:], strict=True))
            self._workspace.report["render_fps"] = frames / seconds


def _frames(values: npt.NDArray[np.uint8]) -> Frames:
    return Frames(tuple(np.ascontiguousarray(values[:, channel]) for channel in range(3)))
