"""PSNR against ffmpeg's own filter, MS-SSIM against a second implementation."""

import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import make_y4m
from scipy.ndimage import correlate1d

from rdbench.errors import MediaError
from rdbench.measure.metrics import compare, psnr, summarize, write_frames_csv
from rdbench.video import Frames, VideoFormat
from rdbench.video.conditions import find_conditions
from rdbench.video.ffmpeg import find_ffmpeg
from rdbench.video.readers import Cut, MemoryVideo, open_video


def noisy(fmt: VideoFormat, count: int, seed: int) -> MemoryVideo:
    rng = np.random.default_rng(seed)
    smooth = [np.add.outer(np.linspace(30, 180, h), np.linspace(0, 40, w)) for h, w in fmt.plane_shapes]
    unit = fmt.peak / 255
    planes = (np.clip((s + rng.normal(0, 6, (count, *s.shape))) * unit, 0, fmt.peak).astype(fmt.dtype) for s in smooth)
    return MemoryVideo(fmt, Frames(tuple(planes)))


@pytest.mark.parametrize("depth", [8, 10])
def test_psnr_agrees_with_ffmpeg(tmp_path: Path, depth: int) -> None:
    fmt = VideoFormat(65, 47, "420", depth)
    a, b = noisy(fmt, 3, 0), noisy(fmt, 3, 1)
    from rdbench.video.readers import write_y4m

    write_y4m(tmp_path / "a.y4m", a)
    write_y4m(tmp_path / "b.y4m", b)
    done = subprocess.run(
        [find_ffmpeg(), "-v", "error", "-i", "b.y4m", "-i", "a.y4m",
         "-lavfi", "psnr=stats_file=s.txt", "-f", "null", "-"],
        cwd=tmp_path, check=False, capture_output=True,
    )  # fmt: skip
    assert done.returncode == 0
    ours = compare(a, b, find_conditions("yuv420"), ("psnr",))
    for line, score in zip((tmp_path / "s.txt").read_text().splitlines(), ours, strict=True):
        theirs = [float(re.search(rf"mse_{p}:([\d.]+)", line)[1]) for p in "yuv"]  # type: ignore[index]
        counts = [math.prod(s) for s in fmt.plane_shapes]
        for value, mse, count in zip((score.psnr_y, score.psnr_u, score.psnr_v), theirs, counts, strict=True):
            assert value is not None
            assert value == pytest.approx(psnr(mse * count, count, fmt.peak), abs=2e-3)
        assert score.psnr_yuv == pytest.approx((6 * score.psnr_y + score.psnr_u + score.psnr_v) / 8)


def reference_ms_ssim(x: np.ndarray, y: np.ndarray, peak: float) -> float:
    window = np.exp(-((np.arange(11) - 5) ** 2) / (2 * 1.5**2))
    window /= window.sum()
    x, y, result = x.astype(float), y.astype(float), 1.0
    c1, c2 = (0.01 * peak) ** 2, (0.03 * peak) ** 2

    def blur(z: np.ndarray) -> np.ndarray:
        return correlate1d(correlate1d(z, window, axis=0), window, axis=1)[5:-5, 5:-5]

    for level, weight in enumerate((0.0448, 0.2856, 0.3001, 0.2363, 0.1333)):
        mx, my = blur(x), blur(y)
        vx, vy, cov = blur(x * x) - mx**2, blur(y * y) - my**2, blur(x * y) - mx * my
        structure = (2 * cov + c2) / (vx + vy + c2)
        value = (structure * (2 * mx * my + c1) / (mx**2 + my**2 + c1) if level == 4 else structure).mean()
        result *= max(value, 0) ** weight
        if level == 4:
            break
        x, y = ((z[0::2, 0::2] + z[1::2, 0::2] + z[0::2, 1::2] + z[1::2, 1::2]) / 4 for z in (x, y))
    return result


def test_ms_ssim_agrees_with_a_second_implementation() -> None:
    fmt = VideoFormat(192, 176)
    a, b = noisy(fmt, 1, 0), noisy(fmt, 1, 1)
    (score,) = compare(a, b, find_conditions("yuv420"))
    (x,), (y,) = a.batches(), b.batches()
    assert score.ms_ssim == pytest.approx(reference_ms_ssim(x.planes[0][0], y.planes[0][0], 255), abs=1e-5)


def test_ms_ssim_under_yuv420_is_lumas_with_the_peak_of_the_depth() -> None:
    fmt = VideoFormat(192, 176, bit_depth=10)
    a, b = noisy(fmt, 1, 0), noisy(fmt, 1, 1)
    (score,) = compare(a, b, find_conditions("yuv420"))
    (x,), (y,) = a.batches(), b.batches()
    assert score.ms_ssim == pytest.approx(reference_ms_ssim(x.planes[0][0], y.planes[0][0], 1023), abs=1e-5)
    other = MemoryVideo(fmt, Frames((y.planes[0], x.planes[1], x.planes[2])))
    (luma,) = compare(a, other, find_conditions("yuv420"))
    assert luma.ms_ssim == score.ms_ssim  # chroma does not count


def test_a_lossless_plane_counts_100_db_in_psnr_yuv() -> None:
    fmt = VideoFormat(32, 16)
    a = noisy(fmt, 1, 0)
    (x,) = a.batches()
    luma = x.planes[0] ^ 1
    (score,) = compare(a, MemoryVideo(fmt, Frames((luma, *x.planes[1:]))), find_conditions("yuv420"), ("psnr",))
    psnr_y = 10 * math.log10(255**2)  # every sample is off by one
    assert (score.psnr_u, score.psnr_v) == (100, 100)
    assert score.psnr_yuv == pytest.approx((6 * psnr_y + 100 + 100) / 8)
    assert not score.lossless


def test_small_frames_have_no_ms_ssim() -> None:
    fmt = VideoFormat(160, 200)
    summary = summarize(compare(noisy(fmt, 1, 0), noisy(fmt, 1, 1), find_conditions("rgb601")))
    assert summary.ms_ssim is None
    assert summary.psnr_rgb is not None


def test_rgb_psnr_by_hand_and_lossless_frames() -> None:
    fmt = VideoFormat(2, 2, "rgb", full_range=True)
    zero, ones = np.zeros((2, 2, 2), np.uint8), np.stack([np.zeros((2, 2)), np.full((2, 2), 3)]).astype(np.uint8)
    scores = compare(
        MemoryVideo(fmt, Frames((zero, zero, zero))), MemoryVideo(fmt, Frames((ones, zero, zero))),
        find_conditions("rgb601"), ("psnr",),
    )  # fmt: skip
    assert scores[0].psnr_rgb == 100
    assert scores[0].lossless
    assert scores[1].psnr_rgb == pytest.approx(10 * math.log10(255**2 / 3))
    assert summarize(scores).lossless_frames == 1


def test_other_lengths_and_sizes_are_named(tmp_path: Path) -> None:
    video = open_video(make_y4m(tmp_path / "a.y4m", 32, 32, 5))
    with pytest.raises(MediaError, match="5 and 4 frames"):
        compare(video, Cut(video, 4), find_conditions("rgb601"), ("psnr",))
    with pytest.raises(MediaError, match="32x32 and 16x32"):
        compare(video, open_video(make_y4m(tmp_path / "b.y4m", 16, 32, 5)), find_conditions("rgb601"))


def test_vmaf_of_a_clip_against_itself(tmp_path: Path) -> None:
    video = open_video(make_y4m(tmp_path / "a.y4m", 192, 176, 2))
    assert summarize(compare(video, video, find_conditions("rgb601"), ("vmaf",))).vmaf > 90  # type: ignore[operator]


@pytest.mark.parametrize("conditions", ["rgb601", "yuv420"])
def test_the_number_of_threads_changes_nothing(conditions: str) -> None:
    fmt = VideoFormat(192, 176)
    a, b = noisy(fmt, 11, 0), noisy(fmt, 11, 1)
    alone = compare(a, b, find_conditions(conditions))
    assert compare(a, b, find_conditions(conditions), threads=3) == alone
    assert [score.frame for score in alone] == list(range(11))
    for index in (0, 10):  # each frame is measured as if it were the only one
        one = [
            MemoryVideo(fmt, Frames(tuple(p[index : index + 1] for p in next(v.batches(11)).planes))) for v in (a, b)
        ]
        assert compare(*one, find_conditions(conditions))[0].ms_ssim == alone[index].ms_ssim


def test_frames_csv_has_a_row_for_each_frame(tmp_path: Path) -> None:
    fmt = VideoFormat(2, 2, "420")
    gray = [Frames((np.full((1, 2, 2), y, np.uint8), *[np.full((1, 1, 1), 128, np.uint8)] * 2)) for y in (100, 103)]
    scores = compare(*(MemoryVideo(fmt, frames) for frames in gray), find_conditions("yuv420"))
    write_frames_csv(tmp_path / "frames.csv", scores)
    names, row = (line.split(",") for line in (tmp_path / "frames.csv").read_text().splitlines())
    assert dict(zip(names, row, strict=True)) == {
        "frame": "0", "squared_error_rgb": "", "samples_rgb": "", "squared_error_y": "36.0", "squared_error_u": "0.0",
        "squared_error_v": "0.0", "samples_y": "4", "samples_c": "1", "psnr_rgb": "", "psnr_y": str(psnr(36, 4, 255)),
        "psnr_u": "100.0", "psnr_v": "100.0", "psnr_yuv": str((6 * psnr(36, 4, 255) + 200) / 8), "lossless": "0",
        "ms_ssim": "", "vmaf": "",
    }  # fmt: skip


MEASURE_ALL = """
import sys
import numpy as np
from rdbench.measure.metrics import compare
from rdbench.video import Frames, VideoFormat
from rdbench.video.conditions import find_conditions
from rdbench.video.readers import MemoryVideo
for chroma in ("420", "rgb"):
    fmt = VideoFormat(176, 176, chroma)
    video = MemoryVideo(fmt, Frames(tuple(np.zeros((1, *shape), np.uint8) for shape in fmt.plane_shapes)))
    for conditions in ("rgb601", "rgb709") + (("yuv420",) if chroma == "420" else ()):
        assert compare(video, video, find_conditions(conditions))[0].ms_ssim == 1
print([name for name in sys.modules if "torch" in name])
"""


def test_measuring_on_the_cpu_imports_no_torch() -> None:
    """The import takes longer than many a clip does."""
    done = subprocess.run([sys.executable, "-c", MEASURE_ALL], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
