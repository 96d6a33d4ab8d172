"""PSNR and MS-SSIM with torch, on a GPU or the CPU: what `NumpyScorer` measures, by the same definitions.

A frame's planes go through each step together, and only the values of a whole batch come back, so that the device
never waits for the host within a batch.

MS-SSIM is in float64 here too, for the reason that `ms_ssim.py` gives. The 10 billion operations of a 1080p RGB frame
take a data-center GPU (30 teraflops in float64 and more) less time than its memory needs for the planes; a consumer
GPU with 1.3 teraflops takes about 10 ms a frame for them.
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..video import Frames, Plane, VideoFormat
from .ms_ssim import K1, K2, REACH, WEIGHTS, WINDOW
from .scorer import Columns, Measurement
from .torch_color import to_rgb

COLUMNS = 64
"""Blurred samples of a matrix product (our choice): a GPU prefers larger ones than a CPU's cache."""


class TorchScorer:
    """Measures batches on a device such as `cuda`, `cuda:1` or `cpu`."""

    size = 8
    workers = 2
    """One batch is prepared and sent while the other is measured."""

    def __init__(self, measurement: Measurement, device: str) -> None:
        self._measurement, self._device = measurement, torch.device(device)
        self._band = _band(COLUMNS).to(self._device)

    @torch.inference_mode()
    def score(self, reference: Frames, test: Frames) -> Columns:
        """The values of each frame."""
        asked, columns = self._measurement, dict[str, Tensor]()
        ours, theirs = self._sent(reference), self._sent(test)
        counted: tuple[list[Tensor], list[Tensor]] | None = None
        if asked.in_rgb:
            counted = self._rgb(ours, asked.reference), self._rgb(theirs, asked.test)
            columns["squared_error_rgb"] = sum(_errors(x, y) for x, y in zip(*counted, strict=True))  # type: ignore[assignment]
        if asked.of_planes:
            if (asked.test.chroma, asked.test.bit_depth) != (asked.reference.chroma, asked.reference.bit_depth):
                theirs = self._sent(asked.converted(test))
            for name, x, y in zip("yuv", ours, theirs, strict=True):
                columns[f"squared_error_{name}"] = _errors(x, y)
            counted = counted or (ours[:1], theirs[:1])
        if asked.similarity and counted is not None:
            columns["ms_ssim"] = self._similarities(*counted)
        values = torch.stack([column.double() for column in columns.values()]).cpu().tolist()
        return dict(zip(columns, values, strict=True))

    def _sent(self, frames: Frames) -> list[Tensor]:
        """The planes on the device, in int32."""
        return [_tensor(plane, self._device) for plane in frames.planes]

    def _rgb(self, planes: list[Tensor], fmt: VideoFormat) -> list[Tensor]:
        return to_rgb(planes, fmt, self._measurement.conditions)

    def _similarities(self, x: list[Tensor], y: list[Tensor]) -> Tensor:
        """The mean over the planes of each frame's MS-SSIM; one frame at a time, for the sake of memory."""
        frames = zip(torch.stack(x, dim=1), torch.stack(y, dim=1), strict=True)
        return torch.stack([ms_ssim(p, q, self._measurement.peak, self._band).mean() for p, q in frames])


def _tensor(plane: Plane, device: torch.device) -> Tensor:
    samples = np.require(plane, requirements=["C", "W"])
    if samples.dtype == np.uint8:
        return torch.from_numpy(samples).to(device).to(torch.int32)
    return torch.from_numpy(samples.view(np.int16)).to(device).to(torch.int32).bitwise_and_(0xFFFF)


def _errors(x: Tensor, y: Tensor) -> Tensor:
    """The sum of squared errors of each frame of a plane `[T, h, w]`, in int64."""
    return (x - y).to(torch.int64).square_().sum(dim=(1, 2))


def ms_ssim(x: Tensor, y: Tensor, peak: int, band: Tensor) -> Tensor:
    """MS-SSIM of each of some planes `[n, h, w]`; see `ms_ssim.py` for the definition and for the four planes."""
    s, d = (x + y).double(), (x - y).double()
    c1, c2 = 2 * (K1 * peak) ** 2, 2 * (K2 * peak) ** 2
    value = torch.ones(len(x), dtype=torch.float64, device=x.device)
    for weight in WEIGHTS[:-1]:
        value *= _structure(_blurred(s, d, band), c2).mean(dim=(1, 2)).clamp_(min=0) ** weight
        s, d = _halved(s), _halved(d)
    blurred = _blurred(s, d, band)
    squares = blurred[:2] ** 2
    luminance = (squares[0] - squares[1] + c1) / (squares[0] + squares[1] + c1)
    similarity = (luminance * _structure(blurred, c2)).mean(dim=(1, 2))
    return value * similarity.clamp_(min=0) ** WEIGHTS[-1]


def _structure(blurred: Tensor, c2: float) -> Tensor:
    """Contrast and structure at each position, of the blurred s, d, s * s and d * d."""
    variances = blurred[2:] - blurred[:2] ** 2
    return 1 - 2 * variances[1] / (variances[0] + variances[1] + c2)


def _halved(planes: Tensor) -> Tensor:
    """The means of 2x2 samples; an odd side begins with a pair of which the first is a zero outside of the plane."""
    padding = [side % 2 for side in planes.shape[1:]]
    return functional.avg_pool2d(planes[None], kernel_size=2, padding=padding)[0]


def _blurred(s: Tensor, d: Tensor, band: Tensor) -> Tensor:
    """`[4, n, w, h]`: s, d, s * s and d * d, blurred, and transposed."""
    samples = torch.stack([s, d, s * s, d * d])
    return _along_rows(_along_rows(samples, band).transpose(-1, -2), band)


def _along_rows(samples: Tensor, band: Tensor) -> Tensor:
    """Samples blurred along their last dimension, which REACH positions are lost of."""
    columns = band.shape[1]
    length = samples.shape[-1] - REACH
    windows = functional.pad(samples, (0, -length % columns)).unfold(-1, columns + REACH, columns)
    return (windows @ band).flatten(-2)[..., :length]


def _band(columns: int) -> Tensor:
    """`[columns + REACH, columns]`: the window in each column, one row further down each time."""
    taps = torch.from_numpy(WINDOW)
    return torch.stack([functional.pad(taps, (column, columns - 1 - column)) for column in range(columns)], dim=1)
