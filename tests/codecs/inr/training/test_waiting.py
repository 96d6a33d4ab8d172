"""A training step never makes the host wait for a GPU: no value is read back, no shape depends on one."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from rdbench.codec import Clip, Source, Workspace
from rdbench.codecs.inr.codec import InrCodec
from rdbench.codecs.inr.recipes.stage import Stage
from rdbench.codecs.inr.training.trainer import Trainer
from rdbench.registry import create, find_card, find_codecs, load_codec, parse_specs
from rdbench.video import Frames, VideoFormat
from rdbench.video.conditions import find_conditions
from rdbench.video.readers import MemoryVideo, RgbVideo

torch.set_num_threads(1)
CARDS = [find_card(name) for name in find_codecs()]
INSIDE = [card.name for card in CARDS if card.kind == "INR" and card.load.startswith("rdbench.")]
NAMES = [name for name in INSIDE if issubclass(load_codec(name), InrCodec)]
VARIANTS = [
    *NAMES, "hinerv[patches]", "tenerv[patches]", "tenerv[gops=2]", "nvrc[grids=context]", "nvrc[patches]",
    "nvrc[grids=gaussian,layers=gaussian]", "nvrc[no-second-coding]", "nvrc[fixed-grid-steps,distortion=yuv]",
    "hnerv[compression=nvrc]", "tenerv[compression=nvrc]", "hnerv[compression=entropy-constrained]",
    "hinerv[compression=entropy-constrained]", "nerv[loss=l1_ms_ssim]", "nerv[optimizer=muon]",
]  # fmt: skip
OPERATORS = {
    "aten::_local_scalar_dense", "aten::nonzero", "aten::masked_select", "aten::bincount", "aten::_unique2",
    "aten::unique_dim", "aten::unique_consecutive", "aten::equal",
}  # fmt: skip
"""Operators that read values on the host; `item`, `float` and `tolist` are the first of them."""
FROM_HOST = {torch.tensor, torch.as_tensor, torch.from_numpy, torch.Tensor.new_tensor}
FACTORIES = {
    torch.arange, torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn, torch.randperm,
    torch.linspace, torch.eye,
}  # fmt: skip
TO_HOST = {torch.Tensor.cpu, torch.Tensor.numpy, torch.Tensor.tolist, torch.Tensor.item}


class Operators(TorchDispatchMode):
    """Notes the operators for which a host would wait, those of the backward pass included."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name = func._schema.name
        indices = args[1] if name in ("aten::index", "aten::index_put", "aten::index_put_") else ()
        by_mask = any(index is not None and index.dtype in (torch.bool, torch.uint8) for index in indices)
        lengths = name == "aten::repeat_interleave" and kwargs.get("output_size") is None
        checked = name == "aten::segment_reduce" and not kwargs.get("unsafe")
        if name in OPERATORS or by_mask or lengths or checked:
            self.found.append(name)
        return func(*args, **kwargs)


class Calls(TorchFunctionMode):
    """Notes the calls that copy to the device what the host has, or to the host what the device has."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        on_host = func in FACTORIES and kwargs.get("device") is None
        if func in FROM_HOST | TO_HOST or on_host:
            self.found.append(f"torch.{func.__name__}")
        return func(*args, **kwargs)


def waits(step: Callable[[], object]) -> list[str]:
    """What a host would wait for in this call."""
    with Operators() as operators, Calls() as calls:
        step()
    return operators.found + calls.found


def trainer_of(name: str, folder: Path, device: str) -> Trainer:
    """The trainer of a codec's tiny training of a small clip."""
    (spec,) = parse_specs(name)
    codec = cast(InrCodec, create(spec, "tiny"))
    t, y, x = np.mgrid[:4, :84, :96]
    luma = (40 + x + y + 9 * t).astype(np.uint8)
    video = MemoryVideo(VideoFormat(96, 84), Frames((luma, luma[:, ::2, ::2], luma[:, 1::2, ::2])))
    point = codec.rate_point("20K-lambda0.2" if codec.objective else "20K", Clip(video.format, 4))
    workspace = Workspace(folder, device)
    ready = codec.prepare(Source(video, RgbVideo(video, find_conditions("rgb601"))), point, workspace)
    return ready.trainer(codec.chosen_compression(), workspace, codec.stages(point))


def stepper(trainer: Trainer, stage: Stage) -> Callable[[], object]:
    """A step in the middle of a stage, after a first one, which may prepare what all others share."""
    trainer.network.enter(stage)
    trainer.scheme.enter(trainer.network, stage)
    optimizer, average = trainer.start(stage)
    chosen = torch.arange(trainer.samples.batch(stage), device=trainer.device)

    def step() -> None:
        trainer.scheme.advance(0.5)
        trainer.step(stage, optimizer, chosen, max(1, stage.rate_every))
        average.update()

    step()
    return step


@pytest.mark.parametrize("name", VARIANTS)
def test_no_step_waits(name: str, tmp_path: Path) -> None:
    trainer = trainer_of(name, tmp_path, "cpu")
    found = {stage.name: waits(stepper(trainer, stage)) for stage in trainer.stages}
    assert found == {stage.name: [] for stage in trainer.stages}


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda x: float(x.sum()), "aten::_local_scalar_dense"),
        (lambda x: x[x > 1], "aten::index"),
        (lambda x: x.nonzero(), "aten::nonzero"),
        (lambda x: x.repeat_interleave(x.long()), "aten::repeat_interleave"),
        (lambda x: torch.bincount(x.long()), "aten::bincount"),
        (lambda x: x + torch.tensor(1.0, device=x.device), "torch.tensor"),
        (lambda x: x + torch.arange(3), "torch.arange"),
        (lambda x: x.tolist(), "torch.tolist"),
    ],
)
def test_what_waits_is_found(call: Callable[[Tensor], object], named: str) -> None:
    assert named in waits(lambda: call(torch.arange(3.0)))
    assert waits(lambda: torch.arange(3.0, device="cpu").square().sum()) == []


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="There is no GPU here.")
@pytest.mark.parametrize("name", VARIANTS)
def test_no_step_waits_on_a_gpu(name: str, tmp_path: Path) -> None:
    trainer = trainer_of(name, tmp_path, "cuda")
    for stage in trainer.stages:
        step = stepper(trainer, stage)
        torch.cuda.set_sync_debug_mode("error")
        try:
            step()
        finally:
            torch.cuda.set_sync_debug_mode("default")
