"""The color and the marker of each series: by the codec's name, so that they stay when others come and go."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

COLORS = 10
"""How many colors the style sheet has for curves, in its light and in its dark form (`--c0` to `--c9`)."""
MARKERS = 8
"""How many markers the page can draw."""
_STEP = 3
"""From a color that is taken to the next one to try; it has no divisor in common with COLORS, so all are tried."""


@dataclass(frozen=True)
class Style:
    """The numbers of a color (below COLORS) and of a marker (below MARKERS)."""

    color: int
    marker: int


def styles(codecs: Sequence[str], known: Sequence[str] = ()) -> list[Style]:
    """The style of each series, given its codec's name, the measured ones first.

    `known` are the names of all codecs that can be run, in their fixed order: a name's place in it, or else its hash,
    decides color and marker alone, unless two families of one page want one color; then the one that stands first
    among `known` keeps it, and the other takes the next that is free. Codecs of one family (equal up to the first
    hyphen or bracket) share a color, and so do the series of a codec; their markers differ.
    """
    places = {name: place for place, name in enumerate(known)}
    colors = _colors(codecs, places)
    taken: dict[int, set[int]] = {}
    found = []
    for name in codecs:
        color = colors[family(name)]
        marker = _free(_preferred(name, places), taken.setdefault(color, set()), MARKERS, 1)
        taken[color].add(marker)
        found.append(Style(color, marker))
    return found


def family(codec: str) -> str:
    """What related codecs have in common: the name up to its first hyphen, without settings in brackets."""
    return _bare(codec).split("-")[0]


def _bare(codec: str) -> str:
    return codec.split("[")[0]


def _colors(codecs: Sequence[str], places: dict[str, int]) -> dict[str, int]:
    """The color of each family; the known ones choose first, so that no order and no other codec moves theirs."""
    colors: dict[str, int] = {}
    families = {family(codec) for codec in codecs}
    for name in sorted(families, key=lambda family: (places.get(family, len(places)), family)):
        colors[name] = _free(_preferred(name, places), set(colors.values()), COLORS, _STEP)
    return colors


def _preferred(name: str, places: dict[str, int]) -> int:
    """A number that depends on the name alone."""
    name = _bare(name)
    if name in places:
        return places[name]
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")


def _free(wanted: int, taken: set[int], count: int, step: int) -> int:
    """The first number below `count` from the wanted one on that is not taken; the wanted one where all are."""
    tries = [(wanted + step * again) % count for again in range(count)]
    return next((number for number in tries if number not in taken), tries[0])
