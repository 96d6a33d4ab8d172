"""Named test conditions, each with a digest that stamps every record."""

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Literal

from ..errors import UsageError, did_you_mean


@dataclass(frozen=True)
class Conditions:
    """The color space in which frames are compared, and the conversion to it."""

    name: str
    domain: Literal["rgb", "yuv"]
    """Kind of planes in which quality is measured."""
    matrix: Literal["bt601", "bt709"]
    conversion: str
    """The conversion of planes to RGB, in words that `digest` covers: they change only when the arithmetic does."""

    @property
    def digest(self) -> str:
        """Eight hex digits that change whenever the definition does."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:8]

    @property
    def stamp(self) -> str:
        """`name/digest`, the value in records."""
        return f"{self.name}/{self.digest}"


CONDITIONS = {
    c.name: c
    for c in (
        Conditions("rgb601", "rgb", "bt601", "ffmpeg default integer arithmetic, 8 bit, chroma replicated"),
        Conditions("rgb709", "rgb", "bt709", "float64, bilinear chroma (left-sited, 4:2:0), rounded once to 8 bit"),
        Conditions("yuv420", "yuv", "bt601", "source planes at their own depth; RGB fitted as in rgb601"),
    )
}


def find_conditions(name: str) -> Conditions:
    """The test conditions of that name. Raises UsageError."""
    if name not in CONDITIONS:
        raise UsageError(f"There are no test conditions {name!r}{did_you_mean(name, CONDITIONS)}")
    return CONDITIONS[name]
