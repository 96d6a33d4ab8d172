"""Options of the commands, typed from the command line (or a sweep file) to the session."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from ..codec import Precision
from ..errors import UsageError, did_you_mean
from . import defaults
from .devices import default_jobs
from .machine import usable_cores

T = TypeVar("T")
EXECUTORS = ("local", "ray", "slurm")
PRECISIONS: Mapping[str, Precision] = MappingProxyType(
    {"float32": "float32", "bfloat16": "bfloat16", "float16": "float16"}
)
"""Number formats of rendering by their names on the command line."""
MOST_WORKERS = 1 << 16
"""Largest number of threads or of jobs side by side."""
LARGEST_SEED = (1 << 63) - 1
MOST_MEGABYTES = 1 << 24
LONGEST_TIMEOUT = 1e9
"""Seconds, about 32 years; clocks of operating systems end at 292 years."""
MOST_DIGITS = 9
"""Most digits of a number of rate points."""
SHOWN = 60
"""Characters of a wrong value that an error message repeats."""


def read_count(rate_points: str | None) -> int | None:
    """The number of rate points in `--rate-points 4`; None for labels, or where nothing is given."""
    if rate_points is None or not (rate_points.isascii() and rate_points.isdigit()):
        return None  # isdigit alone accepts a superscript, which is no number
    return int(rate_points)


def _check_rate_points(text: str) -> str:
    if re.fullmatch(r"[+-]?[0-9]+", text) and not re.fullmatch(rf"0*[1-9][0-9]{{0,{MOST_DIGITS - 1}}}", text):
        raise ValueError
    return text


def _check_pairs(pairs: tuple[str, ...]) -> tuple[str, ...]:
    if not all(re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*=[^\s].*", pair) for pair in pairs):
        raise ValueError
    return pairs


def _check_seeds(text: str) -> str:
    _split_seeds(text)
    return text


def _split_seeds(text: str) -> tuple[int, ...]:
    """The seeds without repetition. Raises ValueError."""
    parts = [part.strip() for part in text.split(",")]
    if not all(re.fullmatch(r"[0-9]{1,19}", part) and int(part) <= LARGEST_SEED for part in parts):
        raise ValueError
    return tuple(dict.fromkeys(int(part) for part in parts))


def _joined(value: Any) -> Any:
    """A list of a sweep file as the text of the command line."""
    if isinstance(value, list) and value and all(isinstance(part, str) for part in value):
        return ",".join(value)
    return value


def _integers_as_text(value: Any) -> Any:
    """Integers of a sweep file, one or a list, as the text of the command line."""
    parts = value if isinstance(value, list) else [value]
    texts = [str(part) if isinstance(part, int) and not isinstance(part, bool) else part for part in parts]
    return _joined(texts) if isinstance(value, list) else texts[0]


def _listed(value: Any) -> Any:
    """A text or a list as a tuple."""
    return (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else value


def _path(value: Any) -> Path:
    if isinstance(value, Path):
        return value
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError
    return Path(value)


Text = Annotated[str, StringConstraints(strict=True, min_length=1, pattern=r"^[^\x00]+\z")]
"""Text for names and paths; the operating system ends a path at a NUL."""
Texts = Annotated[tuple[Text, ...], BeforeValidator(_listed)]
Names = Annotated[Text, BeforeValidator(_joined)]
"""Text, or in a sweep file a list of texts, which commas join."""
Workers = Annotated[int, Field(strict=True, ge=1, le=MOST_WORKERS)]


@dataclass(frozen=True)
class Sweep:
    """A complete description of what to encode and how to measure it."""

    codecs: str
    """Codecs with their options, as `nerv,x265[preset=medium]`."""
    datasets: tuple[str, ...]
    """Datasets, each with some of its sequences or a variant, files or folders."""
    frames: int | None
    """Number of frames from the start of each sequence; None: all."""
    rate_points: str | None
    """Number of rate points, or their labels; None: every default rate point."""
    preset: str | None
    set: tuple[str, ...]
    """Settings as `codec.option=value`."""
    conditions: str
    metrics: str
    seeds: tuple[int, ...]
    """Each codec that uses a seed runs once with each."""
    device: str
    threads: int
    threads_given: bool
    """Whether the user asked for this number of threads."""
    jobs: int | None
    """Jobs that run side by side on a machine; None where that is unknown."""
    timeout: float | None
    """Seconds for each stage of a job."""
    data_root: str | None
    ffmpeg: str | None
    precision: Precision = "float32"
    """Number format of a second decoding; float32: there is none."""


@dataclass(frozen=True)
class RunOptions:
    """Where records go, and how many jobs run where."""

    out: Path
    executor: str
    jobs: int
    """Number of jobs that run side by side."""
    gpu_memory_mb: int | None = None
    """MiB of GPU memory for each job; None: as much as its codec expects to need."""
    slurm: tuple[tuple[str, str], ...] = ()
    """Options of sbatch, as (`partition`, `gpu`)."""


@dataclass(frozen=True)
class ClipOptions:
    """Options of the commands that encode one clip (`encode`, `bench`); None stands for the default."""

    preset: str | None = None
    frames: int | None = None
    seed: int | None = None
    device: str | None = None
    threads: int | None = None
    data_root: str | None = None
    ffmpeg: str | None = None
    precision: str | None = None

    @property
    def data_folder(self) -> Path | None:
        """The folder of the datasets that the user named."""
        return Path(self.data_root) if self.data_root else None


class SweepOptions(BaseModel):
    """What the user gave, on the command line or in a TOML file with these names; None was not given.

    The description of a field ends an error message about it. A wrong value raises UsageError.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    codecs: Names | None = Field(default=None, description="names of codecs, as nerv,x265[preset=medium]")
    dataset: Annotated[str | tuple[Text, ...], BeforeValidator(_listed), Field(min_length=1)] | None = Field(
        default=None, description="the name of a dataset or a path"
    )
    frames: Annotated[int, Field(strict=True, ge=1)] | None = Field(
        default=None, description="a whole number, at least 1"
    )
    rate_points: Annotated[Names, BeforeValidator(_integers_as_text), AfterValidator(_check_rate_points)] | None = (
        Field(default=None, description="how many (at least 1) or their labels, as 4 or crf27,crf32")
    )
    preset: Text | None = Field(default=None, description="paper, quick, best or tiny")
    set: Texts | None = Field(default=None, description="codec.option=value")
    conditions: Text | None = Field(default=None, description="the name of test conditions, as rgb601")
    metrics: Names | None = Field(default=None, description="names of metrics, as psnr,ms_ssim")
    seed: Annotated[int, Field(strict=True, ge=0, le=LARGEST_SEED)] | None = Field(
        default=None, description=f"a whole number from 0 to {LARGEST_SEED}"
    )
    seeds: Annotated[Names, BeforeValidator(_integers_as_text), AfterValidator(_check_seeds)] | None = Field(
        default=None, description=f"whole numbers from 0 to {LARGEST_SEED}, as 0,1,2"
    )
    device: Annotated[Text, StringConstraints(pattern=r"^(auto|cpu|cuda|cuda:[0-9]{1,3})\z")] | None = Field(
        default=None, description="auto, cpu, cuda or a certain GPU as cuda:1"
    )
    threads: Workers | None = Field(default=None, description=f"a whole number from 1 to {MOST_WORKERS}")
    precision: Annotated[Text, StringConstraints(pattern=rf"^({'|'.join(PRECISIONS)})\z")] | None = Field(
        default=None, description="float32, bfloat16 or float16"
    )
    timeout: Annotated[float, Field(strict=True, gt=0, le=LONGEST_TIMEOUT, allow_inf_nan=False)] | None = Field(
        default=None, description=f"seconds above 0, at most {LONGEST_TIMEOUT:.0f}"
    )
    data_root: Text | None = Field(default=None, description="the path of a folder")
    ffmpeg: Text | None = Field(default=None, description="the path of an ffmpeg")
    out: Annotated[Path, BeforeValidator(_path)] | None = Field(default=None, description="the path of a folder")
    executor: Annotated[Text, StringConstraints(pattern=rf"^({'|'.join(EXECUTORS)})\z")] | None = Field(
        default=None, description=" or ".join(EXECUTORS)
    )
    jobs: Workers | None = Field(default=None, description=f"a whole number from 1 to {MOST_WORKERS}")
    gpu_memory: Annotated[int, Field(strict=True, ge=1, le=MOST_MEGABYTES)] | None = Field(
        default=None, description=f"whole MiB of GPU memory for each job, from 1 to {MOST_MEGABYTES}"
    )
    slurm: Annotated[Texts, AfterValidator(_check_pairs)] | None = Field(
        default=None, description="options of sbatch, as partition=gpu"
    )
    anchor: Text | None = Field(default=None, description="the name of one of the codecs, as x265")

    @model_validator(mode="wrap")
    @classmethod
    def _explained(cls, values: Any, handler: ModelWrapValidatorHandler[Self], info: ValidationInfo) -> Self:
        """Turns an error into a sentence about the option, or about the key of the sweep file in the context."""
        try:
            return handler(values)
        except ValidationError as error:
            first = error.errors()[0]
            key = str(first["loc"][0])
            field, shown = cls.model_fields[key], _shown(values[key])
            where = f"The sweep {info.context} cannot have {key} =" if info.context else f"--{_dashed(key)} cannot be"
            raise UsageError(f"{where} {shown}; give {field.description}.") from error

    def over(self, below: "SweepOptions") -> "SweepOptions":
        """These options, and those of `below` where these were not given."""
        given = self.model_dump(exclude_none=True)
        if "seed" in given or "seeds" in given:  # one replaces the other
            below = below.model_copy(update={"seed": None, "seeds": None})
        return below.model_copy(update=given)

    def sweep(self, parallel: int) -> Sweep:
        """The sweep with defaults filled in; each of `parallel` jobs gets its share of the cores. Raises UsageError."""
        return Sweep(
            codecs=_needed("codecs", self.codecs),
            datasets=tuple(dict.fromkeys(_listed(_needed("dataset", self.dataset)))),
            frames=self.frames,
            rate_points=self.rate_points,
            preset=self.preset,
            set=_default(self.set, ()),
            conditions=_default(self.conditions, defaults.CONDITIONS),
            metrics=_default(self.metrics, defaults.METRICS),
            seeds=self._seeds(),
            device=_default(self.device, defaults.DEVICE),
            threads=_default(self.threads, max(1, usable_cores() // parallel)),
            threads_given=self.threads is not None,
            jobs=parallel if self.executor in (None, "local") else None,
            timeout=self.timeout,
            data_root=self.data_root,
            ffmpeg=self.ffmpeg,
            precision=self.rendering,
        )

    @property
    def rendering(self) -> Precision:
        """The number format of a second decoding; float32 where none was given."""
        return PRECISIONS[self.precision or "float32"]

    def _seeds(self) -> tuple[int, ...]:
        """The seeds without repetition, in the order given. Raises UsageError."""
        if self.seeds is None:
            return (_default(self.seed, defaults.SEED),)
        if self.seed is not None:
            raise UsageError("--seed and --seeds say the same; give one of them.")
        try:
            return _split_seeds(self.seeds)
        except ValueError as error:
            raise UsageError(f"--seeds {self.seeds} is not a list of whole numbers, as in --seeds 0,1,2.") from error

    def run_options(self) -> RunOptions:
        """The folder, the executor and the number of jobs, with defaults filled in."""
        return RunOptions(
            _default(self.out, Path(defaults.OUT)),
            executor := _default(self.executor, defaults.EXECUTOR),
            self._parallel(executor),
            self.gpu_memory,
            tuple((_underscored(key), value) for key, _, value in (pair.partition("=") for pair in self.slurm or ())),
        )

    def _parallel(self, executor: str) -> int:
        """Jobs side by side: one for each GPU of this machine that a codec may compute on, else one."""
        if self.jobs is not None:
            return self.jobs
        if executor == "slurm":
            return defaults.SLURM_JOBS
        return default_jobs(self.codecs, _default(self.device, defaults.DEVICE)) if executor == "local" else 1


def _default(value: T | None, default: T) -> T:
    return default if value is None else value


def _needed(name: str, value: T | None) -> T:
    if value is None:
        raise UsageError(f"Say which {name}: --{name} NAME (see rdbench {name.rstrip('s')}s).")
    return value


def _underscored(key: str) -> str:
    return key.replace("-", "_")


def _dashed(key: str) -> str:
    return key.replace("_", "-")


def _shown(value: Any) -> str:
    """The value as Python writes it, cut where it is long."""
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def read_sweep(path: Path) -> SweepOptions:
    """The options in a TOML file. Raises UsageError."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"The sweep {path} cannot be read: {error}.") from error
    except (RecursionError, ValueError) as error:  # lists in lists in lists, an integer of thousands of digits
        raise UsageError(f"The sweep {path} holds what no sweep needs ({error}); simplify it.") from error
    return SweepOptions.model_validate(_with_known_keys(path, values), context=path)


def _with_known_keys(path: Path, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values by the names of fields; a key may have dashes, as the options do. Raises UsageError."""
    known, found = list(SweepOptions.model_fields), dict[str, Any]()
    for key, value in values.items():
        name = key.replace("-", "_")
        if name not in known:
            raise UsageError(f"The sweep {path} has an unknown key {_shown(key)}{did_you_mean(name, known)}")
        if name in found:
            raise UsageError(f"The sweep {path} has {name} twice; remove one of them.")
        found[name] = value
    return found
