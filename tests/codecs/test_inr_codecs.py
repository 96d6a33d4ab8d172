"""What every INR codec promises: sizes met, one seed one bitstream, resume, any resolution, damage refused."""

from importlib import metadata
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from conftest import make_y4m
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.nn.modules.module import register_module_forward_hook

from rdbench.codec import Clip, Host, RatePoint, Source, Workspace
from rdbench.codecs.inr.bitstream import read_stream, write_stream
from rdbench.codecs.inr.codec import ClipHeader, InrCodec
from rdbench.codecs.inr.networks.encoder import Encoder
from rdbench.codecs.inr.networks.network import Patches, count_parameters, render, to_device
from rdbench.codecs.inr.training.rate_distortion import InrSettings
from rdbench.conformance.checks import BY_NAME
from rdbench.conformance.subject import Subject
from rdbench.errors import BitstreamError, UsageError
from rdbench.registry import create, find_card, find_codecs, load_codec, parse_specs
from rdbench.video import VideoFormat
from rdbench.video.conditions import find_conditions
from rdbench.video.readers import RgbVideo, open_video

torch.set_num_threads(1)
CARDS = [find_card(name) for name in find_codecs()]
INSIDE = [card.name for card in CARDS if card.kind == "INR" and card.load.startswith("rdbench.")]
NAMES = [name for name in INSIDE if issubclass(load_codec(name), InrCodec)]
VARIANTS = [
    *NAMES,
    "nervpp[star]",
    "nerv[entropy=huffman]",
    "psnerv[patches=3]",
    "hnerv[entropy=huffman]",
    "ffnerv[blocks=conv]",
    "ffnerv[flow=false]",
    "dnerv[difference=0]",
    "hnerv-boost[tat=false]",
    "hinerv[patches=false]",
    "tenerv[no-iff,no-gop-grids]",
    "tenerv[shared-kernels,patches]",
    "tenerv[fixed-gops]",
    "tenerv[length-gops]",
    "canerv[profile=kernels,no-dfa,no-skips]",
    "canerv[profile=late,no-hsa]",
    "tnerv[no-grids,tiny-encoder,no-temporal]",
    "tnerv[no-embeddings]",
    "tnerv[no-flow,no-adain,plain]",
    "nerv[compression=entropy-constrained]",
    "hinerv[compression=entropy-constrained]",
    "hnerv[compression=entropy-constrained]",
    "nvrc[grids=context]",
    "nvrc[grids=context,layers=gaussian]",
    "nvrc[grids=gaussian]",
    "nvrc[grids=gaussian,layers=gaussian]",
    "nvrc[no-second-coding]",
    "nvrc[fixed-grid-steps,patches=false,distortion=yuv]",
    "hinerv[compression=nvrc,grids=context]",
    "tenerv[compression=nvrc]",
    "canerv[compression=nvrc]",
    "nerv[compression=nvrc]",
    "hnerv[compression=nvrc]",
]
NETWORKS = [name for name in VARIANTS if "compression" not in name]
WITH_ENCODER = {"hnerv", "dnerv", "hnerv-boost", "tnerv"}
FAST = {
    "epochs": "3", "finetune_epochs": "2", "prune_epochs": "1", "quantize_epochs": "1", "lr": "5e-3",
    "frequencies": "10",
}  # fmt: skip
CONTRACT = ("encode", "same_bitstream_again", "signatures", "frames_as_described", "ledger")
"""Checks of the contract of all codecs that need no other process."""
CHECKPOINTS = "rdbench.codecs.inr.training.checkpoint.CHECKPOINT_SECONDS"


def fast(name: str) -> str:
    """The codec with its options and those that make its training short, as on the command line."""
    base, _, options = name.removesuffix("]").partition("[")
    known = load_codec(base).Settings.model_fields
    given = [options] if options else []
    return f"{base}[{','.join([*given, *(f'{key}={value}' for key, value in FAST.items() if key in known)])}]"


def make(name: str) -> InrCodec:
    (spec,) = parse_specs(fast(name))
    return cast(InrCodec, create(spec))


def label_of(codec: InrCodec) -> str:
    # not every clip below has a network of 6K
    size = {"nerv": "6.1K", "nervpp": "6.2K", "cnerv": "6.1K"}.get(codec.name, "6K")
    return f"{size}-lambda0.2" if codec.objective else size


def point_of(codec: InrCodec, clip: Clip) -> RatePoint:
    return codec.rate_point(label_of(codec), clip)


def encode(name: str, clip: Path, folder: Path, stop_after: int | None = None) -> bytes:
    video, codec = open_video(clip), make(name)
    folder.mkdir(exist_ok=True)
    calls = 0

    def progress(done: float, total: float, text: str) -> None:
        nonlocal calls
        calls += 1
        if calls == stop_after:
            raise KeyboardInterrupt

    workspace = Workspace(folder, progress=progress)
    source = Source(video, RgbVideo(video, find_conditions("rgb601")))
    codec.encode(source, point_of(codec, Clip(video.format, video.frames or 0)), folder / "b", workspace)
    assert {"fit", "compress"} <= set(workspace.stopwatch.seconds)
    return (folder / "b").read_bytes()


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_y4m(tmp_path_factory.mktemp("clip") / "a.y4m", 33, 17, 4)


# one worker runs all tests of a variant, so that its clip is coded once
@pytest.fixture(scope="module", params=[pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in VARIANTS])
def variant(request: pytest.FixtureRequest) -> str:
    """The name of a codec."""
    return str(request.param)


@pytest.fixture(scope="module")
def subject(variant: str, clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Subject:
    """The codec and the clip, for the contract."""
    folder, label = tmp_path_factory.mktemp("contract"), label_of(make(variant))
    return Subject(fast(variant), folder, str(clip), preset=None, rate_point=label)


@pytest.fixture(scope="module")
def coded(variant: str, subject: Subject) -> tuple[str, bytes]:
    """The name of the codec, and the clip coded by it."""
    return variant, subject.coded.bitstream


def decoder(name: str) -> type[InrCodec]:
    return cast(type[InrCodec], load_codec(name.partition("[")[0]))


def test_version_and_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another torch may train to other bits; its build (`+cpu`, `+cu128`) is not in the version."""
    codec = make("nerv")
    monkeypatch.setattr(metadata, "version", lambda package: {"torch": "9.8.7+cu128"}[package])
    assert codec.version(Host()) == f"nerv-{type(codec).revision} torch 9.8.7"
    assert [codec.precision(device) for device in ("cpu", "cuda", "cuda:1")] == ["float32", "bfloat16", "bfloat16"]
    assert codec.uses_seed
    assert codec.threads_decide_bits
    assert not codec.runs_outside


@pytest.mark.parametrize("name", [*NAMES, "c3", "nirvana"])
def test_our_recipe_takes_as_many_steps_as_the_quick_one(name: str) -> None:
    cls = load_codec(name)
    assert list(cls.presets) == ["paper", "quick", "best", "tiny"]
    if issubclass(cls, InrCodec):
        (spec,) = parse_specs(name)
        clip = Clip(VideoFormat(64, 48, "rgb"), 8)
        steps = []
        for preset in ("quick", "best"):
            codec = create(spec, preset)
            assert isinstance(codec, InrCodec)
            point = codec.rate_points(clip)[0]
            steps.append(sum(stage.epochs / stage.batch for stage in codec.stages(point)))
        assert steps[1] <= steps[0]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_training_computes_in_the_precision_that_it_says(precision: str, clip: Path, tmp_path: Path) -> None:
    found: set[torch.dtype] = set()

    def watch(layer: torch.nn.Module, inputs: object, output: torch.Tensor) -> None:
        if isinstance(layer, torch.nn.Conv2d) and torch.is_grad_enabled() and layer.out_channels != 3:
            found.add(output.dtype)  # of all but the head, which is always in float32

    with register_module_forward_hook(watch):
        encode(f"nerv[precision={precision}]", clip, tmp_path)
    assert found == {getattr(torch, precision)}


@pytest.mark.parametrize("name", NAMES)
def test_defaults_and_presets_are_valid_settings(name: str) -> None:
    kind = decoder(name)
    for preset in kind.presets.values():
        written = kind.Settings(**preset).model_dump()
        assert kind.Settings(**written).model_dump() == written


@pytest.mark.parametrize(
    ("width", "height", "name"),
    [
        *((width, height, name) for width, height in ((320, 180), (1280, 720), (400, 100)) for name in NAMES),
        *((161, 91, name) for name in NETWORKS),
    ],
)
def test_the_width_meets_the_size(name: str, width: int, height: int) -> None:
    clip = ClipHeader(width, height, 10, 25, 1)
    for size in (10_000, 50_000, 400_000, 3_000_000) if name in NAMES else (50_000, 3_000_000):
        codec = make(name)
        with torch.device("meta"):
            network, config = codec.build_for(clip, size)
        assert count_parameters(network) == pytest.approx(size, rel=0.01)
        assert count_parameters(codec.rebuild(clip, config.numbers())) == count_parameters(network)


@pytest.mark.parametrize("check", CONTRACT)
def test_the_contract_of_all_codecs_holds(check: str, subject: Subject) -> None:
    BY_NAME[check].run(subject)


def test_a_killed_training_ends_as_one_never_stopped(
    coded: tuple[str, bytes], clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, bitstream = coded
    monkeypatch.setattr(CHECKPOINTS, 0.0)
    codec, video = make(name), open_video(clip)
    epochs = sum(stage.epochs for stage in codec.stages(point_of(codec, Clip(video.format, 4))))
    with pytest.raises(KeyboardInterrupt):
        encode(name, clip, tmp_path, stop_after=epochs - 1)
    assert encode(name, clip, tmp_path) == bitstream


def test_a_span_renders_its_frames_alone(
    coded: tuple[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, bitstream = coded
    (tmp_path / "b").write_bytes(bitstream)
    video = decoder(name).decode(tmp_path / "b", Workspace(tmp_path))
    (whole,) = video.batches(4)
    assert whole.planes[0].shape == (4, 17, 33)
    asked: list[int] = []

    def watched(network: object, indices: torch.Tensor, *more: object) -> torch.Tensor:
        asked.extend(indices.tolist())
        return cast(torch.Tensor, render(network, indices, *more))  # type: ignore[arg-type]

    monkeypatch.setattr("rdbench.codecs.inr.rendering.render", watched)
    parts = list(video.span(1, 3, 1))
    assert asked == [1, 2]
    assert [len(part) for part in parts] == [1, 1]
    shown = np.concatenate([part.planes[2] for part in parts])
    assert np.abs(shown.astype(int) - whole.planes[2][1:3]).max() <= 1
    assert list(video.span(4, 9)) == []


@pytest.mark.parametrize("name", NAMES)
def test_a_sample_for_the_bench_decodes(name: str, clip: Path, tmp_path: Path) -> None:
    video, codec = open_video(clip), make(name)
    point = point_of(codec, Clip(video.format, 4))
    source = Source(video, RgbVideo(video, find_conditions("rgb601")))
    codec.write_sample(source, point, tmp_path / "b", Workspace(tmp_path))
    assert sum(len(batch) for batch in decoder(name).decode(tmp_path / "b", Workspace(tmp_path)).batches()) == 4


def test_decoding_builds_no_encoder_network(
    coded: tuple[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, bitstream = coded
    (tmp_path / "b").write_bytes(bitstream)

    def refuse(*arguments: object) -> None:
        raise AssertionError("the decoder asked for the encoder network")

    monkeypatch.setattr(Encoder, "__init__", refuse)
    codec, header = make(name), ClipHeader(33, 17, 4, 25, 1)
    if name.partition("[")[0] in WITH_ENCODER and "no-embeddings" not in name:
        with pytest.raises(AssertionError, match="asked for the encoder"):
            codec.encoder(codec.build_for(header, 6000)[0], header)
    (batch,) = decoder(name).decode(tmp_path / "b", Workspace(tmp_path)).batches()
    assert len(batch) == 4


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_bitstreams_are_refused(coded: tuple[str, bytes], tmp_path: Path, data: st.DataObject) -> None:
    name, bitstream = coded
    damaged = bytearray(bitstream)
    if data.draw(st.booleans()):
        damaged = damaged[: data.draw(st.integers(0, len(damaged) - 1))]
    else:
        damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= data.draw(st.integers(1, 255))
    (tmp_path / "b").write_bytes(damaged)
    with pytest.raises(BitstreamError):
        decoder(name).decode(tmp_path / "b", Workspace(tmp_path))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damage_under_a_good_checksum_is_refused_or_rendered(
    coded: tuple[str, bytes], tmp_path: Path, data: st.DataObject
) -> None:
    """The parsers behind the checksum: sections are changed, cut or extended, and the stream is written again."""
    name, bitstream = coded
    (tmp_path / "b").write_bytes(bitstream)
    kind = decoder(name)
    sections = read_stream(tmp_path / "b", kind.name)
    section = data.draw(st.sampled_from(sorted(sections)))
    raw = bytearray(sections[section])
    at = data.draw(st.integers(0, len(raw)))
    raw[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    write_stream(tmp_path / "b", kind.name, {**sections, section: bytes(raw)})
    try:
        video = kind.decode(tmp_path / "b", Workspace(tmp_path))
    except BitstreamError:
        return
    assert len(next(iter(video.batches(1)))) == 1


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("width", "height", "frames"), [(20, 20, 1), (2, 2, 2), (64, 16, 2)])
def test_single_frames_and_odd_shapes(name: str, width: int, height: int, frames: int, tmp_path: Path) -> None:
    bitstream = encode(name, make_y4m(tmp_path / "c.y4m", width, height, frames), tmp_path / "w")
    (tmp_path / "b").write_bytes(bitstream)
    (batch,) = decoder(name).decode(tmp_path / "b", Workspace(tmp_path)).batches()
    assert batch.planes[0].shape == (frames, height, width)


@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_do_not_depend_on_the_order_of_memory(name: str) -> None:
    """Training runs channels last, where torch's CPU kernels have been wrong: instance normalization's in 2.13."""
    clip = ClipHeader(64, 48, 5, 25, 1)
    gradients: list[dict[str, torch.Tensor]] = []
    for last in (False, True):
        torch.manual_seed(0)
        network, _ = make(name).build_for(clip, 60_000)
        if last:
            to_device(network, "cpu")
        at = Patches.of_frames(torch.tensor([3]), network.frame_grid)
        outputs = network.training_outputs(at)
        torch.manual_seed(1)
        sum((output - torch.rand(output.shape)).square().mean() for _, output in outputs).backward()
        gradients.append({key: p.grad for key, p in network.named_parameters() if p.grad is not None})
    first, second = gradients
    assert first.keys() == second.keys()
    largest = max(float(gradient.abs().max()) for gradient in first.values())
    for key, gradient in first.items():
        assert torch.allclose(gradient, second[key], rtol=1e-2, atol=1e-3 * largest), key


@pytest.mark.parametrize("name", NAMES)
def test_a_training_with_muon_resumes_to_the_same_bits(
    name: str, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CHECKPOINTS, 0.0)
    name = f"{name}[optimizer=muon]"
    bitstream = encode(name, clip, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        encode(name, clip, tmp_path / "cut", stop_after=3)
    assert encode(name, clip, tmp_path / "cut") == bitstream
    (tmp_path / "b").write_bytes(bitstream)
    (shown,) = decoder(name).decode(tmp_path / "b", Workspace(tmp_path)).batches(4)
    assert shown.planes[0].shape == (4, 17, 33)


def test_the_optimizer_is_in_the_record_only_where_it_is_not_the_papers() -> None:
    settings = InrSettings
    assert settings(optimizer="paper").model_dump() == settings().model_dump()
    assert settings(optimizer="muon").model_dump() == {**settings().model_dump(), "optimizer": "muon"}
    half = settings(optimizer="muon", muon_lr=0.5).model_dump()
    assert half == {**settings().model_dump(), "optimizer": "muon", "muon_lr": 0.5}


def test_muons_rate_without_muon_is_an_error() -> None:
    with pytest.raises(UsageError, match="muon-lr of nerv has no effect without optimizer=muon"):
        make("nerv[muon-lr=0.5]")


def test_muon_is_in_every_stage_of_every_recipe(clip: Path) -> None:
    for name in NAMES:
        codec = make(f"{name}[optimizer=muon,muon-lr=0.5]")
        stages = codec.stages(point_of(codec, Clip(open_video(clip).format, 4)))
        assert {(stage.optimizer, stage.muon_lr, stage.weight_decay) for stage in stages} == {("muon", 0.5, 0.0)}
