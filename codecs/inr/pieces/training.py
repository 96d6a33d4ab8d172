"""Coding of all pieces of a clip, one after the other: seeds, candidates, checkpoints, and the curve of quality."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rdbench.codec import FIT_CURVE, Workspace
from rdbench.video import Video

from ..codec import ClipHeader
from ..networks.network import to_samples
from ..rendering import synchronize
from ..training.checkpoint import Checkpoint
from ..training.trainer import CHECKPOINT, Curve
from .decoder import PieceDecoder, PieceEncoder, Trained
from .layout import Piece, States, mean_squares_to_db, spans_of
from .stream import Parts

CURVE_STAGE = "pieces"
"""The stage in the training curve; its epochs are pieces, from 1, and its PSNR is that of all pieces so far."""
NEEDED = ("recipe", "pieces", "seconds", "curve", "error", "before", "best", "candidate", "inner", "rng")
"""What every checkpoint has."""


@dataclass
class Progress:
    """What is done; all of it is in a checkpoint."""

    pieces: list[dict[str, bytes]] = field(default_factory=list)
    """The parts of the finished pieces."""
    error: float = 0.0
    """Sum of squared errors of their 8-bit samples."""
    values: int = 0
    curve: Curve = field(default_factory=Curve)
    before: Trained | None = None
    """The training of the last finished piece."""
    best: Trained | None = None
    """The best candidate so far of the piece in progress."""
    candidate: int = 0
    """The number of candidates of it that are finished."""


class PieceTraining:
    """Codes the pieces; a killed process resumes from its checkpoint and ends with the same bytes."""

    def __init__(
        self, encoder: PieceEncoder[Any], decoder: PieceDecoder[Any], clip: ClipHeader, workspace: Workspace,
        recipe: str,
    ) -> None:  # fmt: skip
        """`recipe`: a text that another clip, rate point or setting changes."""
        self.encoder, self.decoder, self.clip, self.workspace = encoder, decoder, clip, workspace
        self.pieces = decoder.pieces
        self.inherited = 0.0
        """Seconds of training in the resumed checkpoint, by any process."""
        self.done = Progress()
        self._recipe = recipe
        self._checkpoint = Checkpoint(workspace.folder / CHECKPOINT, NEEDED)
        self._started = time.perf_counter()
        self._inner: tuple[Mapping[str, Any], list[Tensor]] | None = None

    def run(self, video: Video) -> list[dict[str, bytes]]:
        """The parts of all pieces. Raises RdbenchError where a training diverges."""
        self._resume()
        states = States(self)
        with self._checkpoint:
            for group, frames in read_spans(video, spans_of(self.pieces, self.clip)):
                for piece in group:
                    if piece.number >= len(self.done.pieces):
                        self._code(piece, cut(frames, piece).to(self.workspace.device), states)
            self._save(None)
        self.done.curve.write(self.workspace.folder / FIT_CURVE)
        return self.done.pieces

    def read_piece(self, number: int, reference: Any) -> Any:
        """The state of a finished piece, decoded from its bytes."""
        return self.decoder.read(self.pieces[number], self.done.pieces[number], reference)

    def _code(self, piece: Piece, frames: Tensor, states: States[Any]) -> None:
        done, clock = self.done, self.workspace.stopwatch
        with clock.part("fit"):
            reference = states.reference(piece.number)
            best = self._train(piece, frames, reference)
            synchronize(frames.device)
        with clock.part("compress"):
            done.pieces.append(dict(self.encoder.write(piece, best, reference)))
            state = states.of(piece.number)
            shown = to_samples(self._render(piece, state))
        done.error += float((shown.double() - frames).square().sum())
        done.values += piece.values
        done.before, done.best, done.candidate = best, None, 0
        psnr = mean_squares_to_db(done.error, done.values)
        done.curve.rows.append((CURVE_STAGE, piece.number + 1, round(self.seconds, 3), round(psnr, 4)))
        self._report(piece.number + 1, psnr)
        if self.due:
            self._save(None)

    @torch.inference_mode()
    def _render(self, piece: Piece, state: Any) -> Tensor:
        return self.decoder.render(piece, state)

    def _train(self, piece: Piece, frames: Tensor, reference: Any) -> Trained:
        """The best candidate."""
        count, done = self.encoder.candidates(piece), self.done
        while done.candidate < count:
            run = Run(self, piece, done.candidate, count, seed_of(self.workspace.seed, piece.number, done.candidate))
            torch.manual_seed(run.seed)
            if self._inner is not None:
                run.saved, generators = self._inner
                _set_generators(generators)
                self._inner = None
            trained = self.encoder.train(piece, frames, reference, done.before, run)
            if done.best is None or trained.cost < done.best.cost:
                done.best = trained
            done.candidate += 1
        assert done.best is not None
        return done.best

    @property
    def seconds(self) -> float:
        """Seconds since the start, those of earlier processes included."""
        return self.inherited + time.perf_counter() - self._started

    def report(self, piece: Piece, share: float, psnr: float) -> None:
        """Reports the share of a piece that is done."""
        self._report(piece.number + share, psnr)

    def _report(self, done: float, psnr: float) -> None:
        count = len(self.pieces)
        self.workspace.progress(done, count, f"piece {min(count, int(done) + 1)}/{count}, {psnr:.2f} dB")

    @property
    def due(self) -> bool:
        """Whether it is time for a checkpoint."""
        return self._checkpoint.due

    def save(self, inner: Mapping[str, Any]) -> None:
        """Saves all that is done, with the state of the training in progress."""
        self._save(inner)

    def _save(self, inner: Mapping[str, Any] | None) -> None:
        done = self.done
        self._checkpoint.save(
            {
                "recipe": self._recipe, "pieces": [_as_tensors(parts) for parts in done.pieces],
                "error": [done.error, done.values], "seconds": self.seconds, "curve": done.curve.rows,
                "before": _pack(done.before), "best": _pack(done.best), "candidate": done.candidate,
                "inner": dict(inner) if inner is not None else {}, "rng": _generators(self.workspace.device),
            }
        )  # fmt: skip

    def _resume(self) -> None:
        """Continues from the checkpoint, if there is one. Raises RdbenchError for one of another job."""
        self._started = time.perf_counter()
        saved = self._checkpoint.load(torch.device(self.workspace.device))
        if saved is None:
            return
        if saved["recipe"] != self._recipe:
            raise self._checkpoint.misfit()
        curve = Curve([tuple(row) for row in saved["curve"]])
        error, values = saved["error"]
        parts = [_as_bytes(tensors) for tensors in saved["pieces"]]
        self.done = Progress(
            parts, error, values, curve, _unpack(saved["before"]), _unpack(saved["best"]), saved["candidate"]
        )
        self.inherited = float(saved["seconds"])
        if saved["inner"]:
            self._inner = saved["inner"], saved["rng"]


@dataclass
class Run:
    """A `PieceRun`."""

    training: PieceTraining
    piece: Piece
    candidate: int
    count: int
    seed: int
    saved: Mapping[str, Any] | None = None

    def report(self, share: float, psnr: float) -> None:
        """Reports the share of this training that is done."""
        self.training.report(self.piece, (self.candidate + min(share, 0.999)) / self.count, psnr)

    @property
    def due(self) -> bool:
        """Whether it is time to save."""
        return self.training.due

    def save(self, state: Mapping[str, Any]) -> None:
        """Saves the state of this training with all that is done."""
        self.training.save(state)


def seed_of(seed: int, piece: int, candidate: int) -> int:
    """The seed of a training."""
    return (seed * 1_000_003 + piece * 7_919 + candidate * 104_729) % (1 << 63)


def read_spans(video: Video, spans: list[list[Piece]]) -> Iterator[tuple[list[Piece], Tensor]]:
    """Each span's pieces with its frames `[frames, 3, H, W]`, 8 bit, on the CPU; the video is read once."""
    batches, waiting = video.batches(), torch.empty(0)
    for group in spans:
        parts, count = [waiting] if len(waiting) else [], len(waiting)
        while count < group[0].frames:
            batch = torch.from_numpy(np.stack(next(batches).planes, axis=1))
            parts.append(batch)
            count += len(batch)
        frames = torch.cat(parts)
        waiting = frames[group[0].frames :]
        yield group, frames[: group[0].frames]


def cut(frames: Tensor, piece: Piece) -> Tensor:
    """The piece of the frames of its span."""
    return frames[:, :, piece.top : piece.top + piece.height, piece.left : piece.left + piece.width]


def _pack(trained: Trained | None) -> dict[str, Any]:
    return {} if trained is None else {**vars(trained)}


def _unpack(saved: Mapping[str, Any]) -> Trained | None:
    return Trained(**saved) if saved else None


def _as_tensors(parts: Parts) -> dict[str, Tensor]:
    return {kind: torch.frombuffer(bytearray(data), dtype=torch.uint8) if data else torch.empty(0, dtype=torch.uint8)
            for kind, data in parts.items()}  # fmt: skip


def _as_bytes(tensors: Mapping[str, Tensor]) -> dict[str, bytes]:
    return {kind: tensor.cpu().numpy().tobytes() for kind, tensor in tensors.items()}


def _generators(device: str) -> list[Tensor]:
    states = [torch.get_rng_state()]
    return [*states, torch.cuda.get_rng_state(device)] if device.startswith("cuda") else states


def _set_generators(states: list[Tensor]) -> None:
    torch.set_rng_state(states[0].cpu())
    for state in states[1:]:
        torch.cuda.set_rng_state(state.cpu())
