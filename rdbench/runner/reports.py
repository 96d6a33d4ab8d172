"""What a codec says of itself, checked before it leaves its process: report, parts of the time, ledger."""

import math
import operator
from collections.abc import Mapping
from typing import Any

from ..errors import RdbenchError


def check_report(report: Any) -> dict[str, Any]:
    """What a record takes from `Workspace.report`, as plain values. Raises RdbenchError that names a wrong one."""
    if not isinstance(report, Mapping):
        raise RdbenchError(f"The codec replaced workspace.report by {type(report).__name__}; it must stay a dict.")
    checks = {
        "command": _text, "execution": _text, "shown_as": _text, "parameters": _count, "kmacs_per_pixel": _number,
        "render_fps": _number,
    }  # fmt: skip
    checked = {}
    for name, check in checks.items():
        if report.get(name) is not None:
            checked[name] = check(report[name], f"workspace.report[{name!r}]")
    return checked


def check_parts(seconds: Any) -> dict[str, float]:
    """The seconds of a stopwatch by part. Raises RdbenchError."""
    if not isinstance(seconds, Mapping):
        raise RdbenchError(f"The codec replaced its stopwatch's seconds by {type(seconds).__name__}.")
    return {str(name): _number(value, f"the stopwatch's part {str(name)!r:.60}") for name, value in seconds.items()}


def check_ledger(ledger: Any, size: int) -> dict[str, int]:
    """Bytes by part of a bitstream of `size` bytes. Raises RdbenchError where they do not add up to it."""
    if not isinstance(ledger, Mapping):
        raise RdbenchError(f"The codec's ledger is {type(ledger).__name__}, expected a dict of bytes by part.")
    checked = {str(name): _count(value, f"the ledger's part {str(name)!r:.60}") for name, value in ledger.items()}
    if sum(checked.values()) != size:
        raise RdbenchError(
            f"The codec's ledger adds up to {sum(checked.values())} bytes, and the bitstream has {size}; the ledger "
            "must account for every byte."
        )
    return checked


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise _wrong(value, name, "text")
    return value


def _count(value: Any, name: str) -> int:
    """A whole number that is not negative, of Python or NumPy."""
    try:
        number = operator.index(value)
    except TypeError as error:
        raise _wrong(value, name, "a whole number") from error
    if number < 0 or isinstance(value, bool):
        raise _wrong(value, name, "a whole number, not negative")
    return number


def _number(value: Any, name: str) -> float:
    """A finite number that is not negative, of Python, NumPy or torch."""
    try:
        number = math.nan if isinstance(value, str | bytes) else float(value)
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:
        raise _wrong(value, name, "a number") from error
    if not math.isfinite(number) or number < 0:
        raise _wrong(value, name, "a finite number, not negative")
    return number


def _wrong(value: Any, name: str, expected: str) -> RdbenchError:
    return RdbenchError(f"The codec gave {value!r:.60} as {name}, expected {expected}.")
