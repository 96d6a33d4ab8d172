"""The metrics of torch on the device beside those of NumPy on the CPU: frames a second, and how far they differ."""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from clips import noise_about, waves

from rdbench.measure.scorer import Columns, Measurement, NumpyScorer
from rdbench.measure.torch_scorer import TorchScorer
from rdbench.video.conditions import find_conditions

LARGEST_DIFFERENCE = 1e-10
"""Of MS-SSIM; squared errors are integers and have to be equal."""


def measure(device: str, width: int, height: int, frames: int, rounds: int) -> Iterator[Mapping[str, Any]]:
    """A row: PSNR and MS-SSIM in RGB of one batch, measured by both."""
    source = waves(width, height, frames).video
    (ours,) = source.batches(frames)
    theirs = noise_about(ours, 3)
    measurement = Measurement(source.format, source.format, find_conditions("rgb601"), True)
    on_device, on_cpu = TorchScorer(measurement, device), NumpyScorer(measurement, 1)
    scores, seconds = _timed(lambda: on_device.score(ours, theirs), rounds)
    expected, cpu_seconds = _timed(lambda: on_cpu.score(ours, theirs), 1)
    similarity = max(abs(a - b) for a, b in zip(scores["ms_ssim"], expected["ms_ssim"], strict=True))
    exact = all(scores[name] == values for name, values in expected.items() if name != "ms_ssim")
    values = {
        "frames/s": frames / seconds, "NumPy frames/s, one thread": frames / cpu_seconds, "errors equal": exact,
        "MS-SSIM difference": similarity,
    }  # fmt: skip
    yield {"name": "rgb601", "holds": exact and similarity <= LARGEST_DIFFERENCE, "values": values}


def _timed(score: Callable[[], Columns], rounds: int) -> tuple[Columns, float]:
    """The scores, and the mean seconds of the rounds after a first one."""
    scores = score()
    started = time.perf_counter()
    for _ in range(rounds):
        score()  # its values come back to the host, so the device has finished
    return scores, (time.perf_counter() - started) / rounds
