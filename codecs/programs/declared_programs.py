"""What a codec declared in TOML needs of this machine: paths, programs and their version.

It is read from the tables of the file without their schema, so that `rdbench codecs` imports no pydantic model.
"""

import hashlib
import re
import shlex
import shutil
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from rdbench.card import CodecCard, Host, Kind
from rdbench.errors import EncoderError, RdbenchError, UsageError
from rdbench.video.ffmpeg_program import find_ffmpeg

from .process import read_printed
from .program_digest import program_digest
from .templates import fill, fill_known

SHIPPED = Path(__file__).parents[1] / "declarations"
"""The folder of the declarations that rdbench brings along."""
DEFAULT_FOLDER = "{scratch}"
"""The working folder of a command whose declaration names none."""
DEFAULT_KIND: Kind = "conventional"


@dataclass(frozen=True)
class NamedPath:
    """A file or folder of this machine that an option of the codec names."""

    default: str | None
    help: str


@dataclass(frozen=True)
class Command:
    """The templates of a command line and of its working folder."""

    words: tuple[str, ...]
    folder: str


@dataclass(frozen=True)
class DeclaredPrograms:
    """The part of a declaration that says what must be installed, and which version of it is."""

    name: str
    here: Path
    """The folder of the TOML file."""
    digest: str
    """Eight hex digits of the file's SHA-256."""
    paths: Mapping[str, NamedPath]
    version_command: tuple[str, ...]
    version_pattern: str
    commands: tuple[Command, ...]
    """That of the encoder, and that of the decoder."""

    def missing(self, host: Host) -> str | None:
        """None, or the path that is not given or does not exist, or why the program's version cannot be read."""
        try:
            self.version(host)
        except RdbenchError as error:
            return str(error)
        return None

    def version(self, host: Host) -> str:
        """Name, version and hashes, as `kvazaar 9.0.2 (declared 1f2e3d4c, programs 5a6b7c8d)`. Raises EncoderError.

        The hashes are those of the TOML file and of the files that the commands name, see `_files`.
        """
        values = self.values(host)
        command = tuple(fill(self.version_command, values))
        printed = _printed(command)
        match = re.search(self.version_pattern, printed)
        if match is None:
            last = (printed.strip().splitlines() or ["nothing"])[-1]
            raise EncoderError(
                f"{shlex.join(command)} does not tell the version of {self.name} and prints {last!r}; "
                f"do what that asks for, give the right program, or correct version.pattern."
            )
        return f"{self.name} {match[1]} (declared {self.digest}, programs {program_digest(self._files(values))})"

    def values(self, host: Host) -> dict[str, object]:
        """The fields that need no clip: programs and paths. Raises EncoderError for a path that is missing."""
        values: dict[str, object] = {
            "python": sys.executable, "ffmpeg": find_ffmpeg(host.ffmpeg), "here": self.here, "threads": 1,
            "device": "cpu", "scratch": ".",
        }  # fmt: skip
        for name, path in self.paths.items():
            values[name] = self._located(name, path, host.programs.get(name, path.default))
        return values

    def _located(self, name: str, path: NamedPath, given: str | None) -> str | Path:
        if given is None:
            help_ = f" ({path.help})" if path.help else ""
            raise EncoderError(f"{self.name} needs {name}{help_}; give it with {self.name}[{name}=PATH].")
        place = Path(given).expanduser()
        on_path = shutil.which(given) if "/" not in given else None
        if on_path is None and not place.exists():
            raise EncoderError(
                f"There is no {given}, the {name} of {self.name}; give it with {self.name}[{name}=PATH]."
            )
        return on_path or place.absolute()

    def _files(self, values: Mapping[str, object]) -> list[str]:
        """The programs of both commands, and the files that their arguments name without a clip: scripts, weights.

        A Python that runs a script does not count, nor do folders: what they hold is for version.command to say.
        """
        known = {name: values[name] for name in ("ffmpeg", "here", *self.paths)}
        files: dict[str, None] = {}
        for command in self.commands:
            program = shutil.which(fill([command.words[0]], values)[0])
            if program is not None and not re.fullmatch(r"python[\d.]*(\.exe)?", Path(program).name):
                files[program] = None
            files |= dict.fromkeys(_named_files(command, known))
        return list(files)


def _named_files(command: Command, known: Mapping[str, object]) -> Iterator[str]:
    folder = fill_known(command.folder, known)
    for template in command.words[1:]:
        for name in (fill_known(template, known), fill_known(template.partition("=")[2], known)):
            if name and (folder or Path(name).is_absolute()) and (path := Path(folder or "/", name)).is_file():
                yield str(path)


@lru_cache(maxsize=32)
def _printed(command: tuple[str, ...]) -> str:
    return read_printed(command, 120, "install it, or give its path")


def read_tables(path: Path) -> tuple[dict[str, Any], str]:
    """The tables of a TOML file, and eight hex digits of the file's SHA-256. Raises UsageError."""
    try:
        raw = path.read_bytes()
        return tomllib.loads(raw.decode()), hashlib.sha256(raw).hexdigest()[:8]
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"The codec {path} cannot be read ({error}); check the file.") from error


def declared_programs(path: Path, tables: Mapping[str, Any], digest: str) -> DeclaredPrograms:
    """The programs of the codec in the file `path`, by valid tables, where keys with a default may be left out."""
    settings: Mapping[str, Mapping[str, Any]] = tables.get("settings", {})
    named = {
        name: NamedPath(setting.get("default"), setting.get("help", ""))
        for name, setting in settings.items() if setting.get("path")
    }  # fmt: skip
    parts = (tables["encode"], tables["decode"])
    commands = tuple(Command(tuple(part["command"]), part.get("folder", DEFAULT_FOLDER)) for part in parts)
    version = tables["version"]
    return DeclaredPrograms(
        path.stem, path.absolute().parent, digest, named, tuple(version["command"]), version["pattern"], commands
    )


def shipped_card(name: str, load: str) -> CodecCard:
    """The card of a declaration that rdbench brings along; `load` names its class."""
    path = SHIPPED / f"{name}.toml"
    tables, digest = read_tables(path)
    programs = declared_programs(path, tables, digest)
    return CodecCard(
        name, tables.get("kind", DEFAULT_KIND), tables["summary"], tables["reference"], "see rdbench plan", load,
        missing=programs.missing, found=programs.version,
    )  # fmt: skip
