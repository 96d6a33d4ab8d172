"""Damaged files of an earlier run are set aside, so that their job can be done again."""

import os
import shutil
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from ..clips.dataset import file_sha256
from ..errors import BitstreamError, RdbenchError
from ..report.results import RECORD, SCHEMA, read_record
from .checksum import checksum_path, verify_checksum
from .failure import LIMITS, describe_failure
from .files import BITSTREAM, ENCODING, LOG
from .machine import Machine

DAMAGED = ".damaged"
"""What the name of a file that was set aside ends with."""


class Encoding(BaseModel):
    """What ENCODING must contain for its bitstream to be kept."""

    model_config = ConfigDict(allow_inf_nan=False, validate_by_name=True, serialize_by_alias=True)

    schema_number: int = Field(alias="schema", ge=SCHEMA, le=SCHEMA)
    seconds: float = Field(gt=0)
    parts: dict[str, float]
    report: dict[str, Any]
    device: str
    peak_memory_mb: float | None
    energy: float | None
    machine: Machine
    jobs: int | None
    threads: int


def kept_encoding(folder: Path) -> dict[str, Any] | None:
    """What the encoder of an earlier run reported; None where there is none, or it or its bitstream is damaged.

    Damaged ones are set aside, which a line in the log and on standard error says.
    """
    bitstream, result_file = folder / BITSTREAM, folder / ENCODING
    if bitstream.exists() and not bitstream.is_file():
        _set_bitstream_aside(folder, f"{BITSTREAM} is no file")
        return None
    if not result_file.exists():
        return None
    try:
        result = Encoding.model_validate_json(result_file.read_bytes()).model_dump()
    except (OSError, ValueError) as error:
        set_aside(result_file)
        say(folder, f"{ENCODING} is damaged or of another version ({describe_failure(error)})")
        return None
    if not is_whole(bitstream):
        _set_bitstream_aside(folder, f"{BITSTREAM} is not the one that was written")
        return None
    return result


def is_whole(bitstream: Path, sha256: str | None = None) -> bool:
    """Whether the bitstream is there as it was written, by its checksum file and, where known, by its SHA-256."""
    if not bitstream.is_file():
        return False
    with suppress(BitstreamError):
        verify_checksum(bitstream)
        return sha256 is None or file_sha256(bitstream) == sha256
    return False


def heal_bitstream(folder: Path, reason: str) -> bool:
    """Sets aside a kept bitstream that did not decode; False where the reason is another, or it happened before."""
    if any(word in reason for word in LIMITS) or _aside(folder / BITSTREAM).exists():
        return False
    _set_bitstream_aside(folder, f"{BITSTREAM} of an earlier run does not decode ({reason})")
    return True


def heal_record(folder: Path) -> None:
    """Sets aside a record that cannot be read, or that a later version of rdbench wrote."""
    if not (folder / RECORD).exists():
        return
    try:
        read_record(folder / RECORD)
    except RdbenchError as error:
        set_aside(folder / RECORD)
        say(folder, f"{RECORD} cannot be used ({error})")


def _set_bitstream_aside(folder: Path, reason: str) -> None:
    for path in (folder / BITSTREAM, checksum_path(folder / BITSTREAM), folder / ENCODING):
        set_aside(path)
    say(folder, reason)


def set_aside(path: Path) -> None:
    """Renames the file or folder to end with DAMAGED, in place of an earlier one; nothing where there is none."""
    if not path.exists():
        return
    remove(_aside(path))
    os.replace(path, _aside(path))


def remove(path: Path) -> None:
    """Removes a file or a folder with all that is in it; nothing where there is none."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _aside(path: Path) -> Path:
    return path.with_name(path.name + DAMAGED)


def say(folder: Path, reason: str) -> None:
    """Writes a line to the job's log and to standard error: what was set aside, and that the job is done again."""
    line = f"{folder}: {reason}; it was set aside as *{DAMAGED}, and the job is done again."
    print(line, file=sys.stderr)
    with (folder / LOG).open("a", encoding="utf-8", errors="backslashreplace") as log:
        log.write(f"== {line}\n")
