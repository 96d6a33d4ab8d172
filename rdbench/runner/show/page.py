"""The frames of a report page: pairs of codecs decoded within a budget of time and bytes, and a line on what is not."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import RdbenchError
from ...report.page.fails import Candidate, candidates, entry, image_room
from ...report.page.rows import locate
from ..verify.findings import shorten
from ..verify.rebuild import Places
from .compare import compare_points, rate_note, renamed
from .points import Point, nearest_pair, read_point

SECONDS = 120.0
"""Time for all decodings together (our choice)."""
LONGEST_REASON = 300
"""Letters of a reason in a note (our choice)."""
MOST_NOTES = 4
"""Notes that a page has on what cannot be shown, before it only counts them (our choice)."""


@dataclass(frozen=True)
class FrameBudget:
    """How much of a page may be frames."""

    frames: int
    """For each pair of codecs on a sequence."""
    seconds: float = SECONDS


def with_frames(
    data: Mapping[str, Any], folders: tuple[Path, ...], budget: FrameBudget, places: Places,
    say: Callable[[str], None],
) -> dict[str, Any]:  # fmt: skip
    """The page's data with the frames of pairs of codecs at the nearest bits, as far as time and bytes allow.

    `say` gets a line before each pair. Whatever cannot be shown becomes a note in the page; it raises nothing for that.
    """
    if budget.frames < 1:
        return dict(data)
    wanted = candidates(data)
    found = list(_within(_entries(data, wanted, locate(folders), budget, places, say), image_room(data)))
    entries = [one for one in found if isinstance(one, dict)]
    notes = _shortened(list(dict.fromkeys(one for one in found if isinstance(one, str))))
    return {**data, "fails": {"comparisons": entries, "notes": notes}}


def _shortened(notes: list[str]) -> list[str]:
    """The first MOST_NOTES, and how many more there are: folders may lack all of their bitstreams."""
    more = len(notes) - MOST_NOTES
    return notes if more <= 1 else [*notes[:MOST_NOTES], f"The frames of {more} more pairs cannot be shown either."]


def _within(parts: Iterator[dict[str, Any] | str], room: int) -> Iterator[dict[str, Any] | str]:
    """The parts as long as there is room for them; then a note, without decoding what is left."""
    spent = 0
    for part in parts:
        size = len(json.dumps(part)) if isinstance(part, dict) else 0
        if spent + size > room:
            yield "Frames of some pairs of codecs were left out to keep the page small; --frames takes fewer of each."
            return
        spent += size
        yield part


def _entries(
    data: Mapping[str, Any], wanted: list[Candidate], folders: Mapping[str, Path], budget: FrameBudget, places: Places,
    say: Callable[[str], None],
) -> Iterator[dict[str, Any] | str]:  # fmt: skip
    """An entry, or a note, for each pair."""
    end = time.monotonic() + budget.seconds
    for place, candidate in enumerate(wanted):
        left = end - time.monotonic()
        if left <= 0:
            pairs = f"{len(wanted) - place} pair{'s' if len(wanted) - place > 1 else ''} of codecs on a sequence"
            took = f"{budget.seconds:g} seconds; --frames-seconds gives it more."
            yield f"Frames of {pairs} were left out, since those of the others took {took}"
            return
        labels = _labels(data, candidate)
        name = f"{labels[0]} and {labels[1]} on {candidate.sequence}"
        say(f"Frames {place + 1}/{len(wanted)}: {shorten(name, LONGEST_REASON)}")
        try:
            yield _entry(candidate, labels, folders, budget.frames, places, left)
        except RdbenchError as error:
            yield f"No frames of {name}: {shorten(str(error), LONGEST_REASON)}"
        except Exception as error:  # whatever a record does, the page is made
            yield f"No frames of {name}: {type(error).__name__}: {shorten(str(error), LONGEST_REASON)}"


def _labels(data: Mapping[str, Any], candidate: Candidate) -> tuple[str, str]:
    first, second = (str(data["series"][number]["label"]) for number in candidate.series)
    return first, second


def _entry(
    candidate: Candidate, labels: tuple[str, str], folders: Mapping[str, Path], frames: int, places: Places,
    seconds: float,
) -> dict[str, Any]:  # fmt: skip
    """Raises RdbenchError where the pair cannot be shown."""
    points = [[point for key in ids if (point := _readable(folders.get(key))) is not None] for ids in candidate.ids]
    pair = nearest_pair(points[0], points[1])
    if pair is None:
        raise RdbenchError("there are no two finished records with the same frames.")
    comparison = renamed(compare_points(*pair, frames, places, seconds), labels)
    return entry(candidate, [point.record.id for point in pair], comparison, rate_note(comparison))


def _readable(folder: Path | None) -> Point | None:
    """The point of a folder; None where there is no finished record in it."""
    try:
        return None if folder is None else read_point(folder)
    except RdbenchError:
        return None
