"""What people call series: the codec, and what differs between its series, in words."""

import json
import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from .hull import HULL


def series_labels(each: pd.DataFrame, frames_differ: bool) -> tuple[dict[int, str], dict[int, str]]:
    """The label of each series by its number, and the same without its conditions.

    `each` has a row for each series with what decides it, `shown` (what labels call its codec), `frames` in words, and
    `hull`; `frames_differ` names the frames.
    """
    several_conditions = each["conditions"].nunique() > 1
    labels: dict[int, str] = {}
    names: dict[int, str] = {}
    for _, own in each.groupby("codec", sort=False):
        parts = _distinctions(own, frames_differ)
        for number in own.index:
            texts = [str(own.loc[number, "shown"]), *(text for text in parts[number] if text)]
            names[number] = ", ".join(texts)
            conditions = own.loc[number, "conditions"] if several_conditions else None
            labels[number] = ", ".join([*texts, *([str(conditions)] if conditions else [])])
    return _unique(labels, each), names


def _distinctions(own: pd.DataFrame, frames_differ: bool) -> dict[int, list[str]]:
    """What the label of each series of one codec adds to the codec's name."""
    parts: dict[int, list[str]] = {number: [] for number in own.index}
    if len(own) > 1:
        _add_what_differs(parts, own)
    _add(parts, own["origin"].map(lambda text: f"from {text}" if text else None))
    if frames_differ:
        _add(parts, own["frames"])
    _add(parts, own["clip"].map(lambda text: f"clip {text}" if text else None))
    _add(parts, own["hull"].map(lambda chosen: HULL if chosen else None))
    return parts


def _add_what_differs(parts: dict[int, list[str]], own: pd.DataFrame) -> None:
    """Adds what differs between several series of one codec."""
    if own["preset"].nunique() > 1:
        _add(parts, own["preset"].map(lambda v: None if missing(v) else f"preset {v}" if v else "no preset"))
    for key in differing_settings(own):
        _add(parts, own["settings"].map(lambda v, key=key: setting_text(v, key)))
    if own["version"].nunique() > 1:
        _add(parts, _without_common_words(own["version"]))
    if own["device"].nunique() > 1:
        _add(parts, own["device"])
    if (own.groupby("device")["precision"].nunique() > 1).any():
        _add(parts, own["precision"])


def _add(parts: dict[int, list[str]], texts: "pd.Series[Any]") -> None:
    for number, text in texts.items():
        if text is not None and pd.notna(text):
            parts[int(str(number))].append(str(text))


def differing_settings(own: pd.DataFrame) -> list[str]:
    """The settings that differ between series of the same preset and version: those explain the others."""
    found: set[str] = set()
    for _, group in own.groupby(["preset", "version"], dropna=False):
        known = [json.loads(text) for text in group["settings"].dropna().unique()]
        names = {name for settings in known for name in settings}
        found |= {name for name in names if len({as_json(settings.get(name)) for settings in known}) > 1}
    return sorted(found)


def setting_text(text: Any, key: str) -> str | None:
    """`key=value` of settings as JSON; None where they lack the key."""
    settings = json.loads(text) if isinstance(text, str) else {}
    value = settings.get(key)
    return None if key not in settings else f"{key}={value if isinstance(value, str) else as_json(value)}"


def _without_common_words(versions: "pd.Series[Any]") -> "pd.Series[Any]":
    """`version` and those words of each version that are not in all of them; all where none would be left."""
    words = {text: str(text).split() for text in versions.dropna()}
    common = set.intersection(*(set(own) for own in words.values()))
    short = {text: " ".join(w for w in own if w not in common) or str(text) for text, own in words.items()}
    return versions.map(lambda text: None if missing(text) else f"version {short[text]}")


def _unique(labels: Mapping[int, str], each: pd.DataFrame) -> dict[int, str]:
    """The labels, with more where two are equal, or where one of several series has the codec's bare name."""
    found = dict(labels)
    texts = pd.Series(found)
    bare = texts.eq(each["shown"]) & each.groupby("codec")["codec"].transform("size").gt(1)
    for text in dict.fromkeys(texts[texts.duplicated(keep=False) | bare]):
        numbers = list(texts.index[texts == text])
        rivals = each[each["codec"] == each.loc[numbers[0], "codec"]]
        lacking = [
            column for column in ("preset", "version", "device", "precision", "settings", "frames")
            if rivals[column].fillna("\0").nunique() > 1 and rivals[column].isna().any()
        ]  # fmt: skip
        for place, number in enumerate(numbers, 1):
            unknown = [column for column in lacking if pd.isna(each.loc[number, column])][:1]
            added = [f"{column} not recorded" for column in unknown]
            found[number] = ", ".join([text, *added, *([f"no. {place}"] if len(numbers) > 1 else [])])
    return found


def missing(value: Any) -> bool:
    """Whether a cell is empty: pandas writes NaN for None where the other cells of a column are numbers."""
    return value is None or (isinstance(value, float) and math.isnan(value)) or value is pd.NA


def as_json(value: Any) -> str:
    """The value as JSON with sorted names, so that equal ones are written alike."""
    return json.dumps(value, sort_keys=True, default=str)
