"""What the check of a record finds: what does not hold, what cannot be checked here, and what is worth a note."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ...errors import RdbenchError

Result = Literal["holds", "does not hold", "cannot be checked", "failed"]
"""`failed`: the record says that its job failed, so there is nothing to check."""

ROUNDING = 1e-9
"""Largest relative difference of two values that are equal but for the rounding of floating-point arithmetic, which
differs between processors and libraries (our choice; measured values have 1e-12)."""
LONGEST_VALUE = 60
"""Characters of a value in a reason (our choice)."""


@dataclass(frozen=True)
class Finding:
    """One sentence about one field of a record. `result` None: a note, which does not change the record's result."""

    result: Literal["does not hold", "cannot be checked"] | None
    text: str


class NotAsRecorded(RdbenchError):
    """Something is not as the record says."""


class NotCheckable(RdbenchError):
    """Something that the check needs is missing on this machine, or in the record."""


def wrong(text: str) -> Finding:
    """A finding that the record does not hold."""
    return Finding("does not hold", text)


def unknown(text: str) -> Finding:
    """A finding that something could not be checked."""
    return Finding("cannot be checked", text)


def note(text: str) -> Finding:
    """A finding that leaves the result as it is."""
    return Finding(None, text)


def finding_of(error: RdbenchError) -> Finding:
    """NotAsRecorded does not hold; any other error means that something cannot be checked."""
    return wrong(str(error)) if isinstance(error, NotAsRecorded) else unknown(str(error))


def overall(findings: list[Finding]) -> Result:
    """The result of a record: the worst of its findings."""
    results = {finding.result for finding in findings}
    if "does not hold" in results:
        return "does not hold"
    return "cannot be checked" if "cannot be checked" in results else "holds"


def same(a: object, b: object, tolerance: float = 0.0) -> bool:
    """Whether two values are equal: numbers but for rounding, or within an absolute tolerance."""
    if _is_number(a) and _is_number(b):
        return math.isclose(a, b, rel_tol=ROUNDING, abs_tol=tolerance)  # type: ignore[arg-type]
    return type(a) is type(b) and a == b


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def compare(field: str, recorded: object, actual: object, source: str, tolerance: float = 0.0) -> Iterator[Finding]:
    """Nothing where the values are the same, else a finding that names the field, both values and the source."""
    if not same(recorded, actual, tolerance):
        yield wrong(f"{field}: {shown(recorded)} in the record, {shown(actual)} {source}")


def compare_keys(
    field: str, recorded: Mapping[str, Any], actual: Mapping[str, Any], source: str
) -> Iterator[Finding]:  # fmt: skip
    """`compare` for each key of two mappings; a missing key counts as None."""
    for key in sorted({*recorded, *actual}):
        yield from compare(f"{field}.{key}", recorded.get(key), actual.get(key), source)


def shown(value: object) -> str:
    """A value in a reason: short, on one line, without control characters."""
    text = "nothing" if value is None else value if isinstance(value, str) else repr(value)
    return shorten(text)


def shorten(text: str, longest: int = LONGEST_VALUE) -> str:
    """The text without control characters, which could change what a terminal shows, cut where it is too long."""
    clean = "".join(c if c.isprintable() else "?" for c in text[: longest + 1])
    return clean if len(text) <= longest else f"{clean[:longest]}..."
