"""The part of a page that shows where codecs fail: which pairs, and their frames as images in the page itself.

Crops are lossless WebP, so that every artifact is the codec's own and the page can compute error maps from them; the
small picture of the whole frame, which only shows where a crop is, is not.
"""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image as Pillow

from ..crops import Comparison, Crop, Image, Shot
from .document import MOST_BYTES, as_json
from .rows import rounded

IMAGE_BYTES = 8_000_000
"""Largest size of all images of a page, as text (our choice)."""
ROOM = 300_000
"""Bytes of a page besides its data and images: style, scripts and markup (our choice; they have 100 000)."""
WHOLE_PIXELS = 480
"""Largest width or height of the picture of a whole frame (our choice)."""
WHOLE_QUALITY = 80
"""WebP's quality of that picture, of 100 (our choice)."""
EFFORT = 75
"""Of 100, for crops without loss (our choice): all of it takes 80 times as long, for files of the same size."""
ALIKE = 0.5
"""A second crop of a frame that the first covers by this share or more is left out (our choice)."""


@dataclass(frozen=True)
class Candidate:
    """Two series of a page with rows on one sequence."""

    group: str
    sequence: str
    series: tuple[int, int]
    """The anchor's number, and the other's."""
    ids: tuple[tuple[str, ...], tuple[str, ...]]
    """The records of each."""


def candidates(data: Mapping[str, Any]) -> list[Candidate]:
    """The anchor of each group with every other series, all pairs on one sequence before any on a second one."""
    columns = {name: _values(data["columns"][name]) for name in ("id", "series", "group", "sequence", "folder")
               if name in data["columns"]}  # fmt: skip
    found: dict[tuple[str, str], dict[int, list[str]]] = {}
    for key, number, group, sequence, folder in zip(*columns.values(), strict=True) if len(columns) == 5 else ():
        if key is not None and folder is not None and not data["series"][number]["published"]:
            found.setdefault((str(group), str(sequence)), {}).setdefault(int(number), []).append(str(key))
    turns: dict[str, int] = {}
    pairs: list[tuple[int, Candidate]] = []
    for (group, sequence), series in found.items():
        turn = turns[group] = turns.get(group, -1) + 1
        anchor = data["anchor"] if data["anchor"] in series else min(series)
        pairs += [
            (turn, Candidate(group, sequence, (anchor, other), (tuple(series[anchor]), tuple(series[other]))))
            for other in sorted(series) if other != anchor
        ]  # fmt: skip
    return [pair for _, pair in sorted(pairs, key=lambda entry: entry[0])]


def _values(column: Mapping[str, Any]) -> list[Any]:
    """The values of a packed column, one for each row."""
    if "codes" not in column:
        return list(column["values"])
    return [column["values"][code] for code in column["codes"]]


def image_room(data: Mapping[str, Any]) -> int:
    """Bytes that the images of a page with this data may have."""
    return max(0, min(IMAGE_BYTES, MOST_BYTES - ROOM - len(as_json(dict(data)))))


def entry(candidate: Candidate, ids: Sequence[str], comparison: Comparison, note: str | None) -> dict[str, Any]:
    """One comparison, ready for JSON; `ids` are those of the two records."""
    return {
        "group": candidate.group, "sequence": candidate.sequence, "series": list(candidate.series),
        "ids": list(ids), "metric": comparison.metric, "note": note,
        "sides": [
            {"point": side.rate_point, "bpp": rounded(side.bpp), "quality": rounded(side.quality)}
            for side in comparison.sides
        ],
        "shots": [_shot(shot, comparison) for shot in comparison.shots],
    }  # fmt: skip


def _shot(shot: Shot, comparison: Comparison) -> dict[str, Any]:
    a, b = comparison.sides
    height, width = shot.reference.shape[:2]
    first, second = shot.crop("difference"), shot.crop("worst")
    crops = [("where both differ most", first), (f"where {a.codec} is worst", second)]
    return {
        "frame": shot.choice.frame, "why": shot.choice.text(a.codec, b.codec, comparison.chosen_by),
        "quality": [round(value, 2) for value in shot.quality], "size": [width, height],
        "whole": small_picture(shot.reference),
        "crops": [_crop(shot, crop, what) for what, crop in crops[: 1 if second.overlap(first) >= ALIKE else 2]],
    }  # fmt: skip


def _crop(shot: Shot, crop: Crop, what: str) -> dict[str, Any]:
    images = [exact_picture(crop.of(image)) for image in (shot.reference, *shot.decoded)]
    return {"what": what, "place": [crop.left, crop.top, crop.width, crop.height], "images": images}


def exact_picture(image: Image) -> str:
    """The image as a data URI, without any loss."""
    return _data_uri(Pillow.fromarray(image), lossless=True, quality=EFFORT, method=4)


def small_picture(image: Image) -> str:
    """The image as a data URI, small, and with the losses of a photograph."""
    picture = Pillow.fromarray(image)
    picture.thumbnail((WHOLE_PIXELS, WHOLE_PIXELS))
    return _data_uri(picture, quality=WHOLE_QUALITY, method=6)


def _data_uri(picture: Pillow.Image, **options: Any) -> str:
    file = io.BytesIO()
    picture.save(file, "WEBP", **options)
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode()
