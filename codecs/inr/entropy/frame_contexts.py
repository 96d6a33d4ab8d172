"""Adaptive coding of latents along time, with the same probabilities on any machine.

Latents are planes of integers, `[T, C, h, w]`: for each frame, or time step of a grid, C channels. A value is coded
under a Laplace distribution (`laplace.py`). Its location is the value at the same place of the frame before, pulled to
the tensor's center by a weight that minimizes the squared errors so far. Its scale is the mean error so far in the
same context: how large the errors were at and around the place in the frame before, at the place in the channel before,
and in all channels before (T-NeRV's paper codes with DeepCABAC, whose contexts adapt too; the contexts are our choice).

Planes whose frame and channel have one sum are coded at once: what they depend on has a smaller sum. All that is
adapted is sums of integers, which no order of adding changes, so encoder and decoder compute the same on any machine.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rdbench.errors import BitstreamError

from .ans import DAMAGED_SYMBOLS, AnsEncoder
from .causal import walk
from .exact import Floats
from .laplace import LARGEST, LaplaceReader, LaplaceWriter
from .scale_tables import Integers
from .tensor_models import Values

UNIT = 256
"""Fixed point of locations and errors: parts of an integer."""
START_UNIT = 16
"""Fixed point of the transmitted mean magnitude."""
LEAST_SCALE = 8
"""Least scale, in parts of UNIT (our choice)."""
PRIOR = 3
"""Weight of the mean of all contexts in that of one, in numbers of values (our choice)."""
START_PRIOR = 4
"""Weight of the transmitted mean magnitude in the mean of all contexts (our choice)."""
START = struct.Struct("<hH")
"""The header of a tensor: its center, and the mean magnitude around it in parts of START_UNIT."""


def _context_bounds() -> Integers:
    """Bounds between contexts: UNIT times (8/5)^k - 1, in integers."""
    bounds, value = [], UNIT
    while value < UNIT * LARGEST:
        value = value * 8 // 5
        bounds.append(value - UNIT)
    return np.array(bounds, np.int64)


BOUNDS = _context_bounds()
CONTEXTS = len(BOUNDS) + 1


@dataclass(frozen=True)
class Start:
    """What is transmitted of a tensor before its values."""

    center: int
    """The integer nearest to the mean of the values."""
    magnitude: int
    """The mean magnitude of the values around the center, in parts of START_UNIT."""

    @classmethod
    def of(cls, values: Values) -> "Start":
        """That of these values, none of which is larger than LARGEST."""
        center = int(np.rint(values.mean())) if values.size else 0
        magnitude = float(np.abs(values - center).mean()) if values.size else 0.0
        return cls(center, min(int(np.rint(magnitude * START_UNIT)), (1 << 16) - 1))


class FrameContexts:
    """The causal model of a tensor `[T, C, h, w]`; a place is a sum of frame and channel, its lanes are all planes."""

    def __init__(self, shape: Sequence[int], start: Start) -> None:
        frames, channels, rows, columns = shape
        self._start, self._frames, self._channels = start, frames, channels
        # in front of the first frame and channel stand planes of zeros
        self.values = np.zeros((frames + 1, channels, rows, columns), np.int64)
        """The values around the center; frame t is at t + 1."""
        self._errors = np.zeros((frames + 1, channels + 1, rows, columns), np.int64)
        self._near = np.zeros((frames + 1, channels, rows, columns), np.int64)  # sums of 3 x 3 errors
        self._sums = np.zeros((frames, channels + 1, rows, columns), np.int64)  # of errors of the channels before
        self._products = self._squares = 1
        self._counts, self._totals = np.zeros(2 * CONTEXTS), np.zeros(2 * CONTEXTS)
        self._context = np.zeros(0, np.int64)
        self._expected = np.zeros(0, np.int64)

    @property
    def places(self) -> range:
        """The sums of frame and channel."""
        return range(self._frames + self._channels - 1)

    def _planes(self, place: int) -> tuple[Integers, Integers]:
        """Frames and channels of the planes at a place."""
        channels = np.arange(max(0, place - self._frames + 1), min(self._channels, place + 1))
        return place - channels, channels

    def predict(self, place: int) -> tuple[Floats, Floats]:
        """Location and scale of every value at this place."""
        t, c = self._planes(place)
        weight = min(UNIT, max(0, UNIT * self._products // self._squares))
        self._expected = weight * self.values[t, c]
        before = self._sums[t, c] // np.maximum(c, 1)[:, None, None]
        energy = 2 * (self._errors[t, c + 1] + self._errors[t + 1, c] + before) + 2 * self._near[t, c] // 9
        first = CONTEXTS * (t == 0)[:, None, None]  # the first frame has contexts of its own
        self._context = (np.searchsorted(BOUNDS, energy, side="right") + first).ravel()
        location: Floats = self._start.center + self._expected.ravel() / float(UNIT)
        return location, self._scales()[self._context]

    def _scales(self) -> Floats:
        """The mean error of each context, pulled to that of all contexts."""
        counts, totals = self._counts.reshape(2, -1), self._totals.reshape(2, -1)
        start = self._start.magnitude * (UNIT // START_UNIT) * START_PRIOR
        overall = (totals.sum(1, keepdims=True) + start) / (counts.sum(1, keepdims=True) + START_PRIOR)
        means: Floats = (totals + PRIOR * overall) / (counts + PRIOR)
        return np.maximum(means.ravel(), LEAST_SCALE) / UNIT

    def put(self, place: int, values: Floats) -> None:
        """Takes the values at this place."""
        t, c = self._planes(place)
        centered = values.astype(np.int64).reshape(self._expected.shape) - self._start.center
        errors = np.abs(UNIT * centered - self._expected)
        self._counts += np.bincount(self._context, minlength=2 * CONTEXTS)
        self._totals += np.bincount(self._context, weights=errors.ravel(), minlength=2 * CONTEXTS)
        later = t > 0
        earlier = self.values[t[later], c[later]]
        self._products += int((earlier * centered[later]).sum())
        self._squares += int((earlier * earlier).sum())
        self.values[t + 1, c], self._errors[t + 1, c + 1] = centered, errors
        self._sums[t, c + 1] = self._sums[t, c] + errors
        self._near[t + 1, c] = _sums_around(errors)

    def decoded(self) -> Values:
        """The values of the tensor, once all are put."""
        return (self.values[1:] + self._start.center).astype(np.int32)

    def lanes(self, values: Values, place: int) -> Integers:
        """The values of a tensor at a place."""
        return values[self._planes(place)].ravel().astype(np.int64)


def _sums_around(planes: Integers) -> Integers:
    """Sums over 3 x 3 places, where those at the edge stand for those beyond."""
    padded = np.pad(planes, ((0, 0), (1, 1), (1, 1)), mode="edge")
    rows = padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]
    sums: Integers = rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:]
    return sums


@dataclass(frozen=True)
class CodedTensor:
    """A tensor with the probabilities of its values."""

    start: Start
    writer: LaplaceWriter

    @property
    def bits(self) -> float:
        """Bits of header and values."""
        return 8 * START.size + self.writer.bits


def code(values: Values) -> CodedTensor:
    """The tensor `[T, C, h, w]`, ready to be packed. Raises RdbenchError for a value beyond LARGEST."""
    start, writer = Start.of(values), LaplaceWriter()
    model = FrameContexts(values.shape, start)

    def add(place: int, location: Floats, scale: Floats) -> Floats:
        lanes = model.lanes(values, place)
        writer.add(lanes, location, scale)
        return lanes.astype(np.float64)

    walk(model, add)
    return CodedTensor(start, writer)


def pack(coded: Sequence[CodedTensor]) -> bytes:
    """The headers of the tensors, and one payload."""
    encoder = AnsEncoder()
    for tensor in reversed(coded):
        tensor.writer.push_onto(encoder)
    return b"".join(START.pack(one.start.center, one.start.magnitude) for one in coded) + encoder.finish()


def unpack(data: bytes, shapes: Sequence[Sequence[int]], low: int, high: int) -> list[Values]:
    """The tensors that `pack` wrote, with values from `low` to `high`. Raises BitstreamError."""
    end = START.size * len(shapes)
    if len(data) < end:
        raise BitstreamError(DAMAGED_SYMBOLS)
    reader = LaplaceReader(data[end:])
    tensors = []
    for shape, (center, magnitude) in zip(shapes, START.iter_unpack(data[:end]), strict=True):
        tensors.append(_read(reader, shape, Start(center, magnitude), low, high))
    reader.finish()
    return tensors


def _read(reader: LaplaceReader, shape: Sequence[int], start: Start, low: int, high: int) -> Values:
    """One tensor. Raises BitstreamError for a value that is not from `low` to `high`."""
    model = FrameContexts(shape, start)

    def read(place: int, location: Floats, scale: Floats) -> Floats:
        values = reader.read(location, scale)
        if values.size and not (low <= values.min() and values.max() <= high):
            raise BitstreamError(DAMAGED_SYMBOLS)
        return values.astype(np.float64)

    walk(model, read)
    return model.decoded()
