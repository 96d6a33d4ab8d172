"""DNeRV: published numbers of parameters, embeddings by frame size, and the inputs of the encoders."""

import pytest
import torch
from torch import Tensor

from rdbench.codecs.dnerv import DifferenceEncoder, DNeRV, DNeRVCodec, DNeRVConfig, DNeRVSettings, Fusion
from rdbench.codecs.inr.codec import ClipHeader
from rdbench.codecs.inr.networks.network import Patches, count_parameters
from rdbench.errors import BitstreamError

torch.set_num_threads(1)
STRIDES = (5, 4, 4, 3, 2)
NEVER_APPLIED = 1_536
"""Parameters of the official encoders that their forward passes do not use."""


def network(channels: int, frames: int = 132) -> DNeRV:
    with torch.device("meta"):
        return DNeRV(DNeRVConfig(2, 4, STRIDES, channels, channels), frames)


@pytest.mark.parametrize(("channels", "decoder"), [(92, 3_405_368), (86, 2_995_514), (62, 1_534_648), (121, 5_948_000)])
def test_published_counts(channels: int, decoder: int) -> None:
    ours = network(channels)
    embeddings = ours.embeddings.numel() + ours.differences.numel()
    assert embeddings == 132 * (128 + 6_400) == 861_696
    assert count_parameters(ours) == decoder + embeddings


def test_parts_of_the_released_model() -> None:
    ours = network(92)
    assert ours.config.widths() == [92, 76, 63, 52, 43, 35]
    assert count_parameters(ours.blocks) == 2_832_539
    assert count_parameters(ours.lift[1]) == 472_576
    assert count_parameters(ours.fusion) == 4 * 24_388
    assert (count_parameters(ours.head), count_parameters(ours.stem), count_parameters(ours.lift[0])) == (
        948,
        1_564,
        189,
    )
    with torch.device("meta"):
        encoder = DifferenceEncoder(ours)
    assert count_parameters(encoder) == 543_058 - NEVER_APPLIED
    assert count_parameters(encoder.content[-1]) == 1_040
    assert count_parameters(encoder.motion[-1]) == 130
    assert count_parameters(ours) - 861_696 + count_parameters(encoder) == 3_948_426 - NEVER_APPLIED


@pytest.mark.parametrize(
    ("width", "height", "grid", "embedding"),
    [(1920, 960, (40, 80), (2, 4)), (1920, 1080, (45, 80), (9, 16)), (1280, 720, (45, 80), (9, 16))],
)
def test_embeddings_by_frame_size(width: int, height: int, grid: tuple[int, int], embedding: tuple[int, int]) -> None:
    config = DNeRVCodec(DNeRVSettings()).scaled(ClipHeader(width, height, 10, 25, 1), 1.0)
    assert isinstance(config, DNeRVConfig)
    assert (config.difference_size, config.difference) == (grid, 2)
    assert (config.rows, config.columns, config.embedding) == (*embedding, 16)


def test_embeddings_leave_half_of_a_size_to_the_decoder() -> None:
    codec = DNeRVCodec(DNeRVSettings())
    for size in (20_000, 50_000, 400_000, 3_000_000):
        with torch.device("meta"):
            ours, _ = codec.build_for(ClipHeader(320, 180, 32, 25, 1), size)
        latents = sum(ours.get_parameter(name).numel() for name in ours.latents)
        assert latents <= 0.5 * size
        assert count_parameters(ours) == pytest.approx(size, rel=0.02)


def test_differences_are_to_both_neighbors_and_zero_beyond_the_ends() -> None:
    torch.manual_seed(0)
    clip = torch.rand(4, 3, 32, 64)
    ours = DNeRV(DNeRVConfig(2, 4, (2, 2, 2, 2), 6, 6), 4)
    encoder = DifferenceEncoder(ours)
    inputs_of_motion: list[Tensor] = []
    encoder.motion.register_forward_pre_hook(lambda _, inputs: inputs_of_motion.append(inputs[0]))
    embeddings = encoder(lambda frames: clip[frames], torch.tensor([0, 2, 3]))
    assert {name: rows.shape for name, rows in embeddings.items()} == {
        "embeddings": (3, 16, 2, 4), "differences": (3, 2, 8, 16)
    }  # fmt: skip
    (differences,) = inputs_of_motion
    assert torch.equal(differences[1, 0::2], clip[2] - clip[1])
    assert torch.equal(differences[1, 1::2], clip[3] - clip[2])
    assert (differences[0, 0::2] == 0).all()
    assert (differences[2, 1::2] == 0).all()


def test_frames_follow_both_embeddings() -> None:
    torch.manual_seed(0)
    ours = DNeRV(DNeRVConfig(2, 4, (2, 2, 2, 2), 6, 6), 2)
    with torch.no_grad():
        plain = ours(Patches.of_frames(torch.tensor([0, 1]), (1, 1)))
        assert torch.allclose(plain[0], plain[1])
        ours.differences[1] += 1
        moved = ours(Patches.of_frames(torch.tensor([0, 1]), (1, 1)))
    assert torch.allclose(moved[0], plain[0])
    assert not torch.allclose(moved[1], plain[1])


def test_the_gate_chooses_between_content_and_mix() -> None:
    torch.manual_seed(0)
    fusion, content, difference = Fusion(3), torch.randn(1, 3, 4, 4), torch.randn(1, 3, 4, 4)
    with torch.no_grad():
        fusion.convs[2].bias.fill_(-100.0)
        assert torch.allclose(fusion(content, difference), content)
        fusion.convs[2].bias.fill_(100.0)
        mixed = torch.tanh(fusion.convs[0](content) + fusion.convs[1](difference))
        assert torch.allclose(fusion(content, difference), mixed, atol=1e-6)


def test_without_differences_it_is_a_hybrid_of_content_alone() -> None:
    codec = DNeRVCodec(DNeRVSettings(difference=0))
    ours, config = codec.build_for(ClipHeader(64, 32, 3, 25, 1), 20_000)
    assert ours.latents == {"embeddings"}
    assert DNeRVConfig.from_numbers(config.numbers()) == config


def test_a_fusion_beyond_the_last_stage_is_refused() -> None:
    config = DNeRVConfig(2, 4, (2, 2), 6, 6, fuse=3)
    with pytest.raises(BitstreamError):
        DNeRVCodec.rebuild(ClipHeader(16, 8, 2, 25, 1), config.numbers())


def test_the_encoders_begin_as_the_released_ones_with_the_initial_weights_of_torch() -> None:
    torch.manual_seed(0)
    encoder = DifferenceEncoder(DNeRV(DNeRVConfig(2, 4, (2, 2, 2, 2), 6, 6), 2))
    wide = [layer for layer in encoder.modules() if isinstance(layer, torch.nn.Conv2d) and layer.weight.numel() > 4_000]
    assert len(wide) >= 8
    for layer in wide:  # uniform within 1 / sqrt(fan-in), whose deviation is that bound over sqrt(3)
        bound = layer.weight[0].numel() ** -0.5
        assert float(layer.weight.detach().std()) == pytest.approx(bound / 3**0.5, rel=0.05)
        assert layer.bias is not None
        assert 0 < float(layer.bias.detach().abs().max()) <= bound
