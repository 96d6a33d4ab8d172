"""MS-SSIM against pytorch-msssim in float64, on easy and on hard frames; squared errors against Python's integers."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from pytorch_msssim import ms_ssim as torch_ms_ssim

from rdbench.measure.ms_ssim import ms_ssim, squared_error
from rdbench.video import Plane

torch.set_num_threads(1)
SMALL = (176, 200)
Make = Callable[[tuple[int, int], int], tuple[np.ndarray, np.ndarray]]


def expected(x: Plane, y: Plane, peak: int) -> float:
    planes = (torch.from_numpy(plane.astype(np.float64))[None, None] for plane in (x, y))
    return float(torch_ms_ssim(*planes, data_range=peak))


def noise(shape: tuple[int, int], peak: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    return random.integers(0, peak + 1, shape), random.integers(0, peak + 1, shape)


def slight_noise(shape: tuple[int, int], peak: int) -> tuple[np.ndarray, np.ndarray]:
    x, _ = noise(shape, peak)
    return x, np.clip(x + np.random.default_rng(1).integers(-3, 4, shape), 0, peak)


def saturated(shape: tuple[int, int], peak: int) -> tuple[np.ndarray, np.ndarray]:
    x, y = noise(shape, peak)
    return np.clip(4 * x - peak, 0, peak), np.clip(4 * y - peak, 0, peak)


def black_and_white(shape: tuple[int, int], peak: int) -> tuple[np.ndarray, np.ndarray]:
    return np.zeros(shape, int), np.full(shape, peak)


def tiny_differences_on_white(shape: tuple[int, int], peak: int) -> tuple[np.ndarray, np.ndarray]:
    x = np.full(shape, peak)
    return x, x - (np.random.default_rng(0).random(shape) < 0.01)


def flat_with_noise(shape: tuple[int, int], peak: int) -> tuple[np.ndarray, np.ndarray]:
    return np.full(shape, peak // 2), noise(shape, peak)[0]


def halves(shape: tuple[int, int], peak: int) -> tuple[np.ndarray, np.ndarray]:
    x = np.zeros(shape, int)
    x[:, shape[1] // 2 :] = peak
    return x, peak - x


def shifted_lines(shape: tuple[int, int], peak: int) -> tuple[np.ndarray, np.ndarray]:
    x = np.zeros(shape, int)
    x[::17] = x[:, ::13] = peak
    return x, np.roll(x, 1, axis=(0, 1))


def checkerboard(size: int) -> Make:
    def make(shape: tuple[int, int], peak: int) -> tuple[np.ndarray, np.ndarray]:
        rows, columns = (np.arange(side) // size % 2 for side in shape)
        x = peak * (rows[:, None] ^ columns[None])
        return x, np.roll(x, 1, axis=1)

    return make


def identical(shape: tuple[int, int], peak: int) -> tuple[np.ndarray, np.ndarray]:
    return noise(shape, peak)[0], noise(shape, peak)[0]


CASES: dict[str, Make] = {
    "noise": noise, "slight noise": slight_noise, "saturated": saturated, "black and white": black_and_white,
    "tiny differences on white": tiny_differences_on_white, "flat with noise": flat_with_noise, "halves": halves,
    "shifted lines": shifted_lines, "identical": identical,
    **{f"checkerboard of {size}": checkerboard(size) for size in (1, 2, 3, 8, 16)},
}  # fmt: skip


@pytest.mark.parametrize("peak", [255, 1023, 65535])
@pytest.mark.parametrize("name", CASES)
def test_ms_ssim_is_that_of_pytorch_msssim(name: str, peak: int) -> None:
    """The issue asks for 1e-6; float64 gives far more."""
    x, y = (plane.astype(np.uint8 if peak == 255 else "<u2") for plane in CASES[name](SMALL, peak))
    assert ms_ssim(x, y, peak) == pytest.approx(expected(x, y, peak), abs=1e-11)


@pytest.mark.parametrize("shape", [(161, 161), (162, 161), (161, 333), (171, 170), (280, 307), (191, 1001)])
def test_every_size_of_blocks_and_odd_sides(shape: tuple[int, int]) -> None:
    x, y = (plane.astype(np.uint8) for plane in slight_noise(shape, 255))
    assert ms_ssim(x, y, 255) == pytest.approx(expected(x, y, 255), abs=1e-11)


@pytest.mark.slow
def test_a_full_frame_of_an_odd_size() -> None:
    x, y = (plane.astype(np.uint8) for plane in slight_noise((1079, 1919), 255))
    assert ms_ssim(x, y, 255) == pytest.approx(expected(x, y, 255), abs=1e-11)


def test_identical_frames_have_1() -> None:
    x = noise(SMALL, 255)[0].astype(np.uint8)
    assert ms_ssim(x, x, 255) == 1


def test_planes_need_not_be_contiguous() -> None:
    x, y = (plane.astype(np.uint8) for plane in slight_noise((2 * SMALL[0], 2 * SMALL[1]), 255))
    assert ms_ssim(x[::2, ::2], y[::2, ::2], 255) == ms_ssim(x[::2, ::2].copy(), y[::2, ::2].copy(), 255)


@pytest.mark.parametrize("peak", [255, 1023, 65535])
@pytest.mark.parametrize("shape", [(1, 1), (1, 300_000), (601, 997)])
def test_squared_errors_are_exact(peak: int, shape: tuple[int, int]) -> None:
    kind = np.uint8 if peak == 255 else np.dtype("<u2")
    for x, y in (noise(shape, peak), black_and_white(shape, peak)):
        exact = sum(
            int(count) * int(value) ** 2 for value, count in zip(*np.unique(x - y, return_counts=True), strict=True)
        )
        assert squared_error(x.astype(kind), y.astype(kind)) == exact
