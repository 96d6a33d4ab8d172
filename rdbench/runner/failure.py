"""What becomes of an error inside a job: the one sentence of its record, or the end of the run."""

import errno
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ..errors import RdbenchError

MOST_CHARACTERS = 2000
"""Longest reason that a record keeps (our choice); of a longer one the middle is left out."""
LIMITS = ("memory", "--timeout", "No space left")
"""Words of reasons that are due to this machine, not to a bitstream."""
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


def describe_failure(error: BaseException) -> str:
    """The error as one sentence, for a record."""
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        return plain_text(f"The job's {error.title.lower()} has a wrong value ({where}: {first['msg']}).")
    try:
        text = str(error)
    except Exception:  # the error's class may come from a codec of any package
        text = ""
    if isinstance(error, RdbenchError) and text:
        return plain_text(text)
    name = type(error).__name__
    return plain_text(f"{name}: {text}" if text else f"{name}.")


def describe_process_failure(error: BaseException) -> str:
    """The same for an error that ends a process, where lack of memory gets a remedy."""
    message = describe_failure(error)
    if isinstance(error, MemoryError) or "out of memory" in message.lower():
        return f"It ran out of memory ({message}); use a smaller size, or a machine with more."
    return message


def plain_text(text: str) -> str:
    """The text as one line that every file and terminal takes, of at most MOST_CHARACTERS."""
    if len(text) > MOST_CHARACTERS:
        half = MOST_CHARACTERS // 2 - 3
        text = f"{text[:half]} ... {text[-half:]}"
    shown = (character if character.isprintable() or character.isspace() else "\ufffd" for character in text)
    return " ".join("".join(shown).split())


def plain_values(value: Any) -> Any:
    """Settings and names as JSON takes them: lone surrogates are escaped, other objects become their text."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, Mapping):
        return {str(plain_values(name)): plain_values(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain_values(item) for item in value]
    return value if value is None or type(value) in (bool, int, float) else plain_text(repr(value))


def ends_run(error: BaseException, out: Path) -> bool:
    """Whether no job can write its results: the disk is full or read-only, or the output folder is not ours."""
    if not isinstance(error, OSError):
        return False
    if error.errno in _DISK:
        return True
    named = [Path(os.fsdecode(name)) for name in (error.filename, error.filename2) if isinstance(name, str | bytes)]
    folder = out.resolve()
    return error.errno == errno.EACCES and any(path.resolve().is_relative_to(folder) for path in named)
