"""T-NeRV: published sizes and their split, the encoder, flows and time in the decoder, the ledger."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import make_y4m

from rdbench.codec import Clip, Source, Workspace
from rdbench.codecs.inr.codec import ClipHeader
from rdbench.codecs.inr.networks.network import Patches, count_macs, count_parameters
from rdbench.codecs.tnerv import TNeRV, TNeRVCodec, TNeRVConfig, TNeRVEncoder, TNeRVSettings
from rdbench.errors import BitstreamError
from rdbench.video.conditions import find_conditions
from rdbench.video.readers import RgbVideo, open_video

torch.set_num_threads(1)
P720, P1080 = (5, 2, 2, 2, 2), (5, 3, 2, 2, 2)
AT_720P = TNeRVConfig(9, 16, P720, 225, 35, 30)
AT_1080P = TNeRVConfig(9, 16, P1080, 163, 25, 35)
AT_960P = TNeRVConfig(8, 16, P1080, 97, 8, 11)


def meta(config: TNeRVConfig, frames: int = 600) -> TNeRV:
    with torch.device("meta"):
        return TNeRV(config, frames)


@pytest.mark.parametrize(
    ("config", "embeddings", "grids", "total"),
    [
        (AT_720P, 3_024_000, 2_268_000, 12_417_352),  # the paper's 12.4M
        (AT_960P, 614_400, 739_200, 3_023_799),  # 3.0M
        (AT_1080P, 2_160_000, 2_646_000, 9_305_850),  # 9.3M = 2.2M + 2.6M + 4.5M
        (TNeRVConfig(9, 16, P1080, 92, 8, 11), 691_200, 831_600, 3_001_788),
        (TNeRVConfig(9, 16, P1080, 131, 16, 22), 1_382_400, 1_663_200, 5_974_842),
        (TNeRVConfig(9, 16, P1080, 208, 30, 30), 2_592_000, 2_268_000, 12_011_924),
    ],
)
def test_published_counts(config: TNeRVConfig, embeddings: int, grids: int, total: int) -> None:
    network = meta(config)
    assert network.embeddings is not None
    assert (network.embeddings.numel(), count_parameters(network.grids)) == (embeddings, grids)
    assert count_parameters(network) == total


def test_grids_have_at_most_one_time_step_for_two_frames() -> None:
    assert [len(grid.rows) for grid in meta(AT_1080P).grids] == [75, 150, 300]


@pytest.mark.parametrize(("config", "spatial"), [(AT_720P, 18.98e6), (AT_960P, 18.90e6)])
def test_the_encoder_has_about_19_million_parameters(config: TNeRVConfig, spatial: float) -> None:
    with torch.device("meta"):
        encoder = TNeRVEncoder(replace(config, strides=P1080), 600, tiny=False, temporal=True)
        tiny = TNeRVEncoder(config, 600, tiny=True, temporal=False)
    assert count_parameters(encoder.stages) == pytest.approx(spatial, rel=2e-3)
    assert count_parameters(tiny) < 0.3e6


def test_cost_of_a_frame() -> None:
    # the pre-block and the time, blocks as pairs of 3x3 convolutions, heads
    widths, strides = [225, 188, 157, 131, 109, 91], P720
    cells, total = 144, 144 * 9 * 125 * 225 + 160 * 128 + 128 * 128
    for number, (a, b, s) in enumerate(zip(widths, widths[1:], strides, strict=False)):
        wide, middle = b * s * s, (336, 280, 233)[number - 2]
        total += 256 * a + cells * ((1, 9)[number] * a * wide if number < 2 else 9 * middle * (a + wide))
        cells *= s * s
        total += cells * 9 * b * (12 if number == 2 else 5 if number == 4 else 0)
    assert count_macs(meta(AT_720P)) == total


@pytest.mark.parametrize(
    ("width", "height", "size", "expected"),
    [
        (1280, 720, 12_400_000, AT_720P), (1920, 960, 3_000_000, AT_960P), (1920, 1080, 9_300_000, AT_1080P),
    ],
)  # fmt: skip
def test_published_sizes_give_the_published_networks(width: int, height: int, size: int, expected: TNeRVConfig) -> None:
    clip = ClipHeader(width, height, 600, 120, 1)
    assert TNeRVCodec(TNeRVSettings()).solved(clip, size) == expected
    other = TNeRVCodec(TNeRVSettings()).solved(replace(clip, frames=300), size)
    assert count_parameters(meta(other, 300)) == pytest.approx(size, rel=0.01)


def test_other_sizes_are_split_as_the_papers() -> None:
    codec = TNeRVCodec(TNeRVSettings())
    for size in (3_000_000, 6_000_000):
        with torch.device("meta"):
            network, _ = codec.build_for(ClipHeader(1920, 1080, 600, 25, 1), size)
        assert isinstance(network, TNeRV)
        assert network.embeddings is not None
        assert count_parameters(network) == pytest.approx(size, rel=0.02)
        assert network.embeddings.numel() / size == pytest.approx(0.22, abs=0.03)
        assert count_parameters(network.grids) / size == pytest.approx(0.26, abs=0.03)


def small(**changes: int) -> TNeRV:
    torch.manual_seed(0)
    network = TNeRV(replace(TNeRVConfig(2, 3, (2, 2, 2), 10, 4, 3, 6, 8, 6, 8), **changes), 6)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(std=0.3)
    return network.eval()


def at(*frames: int) -> Patches:
    return Patches.of_frames(torch.tensor(frames), (1, 1))


@torch.no_grad()
def test_frames_beyond_the_clip_are_its_ends() -> None:
    network = small()
    image, motion = network.independent_frames(torch.tensor([0]))
    independent = network.independent_frames(torch.tensor([0, 0, 1, 2]))[0][:, :3].half().float()
    by_hand, _ = network.blend(image, motion, independent[None])
    assert torch.allclose(network(at(0)), by_hand, atol=1e-3)  # a step of float16


@torch.no_grad()
def test_any_batch_gives_the_same_frames() -> None:
    whole = small()(at(*range(6)))
    for batch in ((3,), (5, 0, 2), (0, 1)):
        assert torch.allclose(small()(at(*batch)), whole[list(batch)], atol=1e-3)


@torch.no_grad()
def test_training_compares_three_frames() -> None:
    network = small().train()
    outputs = network.training_outputs(at(2))
    assert [weight for weight, _ in outputs] == [1.0, 0.1, 0.1]
    assert torch.allclose(outputs[0][1], network.eval()(at(2)), atol=0.5 / 255)
    assert len(small(flow=0).training_outputs(at(2))) == 1


@torch.no_grad()
def test_time_conditions_the_decoder_only_with_adain() -> None:
    for adain in (0, 1):
        network = small(flow=0, adain=adain)
        assert network.embeddings is not None
        network.embeddings.zero_()
        for grid in network.grids:
            grid.rows.zero_()
        frames = network(at(0, 3))
        assert bool((frames[0] - frames[1]).abs().max() > 1e-4) == bool(adain)


@torch.no_grad()
def test_the_statistics_of_adain_are_in_float32_inside_autocast() -> None:
    network, found = small(), []
    for block in network.blocks:
        block.up[0].register_forward_pre_hook(lambda _layer, inputs: found.append(inputs[0]))
    network.independent_frames(torch.tensor([3]))
    exact = [x.mean(dim=(2, 3)) for x in found]
    found.clear()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        image, motion = network.independent_frames(torch.tensor([3]))
    assert {x.dtype for x in (*found, image, motion)} == {torch.float32}
    # the mean of a normalized channel is its shift, whatever the features are
    assert all(torch.allclose(x.mean(dim=(2, 3)), mean, atol=1e-5) for x, mean in zip(found, exact, strict=True))


def test_two_small_convolutions_have_as_many_weights_as_a_large_one() -> None:
    pairs, plain = meta(AT_720P), meta(replace(AT_720P, plain=1))
    assert count_parameters(plain) == pytest.approx(count_parameters(pairs), rel=5e-3)
    kernels = [layer.kernel_size[0] for layer in plain.blocks.modules() if isinstance(layer, torch.nn.Conv2d)]
    assert kernels == [1, 3, 5, 5, 5]


def test_features_of_time_scale_the_embeddings() -> None:
    torch.manual_seed(0)
    config = TNeRVConfig(2, 3, (2, 2), 10, 4, 3, frequencies=8)
    encoder = TNeRVEncoder(config, 5, tiny=True, temporal=True)
    video = torch.rand(1, 3, 8, 12).expand(5, -1, -1, -1)
    with torch.no_grad():
        same = encoder(video.__getitem__, torch.arange(5))["embeddings"]
        assert torch.allclose(same[0], same[4], atol=1e-6)  # the shares begin at zero
        assert encoder.shares is not None
        encoder.shares[4] = 1.0
        scaled = encoder(video.__getitem__, torch.arange(5))["embeddings"]
    assert torch.equal(scaled[:4], same[:4])
    assert not torch.allclose(scaled[4], same[4])


def test_the_ledger_shows_the_components(tmp_path: Path) -> None:
    video = open_video(make_y4m(tmp_path / "c.y4m", 64, 36, 4))
    codec = TNeRVCodec(TNeRVSettings(epochs=1, finetune_epochs=1, frequencies=8, tiny_encoder=True))
    source = Source(video, RgbVideo(video, find_conditions("rgb601")))
    codec.encode(source, codec.rate_point("20K-lambda0.1", Clip(video.format, 4)), tmp_path / "b", Workspace(tmp_path))
    ledger = codec.ledger(tmp_path / "b")
    assert min(ledger[part] for part in ("embeddings", "grids", "weights")) > 1000
    tensors = len(list(TNeRVCodec.rebuild(*_header(codec, video)).parameters()))
    assert ledger["scales"] == 8 * (tensors - 1 + 4)


def _header(codec: TNeRVCodec, video):  # type: ignore[no-untyped-def]
    clip = ClipHeader(64, 36, 4, 25, 1)
    return clip, codec.build_for(clip, 20_000)[1].numbers()


def test_a_network_without_any_content_is_refused() -> None:
    with pytest.raises(BitstreamError):
        TNeRVCodec.build(TNeRVConfig(2, 3, (2, 2), 10, 0, 0), ClipHeader(12, 8, 4, 25, 1))
