"""The reference software that users build themselves, HM and VTM: where it lies, its version, its cfg folder."""

import hashlib
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from rdbench.clips.config import configured
from rdbench.codec import Host
from rdbench.errors import EncoderError, RdbenchError

_BANNER = re.compile(r"(?:HM software|VVCSoftware): (VTM )?(Encoder|Decoder) Version \[?(\d+)\.(\d+)[^\]\s]*")
_LEVELS = 7
"""How many folders above a program its cfg folder is looked for (our choice): cmake builds lie up to five deep."""


@dataclass(frozen=True)
class Software:
    """One reference software: the names of its programs, and the oldest version whose options we give."""

    name: str
    title: str
    encoders: tuple[str, ...]
    decoders: tuple[str, ...]
    oldest: int

    @property
    def variable(self) -> str:
        """The environment variable with its folder."""
        return f"RDBENCH_{self.name.upper()}"

    @property
    def remedy(self) -> str:
        """How to point at it."""
        return (
            f'build it and say where with {self.name}[path=DIR], {self.variable}=DIR, or {self.name} = "DIR" in '
            f"config.toml, or put {self.encoders[0]} and {self.decoders[0]} on PATH"
        )


HM = Software("hm", "HM", ("TAppEncoderStatic", "TAppEncoder"), ("TAppDecoderStatic", "TAppDecoder"), 16)
VTM = Software("vtm", "VTM", ("EncoderAppStatic", "EncoderApp"), ("DecoderAppStatic", "DecoderApp"), 10)
"""HM 16 has the range extensions, VTM 10 is the first of the final standard (the oldest versions are our choice)."""


@dataclass(frozen=True)
class Program:
    """An encoder or decoder that answered, and the version that it told, as `18.0`."""

    path: Path
    version: str


def find_encoder(software: Software, host: Host) -> Program:
    """The encoder of this machine. Raises EncoderError: none there, of another kind, too old, unlike the decoder."""
    encoder = _identified(software, _locate(software, host, software.encoders), "Encoder")
    decoder = find_decoder(software, host)
    if encoder.version != decoder.version:
        raise EncoderError(
            f"{encoder.path} is {software.title} {encoder.version} but {decoder.path} is {decoder.version}; "
            "take both programs from one build."
        )
    return encoder


def find_decoder(software: Software, host: Host) -> Program:
    """The decoder of this machine; errors as of `find_encoder`."""
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
    """The version for a record, as `VTM 20.0 (cfg 1f2e3d4c)`: the cfg files decide the bits as much as the program."""
    encoder = find_encoder(software, host)
    digest = hashlib.sha256()
    for path in sorted(find_cfg(software, host, encoder).glob("*.cfg")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return f"{software.title} {encoder.version} (cfg {digest.hexdigest()[:8]})"


def found(software: Software, host: Host) -> str:
    """For `rdbench codecs`: the version and where it lies. Raises as `find_encoder` does."""
    return f"{describe(software, host)}, {find_encoder(software, host).path}"


def lacks(software: Software, host: Host) -> str | None:
    """None if the programs and their cfg folder are here, else the sentence that says what is missing."""
    try:
        describe(software, host)
    except (RdbenchError, OSError) as error:
        return str(error)
    return None


def _place(software: Software, host: Host) -> tuple[str, str] | None:
    """The folder that somebody named, and where they did; the order of `rdbench.clips.dataset.data_root`."""
    if option := host.programs.get(software.name):
        return option, "the option path"
    if variable := os.environ.get(software.variable):
        return variable, software.variable
    if entry := configured(software.name):
        return entry, "config.toml"
    return None


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
    told = _BANNER.search(_ask(str(path), path.stat().st_mtime_ns))
    if told is None:
        raise EncoderError(f"{path} does not say that it is {software.title}; give another build of it.")
    title, version = ("VTM" if told[1] else "HM"), f"{told[3]}.{told[4]}"
    if (title, told[2]) != (software.title, role):
        raise EncoderError(
            f"{path} is the {told[2].lower()} of {title} {version}, not the {role.lower()} of {software.title}; "
            "give the right one."
        )
    if int(told[3]) < software.oldest:
        raise EncoderError(f"{path} is {title} {version}; build {software.title} {software.oldest}.0 or newer.")
    return Program(path, version)


@lru_cache(maxsize=16)
def _ask(path: str, changed: int) -> str:
    """What the program prints without arguments: its version, and help. It is asked again when the file changes."""
    try:
        done = subprocess.run([path], stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False)
    except (OSError, subprocess.SubprocessError) as error:
        raise EncoderError(f"{path} cannot be run ({error}); build it for this machine.") from error
    return (done.stdout + done.stderr).decode(errors="replace")
