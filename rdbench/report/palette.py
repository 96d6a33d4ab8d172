"""The color and the marker of each series: by the codec's name, so that they stay when others come and go."""

import hashlib
from collections.abc import Mapping, Sequence
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

    `known` are the names of all codecs that can be run, in their fixed order: a codec's place in it decides its color
    and its marker. Where that color is of one before it among those present, it has the next free one, so that up to
    COLORS families have different colors; where there are more, those that share a color have other markers. A name
    that is not known has those of its hash, or the next ones that are free. Codecs of one family (equal up to the first
    hyphen or bracket) share a color, and so do the series of a codec; their markers differ.
    """
    places: dict[str, int] = {}
    for place, name in enumerate(known):
        places.setdefault(family(name), place)
    colors = _colors(codecs, places)
    places |= {name: place for place, name in enumerate(known)}
    taken: dict[int, set[int]] = {}
    found = []
    for name in codecs:
        color = colors[family(name)]
        marker = _free(_preferred(_bare(name), places), taken.setdefault(color, set()), MARKERS, 1)
        taken[color].add(marker)
        found.append(Style(color, marker))
    return found


def family(codec: str) -> str:
    """What related codecs have in common: the name up to its first hyphen, without settings in brackets."""
    return _bare(codec).split("-")[0]


def _bare(codec: str) -> str:
    return codec.split("[")[0]


def _colors(codecs: Sequence[str], places: Mapping[str, int]) -> dict[str, int]:
    """The color of each family: theirs by their place, or by their hash, where it is free, else the next free one.

    Known ones choose first, in their own order, and then the others in the order in which they stand. Places that are
    COLORS apart have other colors: each such row begins one color later.
    """
    families = list(dict.fromkeys(family(codec) for codec in codecs))
    colors: dict[str, int] = {}
    for name in sorted(families, key=lambda name: places.get(name, len(places))):
        wanted = _preferred(name, places)
        wanted += wanted // COLORS if name in places else 0
        colors[name] = _free(wanted, set(colors.values()), COLORS, _STEP)
    return colors


def _preferred(name: str, places: Mapping[str, int]) -> int:
    """A number that depends on the name alone."""
    if name in places:
        return places[name]
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")


def _free(wanted: int, taken: set[int], count: int, step: int) -> int:
    """The first number below `count` from the wanted one on that is not taken; the wanted one where all are."""
    tries = [(wanted + step * again) % count for again in range(count)]
    return next((number for number in tries if number not in taken), tries[0])
