"""What a codec says of itself: whether it can run, its version, its settings, its rate points."""

import json
import math
import re
from collections.abc import Mapping

from pydantic import ValidationError

from ..codec import Codec, RatePoint
from ..errors import RdbenchError, UsageError
from .check import NotApplicable, check
from .subject import ContractError, Subject

NO_SUCH = "no-such-thing"
"""A name that no codec uses for an option or a rate point."""


@check("rdbench/codec.py, Codec.missing")
def missing(subject: Subject) -> None:
    """`missing` gives None where the codec can run, else one sentence with the remedy, that ends with a period."""
    reason: object = subject.cls.missing(subject.host)
    if reason is None:
        return
    if not (isinstance(reason, str) and reason.endswith(".") and "\n" not in reason.strip() and len(reason) > 10):
        raise ContractError(f"missing gave {reason!r}.")
    raise NotApplicable(f"{subject.name} cannot run here: {reason}")


@check("rdbench/codec.py, Codec.version", needs=["missing"])
def version(subject: Subject) -> None:
    """`version` names what makes the bits, in one line of text, and gives the same each time that it is asked."""
    first: object = subject.cls.version(subject.host)
    if not isinstance(first, str) or not first.strip() or "\n" in first:
        raise ContractError(f"version gave {first!r}.")
    if (again := subject.cls.version(subject.host)) != first:
        raise ContractError(f"version gave {first!r}, and then {again!r}.")


@check("rdbench/codec.py, Codec.presets and SettingsBase")
def settings(subject: Subject) -> None:
    """All presets are valid settings that JSON can hold, and an unknown option is refused."""
    kind, required = subject.cls.Settings, _required(subject.cls)
    given = {name: value for name, value in dict(subject.spec.options).items() if name in required}
    for preset, values in {"(none)": {}, **subject.cls.presets}.items():
        try:
            made = kind(**{**given, **values})
            json.dumps(made.model_dump(mode="json"))
        except (ValidationError, TypeError, ValueError) as error:
            raise ContractError(f"The preset {preset} is not usable: {' '.join(str(error).split())[:200]}") from error
    try:
        kind(**{**given, NO_SUCH: 1})
    except ValidationError:
        return
    raise ContractError(f"The option {NO_SUCH!r} was accepted; keep extra='forbid' in the settings.")


def _required(cls: type[Codec]) -> set[str]:
    return {name for name, field in cls.Settings.model_fields.items() if field.is_required()}


@check("rdbench/codec.py, Codec.rate_points and RatePoint")
def rate_points(subject: Subject) -> None:
    """There is at least one default rate point; labels are unique and safe in a file name, settings plain values."""
    points = list(subject.codec.rate_points(subject.clip))
    if not points:
        raise ContractError("rate_points gave none.")
    for point in points:
        if not isinstance(point, RatePoint) or not isinstance(point.settings, Mapping):
            raise ContractError(f"rate_points gave {point!r}, which is no RatePoint with a label and settings.")
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]*", point.label):
            raise ContractError(f"The label {point.label!r} is not safe in a file name.")
        if wrong := [value for value in point.settings.values() if type(value) not in (str, int, float, bool)]:
            raise ContractError(f"The rate point {point.label} has the setting {wrong[0]!r}, which is no plain value.")
    labels = [point.label for point in points]
    if len(set(labels)) < len(labels):
        raise ContractError(f"The labels {', '.join(labels)} are not unique.")


@check("rdbench/codec.py, Codec.rate_point", needs=["rate_points"])
def rate_point(subject: Subject) -> None:
    """The label of a default rate point gives that rate point, and an unknown label is refused with a UsageError."""
    for point in subject.codec.rate_points(subject.clip):
        if (found := subject.codec.rate_point(point.label, subject.clip)) != point:
            raise ContractError(f"The label {point.label!r} gave {found}, and rate_points has {point}.")
    try:
        found = subject.codec.rate_point(NO_SUCH, subject.clip)
    except UsageError:
        return
    except Exception as error:
        raise ContractError(f"The label {NO_SUCH!r} raised {type(error).__name__}, not UsageError.") from error
    raise ContractError(f"The label {NO_SUCH!r} gave {found}.")


@check("rdbench/codec.py, Codec.estimate_seconds and expected_gpu_memory_mb", needs=["rate_points"])
def estimates(subject: Subject) -> None:
    """Estimates of time and memory are None or a finite number that is not negative."""
    given: dict[str, object] = {
        "estimate_seconds": subject.codec.estimate_seconds(subject.clip, subject.point, "cpu"),
        "expected_gpu_memory_mb": subject.codec.expected_gpu_memory_mb(subject.clip, subject.point),
    }
    for name, value in given.items():
        if value is not None and not (isinstance(value, int | float) and math.isfinite(value) and value >= 0):
            raise ContractError(f"{name} gave {value!r}.")


def can_run(subject: Subject) -> None:
    """Raises NotApplicable where the codec says that it cannot run here."""
    try:
        reason = subject.cls.missing(subject.host)
    except RdbenchError as error:
        reason = str(error)
    if isinstance(reason, str):
        raise NotApplicable(f"{subject.name} cannot run here: {reason}")
