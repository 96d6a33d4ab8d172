"""Compiled steps: the training that they give, what is compiled, what it costs, and the choice by a measurement."""

import csv
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from toy_network import FRAMES, ToyNetwork

from rdbench.codec import Clip, Source, Workspace
from rdbench.codecs.inr.codec import InrCodec
from rdbench.codecs.inr.compression.post_training import PostTraining
from rdbench.codecs.inr.recipes.losses import MIXES
from rdbench.codecs.inr.recipes.stage import Stage
from rdbench.codecs.inr.training import compiled, execution
from rdbench.codecs.inr.training.compiled import CompilationError, Measured, pays
from rdbench.codecs.inr.training.execution import Choice, Log, StageWork, resolve_execution
from rdbench.codecs.inr.training.rate_distortion import InrSettings
from rdbench.codecs.inr.training.steps import Passes
from rdbench.codecs.inr.training.trainer import Trainer
from rdbench.registry import create, find_card, find_codecs, load_codec, parse_specs
from rdbench.video import Frames, VideoFormat
from rdbench.video.conditions import find_conditions
from rdbench.video.readers import MemoryVideo, RgbVideo

torch.set_num_threads(1)
FIT = Stage("fit", 6, 0.02, batch=2, loss=MIXES["l1_ssim"])
CARDS = [find_card(name) for name in find_codecs()]
INSIDE = [card.name for card in CARDS if card.kind == "INR" and card.load.startswith("rdbench.")]
NAMES = [name for name in INSIDE if issubclass(load_codec(name), InrCodec)]


def trainer_of(folder: Path, how: Choice, *stages: Stage) -> Trainer:
    folder.mkdir(exist_ok=True)
    return Trainer(ToyNetwork(), PostTraining(), FRAMES, Workspace(folder), stages or [FIT], execution=how)


def counting(counts: list[int]) -> Callable[[Passes], Passes]:
    """A compiler that compiles nothing and notes the sizes of the batches."""

    def compile_passes(passes: Passes) -> Passes:
        def distort(weights: Mapping[str, Tensor], chosen: Tensor) -> tuple[Tensor, Tensor]:
            counts.append(len(chosen))
            return passes.distort(weights, chosen)

        return Passes(passes.encode, distort)

    return compile_passes


def test_whole_batches_alone_are_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts: list[int] = []
    monkeypatch.setattr(compiled, "compiled", counting(counts))
    trainer, plain = trainer_of(tmp_path / "a", "true"), trainer_of(tmp_path / "b", "false")
    trainer.run()
    plain.run()
    assert counts == 6 * [2, 2]  # of five frames, the last one is a batch of its own
    assert trainer.log.text().startswith("fit: compiled in ")
    for ours, theirs in zip(trainer.network.parameters(), plain.network.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_torch_compile_gives_the_same_training_and_the_same_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled, "BACKEND", "eager")
    trainers = [trainer_of(tmp_path / how, how, FIT, replace(FIT, name="on", ema=0.9)) for how in ("true", "false")]
    for trainer in trainers:
        trainer.run()
    for ours, theirs in zip(*(trainer.network.parameters() for trainer in trainers), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-3)  # Adam enlarges differences in the last bits
    saved = [torch.load(tmp_path / how / "checkpoint.pt", weights_only=True) for how in ("true", "false")]
    assert saved[0]["network"].keys() == saved[1]["network"].keys() == {"rows", "line.weight", "line.bias"}
    again = trainer_of(tmp_path / "true", "true", FIT, replace(FIT, name="on", ema=0.9))
    again.run()  # all from the checkpoint
    assert again.log.seconds == trainers[0].log.seconds > 0


def failing(passes: Passes) -> Passes:
    def distort(weights: Mapping[str, Tensor], chosen: Tensor) -> tuple[Tensor, Tensor]:
        raise RuntimeError("no compiler was found")

    return Passes(passes.encode, distort)


def test_what_cannot_be_compiled_is_an_error_with_a_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "compiled", failing)
    with pytest.raises(CompilationError, match=r"fit cannot be compiled.*no compiler was found.*g\+\+.*omit"):
        trainer_of(tmp_path, "true").run()


class Machine:
    """A machine whose steps take what it says, and its clock."""

    def __init__(self, plain: float, fast: float) -> None:
        self.plain, self.fast, self.now = plain, fast, 0.0
        self.taken: list[str] = []

    def perf_counter(self) -> float:
        return self.now

    def work(self, steps: int) -> StageWork:
        plain, fast = Passes(lambda frames: {}, self._no_pass), Passes(lambda frames: {}, self._no_pass)
        self.compiled = fast

        def take(passes: Passes, chosen: Tensor, number: int) -> Tensor:
            self.taken.append("fast" if passes is fast else "plain")
            self.now += self.fast if passes is fast else self.plain
            return torch.zeros(())

        optimizer = torch.optim.Adam([nn.Parameter(torch.zeros(1))])
        return StageWork(FIT, take, plain, optimizer, torch.device("cpu"), 2, steps)

    @staticmethod
    def _no_pass(weights: Mapping[str, Tensor], chosen: Tensor) -> tuple[Tensor, Tensor]:
        raise AssertionError


def measured(machine: Machine, steps: int, log: Log, monkeypatch: pytest.MonkeyPatch) -> Measured:
    work = machine.work(steps)
    monkeypatch.setattr(execution, "time", machine)
    monkeypatch.setattr(compiled, "compiled", lambda passes: machine.compiled)
    chooser = Measured(work, log)
    for number in range(40):
        chooser.take(torch.zeros(2 if number % 4 else 1), number)  # every fourth batch is a smaller one
    return chooser


@pytest.mark.parametrize(
    ("plain", "fast", "steps", "kept", "phrase"),
    [
        (0.1, 0.02, 10_000, "fast", "used: 20.0 ms a step, 100.0 ms not compiled"),
        (0.1, 0.15, 10_000, "plain", "not used: 150.0 ms a step, 100.0 ms not compiled"),
        (0.1, 0.02, 100, "plain", "too few to win it back"),
    ],
)
def test_the_faster_steps_are_kept(
    plain: float, fast: float, steps: int, kept: str, phrase: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine, log = Machine(plain, fast), Log()
    chooser = measured(machine, steps, log, monkeypatch)
    assert chooser.ready
    assert log.decided == {"fit": kept == "fast"}
    assert phrase in log.text()
    assert ("fast" in machine.taken) == (steps > 1000)
    machine.taken.clear()
    for size in (2, 2, 1):
        chooser.take(torch.zeros(size), 1)
    assert machine.taken == [kept, kept, "plain"]

    resumed, again = Log(), Machine(plain, fast)
    resumed.load_state(log.state())
    measured(again, steps, resumed, monkeypatch)
    whole = [taken for number, taken in enumerate(again.taken) if number % 4]
    assert set(whole) == {kept}  # decided by the process before


def test_auto_goes_on_without_what_cannot_be_compiled_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    machine, log = Machine(0.1, 0.02), Log()
    work = machine.work(10_000)
    monkeypatch.setattr(execution, "time", machine)

    def broken(passes: Passes) -> Passes:
        raise RuntimeError("no Triton")

    monkeypatch.setattr(compiled, "compiled", broken)
    chooser = Measured(work, log)
    for number in range(20):
        chooser.take(torch.zeros(2), number)
    assert machine.taken == 20 * ["plain"]
    assert log.decided == {"fit": False}
    assert "no Triton" in log.text()


def test_compiling_is_expected_to_be_won_back_or_not_tried() -> None:
    assert pays(0.1, 2001)
    assert not pays(0.1, 1999)


def test_on_a_cpu_auto_is_false_and_the_setting_is_recorded_where_it_was_chosen() -> None:
    assert [resolve_execution("auto", kind) for kind in ("cpu", "cuda")] == ["false", "auto"]
    assert [resolve_execution("graphs", kind) for kind in ("cpu", "cuda")] == ["graphs", "graphs"]
    assert InrSettings().model_dump() == InrSettings(compile="auto").model_dump()
    assert InrSettings(compile=True).model_dump() == {**InrSettings().model_dump(), "compile": "true"}  # type: ignore[arg-type]
    for text, value in (
        ("nerv[compile=graphs]", "graphs"),
        ("nerv[compile=false]", "false"),
        ("nerv[compile]", "true"),
    ):
        assert create(parse_specs(text)[0], "tiny").settings.compile == value


def clip_source() -> Source:
    t, y, x = np.mgrid[:3, :32, :48]
    luma = (40 + x + y + 9 * t).astype(np.uint8)
    video = MemoryVideo(VideoFormat(48, 32), Frames((luma, luma[:, ::2, ::2], luma[:, 1::2, ::2])))
    return Source(video, RgbVideo(video, find_conditions("rgb601")))


def encode(name: str, how: str, folder: Path) -> tuple[list[float], Workspace]:
    """The PSNR of each epoch, and the workspace."""
    source, (spec,) = clip_source(), parse_specs(name)
    known = load_codec(spec.name).Settings.model_fields
    options = {key: value for key, value in {"epochs": "6", "finetune_epochs": "1"}.items() if key in known}
    codec = cast(InrCodec, create(spec.with_options({**options, "compile": how}), "tiny"))
    folder.mkdir()
    workspace = Workspace(folder)
    point = codec.rate_point("8K-lambda0.2" if codec.objective else "8K", Clip(source.video.format, 3))
    codec.encode(source, point, folder / "b", workspace)
    with (folder / "fit.csv").open() as file:
        return [float(row["psnr"]) for row in csv.DictReader(file)], workspace


def test_the_time_to_compile_is_a_part_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts: list[str] = []
    monkeypatch.setattr(compiled, "compiled", counting([]))
    _, workspace = encode("nerv", "true", tmp_path / "a")
    assert workspace.stopwatch.seconds["compile"] > 0
    assert workspace.stopwatch.seconds["fit"] > 0
    assert "compiled in" in workspace.report["execution"]
    trainer = trainer_of(tmp_path / "b", "true")
    trainer.workspace.progress = lambda done, total, text: texts.append(text)
    trainer.run()
    assert texts[0] == "fit: compiling"
    _, workspace = encode("nerv", "auto", tmp_path / "c")
    assert "compile" not in workspace.stopwatch.seconds
    assert "execution" not in workspace.report


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", [*NAMES, "hinerv[patches]", "nvrc[patches]", "hnerv[compression=nvrc]"])
def test_every_codec_is_traced_as_a_whole(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "BACKEND", "eager")
    ours, workspace = encode(name, "true", tmp_path / "a")
    theirs, _ = encode(name, "false", tmp_path / "b")
    assert "compile" in workspace.stopwatch.seconds
    # dB: initial weights that differ by a ten-millionth move NVRC's last epoch by 0.05
    assert ours == pytest.approx(theirs, abs=0.1)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(shutil.which("g++") is None, reason="There is no C++ compiler here.")
def test_compiled_steps_train_as_others_do(tmp_path: Path) -> None:
    """NeRV alone, since a C++ compiler takes a minute for it; the kit for a GPU compiles every codec."""
    ours, _ = encode("nerv", "true", tmp_path / "a")
    theirs, _ = encode("nerv", "false", tmp_path / "b")
    assert ours == pytest.approx(theirs, abs=0.05)  # dB; differences in the last bits grow with the epochs


@pytest.mark.slow
def test_a_training_on_a_cpu_imports_no_compiler(tmp_path: Path) -> None:
    # torch's counter of operations imports other parts of the same packages
    script = tmp_path / "script.py"
    script.write_text(
        "import sys; from pathlib import Path; from test_compiled import encode;"
        "encode('nerv', 'auto', Path(sys.argv[1]));"
        "print(sorted({'torch._inductor.compile_fx', 'torch._inductor.codecache'} & sys.modules.keys()))"
    )
    paths = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    command = [sys.executable, str(script), str(tmp_path / "a")]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": paths})
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[-2] == "[]"
