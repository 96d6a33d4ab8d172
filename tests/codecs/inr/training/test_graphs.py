"""Whole steps as graphs: on a CPU, the code around CUDA's graphs gives the training without them, bit for bit."""

from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from torch import Tensor
from toy_network import FRAMES, ToyNetwork

from rdbench.codec import Clip, Source, Workspace
from rdbench.codecs.inr.codec import InrCodec
from rdbench.codecs.inr.compression.post_training import PostTraining
from rdbench.codecs.inr.compression.quant_noise import QuantNoise
from rdbench.codecs.inr.compression.scheme import Scheme
from rdbench.codecs.inr.recipes.losses import MIXES
from rdbench.codecs.inr.recipes.stage import Stage
from rdbench.codecs.inr.training import graphs
from rdbench.codecs.inr.training.execution import Choice
from rdbench.codecs.inr.training.trainer import Trainer
from rdbench.errors import UsageError
from rdbench.registry import create, parse_specs
from rdbench.video import Frames, VideoFormat
from rdbench.video.conditions import find_conditions
from rdbench.video.readers import MemoryVideo, RgbVideo

torch.set_num_threads(1)
FIT = Stage("fit", 6, 0.02, batch=2, loss=MIXES["l2"])


def trainer_of(folder: Path, stages: list[Stage], execution: Choice, scheme: Scheme | None = None) -> Trainer:
    folder.mkdir(exist_ok=True)
    return Trainer(ToyNetwork(), scheme or PostTraining(), FRAMES, Workspace(folder), stages, execution=execution)


def trained(folder: Path, stages: list[Stage], execution: Choice, scheme: Scheme | None = None) -> list[Tensor]:
    trainer = trainer_of(folder, stages, execution, scheme)
    trainer.run()
    return list(trainer.network.parameters())


def equal(ours: list[Tensor], theirs: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


STAGES = {
    "schedule": [replace(FIT, warmup=0.4)],
    "clipped gradients": [replace(FIT, clip_norm=0.01)],
    "average": [replace(FIT, ema=0.9)],
    "constant decay": [replace(FIT, optimizer="adamw", weight_decay=0.1, decayed="model")],
    "fewer parameters": [FIT, replace(FIT, name="rows", trainable="rows")],
    "pruning": [FIT, replace(FIT, name="pruned", sparsity=0.5)],
    "carried optimizer": [replace(FIT, schedule_tail=6), replace(FIT, name="on", schedule_offset=6)],
}


@pytest.mark.parametrize("name", STAGES)
def test_replayed_steps_are_the_steps(name: str, tmp_path: Path) -> None:
    ours, theirs = (trained(tmp_path / how, STAGES[name], how) for how in ("graphs", "false"))  # type: ignore[arg-type]
    assert equal(ours, theirs)
    assert not equal(ours, list(ToyNetwork().parameters()))


def test_every_replay_has_new_random_numbers(tmp_path: Path) -> None:
    stages = [FIT, replace(FIT, name="noisy", noise=0.5)]
    ours, theirs, plain = (
        trained(tmp_path / str(number), own, how, QuantNoise())
        for number, (own, how) in enumerate([(stages, "graphs"), (stages, "false"), ([FIT, FIT], "false")])  # type: ignore[arg-type]
    )
    assert equal(ours, theirs)
    assert not equal(ours, plain)


def test_each_size_of_batch_is_recorded_once_in_a_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded, replayed, warm = [], [], []

    class Watched(graphs.PlainGraph):
        def warm_up(self, work):  # type: ignore[no-untyped-def]
            warm.append(self)
            super().warm_up(work)

        def record(self, work):  # type: ignore[no-untyped-def]
            recorded.append(self)
            super().record(work)

        def replay(self) -> None:
            replayed.append(self)
            super().replay()

    monkeypatch.setattr(graphs, "PlainGraph", Watched)
    trained(tmp_path, [FIT, replace(FIT, name="again")], "graphs")
    assert len(recorded) == 2 * 2  # batches of two and of one frame
    assert len(set(recorded)) == len(recorded)
    assert len(warm) == 2 * 2 * 3
    assert len(warm) + len(replayed) == 2 * 6 * 3
    assert set(replayed) == set(recorded)


def test_a_killed_training_ends_as_one_never_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rdbench.codecs.inr.training.checkpoint.CHECKPOINT_SECONDS", 0.0)
    stages = [replace(FIT, ema=0.9), replace(FIT, name="again", optimizer="adamw")]
    whole = trained(tmp_path / "whole", stages, "graphs")
    calls = 0

    def stop(done: float, total: float, text: str) -> None:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise KeyboardInterrupt

    cut = trainer_of(tmp_path / "cut", stages, "graphs")
    cut.workspace.progress = stop
    with pytest.raises(KeyboardInterrupt):
        cut.run()
    cut.checkpoint.wait()
    assert equal(trained(tmp_path / "cut", stages, "graphs"), whole)


@pytest.mark.parametrize(
    ("stage", "reason"),
    [
        (FIT.with_muon(1.0), "muon"),
        (replace(FIT, optimizer="adan"), "adan"),
        (replace(FIT, proxy="soft"), "rounding"),
        (replace(FIT, weight_decay=0.1, fades=True), "weight decay"),
    ],
)
def test_what_cannot_be_recorded_is_refused_with_a_reason(stage: Stage, reason: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=rf"fit.*{reason}.*omit"):
        trainer_of(tmp_path, [stage], "graphs")
    trainer_of(tmp_path, [stage], "auto")


@pytest.mark.parametrize("name", ["nerv", "hnerv", "ffnerv", "hinerv"])
def test_a_codec_writes_the_same_bitstream(name: str, tmp_path: Path) -> None:
    t, y, x = np.mgrid[:3, :32, :48]
    luma = (40 + x + y + 9 * t).astype(np.uint8)
    video = MemoryVideo(VideoFormat(48, 32), Frames((luma, luma[:, ::2, ::2], luma[:, 1::2, ::2])))
    source = Source(video, RgbVideo(video, find_conditions("rgb601")))
    written = []
    for how in ("graphs", "false"):
        (spec,) = parse_specs(name)
        codec = cast(InrCodec, create(spec.with_options({"compile": how, "epochs": "4"}), "tiny"))
        folder = tmp_path / how
        folder.mkdir()
        workspace = Workspace(folder)
        codec.encode(source, codec.rate_point("6K", Clip(video.format, 3)), folder / "b", workspace)
        written.append((folder / "b").read_bytes())
        assert ("recorded" in workspace.report.get("execution", "")) == (how == "graphs")
    assert written[0] == written[1]


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="There is no GPU here.")
@pytest.mark.parametrize("name", STAGES)
def test_replayed_steps_are_the_steps_on_a_gpu(name: str, tmp_path: Path) -> None:
    found = []
    for how in ("graphs", "false"):
        folder = tmp_path / how
        folder.mkdir()
        workspace = Workspace(folder, "cuda")
        network = ToyNetwork().cuda()
        Trainer(network, PostTraining(), FRAMES.cuda(), workspace, STAGES[name], execution=how).run()  # type: ignore[arg-type]
        found.append([parameter.detach().cpu() for parameter in network.parameters()])
    for ours, theirs in zip(*found, strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-5, atol=1e-6)
