"""NeRV: the counts of its papers, and a bitstream that gives the same frames to anyone."""

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import make_y4m
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rdbench.codec import Clip, Source, Workspace
from rdbench.codecs.inr.codec import ClipHeader
from rdbench.codecs.inr.network import count_macs, count_parameters
from rdbench.codecs.nerv import NeRV, NeRVCodec, NeRVConfig, NeRVSettings
from rdbench.conditions import find_conditions
from rdbench.errors import BitstreamError
from rdbench.readers import RgbVideo, open_video

torch.set_num_threads(1)
P720, P1080 = (5, 2, 2, 2, 2), (5, 3, 2, 2, 2)
PUBLISHED = [
    # channels, expansion, lower, L, strides, parameters, kMAC per pixel
    (8, 1, 96, 40, P720, 1_671_851, 109.26),
    (26, 1, 96, 40, P720, 3_201_905, 109.53),
    (58, 1, 96, 40, P720, 6_282_001, 110.06),
    (112, 1, 96, 40, P720, 12_524_563, 111.11),
    (26, 1, 96, 80, P720, 3_242_865, None),
    (58, 1, 96, 80, P720, 6_322_961, None),
    (112, 1, 96, 80, P720, 12_565_523, None),
    (26, 1, 96, 40, P1080, 3_314_705, 109.5),
    (58, 1, 96, 40, P1080, 6_533_041, 110.0),
    (112, 1, 96, 40, P1080, 13_008_883, 110.9),
    (64, 8, 32, 80, P1080, 24_364_259, 74.3),
    (128, 4, 32, 80, P1080, 36_464_867, 74.9),
    (128, 6, 32, 80, P1080, 59_052_115, 167.6),
    (128, 8, 32, 80, P1080, 87_721_923, 297.2),
    (192, 8, 32, 80, P1080, 190_155_427, 668.5),
]


@pytest.mark.parametrize(("channels", "expansion", "lower", "levels", "strides", "parameters", "kmacs"), PUBLISHED)
def test_published_counts(
    channels: int,
    expansion: int,
    lower: int,
    levels: int,
    strides: tuple[int, ...],
    parameters: int,
    kmacs: float | None,
) -> None:
    config = NeRVConfig(9, 16, channels, 512, lower, expansion, levels, strides=strides)
    width, height = (1280, 720) if strides == P720 else (1920, 1080)
    with torch.device("meta"):
        network = NeRV(config, width, height, 132)
    assert count_parameters(network) == config.parameters() == parameters
    if kmacs is not None:
        macs = count_macs(network, torch.zeros(1, dtype=torch.long, device="meta"))
        assert macs / (1000 * width * height) == pytest.approx(kmacs, abs=0.06)


@pytest.mark.parametrize("size", [5_000, 50_000, 400_000, 1_500_000, 3_000_000])
@pytest.mark.parametrize(("width", "height"), [(320, 180), (1280, 720), (161, 91), (400, 100)])
def test_the_width_meets_the_size(size: int, width: int, height: int) -> None:
    clip = ClipHeader(width, height, 10, 25, 1)
    network, numbers = NeRVCodec(NeRVSettings()).build_for(clip, size)
    assert count_parameters(network) == pytest.approx(size, rel=0.05)
    assert count_parameters(NeRVCodec.rebuild(clip, numbers)) == count_parameters(network)


def encode(clip: Path, folder: Path, stop_after: int | None = None, **options: float) -> bytes:
    video = open_video(clip)
    codec = NeRVCodec(NeRVSettings(**{"epochs": 6, "finetune_epochs": 2, "lr": 5e-3, "frequencies": 10, **options}))
    folder.mkdir(exist_ok=True)
    calls = 0

    def progress(done: float, total: float, text: str) -> None:
        nonlocal calls
        calls += 1
        if calls == stop_after:
            raise KeyboardInterrupt

    workspace = Workspace(folder, progress=progress)
    source = Source(video, RgbVideo(video, find_conditions("rgb601")))
    point = codec.rate_point("5K", Clip(video.format, video.frames or 0))
    codec.encode(source, point, folder / "b", workspace)
    return (folder / "b").read_bytes()


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_y4m(tmp_path_factory.mktemp("clip") / "a.y4m", 33, 17, 4)


@pytest.fixture(scope="module")
def bitstream(clip: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return encode(clip, tmp_path_factory.mktemp("nerv"))


def test_one_seed_gives_one_bitstream(clip: Path, bitstream: bytes, tmp_path: Path) -> None:
    assert encode(clip, tmp_path / "again") == bitstream


@pytest.mark.parametrize("stop_after", [2, 7])
def test_a_killed_fit_ends_as_one_never_stopped(
    clip: Path, bitstream: bytes, tmp_path: Path, stop_after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rdbench.codecs.inr.fit.CHECKPOINT_SECONDS", 0.0)
    with pytest.raises(KeyboardInterrupt):
        encode(clip, tmp_path, stop_after)
    assert encode(clip, tmp_path) == bitstream


def test_frames_have_the_clips_odd_size_and_do_not_depend_on_the_batch(bitstream: bytes, tmp_path: Path) -> None:
    (tmp_path / "b").write_bytes(bitstream)
    decoded = [list(NeRVCodec.decode(tmp_path / "b", Workspace(tmp_path)).batches(size)) for size in (1, 3)]
    assert [len(b) for b in decoded[1]] == [3, 1]
    one, three = (np.concatenate([b.planes[0] for b in batches]) for batches in decoded)
    assert one.shape == (4, 17, 33)
    assert np.abs(one.astype(int) - three).max() <= 1
    assert sum(NeRVCodec.ledger(tmp_path / "b").values()) == len(bitstream)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damaged_bitstreams_are_refused(bitstream: bytes, tmp_path: Path, data: st.DataObject) -> None:
    damaged = bytearray(bitstream)
    if data.draw(st.booleans()):
        damaged = damaged[: data.draw(st.integers(0, len(damaged) - 1))]
    else:
        damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= data.draw(st.integers(1, 255))
    (tmp_path / "b").write_bytes(damaged)
    with pytest.raises(BitstreamError):
        NeRVCodec.decode(tmp_path / "b", Workspace(tmp_path))
