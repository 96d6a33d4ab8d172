"""C3's model against the released code: counts, and frames and bits from parameters that a formula gives."""

import pytest
import torch

from rdbench.codecs.inr.c3.context import VARIANTS, Box, start_boxes
from rdbench.codecs.inr.c3.latents import kumaraswamy, noisy, soft_round, soft_round_mean, straight_through, upsample
from rdbench.codecs.inr.c3.model import PatchDesign, PatchModel
from rdbench.codecs.inr.c3.rate import laplace_bits

BOXES: dict[str, tuple[Box | None, ...]] = {"c": ((-2, 1), (-1, -1), (1, -4), None, None, None)}
"""Places of variant c's windows: 30, 33; 31, 31 and 33, 28 in the released code, which counts from the corner."""


def design(letter: str, per_frame: bool, volume: tuple[int, int, int] = (7, 37, 45)) -> PatchDesign:
    variant = VARIANTS[letter]
    boxes = BOXES.get(letter, tuple(start_boxes(variant, variant.window)))
    return PatchDesign(volume, variant, per_frame, boxes, variant.window)


@torch.no_grad()
def formula(model: PatchModel) -> PatchModel:
    """The model with parameters that anybody can compute."""
    for number, (name, parameter) in enumerate(sorted(model.named_parameters())):
        n = torch.arange(parameter.numel(), dtype=torch.float64)
        wave = torch.sin(n * 0.7310585 + number) * torch.cos(n * n * 0.0123 + 0.3 * number)
        if name.startswith("latents"):
            size = 0.9 / 2 ** int(name.split(".")[1])
        else:
            size = 0.2 if "bias" in name else 1.2 / parameter[0].numel() ** 0.5
        parameter.copy_((wave * size).view(parameter.shape))
    model.synthesis.residual_biases[-1].add_(0.4)
    for network in model.contexts:
        network.biases[-1][1] -= 8.5  # scales of about a latent's step
    return model


@pytest.mark.parametrize(
    ("letter", "per_frame", "bits", "mean", "samples"),
    [
        ("a", True, 48666.332, 0.344571305, (0.335795, 0.355949, 0.383533, 0.252125)),
        ("a", False, 48666.332, 0.383900859, (0.288984, 0.302212, 0.449643, 0.355907)),
        ("b", True, 48611.691, 0.478355498, (0.354058, 0.588699, 0.492356, 0.302508)),
        ("b", False, 48611.691, 0.465145045, (0.406573, 0.400051, 0.564907, 0.416431)),
        ("c", True, 48382.414, 0.224305741, (0.153702, 0.237568, 0.287415, 0.159777)),
        ("c", False, 48382.414, 0.264500474, (0.277272, 0.184828, 0.357301, 0.250458)),
    ],
)
def test_frames_and_bits_equal_those_of_the_released_code(letter, per_frame, bits, mean, samples) -> None:
    # google-deepmind/c3_neural_compression e63e751 on jax (CPU), with the same parameters
    with torch.no_grad():
        frames, ours = formula(PatchModel(design(letter, per_frame)))(torch.round)
    assert float(ours) == pytest.approx(bits, rel=1e-5)
    assert float(frames.double().mean()) == pytest.approx(mean, abs=1e-6)
    places = ((0, 0, 0, 0), (3, 1, 18, 20), (6, 2, 36, 44), (2, 0, 30, 7))
    assert [float(frames[place]) for place in places] == pytest.approx(samples, abs=2e-6)


@pytest.mark.parametrize(
    ("letter", "per_frame", "entropy", "synthesis", "macs"),
    [
        ("a", True, 2258, 1547, (2540, 1474, 80)),
        ("a", False, 2258, 1871, (2540, 1798, 80)),
        ("b", True, 1280, 1515, (284, 1442, 64)),
        ("b", False, 1280, 1839, (284, 1766, 64)),
        ("c", True, 2148, 1547, (456, 1474, 80)),
        ("c", False, 2148, 1871, (456, 1798, 80)),
    ],
)
def test_counts_are_those_of_the_released_code(letter, per_frame, entropy, synthesis, macs) -> None:
    with torch.device("meta"):
        model = PatchModel(design(letter, per_frame, (60, 180, 240)))
    assert sum(p.numel() for p in model.contexts.parameters()) == entropy
    assert sum(p.numel() for p in model.synthesis.parameters()) == synthesis
    assert model.macs_per_pixel == macs


@pytest.mark.parametrize(
    ("volume", "letter", "latents"),
    [
        ((75, 270, 320), "a", 7_419_730),
        ((60, 180, 240), "a", 2_962_836),
        ((30, 180, 240), "c", 1_482_768),
        ((75, 270, 320), "b", 7_419_460),
        ((30, 180, 240), "b", 1_482_720),
    ],
)
def test_latents_of_the_papers_patches(volume, letter, latents) -> None:
    with torch.device("meta"):
        assert sum(grid.numel() for grid in PatchModel(design(letter, True, volume)).latents) == latents


@pytest.mark.parametrize("letter", ["a", "b", "c"])
def test_a_latents_distribution_depends_on_nothing_decoded_after_it(letter) -> None:
    model = formula(PatchModel(design(letter, True, (3, 12, 14))))
    network = model.context(0)
    grid = torch.randn(3, 12, 14)
    at = (1, 6, 7)
    changed = grid.clone()
    changed[1, 6, 7:] += 1.0
    changed[1, 7:] += 1.0
    changed[2] += 1.0
    with torch.no_grad():
        assert torch.equal(network(grid)[at[0], :, at[1], at[2]], network(changed)[at[0], :, at[1], at[2]])
        before = grid.clone()
        for time, row, column in network.taps:
            before[at[0] + time, at[1] + row, at[2] + column] += 1.0
        assert not torch.equal(network(grid)[at[0], :, at[1], at[2]], network(before)[at[0], :, at[1], at[2]])


def test_laplace_probabilities_add_up_to_one() -> None:
    x = torch.arange(-400, 401, dtype=torch.float64)
    for location, scale in ((0.0, 0.2), (0.37, 1.5), (-2.5, 20.0)):
        bits = laplace_bits(x, torch.tensor(location).double(), torch.tensor(scale).double())
        assert float((2.0**-bits).sum()) == pytest.approx(1.0, abs=1e-6)


def test_soft_rounding_and_its_mean() -> None:
    x = torch.linspace(-2.45, 2.45, 50)
    assert torch.allclose(soft_round(x, 1e-3), x.round(), atol=1e-5)
    assert torch.allclose(soft_round(x, 1e4), x, atol=1e-3)
    # with no noise the mean inverts the rounding, shifted by half a unit twice
    assert torch.allclose(soft_round_mean(soft_round(x, 0.3) + 0.5, 0.3) - 0.5, x, atol=1e-4)


def test_kumaraswamys_mode_is_in_the_middle() -> None:
    uniform = torch.linspace(0.0005, 0.9995, 1000)
    assert torch.allclose(kumaraswamy(uniform, 1.0), uniform, atol=1e-6)
    peaked = kumaraswamy(uniform, 1.75)
    assert peaked.std() < uniform.std()
    counts = torch.histc(peaked, 11, 0, 1)
    assert int(counts.argmax()) == 5


def test_straight_through_rounds_forward_and_has_a_gradient() -> None:
    x = torch.tensor([0.2, 0.4999, 1.7], requires_grad=True)
    y = straight_through(0.1)(x)
    assert torch.equal(y.detach(), x.detach().round())
    y.sum().backward()
    assert x.grad is not None
    assert x.grad[1] > x.grad[0] > 0


def test_noise_is_around_the_value() -> None:
    torch.manual_seed(0)
    x = torch.full((20000,), 2.0)
    assert float(noisy(0.3, 1.75)(x).mean()) == pytest.approx(2.0, abs=0.02)


@pytest.mark.parametrize(("side", "wanted"), [((3, 5, 7), (6, 9, 14)), ((2, 4, 4), (2, 8, 8)), ((1, 1, 1), (4, 3, 2))])
def test_grids_are_upsampled_as_torch_does(side, wanted) -> None:
    torch.manual_seed(0)
    grid = torch.randn(side)
    expected = torch.nn.functional.interpolate(grid[None, None], wanted, mode="trilinear")[0, 0]
    assert torch.allclose(upsample([grid], wanted)[:, 0], expected, atol=1e-6)
