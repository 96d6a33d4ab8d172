"""C3's latents along wavefronts: the order, exactness, and bits that agree with the estimate."""

from itertools import product

import numpy as np
import pytest
import torch

from rdbench.codecs.inr.c3.coding import (
    ACTIVATION_BITS,
    FixedPointNetwork,
    Wavefront,
    decode_latents,
    encode_latents,
    fixed_gelu,
    gelu_values,
    shape_of,
)
from rdbench.codecs.inr.c3.context import VARIANTS, ContextNetwork, best_box, start_boxes
from rdbench.codecs.inr.c3.latents import Q_STEP
from rdbench.codecs.inr.c3.model import PatchDesign, PatchModel
from rdbench.codecs.inr.c3.rate import SHIFT, latent_bits, scale_of
from rdbench.errors import BitstreamError, RdbenchError


def model_of(letter: str, volume: tuple[int, int, int] = (5, 30, 34)) -> PatchModel:
    """A model with random parameters, whose scales are about a latent's step."""
    torch.manual_seed(3)
    variant = VARIANTS[letter]
    boxes = ((-9, 5), (3, -2), (-1, -1), None, None, None) if letter == "c" else start_boxes(variant, variant.window)
    model = PatchModel(PatchDesign(volume, variant, True, tuple(boxes), variant.window))
    with torch.no_grad():
        for i, grid in enumerate(model.latents):
            grid.copy_(torch.randn(grid.shape) * Q_STEP / 2**i)
        for network in model.contexts:
            for parameter in network.parameters():
                parameter.add_(0.1 * torch.randn(parameter.shape))
            network.biases[-1][1] = -6.0
    return model


@pytest.mark.parametrize("letter", ["a", "b", "c"])
def test_latents_come_back_and_take_the_bits_of_the_estimate(letter) -> None:
    model = model_of(letter)
    with torch.no_grad():
        grids = model.integers(torch.round)
        estimate = float(model.bits([grid * Q_STEP for grid in grids])) / 8
    networks = [model.context(i) for i in range(len(grids))]
    data = encode_latents(grids, networks)
    decoded = decode_latents(data, [shape_of(grid) for grid in grids], networks)
    assert all(torch.equal(a, b.double()) for a, b in zip(decoded, grids, strict=True))
    assert len(data) == pytest.approx(estimate, rel=3e-3, abs=5)


@pytest.mark.parametrize("letter", ["a", "b", "c"])
def test_the_fixed_point_network_is_the_network(letter) -> None:
    network = model_of(letter).context(0)
    grid = torch.randint(-20, 21, (3, 80, 80)).float()
    exact = FixedPointNetwork(network)
    time, row, column = 2, 40, 40
    context = torch.tensor([[float(grid[time + t, row + y, column + x]) for t, y, x in network.taps]])
    with torch.no_grad():
        location, number = exact(context.double())[:, 0]
        expected = network(grid * Q_STEP)[time, :, row, column]
    assert [location, number] == pytest.approx(expected.tolist(), abs=2e-3)


@pytest.mark.parametrize("letter", ["a", "b", "c"])
def test_along_a_wavefront_every_context_comes_before(letter) -> None:
    taps = model_of(letter).context(0).taps
    shape = (3, 15, 14)
    steps = Wavefront.of(taps).steps(shape).reshape(shape)
    for place in product(*map(range, shape)):
        for tap in taps:
            other = tuple(a + b for a, b in zip(place, tap, strict=True))
            if all(0 <= at < side for at, side in zip(other, shape, strict=True)):
                assert steps[other] < steps[place]


def test_a_patch_of_the_paper_has_about_two_thousand_steps() -> None:
    taps = ContextNetwork(VARIANTS["a"], (-4, -4), 9).taps
    assert Wavefront.of(taps) == Wavefront(5, 25)
    assert int(Wavefront.of(taps).steps((30, 180, 240)).max()) + 1 == 1860


def test_gelu_in_fixed_point() -> None:
    x = torch.linspace(-9, 9, 1001).double()
    unit = 2.0**ACTIVATION_BITS
    ours = fixed_gelu((x * unit).round(), gelu_values()) / unit
    assert torch.allclose(ours, torch.nn.functional.gelu(x, approximate="tanh"), atol=1.5 / unit)


def test_large_latents_and_cut_streams() -> None:
    network = model_of("b").context(0)
    grid = torch.zeros(2, 6, 6)
    grid[0, 2, 3], grid[1, 5, 5], grid[0, 0, 0] = 30000, -30000, 900
    data = encode_latents([grid], [network])
    assert torch.equal(decode_latents(data, [(2, 6, 6)], [network])[0], grid.double())
    with pytest.raises(BitstreamError):
        decode_latents(data[:-4], [(2, 6, 6)], [network])
    grid[0, 0, 0] = 40000
    with pytest.raises(RdbenchError, match="beyond all bounds"):
        encode_latents([grid], [network])


def test_no_grids_take_no_bytes() -> None:
    assert encode_latents([], []) == b""
    assert decode_latents(b"", [], []) == []


def test_the_box_of_the_largest_weights_is_found() -> None:
    torch.manual_seed(0)
    network = ContextNetwork(VARIANTS["c"], (-8, -8), 17)
    assert network.before is not None
    with torch.no_grad():
        network.before.view(-1, 17, 17)[:, 3:7, 10:14] += 1.0
    assert best_box(network, 4) == (-5, 2)


def test_a_larger_number_is_a_smaller_scale_within_bounds() -> None:
    outputs = torch.tensor([-100.0, -SHIFT, 0.0, 100.0])
    assert scale_of(outputs).tolist() == pytest.approx([150.0, 1.0, float(np.exp(-4)), 1e-3], rel=1e-5)


def test_latents_that_nobody_expects_take_about_the_estimates_most_bits() -> None:
    network = model_of("b").context(0)
    with torch.no_grad():
        network.weights[-1].zero_()
        network.biases[-1].copy_(torch.tensor([0.0, 4.0]))  # a scale of 0.008 steps
    torch.manual_seed(0)
    grid = torch.zeros(4, 60, 60)
    grid[torch.rand(grid.shape) < 0.01] = 2.0
    with torch.no_grad():
        estimate = float(latent_bits(grid * Q_STEP, network(grid * Q_STEP)).sum())
    assert estimate == pytest.approx(16 * int((grid != 0).sum()), rel=0.01)
    assert 8 * len(encode_latents([grid], [network])) == pytest.approx(estimate, rel=0.15)
