"""A sweep: codecs x sequences x rate points -> jobs with stable ids and estimated times."""

import hashlib
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from .. import registry
from ..clips import dataset
from ..clips.content import ClipFacts, known_sha256, read_facts
from ..codec import Clip, Codec, Host, Precision, RatePoint
from ..errors import UsageError
from ..measure import DEFAULT_METRICS, METRICS
from ..registry import CodecSpec
from ..source_code import code_digest
from ..video import VideoFormat
from ..video.conditions import find_conditions
from ..video.pipe import format_from_dict, format_to_dict
from .devices import choose_device, device_class
from .options import Sweep, read_count

PRESETS = ("paper", "quick", "best", "tiny")
MANY_SAMPLES = 1 << 28
"""Luma samples that take a second or more to be decoded and hashed, 130 frames of 1080p (our choice)."""


@dataclass(frozen=True)
class Job:
    """A description of one rate point of one codec on one sequence, complete enough for any machine to run it."""

    codec: str
    name: str
    """The codec as records show it, options included."""
    codec_version: str
    settings: dict[str, Any]
    sequence: dict[str, Any]
    format: dict[str, Any]
    clip_sha256: str | None
    """None in a plan whose clip is not hashed yet; such a job has no id."""
    frames: int
    point: str
    point_settings: dict[str, Any]
    conditions: str
    seed: int
    command: str
    preset: str | None = None
    metrics: tuple[str, ...] = DEFAULT_METRICS
    device: str = "cpu"
    """The device that the job computes on; never `auto`."""
    precision: str = "float32"
    rendering: Precision = "float32"
    """Number format of a second decoding; float32: there is none."""
    threads: int = 1
    threads_given: bool = False
    """Whether the user asked for this number of threads."""
    threads_decide_bits: bool = True
    jobs: int | None = 1
    """Jobs that run side by side on the machine; None where that is unknown."""
    timeout: float | None = None
    ffmpeg: str | None = None
    data_root: str | None = None
    """The folder of the datasets that the user named."""
    programs: dict[str, str] = field(default_factory=dict)
    """Paths on this machine from the codec's settings, as `Codec.programs` gives them."""
    estimate: float | None = field(default=None, compare=False)

    @property
    def id(self) -> str:
        """Twelve hex digits of a hash of everything that decides the result. Raises ValueError before there is one."""
        return digest(self.identity)

    @property
    def family(self) -> str:
        """A hash like `id`, the same for all rate points of a codec on a clip."""
        return digest(self._identity)

    @property
    def identity(self) -> dict[str, Any]:
        """All that decides the result: `id` is its hash, and records keep it."""
        return {**self._identity, "point": self.point_settings}

    @property
    def _identity(self) -> dict[str, Any]:
        if self.clip_sha256 is None:
            raise ValueError("A job has no id before its clip is hashed.")
        return {
            "codec": CodecSpec(self.codec).label,
            "version": self.codec_version,
            "settings": self.settings,
            "clip": self.clip_sha256,
            "frames": self.frames,
            "conditions": find_conditions(self.conditions).stamp,
            "seed": self.seed,
            "device": device_class(self.device),
            "precision": self.precision,
            "threads": self.threads if self.threads_decide_bits else None,
        }

    @property
    def clip(self) -> dataset.Sequence:
        """The sequence to encode."""
        return dataset.Sequence.from_dict(self.sequence)

    @property
    def video_format(self) -> VideoFormat:
        """The format of the source's frames."""
        return format_from_dict(self.format)

    def to_json(self) -> str:
        """The description as JSON; `from_json` reads it."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Job":
        """The job that `to_json` wrote."""
        values = json.loads(text)
        values["metrics"] = tuple(values["metrics"])
        return cls(**values)


def digest(identity: dict[str, Any]) -> str:
    """The id that belongs to an identity: twelve hex digits."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True, default=str).encode()).hexdigest()[:12]


FactsOf = Callable[[dataset.Sequence, int | None, str | None], ClipFacts]
"""The facts of a sequence, of its first frames (None: all), with an ffmpeg; as `read_facts`."""


def announced_facts(sequence: dataset.Sequence, frames: int | None, ffmpeg: str | None) -> ClipFacts:
    """The facts for a run (`read_facts`), after a line on standard error where many frames are to be hashed."""
    count = frames or sequence.frames
    samples = None if count is None else count * (sequence.width or 0) * (sequence.height or 0)
    is_long = Path(sequence.path).exists() and (samples is None or samples > MANY_SAMPLES)
    if is_long and known_sha256(sequence, frames, ffmpeg) is None:
        print(f"Hashing the frames of {sequence.label}:{sequence.name}, once ...", file=sys.stderr)
    return read_facts(sequence, frames, ffmpeg)


def plan(sweep: Sweep, command: str, facts_of: FactsOf = announced_facts) -> list[Job]:
    """Every job of the sweep, sequence by sequence. Raises UsageError or DatasetError before anything runs.

    `known_facts` as `facts_of` hashes nothing; jobs on clips that were never hashed then have no id.
    """
    _check(sweep)
    codecs = [(spec, registry.create(spec, sweep.preset)) for spec in _specs(sweep)]
    _check_rendering(sweep, codecs)
    host = Host(ffmpeg=sweep.ffmpeg)
    for spec, codec in codecs:
        with registry.plugin_errors(spec.label):
            reason = codec.missing(replace(host, programs=codec.programs))
        if reason:
            raise UsageError(f"{spec.label} cannot run here: {reason}")
    jobs: list[Job] = []
    root = Path(sweep.data_root) if sweep.data_root else None
    points_of = cache(partial(_estimated_points, sweep))  # clips that look alike share them: networks are sized once
    for name in sweep.datasets:
        for sequence in dataset.resolve(name, root, sweep.ffmpeg):
            facts = facts_of(sequence, sweep.frames, sweep.ffmpeg)
            jobs += _jobs_of(sweep, sequence, facts, codecs, points_of, host, command)
    _check_labels(sweep, jobs)
    for note in _notes(sweep, jobs):
        print(note, file=sys.stderr)
    return jobs


def _check_rendering(sweep: Sweep, codecs: Sequence[tuple[CodecSpec, Codec]]) -> None:
    """Names on standard error the codecs that render in float32 alone. Raises UsageError where all do."""
    if sweep.precision == "float32":
        return
    without = [spec.label for spec, codec in codecs if sweep.precision not in codec.rendering_precisions]
    if len(without) == len(codecs):
        raise UsageError(
            f"--precision {sweep.precision} is for codecs that render with a network of ours, and {sweep.codecs} has "
            "none; omit it."
        )
    if without:
        print(f"{', '.join(without)}: no second decoding, --precision does not apply.", file=sys.stderr)


def _notes(sweep: Sweep, jobs: Sequence[Job]) -> list[str]:
    """A line for each codec with fewer rate points than the user asked for."""
    count = read_count(sweep.rate_points)
    if count is None:
        return []
    points = {name: {job.point for job in jobs if job.name == name} for name in dict.fromkeys(job.name for job in jobs)}
    few = {name: len(labels) for name, labels in points.items() if len(labels) < count}
    return [f"{name} has {number} rate points, not {count}; all of them are used." for name, number in few.items()]


def _check_labels(sweep: Sweep, jobs: Sequence[Job]) -> None:
    """Raises UsageError for a label that no codec has, or a codec that has none of the labels."""
    if sweep.rate_points is None or read_count(sweep.rate_points) is not None:
        return
    used = {job.point.lower() for job in jobs}
    for label in (label.strip() for label in sweep.rate_points.split(",")):
        if label.lower() not in used:
            raise UsageError(f"No codec of {sweep.codecs} has a rate point {label!r}; see rdbench codecs.")
    if without := [str(spec) for spec in _specs(sweep) if str(_named(spec)) not in {job.name for job in jobs}]:
        raise UsageError(f"{without[0]} has none of the rate points {sweep.rate_points}; see rdbench codecs.")


def _check(sweep: Sweep) -> None:
    find_conditions(sweep.conditions)
    if sweep.frames is not None and sweep.frames < 1:
        raise UsageError(f"--frames {sweep.frames} leaves nothing to encode; give at least 1.")
    if sweep.preset is not None and sweep.preset not in PRESETS:
        raise UsageError(f"There is no preset {sweep.preset!r}; there are {', '.join(PRESETS)}.")
    if unknown := set(sweep.metrics.split(",")) - set(METRICS):
        raise UsageError(f"There is no metric {min(unknown)!r}; there are {', '.join(METRICS)}.")


def _specs(sweep: Sweep) -> list[CodecSpec]:
    specs = registry.parse_specs(sweep.codecs)
    for setting in sweep.set:
        name, dot, rest = setting.partition(".")
        key, equals, value = rest.partition("=")
        if not (dot and equals and key):
            raise UsageError(f"--set {setting} is not of the form codec.option=value, as in --set nerv.epochs=30.")
        if name not in {spec.label for spec in specs}:
            raise UsageError(f"--set {setting} names a codec that is not in --codecs {sweep.codecs}.")
        specs = [spec.with_options({key: value}) if spec.label == name else spec for spec in specs]
    return list(dict.fromkeys(specs))


def _named(spec: CodecSpec) -> CodecSpec:
    """The codec as records show it: without the options that are paths on this machine."""
    fields = registry.load_codec(spec.name).Settings.model_fields
    return spec.without([name for name, field in fields.items() if field.exclude])


def _estimated_points(
    sweep: Sweep, spec: CodecSpec, codec: Codec, clip: Clip
) -> tuple[tuple[RatePoint, float | None], ...]:
    """The chosen rate points of a codec on a clip, each with its estimated seconds."""
    device = choose_device(sweep.device, codec.kind)
    points = choose_points(codec, clip, sweep.rate_points, spec.label)
    return tuple((point, codec.estimate_seconds(clip, point, device)) for point in points)


def _jobs_of(
    sweep: Sweep, sequence: dataset.Sequence, facts: ClipFacts, codecs: Sequence[tuple[CodecSpec, Codec]],
    points_of: Callable[[CodecSpec, Codec, Clip], tuple[tuple[RatePoint, float | None], ...]], host: Host, command: str,
) -> list[Job]:  # fmt: skip
    clip = Clip(facts.format, facts.frames, tuple(sequence.sizes))
    common = _CommonFields(sequence.to_dict(), format_to_dict(clip.format), facts.sha256, facts.frames)
    jobs = []
    for spec, codec in codecs:
        with registry.plugin_errors(spec.label):
            points = points_of(spec, codec, clip)
            for seed in sweep.seeds if codec.uses_seed else (0,):
                described = _describe(sweep, spec, codec, host, common, seed, command)
                jobs += [
                    replace(described, point=point.label, point_settings=dict(point.settings), estimate=seconds)
                    for point, seconds in points
                ]
    return jobs


@dataclass(frozen=True)
class _CommonFields:
    """What all jobs on one sequence have in common."""

    sequence: dict[str, Any]
    format: dict[str, Any]
    clip_sha256: str | None
    frames: int


def _describe(
    sweep: Sweep, spec: CodecSpec, codec: Codec, host: Host, common: _CommonFields, seed: int, command: str
) -> Job:
    """A job without a rate point."""
    device = choose_device(sweep.device, codec.kind)
    version = codec.version(replace(host, programs=codec.programs))
    return Job(
        codec=spec.name,
        name=str(_named(spec)),
        codec_version=f"{version} {code_digest(type(codec))}",
        settings=codec.settings.model_dump(mode="json"),
        sequence=common.sequence,
        format=common.format,
        clip_sha256=common.clip_sha256,
        frames=common.frames,
        point="",
        point_settings={},
        conditions=sweep.conditions,
        seed=seed,
        command=command,
        preset=sweep.preset,
        metrics=tuple(sweep.metrics.split(",")),
        device=device,
        precision=codec.precision(device_class(device)),
        rendering=sweep.precision if sweep.precision in codec.rendering_precisions else "float32",
        threads=sweep.threads,
        threads_given=sweep.threads_given,
        threads_decide_bits=codec.threads_decide_bits,
        jobs=sweep.jobs,
        timeout=sweep.timeout,
        ffmpeg=sweep.ffmpeg,
        data_root=str(Path(sweep.data_root).expanduser().absolute()) if sweep.data_root else None,
        programs=dict(codec.programs),
    )


def choose_points(codec: Codec, clip: Clip, wanted: str | None, name: str | None = None) -> list[RatePoint]:
    """All default rate points, `4` of them spread evenly, or those with the labels `a,b,c` that this codec has.

    Raises UsageError where default ones are wanted and there is none.
    """
    count = read_count(wanted)
    if wanted is not None and count is None:
        found = (_find_point(codec, clip, label.strip()) for label in wanted.split(","))
        return [point for point in found if point is not None]
    default = list(codec.rate_points(clip))
    if not default:
        size = f"{clip.format.width}x{clip.format.height}"
        raise UsageError(
            f"{name or type(codec).__name__} offers no rate point for {clip.frames} frames of {size}; "
            "name one with --rate-points, or leave the codec out."
        )
    if count is None or count >= len(default):
        return default
    if count < 1:
        raise UsageError("--rate-points 0 leaves nothing to run; give at least 1.")
    steps = [round(i * (len(default) - 1) / max(count - 1, 1)) for i in range(count)]
    return [default[i] for i in steps]


def _find_point(codec: Codec, clip: Clip, label: str) -> RatePoint | None:
    """The rate point with this label, None where this codec has no such (another of the sweep may)."""
    try:
        return codec.rate_point(label, clip)
    except UsageError:
        return None
