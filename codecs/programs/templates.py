"""Templates of command lines: in an argument `{name}` is replaced by a value, and `{{` by a brace."""

import string
from collections.abc import Iterable, Mapping


def field_names(template: str) -> set[str]:
    """The names of the fields of a template."""
    return {name for _, name, _, _ in string.Formatter().parse(template) if name is not None}


def fill(templates: Iterable[str], values: Mapping[str, object]) -> list[str]:
    """The arguments with their fields replaced by values; each remains one argument."""
    return [template.format_map(values) for template in templates]


def fill_known(template: str, values: Mapping[str, object]) -> str | None:
    """The text of a template; None where it has a field without a value."""
    return template.format_map(values) if field_names(template) <= values.keys() else None
