"""The contract between the harness and a codec: rate points, encode, decode."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from .card import CodecCard as CodecCard  # authors of codecs import the three from here
from .card import Host as Host
from .card import Kind as Kind
from .errors import UsageError
from .video import Video, VideoFormat

Value = str | int | float | bool
Precision = Literal["float32", "bfloat16", "float16"]
"""The number format of most of a network's operations."""
Progress = Callable[[float, float, str], None]
"""`progress(done, total, text)`: reports the share of the work that is done, and what is being done."""

FIT_CURVE = "fit.csv"
"""Name of the CSV file in the workspace's folder in which a codec may log the course of its training."""
FIT_COLUMNS = ("stage", "epoch", "seconds", "psnr")
"""Columns of that file; PSNR in dB."""


@dataclass(frozen=True)
class RatePoint:
    """One point of a rate-distortion curve: a label unique inside its codec, safe in a file name, and settings."""

    label: str
    settings: Mapping[str, Value]


@dataclass(frozen=True)
class Clip:
    """What is known of a clip before it is encoded.

    `sizes` are the model sizes (numbers of parameters) that its manifest suggests.
    """

    format: VideoFormat
    frames: int
    sizes: tuple[int, ...] = ()


@dataclass(frozen=True)
class Source:
    """The clip to encode, in two forms: `video` in its own planes, `rgb` as 8-bit RGB by the test conditions.

    Conventional codecs code `video`; INR codecs are trained on `rgb`.
    """

    video: Video
    rgb: Video


@dataclass(frozen=True)
class Timing:
    """Durations of equal pieces of work, for `rdbench bench`; warm-up is left out."""

    name: str
    seconds: tuple[float, ...]
    """Duration of each piece."""
    frames: float
    """Frames of the clip that a piece processes."""
    flops: float | None = None
    """Floating-point operations of the network in a piece, two for each multiply-accumulate; None where unknown."""
    precision: Precision = "float32"
    """Number format of most of these operations."""


class Stopwatch:
    """Seconds spent in named parts (`fit`, `compress`, `entropy_decode`, `render`, `compile`)."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.borrowed = 0.0
        """Seconds of work of other processes that count as this job's."""

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Adds the time inside the block to `name`; synchronize the device before the block ends."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start

    def borrow(self, name: str, seconds: float) -> None:
        """Adds the time of work that another process did (a shared artifact) to `name` and to `borrowed`."""
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds
        self.borrowed += seconds


@dataclass
class Workspace:
    """What a job needs besides the video.

    `folder` is scratch space that survives a restart; `shared`, where given, is a folder that all rate points of a
    codec on a clip have in common; `progress(done, total, text)` reports the share of the work that is done;
    `report` takes what the codec wants in the record (`command`, `execution`, `parameters`, `kmacs_per_pixel`,
    `render_fps`, `shown_as`).
    """

    folder: Path
    device: str = "cpu"
    threads: int = 1
    seed: int = 0
    host: Host = field(default_factory=Host)
    progress: Progress = lambda done, total, text: None
    stopwatch: Stopwatch = field(default_factory=Stopwatch)
    report: dict[str, Any] = field(default_factory=dict)
    shared: Path | None = None
    precision: Precision = "float32"
    """Number format in which `decode` renders: float32 defines the frames, others are of `rendering_precisions`."""

    def artifact(self, key: str, make: Callable[[Path], None]) -> Path:
        """The folder that `make(folder)` filled, once for all rate points that use this key, even in parallel.

        The folder may already hold files of an interrupted call of `make`.
        """
        from filelock import FileLock  # decoders never need it

        folder = (self.shared or self.folder / "shared") / key
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock"):  # the OS releases the lock if its holder dies
            if not (folder / "done").exists():
                make(folder)
                (folder / "done").touch()
        return folder


class SettingsBase(BaseModel):
    """Base of a codec's settings: typed fields with defaults; unknown names and wrong values are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)  # decoders need no settings


Settings = SettingsBase
"""The class to derive from, under a shorter name; `Codec.Settings` is the class that a codec chose."""


class Codec(ABC):
    """A codec answers three questions: which rate points, how to write a bitstream, how to read one.

    Encode time is the whole of `encode`; decode time runs from the call of `decode` to the last frame taken from
    the video it returns. `decode` gets the bitstream and nothing else, and does not depend on the settings.
    """

    kind: ClassVar[Kind] = "conventional"
    reference: ClassVar[str] = ""
    """The paper or the standard, in one line."""
    Settings: ClassVar[type[SettingsBase]] = SettingsBase
    presets: ClassVar[Mapping[str, Mapping[str, Value]]] = MappingProxyType({})
    """Settings by preset (`paper`, `quick`, `best`, `tiny`); a codec without the requested preset uses its defaults."""
    threads_decide_bits: ClassVar[bool] = True
    """Whether another number of threads may give another bitstream; False only where that was measured."""
    uses_seed: ClassVar[bool] = True
    """Whether another seed may give another bitstream; a codec without one runs once, whatever seeds are asked for."""
    rendering_precisions: ClassVar[tuple[Precision, ...]] = ()
    """Number formats besides float32 in which `decode` can render frames faster (`Workspace.precision`)."""
    runs_outside: ClassVar[bool] = False
    """Whether programs other than this Python process do the work, which decides whose memory is measured."""

    def __init__(self, settings: SettingsBase) -> None:
        self.settings: Any = settings

    @property
    def programs(self) -> Mapping[str, str]:
        """Paths on this machine that the settings name (programs, weights), by a name of the codec's choice.

        They come back in `Host.programs`, for `decode` too, which gets no settings. Their fields are declared with
        `Field(exclude=True)`: a file's location does not decide the result, so it is no part of names and ids.
        """
        return {}

    def precision(self, device: str) -> str:
        """The number format in which most of the encoding computes on this device (`cpu` or `cuda`)."""
        return "float32"

    @classmethod
    def signatures(cls) -> tuple[bytes, ...]:
        """The first bytes of its bitstreams, so that `rdbench decode` needs no `--codec`."""
        return ()

    @classmethod
    @abstractmethod
    def missing(cls, host: Host) -> str | None:
        """None if the codec can run here, else one sentence: what is missing and how to get it."""

    @classmethod
    @abstractmethod
    def version(cls, host: Host) -> str:
        """The program or scheme that produces the bits, and its version; part of the identity of a result."""

    @abstractmethod
    def rate_points(self, clip: Clip) -> Sequence[RatePoint]:
        """The default rate points for this clip, from few bits to many."""

    def rate_point(self, label: str, clip: Clip) -> RatePoint:
        """The rate point with this label; override to accept more than the default ones. Raises UsageError."""
        for point in self.rate_points(clip):
            if point.label == label:
                return point
        labels = ", ".join(p.label for p in self.rate_points(clip))
        raise UsageError(f"There is no rate point {label!r}; there are {labels}.")

    def estimate_seconds(self, clip: Clip, point: RatePoint, device: str) -> float | None:
        """An approximate encode time for `rdbench plan`; None where unknown."""
        return None

    def encode_macs(self, clip: Clip, point: RatePoint) -> float | None:
        """Multiply-accumulates of the network in the whole encoding, all passes of a training; None where unknown.

        With them, `rdbench plan` estimates times from rates that `rdbench bench` measured, and on GPUs.
        """
        return None

    def expected_gpu_memory_mb(self, clip: Clip, point: RatePoint) -> float | None:
        """MiB of GPU memory that encoding is expected to need; None where unknown: such a job gets a GPU for itself."""
        return None

    def shared_artifact(self, point: RatePoint) -> str | None:
        """The key with which the encoder will ask `Workspace.artifact`; None where it shares nothing.

        Of the rate points that share what does not exist yet, one runs first, and the others take no GPU meanwhile.
        """
        return None

    def time_fit(self, source: Source, point: RatePoint, steps: int, workspace: Workspace) -> Sequence[Timing]:
        """Timings of `steps` steps of each training stage, for `rdbench bench fit`; empty without training."""
        return ()

    def write_sample(self, source: Source, point: RatePoint, bitstream: Path, workspace: Workspace) -> None:
        """Writes a bitstream that takes as long to decode as a real one; codecs with training override it."""
        self.encode(source, point, bitstream, workspace)

    @abstractmethod
    def encode(self, source: Source, point: RatePoint, bitstream: Path, workspace: Workspace) -> None:
        """Writes the bitstream file."""

    @classmethod
    @abstractmethod
    def decode(cls, bitstream: Path, workspace: Workspace) -> Video:
        """The video in the file, frames in display order. Raises BitstreamError for a damaged file."""

    @classmethod
    def ledger(cls, bitstream: Path) -> Mapping[str, int]:
        """Bytes of each named part of the file; they add up to its size."""
        return {"payload": bitstream.stat().st_size}
