"""Finds the reference software that users build themselves, HM and VTM: programs, version, cfg folder."""

import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from rdbench.card import Host
from rdbench.clips.config import configured
from rdbench.errors import EncoderError, RdbenchError

from .process import read_printed
from .program_digest import program_digest

_BANNER = re.compile(r"(?:HM software|VVCSoftware): (VTM )?(Encoder|Decoder) Version \[?(\d+)\.(\d+)[^\]\s]*")
_LEVELS = 7
"""Number of folders above a program in which to look for its cfg folder (our choice); cmake nests up to five."""


@dataclass(frozen=True)
class Software:
    """One reference software: the names of its programs, and the oldest supported version."""

    name: str
    title: str
    encoders: tuple[str, ...]
    decoders: tuple[str, ...]
    oldest: int

    @property
    def variable(self) -> str:
        """Name of the environment variable for its folder."""
        return f"RDBENCH_{self.name.upper()}"

    @property
    def remedy(self) -> str:
        """Instructions for installing and specifying it, for an error sentence."""
        return (
            f'build it and name its folder with {self.name}[path=DIR], {self.variable}=DIR, or {self.name} = "DIR" in '
            f"config.toml, or put {self.encoders[0]} and {self.decoders[0]} on PATH"
        )


HM = Software("hm", "HM", ("TAppEncoderStatic", "TAppEncoder"), ("TAppDecoderStatic", "TAppDecoder"), 16)
VTM = Software("vtm", "VTM", ("EncoderAppStatic", "EncoderApp"), ("DecoderAppStatic", "DecoderApp"), 10)
"""HM 16 has the range extensions, VTM 10 is the first of the final standard (no older ones: our choice)."""


@dataclass(frozen=True)
class Program:
    """An encoder or decoder that was run, and the version that it printed, as `18.0`."""

    path: Path
    version: str


def find_encoder(software: Software, host: Host) -> Program:
    """The encoder of this machine. Raises EncoderError: missing, of another kind, too old, unlike the decoder."""
    encoder = _identified(software, _locate(software, host, software.encoders), "Encoder")
    decoder = find_decoder(software, host)
    if encoder.version != decoder.version:
        raise EncoderError(
            f"{encoder.path} is {software.title} {encoder.version} but {decoder.path} is {decoder.version}; "
            "use both programs of one build."
        )
    return encoder


def find_decoder(software: Software, host: Host) -> Program:
    """The decoder of this machine. Raises EncoderError: missing, of another kind, too old."""
    return _identified(software, _locate(software, host, software.decoders), "Decoder")


def find_cfg(software: Software, host: Host, encoder: Program) -> Path:
    """The software's cfg folder: the given one, or the one in a folder above the encoder. Raises EncoderError."""
    given = host.programs.get(f"{software.name}.cfg")
    above = list(encoder.path.resolve().parents)[:_LEVELS]
    folders = [Path(given).expanduser()] if given else [parent / "cfg" for parent in above]
    for folder in folders:
        if any(folder.glob("encoder_randomaccess*.cfg")):
            return folder
    where = f"in {folders[0]}" if given else f"beside or above {encoder.path}"
    raise EncoderError(
        f"There are no configurations of {software.title} (encoder_randomaccess*.cfg) {where}; "
        f"name the cfg folder of its sources with {software.name}[cfg=DIR]."
    )


def describe(software: Software, host: Host) -> str:
    """The version for a record, as `VTM 20.0 (cfg 1f2e3d4c, encoder 5a6b7c8d)`: hashes of what decides the bits."""
    encoder = find_encoder(software, host)
    digest = hashlib.sha256()
    for path in sorted(find_cfg(software, host, encoder).glob("*.cfg")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    cfg, program = digest.hexdigest()[:8], program_digest([encoder.path])
    return f"{software.title} {encoder.version} (cfg {cfg}, encoder {program})"


def found(software: Software, host: Host) -> str:
    """Version and path, for `rdbench codecs`. Raises EncoderError."""
    return f"{describe(software, host)}, {find_encoder(software, host).path}"


def lacks(software: Software, host: Host) -> str | None:
    """None if the programs and their cfg folder are installed, else a sentence that names what is missing."""
    try:
        describe(software, host)
    except (RdbenchError, OSError) as error:
        return str(error)
    return None


def named_elsewhere(software: Software) -> dict[str, str]:
    """The folder that the environment or config.toml names, as an entry of `Codec.programs` for `_place`.

    A decoder runs without the user's configuration and home, so it must not look there itself.
    """
    for place, named in _places(software):
        if named:
            return {f"{software.name}.{place}": str(Path(named).expanduser())}
    return {}


def _places(software: Software) -> Iterator[tuple[str, str | None]]:
    """Where a folder can be named but for the option: the place, and what it says."""
    yield software.variable, os.environ.get(software.variable)
    yield "config.toml", configured(software.name)


def _place(software: Software, host: Host) -> tuple[str, str] | None:
    """The folder that the user named, and the place where; in the order of `rdbench.clips.dataset.data_root`."""
    if option := host.programs.get(software.name):
        return option, "the option path"
    for place in (software.variable, "config.toml"):
        if known := host.programs.get(f"{software.name}.{place}"):
            return known, place
    return next(((named, place) for place, named in _places(software) if named), None)


def _locate(software: Software, host: Host, names: tuple[str, ...]) -> Path:
    place = _place(software, host)
    if place is None:
        on_path = next((found for name in names if (found := shutil.which(name))), None)
        if on_path is None:
            raise EncoderError(f"There is no {software.title} ({names[0]}); {software.remedy}.")
        return Path(on_path)
    folder = Path(place[0]).expanduser()
    if not folder.is_absolute():
        raise EncoderError(f"{place[1]} names {folder}, but jobs run in folders of their own; give an absolute path.")
    for inside in (folder, folder / "bin"):
        for name in names:
            if (inside / name).is_file():
                return (inside / name).absolute()
    raise EncoderError(
        f"There is no {names[0]} in {folder} or {folder / 'bin'}, which {place[1]} names; "
        f"give the folder with {names[0]}."
    )


def _identified(software: Software, path: Path, role: str) -> Program:
    banner = _BANNER.search(_printed(str(path), path.stat().st_mtime_ns))
    if banner is None:
        raise EncoderError(f"{path} does not say that it is {software.title}; give another build of it.")
    title, version = ("VTM" if banner[1] else "HM"), f"{banner[3]}.{banner[4]}"
    if (title, banner[2]) != (software.title, role):
        raise EncoderError(
            f"{path} is the {banner[2].lower()} of {title} {version}, not the {role.lower()} of {software.title}; "
            "give the right one."
        )
    if int(banner[3]) < software.oldest:
        raise EncoderError(f"{path} is {title} {version}; build {software.title} {software.oldest}.0 or newer.")
    return Program(path, version)


@lru_cache(maxsize=16)
def _printed(path: str, changed: int) -> str:
    """The version and the help that the program prints without arguments; run again when the file has changed."""
    return read_printed([path], 60, "build it for this machine")
