"""Options of the commands, typed from the command line (or a sweep file) to the session."""

import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from ..errors import UsageError
from . import defaults

T = TypeVar("T")


@dataclass(frozen=True)
class Sweep:
    """A complete description of what to encode and how to measure it."""

    codecs: str
    """Codecs with their options, as `nerv,x265[preset=medium]`."""
    dataset: str
    """A dataset, some of its sequences, a variant, a file or a folder."""
    frames: int | None
    """Number of frames from the start of each sequence; None: all."""
    rate_points: str | None
    """Number of rate points, or their labels; None: every default rate point."""
    preset: str | None
    set: tuple[str, ...]
    """Settings as `codec.option=value`."""
    conditions: str
    metrics: str
    seed: int
    device: str
    threads: int
    timeout: float | None
    """Seconds for each stage of a job."""
    data_root: str | None
    ffmpeg: str | None


@dataclass(frozen=True)
class RunOptions:
    """Where records go, and how many jobs run where."""

    out: Path
    executor: str
    jobs: int
    """Number of jobs that run side by side."""


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

    @property
    def data_folder(self) -> Path | None:
        """The folder of the datasets that the user named."""
        return Path(self.data_root) if self.data_root else None


class SweepOptions(BaseModel):
    """What the user gave, on the command line or in a TOML file with these names; None was not given."""

    model_config = ConfigDict(frozen=True, extra="forbid", coerce_numbers_to_str=True)

    codecs: str | None = None
    dataset: str | None = None
    frames: int | None = None
    rate_points: str | None = None
    preset: str | None = None
    set: tuple[str, ...] | None = None
    conditions: str | None = None
    metrics: str | None = None
    seed: int | None = None
    device: str | None = None
    threads: int | None = None
    timeout: float | None = None
    data_root: str | None = None
    ffmpeg: str | None = None
    out: Path | None = None
    executor: str | None = None
    jobs: int | None = None

    def over(self, below: "SweepOptions") -> "SweepOptions":
        """These options, and those of `below` where these were not given."""
        return below.model_copy(update=self.model_dump(exclude_none=True))

    def sweep(self, parallel: int) -> Sweep:
        """The sweep with defaults filled in; each of `parallel` jobs gets its share of the cores. Raises UsageError."""
        return Sweep(
            codecs=_needed("codecs", self.codecs),
            dataset=_needed("dataset", self.dataset),
            frames=self.frames,
            rate_points=self.rate_points,
            preset=self.preset,
            set=_default(self.set, ()),
            conditions=_default(self.conditions, defaults.CONDITIONS),
            metrics=_default(self.metrics, defaults.METRICS),
            seed=_default(self.seed, defaults.SEED),
            device=_default(self.device, defaults.DEVICE),
            threads=_default(self.threads, max(1, (os.cpu_count() or 1) // parallel)),
            timeout=self.timeout,
            data_root=self.data_root,
            ffmpeg=self.ffmpeg,
        )

    def run_options(self) -> RunOptions:
        """The folder, the executor and the number of jobs, with defaults filled in. Raises UsageError."""
        jobs = _default(self.jobs, 1)
        if jobs < 1:
            raise UsageError(f"--jobs {jobs} runs nothing; give at least 1.")
        return RunOptions(_default(self.out, Path(defaults.OUT)), _default(self.executor, defaults.EXECUTOR), jobs)


def _default(value: T | None, default: T) -> T:
    return default if value is None else value


def _needed(name: str, value: str | None) -> str:
    if value is None:
        raise UsageError(f"Say which {name}: --{name} NAME (see rdbench {name.rstrip('s')}s).")
    return value


def read_sweep(path: Path) -> SweepOptions:
    """The options in a TOML file. Raises UsageError."""
    try:
        values = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"The sweep {path} cannot be read: {error}.") from error
    known = set(SweepOptions.model_fields)
    for key, value in values.items():
        if key.replace("-", "_") not in known:
            raise UsageError(f"The sweep {path} has an unknown key {key!r}; known: {', '.join(sorted(known))}.")
        if key.replace("-", "_") in ("codecs", "dataset", "rate_points", "metrics") and isinstance(value, list):
            values[key] = ",".join(str(part) for part in value)
    try:
        return SweepOptions.model_validate({key.replace("-", "_"): value for key, value in values.items()})
    except ValidationError as error:
        first = error.errors()[0]
        raise UsageError(
            f"The sweep {path} cannot have {first['loc'][0]} = {first['input']!r}: {first['msg'].lower()}."
        ) from error
