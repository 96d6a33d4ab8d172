"""A codec declared in a TOML file: the schema of the file, and the check of its command templates.

A command is a list of arguments, never a line for a shell; `templates.py` says what an argument may hold.
"""

import re
import string
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError, model_validator

from rdbench.codec import Kind, Value
from rdbench.errors import UsageError, did_you_mean

from .declared_programs import DEFAULT_FOLDER, DEFAULT_KIND, read_tables
from .templates import field_names

FileKind = Literal["yuv", "y4m", "png"]

SHARED = ("python", "ffmpeg", "threads", "device", "scratch", "here")
"""Fields that every command may use; `here` is the folder of the TOML file."""
ENCODING = ("input", "bitstream", "rate", "width", "height", "fps", "fps_num", "fps_den", "frames", "last", "chroma",
            "depth", "seed")  # fmt: skip
DECODING = ("bitstream", "output")


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class VersionPart(_Part):
    """The program's version: the first group of the regular expression `pattern` in what `command` prints."""

    command: tuple[str, ...] = Field(min_length=1)
    pattern: str


class SettingPart(_Part):
    """An option of the codec. With `path` it is a file or folder of this machine, and decoding gets it too."""

    default: Value | None = None
    choices: tuple[Value, ...] = ()
    path: bool = False
    help: str = ""


class RatePart(_Part):
    """The rate points: `label` contains {rate}, `points` go from few bits to many, `range` allows further values."""

    label: str
    points: tuple[int | FiniteFloat, ...] = Field(min_length=1)
    range: tuple[FiniteFloat, FiniteFloat] | None = None


class InputPart(_Part):
    """The encoder's input: raw planes, y4m, or a folder of 8-bit RGB images; `name` is the file's name."""

    format: FileKind
    name: str = ""
    chroma: tuple[Literal["420", "422", "444", "gray"], ...] = ("420",)
    depth: tuple[int, ...] = (8,)
    multiple: int = Field(1, ge=1)
    """Number that must divide width and height."""


class OutputPart(_Part):
    """The decoder's output; raw planes have the format of the input, from an 18-byte header before the bitstream."""

    format: FileKind
    name: str = ""


class CommandPart(_Part):
    """A command line, its working folder, additional environment variables, and a pattern for its progress.

    `progress` is a regular expression for the number of finished frames in the log.
    """

    command: tuple[str, ...] = Field(min_length=1)
    folder: str = DEFAULT_FOLDER
    environment: dict[str, str] = {}
    progress: str | None = None

    def templates(self) -> Iterable[str]:
        """Every string that may contain fields."""
        return (*self.command, self.folder, *self.environment.values())


class Declaration(_Part):
    """The contents of the file."""

    summary: str
    reference: str = ""
    kind: Kind = DEFAULT_KIND
    version: VersionPart
    settings: dict[str, SettingPart] = {}
    rate: RatePart
    input: InputPart
    encode: CommandPart
    decode: CommandPart
    output: OutputPart
    threads_decide_bits: bool = True
    """Whether another number of threads may give another bitstream; set false only where that was measured."""

    @property
    def uses_seed(self) -> bool:
        """Whether the encoder gets the seed: another one may give another bitstream."""
        return any("seed" in field_names(template) for template in self.encode.templates())

    @property
    def paths(self) -> tuple[str, ...]:
        """Names of the settings that are files or folders of this machine."""
        return tuple(name for name, setting in self.settings.items() if setting.path)

    @model_validator(mode="after")
    def _check(self) -> "Declaration":
        for name, setting in self.settings.items():
            if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or name in (*SHARED, *ENCODING, *DECODING):
                raise ValueError(f"the setting {name!r} needs another name")
            if setting.path and not isinstance(setting.default, str | None):
                raise ValueError(f"the default of the path {name!r} is not a string")
            if not setting.path and setting.default is None:
                raise ValueError(f"the setting {name!r} has no default")
        geometry = ("width", "height", "fps", "chroma", "depth")
        _check_fields("rate.label", [self.rate.label], ("rate",))
        _check_fields("input.name", [self.input.name], geometry)
        _check_fields("output.name", [self.output.name], ())
        if "rate" not in field_names(self.rate.label):
            raise ValueError(f"rate.label {self.rate.label!r} lacks {{rate}}, so that all points would have one label")
        for where, name in (("input.name", self.input.name), ("output.name", self.output.name)):
            if name in (".", "..") or re.search(r"[/\\\0]", name):
                raise ValueError(f"{where} {name!r} points outside its folder; give a plain file name")
        _check_fields("version.command", self.version.command, (*SHARED, *self.paths))
        _check_fields("encode", self.encode.templates(), (*SHARED, *ENCODING, *self.settings))
        _check_fields("decode", self.decode.templates(), (*SHARED, *DECODING, *self.paths))
        for pattern in (self.version.pattern, self.encode.progress, self.decode.progress):
            _check_pattern(pattern)
        return self


def _check_fields(where: str, templates: Iterable[str], known: Iterable[str]) -> None:
    for template in templates:
        try:
            parsed = list(string.Formatter().parse(template))
        except ValueError as error:
            raise ValueError(f"{where} has a template that is not understood, {template!r} ({error})") from error
        for _, name, spec, conversion in parsed:
            if name is None:
                continue
            if name not in known or spec or conversion:
                raise ValueError(f"{where} has the unknown field {{{name}}}{did_you_mean(name, known)}".rstrip("."))


def _check_pattern(pattern: str | None) -> None:
    if pattern is None:
        return
    try:
        groups = re.compile(pattern).groups
    except re.error as error:
        raise ValueError(f"the pattern {pattern!r} is no regular expression ({error})") from error
    if groups != 1:
        raise ValueError(f"the pattern {pattern!r} has {groups} groups; it needs exactly one")


def read_declaration(path: Path) -> tuple[Declaration, str]:
    """The declaration in a TOML file, and eight hex digits of the file's SHA-256. Raises UsageError."""
    tables, digest = read_tables(path)
    try:
        return Declaration(**tables), digest
    except ValidationError as error:
        raise UsageError(f"The codec {path} is not valid: {_explain(error)}.") from error


def _explain(error: ValidationError) -> str:
    first: Any = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return f"it has the unknown key {where!r}"
    if first["type"] == "missing":
        return f"it lacks {where!r}"
    if first["type"] == "tuple_type":
        return f"{where!r} must be a list, not one line for a shell"
    if first["type"] == "value_error":
        return str(first["ctx"]["error"])
    return f"{where!r} cannot be {first['input']!r} ({first['msg'].lower()})"
