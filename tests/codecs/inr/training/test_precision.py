"""Training in bfloat16, as on a GPU: every codec learns, and its outputs, its loss and its frames stay in float32."""

from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from torch.nn.modules.module import register_module_forward_hook

from rdbench.codec import Clip, Source, Workspace
from rdbench.codecs.inr.codec import InrCodec
from rdbench.codecs.inr.networks.network import Patches, render
from rdbench.codecs.inr.training import steps as engine
from rdbench.codecs.inr.training.precision import Choice, autocast, make_scaler, resolve
from rdbench.codecs.inr.training.rate_distortion import InrSettings
from rdbench.registry import create, find_card, find_codecs, load_codec, parse_specs
from rdbench.runner.devices import device_class
from rdbench.video import Frames, VideoFormat
from rdbench.video.conditions import find_conditions
from rdbench.video.readers import MemoryVideo, RgbVideo

torch.set_num_threads(1)
CARDS = [find_card(name) for name in find_codecs()]
INSIDE = [card.name for card in CARDS if card.kind == "INR" and card.load.startswith("rdbench.")]
NAMES = [name for name in INSIDE if issubclass(load_codec(name), InrCodec)]
SHORT = {"epochs": "8", "finetune_epochs": "1", "prune_epochs": "1", "quantize_epochs": "1", "frequencies": "10"}


def codec_of(name: str, precision: str) -> InrCodec:
    (spec,) = parse_specs(name)
    known = load_codec(spec.name).Settings.model_fields
    options = {key: value for key, value in SHORT.items() if key in known}
    return cast(InrCodec, create(spec.with_options({**options, "precision": precision}), "tiny"))


def source_of(width: int, height: int, frames: int) -> Source:
    t, y, x = np.mgrid[:frames, :height, :width]
    luma = (40 + 2 * x + y + 9 * t).clip(16, 235).astype(np.uint8)
    chroma = (128 + y - x)[:, ::2, ::2].clip(16, 240).astype(np.uint8)
    video = MemoryVideo(VideoFormat(width, height), Frames((luma, chroma, chroma)))
    return Source(video, RgbVideo(video, find_conditions("rgb601")))


@pytest.mark.parametrize("name", [*NAMES, "hinerv[patches]", "ffnerv[flow=false]", "hnerv[compression=nvrc]"])
def test_training_in_bfloat16_learns_and_compares_in_float32(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[torch.dtype] = []
    rendered: list[torch.dtype] = []
    inside: list[torch.dtype] = []
    real = engine.weighted_sum

    def watched(terms: object, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        compared.extend((output.dtype, target.dtype))
        return cast(torch.Tensor, real(terms, output, target))  # type: ignore[arg-type]

    monkeypatch.setattr(engine, "weighted_sum", watched)
    source, codec = source_of(48, 32, 4), codec_of(name, "bfloat16")
    clip = Clip(source.video.format, 4)
    point = codec.rate_point("8K-lambda0.2" if codec.objective else "8K", clip)
    ready = codec.prepare(source, point, Workspace(tmp_path))
    network, device = ready.network, torch.device("cpu")
    indices = torch.arange(2)
    with autocast("bfloat16", device), torch.no_grad():
        for layer in network.modules():
            if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear):
                layer.register_forward_hook(lambda _layer, _inputs, output: inside.append(output.dtype))
        outputs = network.training_outputs(Patches.of_frames(indices, network.frame_grid))
    assert {output.dtype for _, output in outputs} == {torch.float32}
    assert torch.bfloat16 in inside

    codec.encode(source, point, tmp_path / "b", Workspace(tmp_path))
    assert set(compared) == {torch.float32}
    rows = (tmp_path / "fit.csv").read_text().splitlines()[1:]
    quality = [float(row.rsplit(",", 1)[1]) for row in rows]
    assert all(np.isfinite(quality))
    assert max(quality) > quality[0] + 0.5

    def seen(*arguments: object) -> torch.Tensor:
        shown = cast(torch.Tensor, render(*arguments))  # type: ignore[arg-type]
        rendered.append(shown.dtype)
        return shown

    monkeypatch.setattr("rdbench.codecs.inr.rendering.render", seen)
    (batch,) = type(codec).decode(tmp_path / "b", Workspace(tmp_path)).batches()
    assert len(batch) == 4
    assert set(rendered) == {torch.float32}


@pytest.mark.parametrize("name", ["nerv", "hnerv", "hinerv", "hnerv-boost"])
def test_training_in_float16_learns_with_a_scaled_loss(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rdbench.codecs.inr.training.checkpoint.CHECKPOINT_SECONDS", 0.0)
    source, codec = source_of(48, 32, 4), codec_of(name, "float16")
    point = codec.rate_point("8K", Clip(source.video.format, 4))
    inside: set[torch.dtype] = set()

    def watch(layer: torch.nn.Module, inputs: object, output: torch.Tensor) -> None:
        if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear) and torch.is_grad_enabled():
            inside.add(output.dtype)

    with register_module_forward_hook(watch):
        codec.encode(source, point, tmp_path / "b", Workspace(tmp_path))
    assert torch.float16 in inside
    quality = [float(row.rsplit(",", 1)[1]) for row in (tmp_path / "fit.csv").read_text().splitlines()[1:]]
    assert all(np.isfinite(quality))
    assert max(quality) > quality[0] + 0.5
    saved = torch.load(tmp_path / "checkpoint.pt", weights_only=True)["scaler"]
    assert saved["scale"] > 0
    assert saved["_growth_tracker"] > 0


def test_a_step_that_overflows_is_left_out_and_the_scale_falls() -> None:
    scaler = make_scaler("float16", torch.device("cpu"))
    weight = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.Adam([weight], lr=0.1, fused=True)
    for factor, moved in ((float("inf"), False), (1.0, True)):
        before, scale = weight.detach().clone(), scaler.get_scale()
        optimizer.zero_grad()
        scaler.scale((weight * factor).sum()).backward()
        scaler.step(optimizer)
        scaler.update()
        assert torch.equal(weight, before) == (not moved)
        assert scaler.get_scale() == (scale if moved else scale / 2)
    for precision in ("float32", "bfloat16"):
        loss = weight.sum()
        assert make_scaler(precision, torch.device("cpu")).scale(loss) is loss  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("choice", "cpu", "cuda"),
    [("auto", "float32", "bfloat16"), *((name, name, name) for name in ("float32", "bfloat16", "float16"))],
)
def test_the_precision_of_a_record_is_the_one_that_is_used(choice: Choice, cpu: str, cuda: str) -> None:
    assert (resolve(choice, "cpu"), resolve(choice, "cuda")) == (cpu, cuda)
    codec = codec_of("nerv", choice)
    assert [codec.precision(device_class(device)) for device in ("cpu", "cuda:1")] == [cpu, cuda]


def test_the_setting_is_in_the_record_only_where_it_was_chosen() -> None:
    assert InrSettings(precision="auto").model_dump() == InrSettings().model_dump()
    chosen = InrSettings(precision="bfloat16").model_dump()
    assert chosen == {**InrSettings().model_dump(), "precision": "bfloat16"}
    assert InrSettings(**chosen).precision == "bfloat16"
    for name in NAMES:
        assert codec_of(name, "bfloat16").settings.model_dump()["precision"] == "bfloat16"


def test_timings_have_the_precision_of_their_training(tmp_path: Path) -> None:
    source, codec = source_of(32, 24, 2), codec_of("nerv", "bfloat16")
    point = codec.rate_point("6K", Clip(source.video.format, 2))
    timings = codec.time_fit(source, point, 1, Workspace(tmp_path))
    assert {timing.precision for timing in timings} == {"bfloat16"}
