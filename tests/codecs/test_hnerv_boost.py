"""HNeRV-Boost: published numbers of parameters, time in the decoder, and the estimated rate."""

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import make_y4m
from torch import Tensor, nn

from rdbench.codec import Clip, Source, Workspace
from rdbench.codecs.hnerv_boost import HNeRVBoost, HNeRVBoostCodec, HNeRVBoostConfig, HNeRVBoostSettings
from rdbench.codecs.inr.compression.entropy_minimization import LOG_LR_SCALE, EntropyMinimization, gaussian_bits
from rdbench.codecs.inr.networks.network import Network, Patches, count_parameters
from rdbench.codecs.inr.recipes.losses import MIXES, loss_of
from rdbench.codecs.inr.recipes.optimizers import make_optimizer
from rdbench.codecs.inr.recipes.stage import Stage
from rdbench.video.conditions import find_conditions
from rdbench.video.readers import RgbVideo, open_video

torch.set_num_threads(1)
P720, P1080 = (5, 2, 2, 2, 2), (5, 3, 2, 2, 2)


@pytest.mark.parametrize(
    ("strides", "frames", "channels", "parameters"),
    [
        (P1080, 600, 95, 3_052_288),
        (P1080, 600, 143, 5_013_993),
        (P1080, 600, 222, 10_027_553),
        (P1080, 600, 280, 15_041_398),
        (P1080, 300, 114, 3_056_252),
        (P1080, 300, 156, 5_012_283),
        (P1080, 300, 231, 10_002_584),
        (P1080, 300, 287, 15_037_151),
        (P720, 132, 50, 758_921),
        (P720, 132, 86, 1_507_946),
        (P720, 132, 134, 3_080_653),
        (P1080, 600, 161, 6_002_945),
        (P1080, 600, 246, 11_959_470),
    ],
)
def test_published_counts(strides: tuple[int, ...], frames: int, channels: int, parameters: int) -> None:
    with torch.device("meta"):
        assert count_parameters(HNeRVBoost(HNeRVBoostConfig(9, 16, strides, channels), frames)) == parameters


def test_parts_of_the_official_model() -> None:
    with torch.device("meta"):
        network = HNeRVBoost(HNeRVBoostConfig(9, 16, P1080, 95), 600)
    assert network.residuals is not None
    assert count_parameters(network.time) == 12_384
    assert count_parameters(network.head) == 1_029
    assert [count_parameters(block) for block in network.blocks] == [
        1_615, 189_600, 422_928, 130_900, 27_280, 91_264, 19_090, 63_080, 13_034
    ]  # fmt: skip
    assert [count_parameters(block) for block in network.residuals] == [
        179_404, 127_148, 91_476, 66_044, 66_044, 48_476, 48_476, 35_308, 35_308
    ]  # fmt: skip
    kernels = [block[0].kernel_size[0] for block in network.blocks if isinstance(block, nn.Sequential)]
    assert kernels == [1, 1, 3, 3, 3, 3, 3, 3, 3]


def small(frames: int = 4) -> HNeRVBoost:
    torch.manual_seed(0)
    network = HNeRVBoost(HNeRVBoostConfig(2, 4, (2, 2, 2), 12, 4, 6, 8, 6, 10), frames)
    with torch.no_grad():
        network.embeddings.normal_()
    return network


def test_the_time_changes_frames_of_equal_embeddings() -> None:
    network = small()
    with torch.no_grad():
        network.embeddings.copy_(network.embeddings[:1].expand_as(network.embeddings))
        frames = network(Patches.of_frames(torch.arange(4), (1, 1)))
        assert (frames[0] - frames[1]).abs().max() > 1e-4
        longer = small(8)
        longer.load_state_dict({**network.state_dict(), "embeddings": network.embeddings.repeat(2, 1, 1, 1)})
        assert torch.allclose(longer(Patches.of_frames(torch.tensor([7]), (1, 1))), frames[3:], atol=1e-5)


def test_the_loss_is_the_papers() -> None:
    torch.manual_seed(0)
    x, y = torch.rand(1, 3, 24, 20), torch.rand(1, 3, 24, 20)
    spectrum = np.fft.fft2(np.asarray(x - y, dtype=np.float64))
    by_hand = (np.abs(spectrum.real).mean() + np.abs(spectrum.imag).mean()) / 2
    mix = dict(map(reversed, MIXES["boost"]))
    assert mix == {"l1": 60 * 0.7, "ms_ssim": 60 * 0.3, "spectrum": 1.0}
    assert float(loss_of(((1.0, "spectrum"),), x, y)) == pytest.approx(by_hand, rel=1e-5)
    assert float(loss_of(((1.0, "ms_ssim"),), x, y)) == float(loss_of(((1.0, "ssim"),), x, y))  # too small for five


def test_adan_is_the_papers() -> None:
    weight = nn.Parameter(torch.tensor([1.0, -2.0]))
    stage = Stage("fit", 1, 0.1, optimizer="adan", betas=(0.98, 0.92, 0.99))
    optimizer = make_optimizer(stage, [weight], [])
    m, v, n = np.zeros(2), np.zeros(2), np.zeros(2)
    ours, before = np.array([1.0, -2.0]), None
    for t in range(1, 5):
        g = 2 * ours + np.array([0.3, -0.1]) * t
        d = np.zeros(2) if before is None else g - before
        m, v, n = 0.98 * m + 0.02 * g, 0.92 * v + 0.08 * d, 0.99 * n + 0.01 * (g + 0.92 * d) ** 2
        step = (m / (1 - 0.98**t) + 0.92 * v / (1 - 0.92**t)) / (np.sqrt(n / (1 - 0.99**t)) + 1e-8)
        weight.grad = torch.from_numpy(g).float()
        optimizer.step()
        ours, before = ours - 0.1 * step, g
        assert np.allclose(np.asarray(weight.detach()), ours, atol=1e-4)


class Kept(HNeRVBoostCodec):
    """Keeps the trained network and the scheme."""

    network: Network
    kept_scheme: EntropyMinimization

    def encoder(self, network: Network, clip):  # type: ignore[no-untyped-def]
        self.network = network
        return super().encoder(network, clip)

    def compression(self) -> EntropyMinimization:
        self.kept_scheme = EntropyMinimization(self.settings.target_bits)
        return self.kept_scheme


def encode_clip(folder: Path, size: str = "30K", **options: float) -> tuple[Kept, Path]:
    video = open_video(make_y4m(folder / "c.y4m", 64, 48, 6))
    codec = Kept(HNeRVBoostSettings(epochs=2, finetune_epochs=6, frequencies=20, **options))  # type: ignore[arg-type]
    source = Source(video, RgbVideo(video, find_conditions("rgb601")))
    codec.encode(source, codec.rate_point(size, Clip(video.format, 6)), folder / "b", Workspace(folder))
    return codec, folder / "b"


@pytest.fixture(scope="module")
def coded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Kept, Path]:
    return encode_clip(tmp_path_factory.mktemp("coded"))


def test_the_bytes_are_as_many_as_estimated(coded: tuple[Kept, Path]) -> None:
    codec, bitstream = coded
    ledger = codec.ledger(bitstream)
    state, names = codec.kept_scheme.state(), [name for name, _ in codec.network.named_parameters()]
    step = (state["steps"][names.index("embeddings")] * LOG_LR_SCALE).exp()
    rows = ((codec.network.embeddings.detach() - state["offsets"][0]) / step).flatten(1)
    deviations = rows.std(dim=1, keepdim=True, correction=0)
    embeddings = float(gaussian_bits(rows.round(), rows.mean(dim=1, keepdim=True), deviations).sum())
    assert 8 * ledger["weights"] == pytest.approx(codec.kept_scheme.estimate(codec.network) - embeddings, rel=0.03)
    assert 8 * ledger["latents"] < 0.9 * embeddings  # coded along time, so without the frames' Gaussians
    assert ledger["steps"] == 4 * (len(names) + 1)
    assert ledger["models"] == 4 * (len(names) - 1)


def test_decoded_frames_are_those_of_the_trained_network(coded: tuple[Kept, Path], tmp_path: Path) -> None:
    codec, bitstream = coded
    (batch,) = HNeRVBoostCodec.decode(bitstream, Workspace(tmp_path)).batches()
    with torch.no_grad():
        weights = dict(codec.kept_scheme.substitute(dict(codec.network.named_parameters())))
        at = Patches.of_frames(torch.arange(6), (1, 1))
        frames = torch.func.functional_call(codec.network, weights, (at,))[..., :48, :64]
    assert np.abs(np.stack(batch.planes, axis=1) - np.asarray(255 * frames)).max() < 0.51


def test_the_rate_falls_to_the_target(tmp_path: Path) -> None:
    per_parameter = {}
    for target in (2.0, 12.0):
        folder = tmp_path / str(target)
        folder.mkdir()
        codec, _ = encode_clip(folder, target_bits=target, rate=1.0, finetune_lr=1.0)
        per_parameter[target] = codec.kept_scheme.estimate(codec.network) / count_parameters(codec.network)
    assert per_parameter[2.0] < per_parameter[12.0] - 1


def entered(target: float = 0.0) -> tuple[EntropyMinimization, HNeRVBoost, dict[str, Tensor]]:
    network, scheme = small(), EntropyMinimization(target)
    scheme.enter(network, Stage("finetune", 1, 1e-3, rate_weight=1.0, batch=2))
    return scheme, network, dict(network.named_parameters())


def test_the_rate_acts_on_everything_and_only_above_the_target() -> None:
    scheme, network, tensors = entered()
    rate = scheme.rate(tensors)
    assert rate is not None
    rate.backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in [*network.parameters(), *scheme.parameters()])
    high, _, others = entered(1e6)
    silent = high.rate(others)
    assert silent is not None
    assert float(silent.detach()) == 0
    assert float(rate.detach()) == pytest.approx(scheme.estimate(network), rel=0.05)
    before = EntropyMinimization()
    before.enter(network, Stage("fit", 1, 1e-3))
    assert (before.rate(tensors), dict(before.substitute(tensors)), list(before.parameters())) == (None, {}, [])


def test_the_gradient_of_a_batchs_embeddings_stands_for_all() -> None:
    scheme, _, tensors = entered()
    name, gradients = "embeddings", []
    for gain in (1.0, 2.0):
        scheme._gain = gain
        torch.manual_seed(3)
        rate = scheme.rate(tensors)
        assert rate is not None
        gradients.append(torch.autograd.grad(rate, tensors[name])[0])
    assert torch.allclose(2 * gradients[0], gradients[1], rtol=1e-4, atol=1e-4)
