"""FFNeRV: published numbers of parameters, warping, borders, and quantization-aware training."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from rdbench.codec import Workspace
from rdbench.codecs.ffnerv import FFNeRV, FFNeRVCodec, FFNeRVConfig, FFNeRVSettings
from rdbench.codecs.inr.codec import ClipHeader
from rdbench.codecs.inr.compression.tanh_quantization import TanhQuantization
from rdbench.codecs.inr.networks.layers.temporal_grids import TemporalGrid
from rdbench.codecs.inr.networks.layers.warping import aggregate, warp
from rdbench.codecs.inr.networks.network import Patches, count_macs, count_parameters, render
from rdbench.codecs.inr.recipes.losses import MIXES
from rdbench.codecs.inr.recipes.stage import Stage
from rdbench.codecs.inr.training.trainer import Trainer
from rdbench.errors import BitstreamError, UsageError

torch.set_num_threads(1)
P720, P1080 = (5, 2, 2, 2, 2), (5, 3, 2, 2, 2)
SMALL = FFNeRVConfig(3, 4, (2, 2, 2), 4, 16, 4, 7, 2)


def compact(channels: int) -> FFNeRVConfig:
    return FFNeRVConfig(9, 16, P1080, channels, 8 * channels, 24, 600, 2)


def plain(channels: int, lower: int) -> FFNeRVConfig:
    return FFNeRVConfig(9, 16, P1080, channels, channels, lower, 512, 4, compact=0)


@pytest.mark.parametrize(
    ("config", "parameters"),
    [
        (FFNeRVConfig(9, 16, P720, 156, 156, 96, 512, 4, compact=0), 12_408_509),
        (compact(48), 11_308_169),
        (compact(40), 8_290_665),
        (compact(32), 5_726_921),
        (compact(24), 3_616_937),
        (compact(16), 1_967_913),
        (plain(56, 32), 2_899_337),
        (plain(96, 32), 5_897_409),
        (plain(156, 32), 12_049_531),
        (plain(56, 48), 3_110_761),
        (plain(96, 48), 6_017_681),
    ],
)
def test_published_counts(config: FFNeRVConfig, parameters: int) -> None:
    with torch.device("meta"):
        network = FFNeRV(config, 600)
    assert count_parameters(network) == config.count() == parameters


@pytest.mark.parametrize(
    ("config", "grids"), [(replace(compact(48), flow=0), 3_110_400), (SMALL, 10 * 2 * 12), (plain(156, 96), 5_391_360)]
)
def test_parts(config: FFNeRVConfig, grids: int) -> None:
    with torch.device("meta"):
        network = FFNeRV(config, 600)
    assert count_parameters(network.grids) == grids
    assert count_parameters(network) == config.count()


def test_layers_of_the_official_models() -> None:
    with torch.device("meta"):
        network = FFNeRV(compact(48), 600)
    convs = [module for module in network.modules() if isinstance(module, torch.nn.Conv2d)]
    assert [(c.in_channels, c.out_channels, c.kernel_size[0], c.groups) for c in convs] == [
        (48, 9600, 3, 1),
        (384, 1728, 3, 8), (1728, 1728, 1, 1),
        (192, 384, 3, 8), (384, 384, 1, 1),
        (96, 192, 3, 8), (192, 192, 1, 1),
        (48, 96, 3, 8), (96, 96, 1, 1),
        (96, 12, 1, 1), (24, 5, 1, 1),
    ]  # fmt: skip


def test_the_cost_is_that_of_one_pass_a_frame() -> None:
    with torch.device("meta"):
        network = FFNeRV(compact(48), 600)
    # cells of 9x16 times the weights of each layer at its resolution
    by_hand = 9 * 48 * 9600 + 25 * (9 * 384 * 216 + 1728**2) + 225 * (9 * 192 * 48 + 384**2 + 96 * 12 * 4)
    by_hand += 900 * (9 * 96 * 24 + 192**2) + 3600 * (9 * 48 * 12 + 96**2) + 14400 * 24 * 5
    assert count_macs(network) == 144 * by_hand


@pytest.mark.parametrize("size", [2_000_000, 3_000_000, 12_000_000])
def test_sizes_keep_the_papers_shape(size: int) -> None:
    config = FFNeRVCodec(FFNeRVSettings())._solved(ClipHeader(1920, 1080, 600, 25, 1), size)
    assert isinstance(config, FFNeRVConfig)
    assert 0.7 < config.first / (8 * config.channels) < 1.4
    assert (config.first % 8, config.strides, config.finest, config.levels) == (0, P1080, 600, 2)


def test_a_size_that_cannot_hold_the_grids_is_refused_by_name() -> None:
    with pytest.raises(UsageError, match=r"ffnerv cannot hold 600 frames of 1920x1080 in 50000 parameters"):
        FFNeRVCodec(FFNeRVSettings()).build_for(ClipHeader(1920, 1080, 600, 25, 1), 50_000)


def test_grids_return_their_time_steps_and_interpolate_between_them() -> None:
    torch.manual_seed(0)
    full, half = TemporalGrid(6, 2, 1, 1, 6), TemporalGrid(3, 2, 1, 1, 6)
    assert torch.equal(full(torch.arange(6)), full.rows)
    between = half(torch.tensor([0, 1, 2, 3, 4, 5]))
    assert torch.equal(between[::2], half.rows)
    assert torch.allclose(between[1], (half.rows[0] + half.rows[1]) / 2)
    assert torch.equal(between[5], half.rows[2])  # no interpolation beyond the last time step


def test_warping_follows_the_flow() -> None:
    torch.manual_seed(0)
    frames = torch.rand(1, 3, 9, 12)
    still = torch.zeros(1, 2, 9, 12)
    assert torch.allclose(warp(frames, still), frames, atol=1e-5)
    moved = warp(frames, torch.stack([torch.full((9, 12), 2.0), torch.full((9, 12), -1.0)])[None])
    assert torch.allclose(moved[..., 1:, :10], frames[..., :8, 2:], atol=1e-5)
    assert torch.allclose(moved[..., 0, :10], frames[..., 0, 2:], atol=1e-5)  # the border is repeated
    half = warp(frames, torch.stack([torch.full((9, 12), 0.5), torch.zeros(9, 12)])[None])
    assert torch.allclose(half[..., :11], (frames[..., :11] + frames[..., 1:]) / 2, atol=1e-5)


def test_flows_are_in_pixels_of_their_resolution_and_weights_add_up_to_one() -> None:
    references = torch.stack([torch.zeros(3, 8, 8), torch.ones(3, 8, 8)])[None]
    motion = torch.zeros(1, 6, 2, 2)
    assert torch.allclose(aggregate(references, motion, 4), torch.full((1, 3, 8, 8), 0.5))
    motion[:, 5] = 50.0
    assert torch.allclose(aggregate(references, motion, 4), torch.ones(1, 3, 8, 8))
    ramp = torch.arange(8.0).expand(1, 1, 3, 8, 8)
    moved = aggregate(ramp, torch.tensor([0.5, 0.0, 0.0]).view(1, 3, 1, 1).expand(1, 3, 2, 2), 4)
    assert torch.allclose(moved[..., :6], ramp[0, ..., :6] + 2, atol=1e-5)


def network(frames: int = 6) -> FFNeRV:
    torch.manual_seed(0)
    model = FFNeRV(SMALL, frames)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)
    return model.eval()


def frames_of(model: FFNeRV, *indices: int) -> Tensor:
    with torch.no_grad():
        return model(Patches.of_frames(torch.tensor(indices), (1, 1)))


def test_any_batch_and_any_order_give_the_same_frames() -> None:
    whole = frames_of(network(), *range(6))
    for batches in ([(0,), (1,), (2,), (3,), (4,), (5,)], [(0, 1, 2, 3), (4, 5)], [(3,), (0,)], [(5, 0, 2)]):
        model = network()
        for batch in batches:
            assert torch.allclose(frames_of(model, *batch), whole[list(batch)], atol=1e-3)  # a step of float16


def test_each_frame_is_rendered_once_in_order() -> None:
    model, rendered = network(), []
    inner = model.independent_frames
    model.independent_frames = lambda frames: (rendered.extend(frames.tolist()), inner(frames))[1]  # type: ignore[method-assign]
    for start in range(0, 6, 2):
        frames_of(model, start, start + 1)
    assert rendered == [0, 1, 2, 3, 4, 5]


def test_frames_beyond_the_clip_are_black() -> None:
    model = network()
    image, motion = model.independent_frames(torch.tensor([0]))
    with torch.no_grad():
        independent = model.independent_frames(torch.tensor([1, 2]))[0][:, :3].half().float()
        black = torch.zeros_like(independent)
        by_hand, _ = model.blend(image, motion, torch.cat([black, independent])[None])
    assert torch.allclose(frames_of(model, 0), by_hand, atol=1e-5)
    alone = network(1)
    image, motion = alone.independent_frames(torch.tensor([0]))
    with torch.no_grad():
        assert torch.allclose(frames_of(alone, 0), image[:, 3:4].sub(image[:, 4:]).sigmoid() * image[:, :3], atol=1e-5)


def test_training_compares_three_frames_and_takes_references_from_the_frame_buffer() -> None:
    model = network().train()
    with torch.no_grad():
        outputs = model.training_outputs(Patches.of_frames(torch.tensor([2]), (1, 1)))
    assert [weight for weight, _ in outputs] == [1.0, 0.1, 0.1]
    assert torch.allclose(outputs[0][1], frames_of(model.eval(), 2), atol=0.5 / 255)  # references of 8 bits
    assert model.get_extra_state().nbytes == model.buffer_bytes()  # what the expected memory counts
    other = network()
    other.load_state_dict(model.state_dict())
    assert torch.equal(other.get_extra_state(), model.get_extra_state())
    with torch.no_grad():
        model.head.bias[0] += 1
    stale = model.training_outputs(Patches.of_frames(torch.tensor([2]), (1, 1)))[2][1]
    assert torch.allclose(stale, outputs[2][1], atol=1e-5)  # the references in the buffer are older than the weights


@pytest.mark.parametrize("bits", [3, 8])
def test_the_decoded_weights_are_the_trained_ones(bits: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    clip = torch.randint(0, 255, (4, 3, 24, 32), dtype=torch.uint8)
    model, scheme = FFNeRV(SMALL, 4), TanhQuantization(bits)
    Trainer(model, scheme, clip, Workspace(tmp_path), [Stage("fit", 2, 1e-2, loss=MIXES["l2"])]).run()
    quantized = scheme.substitute(dict(model.named_parameters()))
    top = 2 ** (bits - 1) - 1
    for name, value in quantized.items():
        steps = np.asarray(value.detach()) * top
        assert np.abs(steps - np.rint(steps)).max() < 1e-4
        assert np.abs(steps).max() <= top
        assert (np.abs(steps) <= np.abs(np.tanh(np.asarray(model.get_parameter(name).detach()))) * top + 1e-4).all()
    sections = scheme.write(model)
    with torch.device("meta"):
        decoded = FFNeRV(SMALL, 4)
    TanhQuantization.from_numbers(scheme.numbers()).read(decoded, sections)
    for name, value in quantized.items():
        assert torch.allclose(decoded.get_parameter(name), value, atol=1e-6)
    with torch.no_grad():
        frames = render(decoded.eval(), torch.arange(4), (1, 1), 24, 32)
    assert frames.shape == (4, 3, 24, 32)


def test_gradients_pass_the_rounding_but_not_the_tanh() -> None:
    p = torch.tensor([0.0, 1.0, -2.0], requires_grad=True)
    TanhQuantization(8).substitute({"p": p})["p"].sum().backward()
    assert p.grad is not None
    assert torch.allclose(p.grad, 1 - p.detach().tanh() ** 2)


@pytest.mark.parametrize("numbers", [[9, 0], [12, 0], [1, 0], [8, 2], [8], [8, 0, 0]])
def test_choices_that_no_encoder_writes_are_refused(numbers: list[int]) -> None:
    with pytest.raises(BitstreamError):
        TanhQuantization.from_numbers(numbers)
