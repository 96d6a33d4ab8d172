"""NIRVANA: sizes, values and costs of the released code, its bitstream, and what its groups hold of each other."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import make_y4m
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from rdbench.codec import Clip, Source, Workspace
from rdbench.codecs.inr.bitstream import read_stream, unpack_integers, write_stream
from rdbench.codecs.inr.clip_header import ClipHeader
from rdbench.codecs.inr.nirvana.groups import KINDS
from rdbench.codecs.nirvana import Nirvana, NirvanaCodec, NirvanaConfig, NirvanaSettings, PatchGrid
from rdbench.errors import BitstreamError, RdbenchError, UsageError
from rdbench.video import Frames, VideoFormat
from rdbench.video.conditions import find_conditions
from rdbench.video.readers import MemoryVideo, RgbVideo, open_video

torch.set_num_threads(1)
CHECKPOINTS = "rdbench.codecs.inr.training.checkpoint.CHECKPOINT_SECONDS"
UHD = ClipHeader(1920, 1080, 6, 25, 1)
FAST = {**NirvanaCodec.presets["tiny"], "iterations": 3}


def formula(shape: tuple[int, ...], phase: float, scale: float) -> Tensor:
    places = torch.arange(int(np.prod(shape)), dtype=torch.float64)
    return (torch.sin(places * 0.7071 + phase) * scale).view(*shape).float()


@torch.no_grad()
def with_formula(config: NirvanaConfig) -> Nirvana:
    """The network with weights that a formula gives, as the released network had them for the numbers below."""
    network = Nirvana(config)
    for place, layer in enumerate(network.latent_layers()):
        latents = formula(tuple(layer.latents.shape), place, 3 if place else 40).round()
        layer.latents.copy_(latents)
        layer.div.copy_(latents.abs().max())
        layer.scale.fill_(abs(float(formula((1,), place + 0.5, 1))) * (0.1 if place else 0.5) + 0.01)
        layer.bias.copy_(formula(tuple(layer.bias.shape), place + 10, 0.05))
    for place, conv in enumerate((network.up, network.head)):
        conv.weight.copy_(formula(tuple(conv.weight.shape), 20 + 2 * place, 0.2))
        assert conv.bias is not None
        conv.bias.copy_(formula(tuple(conv.bias.shape), 21 + 2 * place, 0.2))
    return network.eval()


@pytest.mark.parametrize(
    ("layers", "width", "latents", "total"),
    [(3, 512, 2_360_320, 2_380_020), (5, 512, 2_884_608, 2_905_334), (5, 256, 1_245_696, 1_265_398)],
)
def test_numbers_of_parameters_are_those_of_the_released_network(
    layers: int, width: int, latents: int, total: int
) -> None:
    """Its 2,380,068 have the 48 of the fixed time code, which ours has as a buffer."""
    with torch.device("meta"):
        network = Nirvana(NirvanaConfig(width=width, layers=layers))
    assert sum(layer.latents.numel() for layer in network.latent_layers()) == latents
    assert sum(parameter.numel() for parameter in network.parameters()) == total
    assert network.time_code.code.numel() == 48


def test_costs_of_a_group_at_1080p() -> None:
    decoder = NirvanaCodec.decoder(UHD, (3, 32, 512, 3, 16, 1, 1, 32), "meta")
    assert decoder.macs(decoder.pieces[0]) == pytest.approx(13.4e9, rel=0.005)
    assert len(decoder.coordinates) == 2040


@pytest.mark.parametrize(
    ("config", "mean", "deviation", "values"),
    [
        (NirvanaConfig(3, 8, 24, 3, 4, 0), -0.0009131, 0.2420286,
         [0.247477, 0.164199, -0.003594, -0.736426, 0.127201, 0.094054, -0.079928, -0.408092]),
        (NirvanaConfig(3, 32, 512, 3, 16, 0), -0.0065126, 1.2713744,
         [1.988023, -0.273173, 0.286579, -0.009366, 0.438222, -0.069311, -0.722058, -1.666843]),
        (NirvanaConfig(4, 16, 16, 5, 8, 0), -0.0061506, 0.4567147,
         [0.109884, -0.070868, -0.124356, 0.019745, -0.317703, -0.138758, -0.631844, 0.235353]),
    ],
)  # fmt: skip
def test_patches_are_those_of_the_released_network(
    config: NirvanaConfig, mean: float, deviation: float, values: list[float]
) -> None:
    """Numbers of abhyantrika/nirvana (eb5c015) for a frame of 96x64 and the weights of `with_formula`."""
    with torch.inference_mode():
        patches = with_formula(config)(PatchGrid(64, 96, config.patch).coordinates())
    chosen = patches.flatten()[torch.linspace(0, patches.numel() - 1, 8).long()]
    assert chosen.tolist() == pytest.approx(values, abs=3e-5)
    assert float(patches.double().mean()) == pytest.approx(mean, abs=1e-6)
    assert float(patches.double().std()) == pytest.approx(deviation, abs=1e-5)


def test_the_two_orders_are_one_network_with_its_channels_moved() -> None:
    """Frame f's channel c is channel 16 f + c in one order, and 3 c + f in the other."""
    frame, channel = (with_formula(NirvanaConfig(3, 8, 16, 3, 4, major)) for major in (1, 0))
    x = torch.rand(2, 4, 4, 4)
    ours, released = frame.time_code(x), channel.time_code(x)
    order = [3 * c + f for f in range(3) for c in range(4)]
    assert torch.equal(ours, released[:, order])


def test_patches_join_to_the_frames_and_lie_in_the_middle_of_the_padding() -> None:
    grid, frames = PatchGrid(17, 33, 8), torch.rand(2, 3, 17, 33)
    patches = grid.split(frames)
    assert patches.shape == (15, 2, 3, 8, 8)  # 3 rows and 5 columns
    assert torch.equal(grid.join(patches), frames)
    assert grid.padding == (3, 4, 3, 4)
    assert torch.equal(patches[0, :, :, 3:, 3:], frames[:, :, :5, :5])
    assert not patches[0, :, :, :3].any()


def make_clip(tmp_path: Path, width: int = 33, height: int = 17, frames: int = 5) -> Source:
    video = open_video(make_y4m(tmp_path / "c.y4m", width, height, frames))
    return Source(video, RgbVideo(video, find_conditions("rgb601")))


def encode(source: Source, folder: Path, stop_at: float | None = None, label: str = "width8", **options: Any) -> bytes:
    folder.mkdir(exist_ok=True)

    def progress(done: float, total: float, text: str) -> None:
        if stop_at is not None and done > stop_at:
            raise KeyboardInterrupt

    codec = NirvanaCodec(NirvanaSettings(**{**FAST, **options}))
    point = codec.rate_point(label, Clip(source.video.format, source.video.frames or 0))
    codec.encode(source, point, folder / "b", Workspace(folder, progress=progress))
    return (folder / "b").read_bytes()


def decoded(path: Path, *span: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    video = NirvanaCodec.decode(path, Workspace(path.parent))
    return np.concatenate([np.stack(batch.planes) for batch in video.span(*(span or (0, 99)))], axis=1)


@pytest.mark.parametrize(
    "options", [{}, {"order": "channel", "rate": "latents"}, {"stages": 4, "intra": 1, "layers": 2}]
)
def test_one_seed_gives_one_bitstream_also_after_a_kill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    source = make_clip(tmp_path)
    data = encode(source, tmp_path / "whole", **options)
    monkeypatch.setattr(CHECKPOINTS, 0.0)
    for stop_at in (0.4, 1.4):
        with pytest.raises(KeyboardInterrupt):
            encode(source, tmp_path / "cut", stop_at, **options)
    assert encode(source, tmp_path / "cut", **options) == data
    assert decoded(tmp_path / "cut" / "b").shape == (3, 5, 17, 33)
    assert sum(NirvanaCodec.ledger(tmp_path / "cut" / "b").values()) == len(data)


def test_training_lessens_the_error_and_the_last_group_may_be_short(tmp_path: Path) -> None:
    source = make_clip(tmp_path, 32, 16, 4)
    (rgb,) = source.rgb.batches(4)
    errors: list[float] = []
    for iterations in (1, 60):
        encode(source, tmp_path / str(iterations), iterations=iterations, label="width16-lambda0.0001")
        errors.append(
            float(np.square(decoded(tmp_path / str(iterations) / "b") - np.stack(rgb.planes).astype(float)).mean())
        )
    assert errors[1] < errors[0] / 3


def test_content_that_stands_still_takes_fewer_bits(tmp_path: Path) -> None:
    """The paper's variable bit rate: a repeated group costs nearly nothing beside one of new content."""
    content = np.random.default_rng(0).integers(0, 256, (3, 3, 16, 32), dtype=np.uint8)
    other = np.random.default_rng(1).integers(0, 256, (3, 3, 16, 32), dtype=np.uint8)
    sizes: list[int] = []
    for name, second in (("still", content), ("new", other)):
        planes = np.concatenate([content, second], axis=1)
        video = MemoryVideo(VideoFormat(32, 16, "rgb", full_range=True), Frames(tuple(planes)))
        encode(Source(video, video), tmp_path / name, iterations=60, first=3.0, label="width16")
        sizes.append(sum(NirvanaCodec.ledger(tmp_path / name / "b")[kind] for kind in ("latents", "weights")))
    assert sizes[0] < sizes[1]


def test_groups_depend_on_the_ones_back_to_an_intra_group_alone(tmp_path: Path) -> None:
    source = make_clip(tmp_path, frames=6)
    encode(source, tmp_path / "w", group=1, intra=3)
    whole = decoded(tmp_path / "w" / "b")
    assert np.array_equal(decoded(tmp_path / "w" / "b", 4, 5), whole[:, 4:5])
    sections = read_stream(tmp_path / "w" / "b", "nirvana")
    first = sum(unpack_integers(sections["lengths"])[KINDS.index("latents") : 3 * len(KINDS) : len(KINDS)])
    assert 0 < first < len(sections["latents"])
    broken = bytes(byte ^ 0x55 for byte in sections["latents"][:first]) + sections["latents"][first:]
    write_stream(tmp_path / "w" / "b", "nirvana", {**sections, "latents": broken})
    assert np.array_equal(decoded(tmp_path / "w" / "b", 3, 6), whole[:, 3:])


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damage_under_a_good_checksum_is_refused_or_rendered(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "w" / "b"
    if not (tmp_path / "good").exists():
        (tmp_path / "good").write_bytes(encode(make_clip(tmp_path), tmp_path / "w"))
    path.write_bytes((tmp_path / "good").read_bytes())
    sections = read_stream(path, "nirvana")
    section = data.draw(st.sampled_from(sorted(sections)))
    raw = bytearray(sections[section])
    at = data.draw(st.integers(0, len(raw)))
    raw[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    write_stream(path, "nirvana", {**sections, section: bytes(raw)})
    try:
        batches = list(NirvanaCodec.decode(path, Workspace(tmp_path)).batches(2))
    except BitstreamError:
        return
    assert batches[0].planes[0].dtype == np.uint8


@pytest.mark.parametrize(("width", "height", "frames"), [(20, 20, 1), (2, 2, 2), (64, 16, 2)])
def test_single_frames_and_odd_shapes(width: int, height: int, frames: int, tmp_path: Path) -> None:
    encode(make_clip(tmp_path, width, height, frames), tmp_path / "w")
    assert decoded(tmp_path / "w" / "b").shape == (3, frames, height, width)


def test_rate_points_name_width_and_lambda(tmp_path: Path) -> None:
    codec = NirvanaCodec(NirvanaSettings())
    clip = Clip(VideoFormat(1920, 1080), 600)
    points = codec.rate_points(clip)
    assert [point.label for point in points] == [
        "width512-lambda0.01", "width512-lambda0.003", "width512", "width512-lambda0.0003",
    ]  # fmt: skip
    assert points[2].settings == {"width": 512, "lambda": 1e-3}
    assert [codec.rate_point(point.label, clip) for point in points] == points
    for label in ("512", "width0", "width99999", "width512-lambda", "width512-lambda1e-3"):
        with pytest.raises(UsageError, match="write a width and a lambda"):
            codec.rate_point(label, clip)


def test_the_cost_of_training_is_that_of_all_iterations() -> None:
    codec, clip = NirvanaCodec(NirvanaSettings()), Clip(VideoFormat(1920, 1080), 6)
    point = codec.rate_point("width512", clip)
    assert codec.encode_macs(clip, point) == pytest.approx(3 * 13.4e9 * (8000 + 2000), rel=0.005)
    assert codec.estimate_seconds(clip, point, "cuda") is None


def test_a_diverging_training_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RdbenchError, match="diverged"):
        encode(make_clip(tmp_path), tmp_path / "w", lr=1e30, iterations=20)


def test_a_sample_for_the_bench_decodes(tmp_path: Path) -> None:
    source, codec = make_clip(tmp_path), NirvanaCodec(NirvanaSettings())
    point = codec.rate_point("width8", Clip(source.video.format, 5))
    codec.write_sample(source, point, tmp_path / "b", Workspace(tmp_path))
    assert decoded(tmp_path / "b").shape == (3, 5, 17, 33)
