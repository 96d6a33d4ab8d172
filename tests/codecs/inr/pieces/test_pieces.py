"""A codec of pieces: candidates, seeds, resume, random access, index; with a toy codec that keeps means and noise."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from rdbench.codec import FIT_CURVE, Clip, RatePoint, Settings, Source, Workspace
from rdbench.codecs.inr.bitstream import read_stream, write_stream
from rdbench.codecs.inr.clip_header import ClipHeader
from rdbench.codecs.inr.pieces.codec import PieceCodec
from rdbench.codecs.inr.pieces.decoder import PieceDecoder, PieceEncoder, PieceRun, Trained
from rdbench.codecs.inr.pieces.layout import Piece, boxes
from rdbench.errors import BitstreamError, RdbenchError
from rdbench.video import Frames, VideoFormat
from rdbench.video.readers import MemoryVideo

STEPS = 4
CHECKPOINTS = "rdbench.codecs.inr.training.checkpoint.CHECKPOINT_SECONDS"
VALUES = np.random.default_rng(0).integers(0, 256, (3, 7, 6, 10), dtype=np.uint8)
VIDEO = MemoryVideo(VideoFormat(10, 6, "rgb", full_range=True), Frames(tuple(VALUES)))


class Decoder(PieceDecoder[bytes]):
    """A byte of value and one of noise for each piece."""

    kinds = ("value", "noise")

    def __init__(self, clip: ClipHeader, numbers: Sequence[int]) -> None:
        if len(numbers) != 3 or min(numbers) < 1:
            raise BitstreamError("A box has three sides; encode the clip again.")
        self.pieces = boxes(clip, *numbers)
        self.read_numbers: list[int] = []

    def read(self, piece: Piece, parts: Mapping[str, bytes], reference: bytes | None) -> bytes:
        if len(parts["value"]) != 1 or len(parts["noise"]) != 1:
            raise BitstreamError("A piece has two bytes; encode the clip again.")
        self.read_numbers.append(piece.number)
        return parts["value"] + parts["noise"]

    def render(self, piece: Piece, state: bytes) -> Tensor:
        return torch.full((piece.frames, 3, piece.height, piece.width), state[0] / 255)

    def parameters(self, piece: Piece) -> int:
        return 2

    def macs(self, piece: Piece) -> int:
        return piece.values


class Encoder(PieceEncoder[bytes]):
    """Candidate 1 is the mean and costs least; every step takes a random number."""

    def __init__(self, numbers: Sequence[int]) -> None:
        self.numbers = numbers

    def candidates(self, piece: Piece) -> int:
        return 3

    def train(
        self, piece: Piece, frames: Tensor, reference: bytes | None, before: Trained | None, run: PieceRun
    ) -> Trained:
        assert frames.shape == (piece.frames, 3, piece.height, piece.width)
        total = torch.zeros(()) if run.saved is None else run.saved["total"]
        for step in range(0 if run.saved is None else run.saved["step"], STEPS):
            if run.due:
                run.save({"step": step, "total": total})
            total = total + torch.rand(())
            run.report((step + 1) / STEPS, 10.0)
        carried = 0.0 if before is None else float(before.tensors["total"])
        value = frames.float().mean().round() if run.candidate == 1 else torch.zeros(())
        return Trained({"value": value, "total": total + carried / 2}, abs(run.candidate - 1))

    def write(self, piece: Piece, trained: Trained, reference: bytes | None) -> Mapping[str, bytes]:
        value, total = (int(trained.tensors[name] * scale) for name, scale in (("value", 1), ("total", 16)))
        return {"value": bytes([value]), "noise": bytes([total % 256])}

    def sample(self, piece: Piece, reference: bytes | None) -> Trained:
        return Trained({"value": torch.zeros(()), "total": torch.zeros(())})


class Toy(PieceCodec):
    """Pieces of 3 frames and 4x5 pixels."""

    name = "toy"
    opened: list[Decoder] = []  # noqa: RUF012 - what the test looks at

    def rate_points(self, clip: Clip) -> Sequence[RatePoint]:
        return [RatePoint("only", {})]

    def encoder(self, clip: ClipHeader, point: RatePoint, device: str) -> Encoder:
        return Encoder((3, 4, 5))

    @classmethod
    def decoder(cls, clip: ClipHeader, numbers: Sequence[int], device: str) -> Decoder:
        cls.opened.append(Decoder(clip, numbers))
        return cls.opened[-1]


def encode(folder: Path, seed: int = 0, stop_at: float | None = None) -> tuple[bytes, Workspace]:
    folder.mkdir(exist_ok=True)

    def progress(done: float, total: float, text: str) -> None:
        if stop_at is not None and done > stop_at:
            raise KeyboardInterrupt

    workspace = Workspace(folder, seed=seed, progress=progress)
    codec = Toy(Settings())
    codec.encode(Source(VIDEO, VIDEO), RatePoint("only", {}), folder / "b", workspace)
    return (folder / "b").read_bytes(), workspace


@pytest.fixture
def coded(tmp_path: Path) -> Path:
    encode(tmp_path)
    return tmp_path / "b"


def shown(video: Any, *span: int) -> np.ndarray[Any, Any]:
    return np.concatenate([np.stack(batch.planes) for batch in video.span(*span)], axis=1)


def test_the_candidate_of_least_cost_is_written_for_every_piece(coded: Path) -> None:
    video = Toy.decode(coded, Workspace(coded.parent))
    means = VALUES[:, :3, :4, :5].astype(np.float64).mean()
    first = shown(video, 0, 7, 2)
    assert first.shape == VALUES.shape
    assert (first[:, :3, :4, :5] == round(means)).all()
    assert (first[:, 6:, 4:, 5:] == round(VALUES[:, 6:, 4:, 5:].astype(np.float64).mean())).all()


def test_the_record_has_parameters_macs_parts_and_a_curve_over_pieces(tmp_path: Path) -> None:
    data, workspace = encode(tmp_path)
    assert workspace.report["parameters"] == 2 * 12
    assert workspace.report["kmacs_per_pixel"] == pytest.approx(3 / 1000)
    assert {"fit", "compress"} <= workspace.stopwatch.seconds.keys()
    ledger = Toy.ledger(tmp_path / "b")
    assert (ledger["value"], ledger["noise"], sum(ledger.values())) == (12, 12, len(data))
    lines = (tmp_path / FIT_CURVE).read_text().splitlines()
    assert [line.split(",")[:2] for line in lines[1:]] == [["pieces", str(number + 1)] for number in range(12)]
    whole = shown(Toy.decode(tmp_path / "b", Workspace(tmp_path)), 0, 7, 7).astype(np.float64)
    psnr = -10 * np.log10(np.square(whole - VALUES).mean() / 255**2)
    assert float(lines[-1].split(",")[3]) == pytest.approx(psnr, abs=1e-3)


def test_the_seed_decides_and_a_killed_job_ends_as_one_never_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, _ = encode(tmp_path / "whole")
    assert encode(tmp_path / "again")[0] == data
    assert encode(tmp_path / "other", seed=1)[0] != data
    monkeypatch.setattr(CHECKPOINTS, 0.0)
    for stop_at in (0.1, 0.4, 5.0, 5.2, 11.9):
        with pytest.raises(KeyboardInterrupt):
            encode(tmp_path / "cut", stop_at=stop_at)
    resumed, workspace = encode(tmp_path / "cut")
    assert resumed == data
    assert workspace.stopwatch.borrowed > 0
    with pytest.raises(RdbenchError, match="another recipe"):
        encode(tmp_path / "cut", seed=1)


def test_frames_need_the_pieces_of_their_time_alone(coded: Path) -> None:
    video = Toy.decode(coded, Workspace(coded.parent))
    assert shown(video, 4, 5, 1).shape == (3, 1, 6, 10)
    assert Toy.opened[-1].read_numbers == [4, 5, 6, 7]
    assert list(video.span(7, 9)) == []


def test_a_sample_and_batches_of_any_size(tmp_path: Path) -> None:
    Toy(Settings()).write_sample(Source(VIDEO, VIDEO), RatePoint("only", {}), tmp_path / "b", Workspace(tmp_path))
    workspace = Workspace(tmp_path)
    assert [len(batch) for batch in Toy.decode(tmp_path / "b", workspace).batches(4)] == [4, 3]
    assert workspace.report["render_fps"] > 0
    assert Toy.states(tmp_path / "b") == [b"\0\0"] * 12


@pytest.mark.parametrize("section", ["config", "lengths", "value", "noise"])
def test_sections_that_do_not_fit_are_refused(coded: Path, section: str) -> None:
    sections = read_stream(coded, "toy")
    for data in (sections[section][:-1], sections[section] + b"\1", b""):
        write_stream(coded, "toy", {**sections, section: data})
        with pytest.raises(BitstreamError):
            Toy.decode(coded, Workspace(coded.parent))
    del sections[section]
    write_stream(coded, "toy", sections)
    with pytest.raises(BitstreamError):
        Toy.decode(coded, Workspace(coded.parent))
