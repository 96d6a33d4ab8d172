"""Writes what was asked for as a sweep file, which `options.read_sweep` reads back to equal options."""

import json
from pathlib import Path
from typing import Any

from ..errors import UsageError
from .options import SweepOptions, read_sweep


def save_sweep(path: Path, options: SweepOptions, command: str) -> None:
    """Writes the options that were given, below the command as a comment; paths stay as they were given.

    A file that says the same already stays. Raises UsageError for one that says something else, and for a place that
    cannot be written.
    """
    if path.exists():
        if read_sweep(path) != options:
            raise UsageError(f"{path} is another sweep already; give another name to --save-sweep.")
        return
    try:
        text = sweep_text(options, command).encode()
    except UnicodeEncodeError as error:
        raise UsageError(f"A name in these options cannot be written to {path}, which is UTF-8; rename it.") from error
    partial = path.with_name(f"{path.name}.partial")
    try:
        partial.write_bytes(text)
        partial.replace(path)
    except OSError as error:
        raise UsageError(f"{path} cannot be written ({error.strerror}); give another name to --save-sweep.") from error


def sweep_text(options: SweepOptions, command: str) -> str:
    """The file's text: a key for each option that was given."""
    values = options.model_dump(exclude_none=True)
    comment = " ".join(_printable(command).split())
    return "\n".join([f"# {comment}", *(f"{key} = {_toml(value)}" for key, value in values.items()), ""])


def _toml(value: Any) -> str:
    """A value in TOML."""
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, str | Path):
        return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
    return repr(value)


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text)
