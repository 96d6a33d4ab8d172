"""HNeRV: published numbers of parameters, the contents of the bitstream, and the geometry of each frame size."""

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import make_y4m

from rdbench.codec import Clip, Source, Workspace
from rdbench.codecs.hnerv import HNeRV, HNeRVCodec, HNeRVConfig, HNeRVSettings
from rdbench.codecs.inr.codec import ClipHeader
from rdbench.codecs.inr.compression.axis_quantization import AxisQuantization, dequantize, quantize
from rdbench.codecs.inr.embedding_based import ContentEncoder
from rdbench.codecs.inr.networks.encoder import Encoder
from rdbench.codecs.inr.networks.network import Network, count_macs, count_parameters
from rdbench.errors import BitstreamError, RdbenchError, UsageError
from rdbench.video.conditions import find_conditions
from rdbench.video.readers import RgbVideo, open_video

torch.set_num_threads(1)
HALF = {640: (2, 4, (5, 4, 4, 2, 2)), 960: (2, 4, (5, 4, 4, 3, 2)), 480: (2, 4, (5, 4, 3, 2, 2))}
WIDE = {1080: (9, 16, (5, 3, 2, 2, 2)), 720: (9, 16, (5, 2, 2, 2, 2))}
SHAPES = {**HALF, **WIDE}
PUBLISHED = [
    # rows of the frame, frames, c, 100 r, all transmitted parameters, kMAC per pixel
    (640, 132, 32, 120, 329_726, 7.15),
    (640, 132, 48, 120, 736_152, 16.95),
    (640, 132, 68, 120, 1_505_172, 35.20),
    (640, 132, 97, 120, 3_029_582, 72.43),
    (640, 132, 110, 150, 1_490_697, 15.85),
    (640, 132, 146, 175, 1_453_866, 9.48),
    (640, 132, 182, 200, 1_505_826, 7.45),
    (960, 600, 74, 120, 2_012_041, 39.1),
    (960, 600, 91, 120, 2_914_265, 56.0),
    (960, 600, 118, 120, 4_908_044, 97.9),
    (960, 600, 130, 120, 5_905_853, 115.9),
    (960, 600, 168, 120, 9_988_265, 199.7),
    (960, 600, 185, 120, 11_921_106, 236.0),
    (960, 300, 74, 120, 1_973_641, None),
    (960, 300, 92, 120, 2_976_339, None),
    (960, 300, 169, 120, 10_034_000, None),
    (1080, 600, 103, 120, 3_053_696, 80.0),
    (1080, 600, 154, 120, 5_063_634, None),
    (1080, 600, 236, 120, 10_067_613, None),
    (1080, 600, 296, 120, 15_054_155, None),
    (720, 132, 59, 120, 751_083, None),
    (720, 132, 96, 120, 1_516_312, None),
    (720, 132, 145, 120, 3_033_420, None),
]


def network(height: int, frames: int, channels: int, reduction: int = 120) -> HNeRV:
    rows, columns, strides = SHAPES[height]
    with torch.device("meta"):
        return HNeRV(HNeRVConfig(rows, columns, strides, channels, channels, reduction=reduction), frames)


@pytest.mark.parametrize(("height", "frames", "channels", "reduction", "parameters", "kmacs"), PUBLISHED)
def test_published_counts(
    height: int, frames: int, channels: int, reduction: int, parameters: int, kmacs: float | None
) -> None:
    ours = network(height, frames, channels, reduction)
    assert count_parameters(ours) == parameters
    if kmacs is not None:
        pixels = ours.patch_size[0] * ours.patch_size[1]
        assert count_macs(ours) / (1000 * pixels) == pytest.approx(kmacs, abs=0.06)


def test_parts_of_the_official_model() -> None:
    ours = network(640, 132, 68)
    convs = [module for module in ours.blocks.modules() if isinstance(module, torch.nn.Conv2d)]
    shapes = [(conv.in_channels, conv.out_channels, conv.kernel_size[0]) for conv in convs]
    assert shapes == [(68, 1425, 1), (57, 768, 3), (48, 640, 5), (40, 132, 5), (33, 112, 5)]
    assert ours.embeddings.numel() == 16_896
    assert count_parameters(ours.head) == 759


@pytest.mark.parametrize(("height", "parameters"), [(640, 306_160), (960, 326_640), (1080, 228_336), (720, 207_856)])
def test_published_counts_of_encoders(height: int, parameters: int) -> None:
    rows, columns, strides = SHAPES[height]
    with torch.device("meta"):
        encoder = ContentEncoder(HNeRVConfig(rows, columns, strides, 8, 8), 16)
    assert count_parameters(encoder) == parameters


@pytest.mark.parametrize(
    ("width", "height", "frames", "size", "channels"),
    [
        (1280, 640, 132, 750_000, 49),
        (1280, 640, 132, 1_500_000, 68),
        (1280, 640, 132, 3_000_000, 97),
        (1280, 720, 132, 750_000, 59),
        (1920, 1080, 600, 3_050_000, 103),
    ],
)
def test_sizes_give_the_papers_networks(width: int, height: int, frames: int, size: int, channels: int) -> None:
    with torch.device("meta"):
        ours, config = HNeRVCodec(HNeRVSettings()).build_for(ClipHeader(width, height, frames, 25, 1), size)
    assert isinstance(config, HNeRVConfig)
    assert (config.stem, config.channels, config.embedding) == (channels, channels, 16)
    assert (config.rows, config.columns, config.strides) == SHAPES[height]
    assert isinstance(ours, HNeRV)
    assert abs(count_parameters(ours) / size - 1) < 0.02


def test_any_frame_size_has_small_embeddings_and_little_padding() -> None:
    codec = HNeRVCodec(HNeRVSettings())
    for width, height in [(320, 180), (1024, 768), (768, 1024), (176, 144), (832, 480), (480, 270), (3840, 2160)]:
        config = codec.scaled(ClipHeader(width, height, 10, 25, 1), 1.0)
        rows, columns = config.patch_size
        assert 6 <= config.rows * config.columns <= 24
        assert rows * columns < 1.3 * width * height


def test_a_size_that_cannot_hold_the_embeddings_is_refused_by_name() -> None:
    with pytest.raises(UsageError, match=r"hnerv cannot hold 600 frames .* in 50000 parameters; the nearest size is"):
        HNeRVCodec(HNeRVSettings()).build_for(ClipHeader(1920, 1080, 600, 25, 1), 50_000)


class Kept(HNeRVCodec):
    """Keeps the trained network and its encoder for comparisons."""

    trained: tuple[HNeRV, Encoder]

    def encoder(self, network: Network, clip: ClipHeader) -> Encoder:
        assert isinstance(network, HNeRV)
        self.trained = (network, super().encoder(network, clip))
        return self.trained[1]


@pytest.fixture(scope="module")
def coded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Kept, np.ndarray, Path]:
    """The codec after training, the frames, and the bitstream."""
    folder = tmp_path_factory.mktemp("coded")
    video = open_video(make_y4m(folder / "c.y4m", 64, 48, 4))
    rgb = RgbVideo(video, find_conditions("rgb601"))
    codec = Kept(HNeRVSettings(epochs=30, finetune_epochs=2, lr=4e-3))
    point = codec.rate_point("20K", Clip(video.format, 4))
    codec.encode(Source(video, rgb), point, folder / "b", Workspace(folder))
    (batch,) = rgb.batches()
    return codec, np.stack(batch.planes, axis=1), folder / "b"


def test_decoding_needs_no_encoder(
    coded: tuple[Kept, np.ndarray, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    codec, frames, bitstream = coded
    monkeypatch.delattr("rdbench.codecs.inr.embedding_based.ContentEncoder")
    monkeypatch.delattr("rdbench.codecs.hnerv.ContentEncoder")
    codec.trained[1].requires_grad_(False).apply(lambda module: module._parameters.clear())
    (batch,) = HNeRVCodec.decode(bitstream, Workspace(tmp_path)).batches()
    error = np.square(np.stack(batch.planes, axis=1).astype(float) - frames).mean()
    assert 10 * np.log10(255**2 / error) > 20


def test_the_ledger_has_all_that_is_transmitted(coded: tuple[Kept, np.ndarray, Path]) -> None:
    codec, _, bitstream = coded
    network, ledger = codec.trained[0], HNeRVCodec.ledger(bitstream)
    assert set(ledger) == {"config", "container", *AxisQuantization.sections}
    weights = count_parameters(network) - network.embeddings.numel()
    assert 0.05 * network.embeddings.numel() < ledger["latents"] < 1.02 * network.embeddings.numel()
    assert ledger["latent_table"] == 0  # coded along time, so without a table
    assert 0.6 * weights < ledger["weights"] < 1.02 * weights


def test_quantized_embeddings_are_near_the_outputs_of_the_encoder(coded: tuple[Kept, np.ndarray, Path]) -> None:
    network, _ = coded[0].trained
    back = dequantize(quantize(network.embeddings, 8), network.embeddings.shape)
    step = float(network.embeddings.detach().max() - network.embeddings.detach().min()) / 255
    assert float((back - network.embeddings.detach()).abs().max()) <= 0.51 * step


@pytest.mark.parametrize("bits", [2, 6, 8])
@pytest.mark.parametrize(("shape", "lines", "axis"), [((60, 32), (1, 32), 1), ((8, 60, 4), (8, 1, 4), 2)])
def test_the_axis_with_the_smallest_error_is_chosen(
    bits: int, shape: tuple[int, ...], lines: tuple[int, ...], axis: int
) -> None:
    torch.manual_seed(0)
    tensor = torch.randn(shape) * torch.logspace(-2, 2, 32).view(lines)
    coded = quantize(tensor, bits)
    assert (coded.axis, len(coded.low)) == (axis, 32)
    back = dequantize(coded, tensor.shape)
    spread = tensor.amax(dim=axis - 1, keepdim=True) - tensor.amin(dim=axis - 1, keepdim=True)
    assert ((back - tensor).abs() <= (0.51 / (2**bits - 1) + 2e-3) * spread).all()


def test_a_short_axis_gets_no_ranges_of_its_own() -> None:
    torch.manual_seed(0)
    tensor = torch.randn(50, 16) * torch.logspace(-2, 2, 16)
    coded = quantize(tensor, 8)
    assert (coded.axis, len(coded.low)) == (0, 1)
    back = dequantize(coded, tensor.shape)
    assert (back - tensor).abs().max() <= 0.501 * (tensor.max() - tensor.min()) / 255


def test_pruned_weights_stay_zero_and_huge_ones_are_an_error() -> None:
    weight = torch.linspace(-1, 1, 100).view(10, 10) * (torch.arange(100).view(10, 10) % 3 > 0)
    back = dequantize(quantize(weight, 8), weight.shape)
    assert torch.equal(back == 0, weight == 0)
    with pytest.raises(RdbenchError, match="--seed"):
        quantize(torch.tensor([torch.inf, 1.0]), 8)


def test_ranges_that_match_no_network_are_refused() -> None:
    torch.manual_seed(0)
    ours = HNeRV(HNeRVConfig(2, 4, (2, 2), 6, 6), 3)
    sections = AxisQuantization(8, 6).write(ours)
    changed = {"axes": bytes([9, *sections["axes"][1:]]), "ranges": sections["ranges"][:-4], "latents": b"1234"}
    for name, data in changed.items():
        with pytest.raises(BitstreamError):
            AxisQuantization(8, 6).read(network(640, 3, 6), {**sections, name: data})
        with torch.device("meta"):
            fresh = HNeRV(ours.config, 3)
        with pytest.raises(BitstreamError):
            AxisQuantization(8, 6).read(fresh, {**sections, name: data})
    with torch.device("meta"):
        fresh = HNeRV(ours.config, 3)
    AxisQuantization(8, 6).read(fresh, sections)
    assert (fresh.blocks[0][0].weight - ours.blocks[0][0].weight).abs().max() < 0.01
