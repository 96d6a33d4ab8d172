"""Blocks in fused kernels inside whole trainings, in Triton's interpreter on a CPU; and how they are chosen."""

from collections.abc import Callable
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from torch import Tensor
from triton_interpreter import IS_CHOSEN, interpreted, needs_triton, passed_in_the_interpreter

from rdbench.codec import Clip, Source, Workspace
from rdbench.codecs.inr.codec import InrCodec
from rdbench.codecs.inr.networks.layers.block_choice import Choice
from rdbench.codecs.inr.networks.layers.fusable import FusableBlock
from rdbench.codecs.inr.networks.layers.fused_block import Block, fused_block
from rdbench.codecs.inr.training import compiled, trainer
from rdbench.codecs.inr.training.blocks import choose_blocks, chooses_blocks
from rdbench.codecs.inr.training.execution import Log
from rdbench.codecs.inr.training.trainer import Trainer
from rdbench.registry import create, parse_specs
from rdbench.video import Frames, VideoFormat
from rdbench.video.conditions import find_conditions
from rdbench.video.readers import MemoryVideo, RgbVideo

torch.set_num_threads(1)
CODECS = ["hinerv", "hinerv[patches]", "tenerv[gops=2]", "nvrc"]
TRACED = ["hinerv[patches]", "tenerv[gops=2,holistic=0]"]  # NVRC has the blocks of HiNeRV


def clip_source() -> Source:
    t, y, x = np.mgrid[:2, :16, :24]
    luma = (40 + 3 * x + 5 * y + 9 * t).astype(np.uint8)
    video = MemoryVideo(VideoFormat(24, 16), Frames((luma, luma[:, ::2, ::2], luma[:, 1::2, ::2])))
    return Source(video, RgbVideo(video, find_conditions("rgb601")))


def codec_of(name: str, **options: str) -> InrCodec:
    (spec,) = parse_specs(name)
    shortest = {"epochs": "1", "prune_epochs": "0", "quantize_epochs": "0", "finetune_epochs": "0"}
    known = type(create(spec, "tiny")).Settings.model_fields
    chosen = {key: value for key, value in {**shortest, **options}.items() if key in known}
    return cast(InrCodec, create(spec.with_options(chosen), "tiny"))


def trainer_of(name: str, folder: Path) -> Trainer:
    codec, source = codec_of(name), clip_source()
    folder.mkdir()
    point = codec.rate_point("4K-lambda0.2" if codec.objective else "4K", Clip(source.video.format, 2))
    ready = codec.prepare(source, point, Workspace(folder))
    return ready.trainer(codec.chosen_compression(), Workspace(folder), codec.stages(point))


def blocks_of(one: Trainer) -> list[FusableBlock]:
    return [module for module in one.network.modules() if isinstance(module, FusableBlock)]


def gradients(one: Trainer) -> dict[str, Tensor]:
    """All gradients of the first step of a training."""
    stage = one.stages[0]
    one.network.enter(stage)
    one.scheme.enter(one.network, stage)
    optimizer, _ = one.start(stage)
    one.scheme.advance(0.5)
    torch.manual_seed(1)
    one.step(stage, optimizer, torch.arange(one.samples.batch(stage)), 1)
    return {name: p.grad for name, p in one.network.named_parameters() if p.grad is not None}


def fused(x: Tensor, block: Block, mask: Tensor | None) -> Choice:
    return Choice("fused", "fused 1.000 ms, plain 2.000 ms")


def possible(x: Tensor, block: Block) -> None:
    """No obstacle, as on a GPU with Triton."""


@interpreted
@pytest.mark.parametrize("name", CODECS)
def test_a_step_has_the_gradients_of_plain_layers(name: str, tmp_path: Path) -> None:
    plain, ours = trainer_of(name, tmp_path / "a"), trainer_of(name, tmp_path / "b")
    for block in blocks_of(ours):
        block.implementation = fused_block
    assert blocks_of(ours)
    assert plain.network.state_dict().keys() == ours.network.state_dict().keys()
    exact, found = gradients(plain), gradients(ours)
    assert found.keys() == exact.keys()
    largest = max(float(gradient.norm()) for gradient in exact.values())
    for parameter, gradient in exact.items():
        # float32 sums in another order; what cancels to nearly nothing is as exact as the largest gradient
        error = float((found[parameter] - gradient).norm())
        assert error <= 1e-4 * float(gradient.norm()) + 1e-6 * largest, parameter


def encode(name: str, folder: Path, **options: str) -> Workspace:
    codec, source = codec_of(name, **options), clip_source()
    folder.mkdir()
    workspace = Workspace(folder)
    point = codec.rate_point("4K-lambda0.2" if codec.objective else "4K", Clip(source.video.format, 2))
    codec.encode(source, point, folder / "b", workspace)
    return workspace


@interpreted
@pytest.mark.parametrize("name", TRACED)
def test_compiled_steps_with_fused_blocks_are_traced_as_a_whole(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled, "BACKEND", "aot_eager")
    exact = encode(name, tmp_path / "a")
    monkeypatch.setattr(trainer, "chooses_blocks", lambda network, device, execution: True)
    monkeypatch.setattr(trainer, "choose_blocks", lambda *given: choose_blocks(*given, fused, possible))
    ours = encode(name, tmp_path / "b", compile="true")
    assert "fused: fused 1.000 ms, plain 2.000 ms" in ours.report["execution"]
    assert "compiled in" in ours.report["execution"]
    assert ours.stopwatch.seconds["compile"] > 0
    assert "execution" not in exact.report
    psnr = [np.loadtxt(tmp_path / each / "fit.csv", delimiter=",", skiprows=1, usecols=3) for each in "ab"]
    assert psnr[0] == pytest.approx(psnr[1], abs=0.1)  # dB; differences in the last bits grow with the steps


@needs_triton
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(IS_CHOSEN, reason="This is the process.")
def test_in_the_interpreter() -> None:
    """Runs the tests above in a process of their own."""
    printed = passed_in_the_interpreter(__file__, "has_the_gradients or traced_as_a_whole")
    assert f"{len(CODECS) + len(TRACED)} passed" in printed


def counted(forward: Callable[[], object], calls: list[int]) -> Callable[[], object]:
    def call() -> object:
        calls.append(1)
        return forward()

    return call


@pytest.mark.parametrize("name", CODECS)
def test_each_shape_is_measured_once_and_its_blocks_get_the_choice(name: str, tmp_path: Path) -> None:
    one = trainer_of(name, tmp_path / "a")
    stage, own = one.stages[0], blocks_of(one)
    names, before = (
        list(one.network.state_dict()),
        {key: value.clone() for key, value in one.network.state_dict().items()},
    )
    chosen, seen = torch.arange(one.samples.batch(stage)), list[tuple[int, ...]]()

    def residual_alone(x: Tensor, block: Block, mask: Tensor | None) -> Choice:
        seen.append((*x.shape, block.narrow.out_features))
        return Choice("fused" if block.residual else "plain", "measured")

    choose_blocks(one.network, lambda: one.steps.rehearse(stage, chosen), one.log, residual_alone, possible)
    assert 0 < len(seen) == len(set(seen)) <= len(own)
    assert {shape[0] for shape in seen} == {one.samples.batch(stage)}
    for block in own:
        equal_widths = block.tensors(torch.zeros(1, dtype=torch.long)) if name.startswith("tenerv") else block.tensors()
        assert block.implementation is (fused_block if equal_widths.residual else None)
    assert list(one.network.state_dict()) == names
    for key, value in one.network.state_dict().items():
        assert torch.equal(value, before[key])

    resumed = Log()
    resumed.load_state(one.log.state())
    choose_blocks(one.network, lambda: one.steps.rehearse(stage, chosen), resumed, residual_alone, possible)
    assert len(seen) == len(set(seen))  # the checkpoint knows them all
    assert resumed.text() == one.log.text()


def test_a_checkpoint_with_fused_blocks_resumes_without_triton(tmp_path: Path) -> None:
    one = trainer_of("hinerv", tmp_path / "a")
    stage, chosen = one.stages[0], torch.arange(one.samples.batch(one.stages[0]))

    def choose(log: Log, missing: str | None) -> None:
        choose_blocks(one.network, lambda: one.steps.rehearse(stage, chosen), log, fused, lambda x, block: missing)

    before = Log()
    choose(before, None)
    assert {choice.name for choice in before.blocks.values()} == {"fused"}
    assert all(block.implementation is fused_block for block in blocks_of(one))
    resumed = Log()
    resumed.load_state(before.state())
    choose(resumed, "the fused kernels need Triton, which is not installed")
    assert all(block.implementation is None for block in blocks_of(one))
    one.steps.rehearse(stage, chosen)
    again = Log()
    again.load_state(resumed.state())
    choose(again, None)  # what was chosen stays, also where both would be possible
    assert (
        resumed.text()
        == again.text()
        == (
            "blocks plain: the fused kernels need Triton, which is not installed; "
            "before this training was resumed here they were used"
        )
    )


def test_the_record_names_the_choice() -> None:
    log = Log(stages={"fit": "compiled in 9.0 s"})
    log.blocks["1x8x9x10 to 40 to 10"] = Choice("fused", "fused 1.000 ms, plain 2.000 ms", {"fused": 1, "plain": 2})
    log.blocks["1x16x18x10 to 10 to 5"] = Choice("plain", "fused 3.000 ms, plain 2.000 ms", {"fused": 3, "plain": 2})
    assert log.text() == (
        "fit: compiled in 9.0 s; blocks 1x8x9x10 to 40 to 10 fused: fused 1.000 ms, plain 2.000 ms; "
        "blocks 1x16x18x10 to 10 to 5 plain: fused 3.000 ms, plain 2.000 ms"
    )
    missing = "the fused kernels need Triton, which is not installed"
    log = Log(blocks={shape: Choice("plain", missing) for shape in ("1x8x9x10 to 40 to 10", "1x16x18x10 to 10 to 5")})
    assert log.text() == f"blocks plain: {missing}"


def test_blocks_are_measured_on_cuda_alone_and_not_where_steps_stay_as_written(tmp_path: Path) -> None:
    one = trainer_of("hinerv", tmp_path / "a")
    assert [chooses_blocks(one.network, "cuda", how) for how in ("auto", "true", "graphs", "false")] == [True] * 3 + [
        False
    ]
    assert not chooses_blocks(one.network, "cpu", "auto")
    assert not chooses_blocks(torch.nn.Linear(2, 2), "cuda", "auto")
    one.run()
    assert one.log.text() == ""
    assert all(block.implementation is None for block in blocks_of(one))


def test_a_pass_that_fails_leaves_the_plain_layers(tmp_path: Path) -> None:
    one = trainer_of("hinerv", tmp_path / "a")

    def broken() -> None:
        raise torch.OutOfMemoryError

    with pytest.raises(torch.OutOfMemoryError):
        choose_blocks(one.network, broken, one.log)
    assert all(block.implementation is None for block in blocks_of(one))
