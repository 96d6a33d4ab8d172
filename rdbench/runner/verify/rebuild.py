"""The job behind a record, rebuilt on this machine: its codec, its clip, its settings.

A record may come from anybody. Nothing in it is executed or opened as it stands: codecs are those that are installed
here or that the user names, clips are those of installed datasets, of the user's `--dataset`, or a path in the record's
command that exists, and settings pass the codec's own check.
"""

import shlex
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ... import registry
from ...clips import dataset
from ...clips.manifest import find_datasets
from ...codec import Clip, Codec, Host
from ...errors import DatasetError, RdbenchError, UsageError
from ...registry import CodecSpec
from ...report.results import Record
from ...source_code import code_digest
from ...video.conditions import CONDITIONS
from ...video.pipe import format_to_dict
from ..devices import choose_device, device_class
from ..resume import MOST_THREADS, measured_metrics
from ..sweep import Job
from .findings import Finding, NotAsRecorded, NotCheckable, compare, compare_keys, shown, wrong
from .record_checks import base_name


@dataclass(frozen=True)
class Places:
    """What the user says of this machine."""

    codecs: tuple[CodecSpec, ...] = ()
    """Codecs with paths on this machine, or whose name is the path of a file."""
    clips: tuple[dataset.Sequence, ...] = ()
    """Clips that a record alone does not find."""
    data_root: Path | None = None
    ffmpeg: str | None = None
    device: str = "auto"
    timeout: float | None = None
    """Seconds for each stage."""


@dataclass(frozen=True)
class Tool:
    """A record's codec as it is here."""

    codec: Codec
    name: str
    """Its name for the registry: an installed codec's, or the path of a file."""
    version: str
    """As records have it: the codec's own version and a hash of its source."""
    recorded_version: str | None

    @property
    def is_same(self) -> bool:
        """Whether the record was made by this very version."""
        return self.version == self.recorded_version

    @property
    def difference(self) -> str:
        """`made by version X, here is Y`."""
        return f"made by version {shown(self.recorded_version)}, here is {self.version}"


def hidden_options(cls: type[Codec]) -> set[str]:
    """The codec's settings that are paths on a machine, and so no part of records."""
    return {name for name, field in cls.Settings.model_fields.items() if field.exclude}


def find_tool(record: Record, places: Places) -> Tool:
    """The record's codec with the record's settings. Raises NotAsRecorded, or NotCheckable with what is missing."""
    base = base_name(record)
    given = next((spec for spec in places.codecs if spec.label == base), None)
    if given is None and base not in registry.find_codecs():
        raise NotCheckable(
            f"codec: there is no codec {shown(base)} here; install its package, or name its file with --codecs"
        )
    name = given.name if given else base
    try:
        cls = registry.load_codec(name)
        codec = _with_settings(cls, record, given)
        host = Host(places.ffmpeg, codec.programs)
        if reason := codec.missing(host):
            raise NotCheckable(f"codec: {base} cannot run here: {reason}")
        version = f"{codec.version(host)} {code_digest(cls)}"
    except (NotAsRecorded, NotCheckable):
        raise
    except RdbenchError as error:
        raise NotCheckable(f"codec: {error}") from error
    return Tool(codec, name, version, record.versions.get("codec"))


def _with_settings(cls: type[Codec], record: Record, given: CodecSpec | None) -> Codec:
    hidden = hidden_options(cls)
    settings = dict(record.identity.get("settings") or {})
    if found := hidden & set(settings):
        raise NotAsRecorded(f"settings.{min(found)}: a path on a machine, which no record has")
    if not record.identity:  # schema 1: the settings of the codec and of the rate point in one table
        settings = {key: record.settings[key] for key in cls.Settings.model_fields if key in record.settings}
    paths = {key: value for key, value in given.options if key in hidden} if given else {}
    try:
        return cls(cls.Settings(**{**settings, **paths}))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "settings"
        said = f"settings.{where}: this version of the codec refuses {shown(first['input'])} ({first['msg'].lower()})"
        if record.identity and record.versions.get("codec", "").endswith(f" {code_digest(cls)}"):
            raise NotAsRecorded(said) from error
        raise NotCheckable(said) from error


def check_tool(record: Record, tool: Tool, clip: Clip) -> Iterator[Finding]:
    """The settings are those that name, preset and rate point of the record stand for, where the version is the same.

    Other versions may have other presets and defaults.
    """
    if not tool.is_same or not record.identity:
        return
    try:
        yield from compare_keys("settings", record.identity["settings"], _named_settings(record, tool), _named(record))
        point = tool.codec.rate_point(record.rate_point, clip)
    except UsageError as error:
        yield wrong(f"settings: {error}")
        return
    yield from compare_keys("rate point", record.identity["point"], point.settings, f"at {shown(record.rate_point)}")
    device = device_class(record.device)
    yield from compare("precision", record.identity["precision"], tool.codec.precision(device), f"on {device}")
    threads = record.threads if tool.codec.threads_decide_bits else None
    yield from compare("threads", threads, record.identity["threads"], "in its identity")


def _named(record: Record) -> str:
    preset = f" with preset {shown(record.preset)}" if record.preset else ""
    return f"by the name {shown(record.codec)}{preset}"


def _named_settings(record: Record, tool: Tool) -> dict[str, Any]:
    """The settings that name and preset stand for. Raises UsageError."""
    specs = registry.parse_specs(record.codec)
    if len(specs) != 1 or hidden_options(type(tool.codec)) & set(dict(specs[0].options)):
        raise UsageError(f"{shown(record.codec)} is not the name of one codec without paths.")
    settings: dict[str, Any] = registry.create(
        CodecSpec(tool.name, specs[0].options), record.preset
    ).settings.model_dump(mode="json")
    return settings


def find_clip(record: Record, places: Places) -> dataset.Sequence:
    """The record's clip: a sequence whose frames have the record's SHA-256.

    A sequence of an installed dataset is looked for there; only where that is missing, the file that the record's
    command names and the user's clips are looked at. Raises NotAsRecorded for a clip with other frames, NotCheckable
    where there is none.
    """
    missing = "name its file with --dataset"
    likely: list[dataset.Sequence] = []
    try:
        likely = [sequence for sequence in _of_dataset(record, places) if _is_there(sequence)]
    except DatasetError as error:
        missing = str(error)
    others: Sequence[dataset.Sequence] = ()
    if not likely:
        alone = len(places.clips) == 1
        likely = [*_of_command(record, places), *(s for s in places.clips if alone or s.name == record.sequence)]
        others = places.clips if record.clip_sha256 else ()
    reasons = []
    for sequence in dict.fromkeys((*likely, *others)):
        reason = _difference(sequence, record, places)
        if reason is None:
            return sequence
        reasons.append(reason)
    if likely:
        raise NotAsRecorded(f"clip: {reasons[0]}")
    raise NotCheckable(f"clip: {shown(f'{record.dataset}:{record.sequence}')} is not here: {missing}")


def _is_there(sequence: dataset.Sequence) -> bool:
    """Whether the file exists, right or wrong. Raises DatasetError with the remedy where it does not."""
    if not Path(sequence.path).exists():
        dataset.check_file(sequence)
    return True


def _difference(sequence: dataset.Sequence, record: Record, places: Places) -> str | None:
    """How the sequence's frames are not those of the record; None where they are, or where the record has no hash."""
    try:
        actual = dataset.content_sha256(sequence, record.frames, places.ffmpeg)
    except RdbenchError as error:
        return str(error)
    if record.clip_sha256 in ("", actual):
        return None
    return f"frames with SHA-256 {shown(record.clip_sha256)} in the record, {actual} in {sequence.path}"


def _of_dataset(record: Record, places: Places) -> list[dataset.Sequence]:
    """The sequence of an installed dataset; none where the record names no such. Raises DatasetError."""
    try:
        if dataset.parse_spec(record.dataset).name not in find_datasets():
            return []
        found = dataset.resolve(f"{record.dataset}:{record.sequence}", places.data_root, places.ffmpeg)
    except UsageError as error:
        raise DatasetError(str(error)) from error
    return [sequence for sequence in found if sequence.name == record.sequence]


def _of_command(record: Record, places: Places) -> list[dataset.Sequence]:
    """The sequence that the command's `--dataset` names, where that is a file or folder that exists."""
    with suppress(ValueError, OSError, RdbenchError):
        words = shlex.split(record.command.replace("--dataset=", "--dataset "))
        given = next((value for name, value in pairwise(words) if name == "--dataset"), None)
        if given is not None and Path(given.partition(":")[0]).expanduser().exists():
            found = dataset.resolve(given, places.data_root, places.ffmpeg)
            return [sequence for sequence in found if sequence.name == record.sequence and _is_there(sequence)]
    return []


def rebuild_job(record: Record, tool: Tool, clip: dataset.Sequence, places: Places) -> Job:
    """The job with the record's settings, to run on this machine. Raises NotCheckable for other test conditions."""
    name = record.conditions.partition("/")[0]
    if name not in CONDITIONS or CONDITIONS[name].stamp != record.conditions:
        here = ", ".join(conditions.stamp for conditions in CONDITIONS.values())
        raise NotCheckable(f"conditions: {shown(record.conditions)} in the record, this version has {here}")
    video, device = clip.open(places.ffmpeg, record.frames), _device(record, tool.codec, places.device)
    return Job(
        codec=tool.name, name=record.codec, codec_version=tool.version,
        settings=tool.codec.settings.model_dump(mode="json"), sequence=clip.to_dict(),
        format=format_to_dict(video.format), clip_sha256=record.clip_sha256, frames=record.frames,
        point=record.rate_point, point_settings=dict(record.identity.get("point") or {}), conditions=name,
        seed=record.seed, command=record.command, preset=record.preset, metrics=measured_metrics(record),
        device=device, precision=tool.codec.precision(device_class(device)), threads=min(record.threads, MOST_THREADS),
        threads_decide_bits=tool.codec.threads_decide_bits, timeout=places.timeout, ffmpeg=places.ffmpeg,
        programs=dict(tool.codec.programs),
    )  # fmt: skip


def _device(record: Record, codec: Codec, wanted: str) -> str:
    """The device that the user asks for; by default the record's own, where this machine has it."""
    return "cpu" if wanted == "auto" and record.device == "cpu" else choose_device(wanted, codec.kind)
