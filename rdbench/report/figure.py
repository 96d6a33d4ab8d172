"""The figure of `rdbench show`: the original and two codecs, a zoomed part of each, and its place in the frame."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..errors import RdbenchError, UsageError
from .crops import Comparison, Crop, Image, Shot
from .figures import inches

SUFFIXES = (".png", ".pdf", ".svg")
DPI = 300
"""Pixels per inch of the figure; journals ask for 300 where there are photographs."""
NARROW = 5.0
"""Inches: a narrower figure has the whole frame above the crops, a wider one beside them (our choice)."""
LEAST, MOST = 2.0, 20.0
"""Inches that a figure may be wide (our choice)."""
POINTS = 7.0
"""Size of the text, in points: the smallest that journals take in a figure."""
MARK = "#ff5a00"
"""Of the frame around the crop, which must be seen on dark and on light pictures."""
_LINE = 1.3 * POINTS / 72
_LETTER = 0.53 * POINTS / 72
_GAP = 0.06


@dataclass(frozen=True)
class Look:
    """How the figure is made."""

    width: float = 7.0
    """Inches; a column of a paper has 3.3 to 3.5, a page 6.9 to 7.2."""
    where: Literal["difference", "worst"] = "difference"
    """The crop: where the codecs differ most, or where the first one is worst."""


def parse_width(text: str) -> float:
    """Inches of the width of a figure, from LEAST to MOST; `figures.inches` reads it. Raises UsageError."""
    return inches("width", text, LEAST, MOST)


def write_figure(comparison: Comparison, output: Path, look: Look) -> None:
    """Writes the figure: a row for each frame. Raises UsageError for another kind of file."""
    if output.suffix not in SUFFIXES:
        raise UsageError(f"{output} is none of {', '.join(SUFFIXES)}; give the figure such a name.")
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    layout = _layout(comparison, look.width)
    figure = Figure(figsize=(look.width, layout.row * len(comparison.shots) - _GAP))
    for number, shot in enumerate(comparison.shots):
        _draw_row(_Canvas(figure, number * layout.row), comparison, shot, shot.crop(look.where), layout)
    try:
        with rc_context({"svg.fonttype": "none"}):  # text stays text
            figure.savefig(output, dpi=DPI)
    except OSError as error:
        raise RdbenchError(f"{output} cannot be written ({error.strerror}); choose another place with -o.") from error


@dataclass(frozen=True)
class _Layout:
    """Places in inches, from the upper left corner of a row."""

    row: float
    """From one row to the next."""
    whole: tuple[float, float, float, float]
    """Left, top, width and height of the whole frame."""
    crops: tuple[tuple[float, float], ...]
    """Left and top of the three crops."""
    side: float
    letters: int
    """In a line below a crop."""


def _layout(comparison: Comparison, width: float) -> _Layout:
    height, wide = comparison.shots[0].reference.shape[:2]
    aspect, head = wide / height, _LINE + 0.05
    if width < NARROW:
        side = (width - 2 * _GAP) / 3
        whole = (0.0, head, width, width / aspect)
        left, top = 0.0, head + whole[3] + _GAP
    else:
        side = (width - 3 * _GAP) / (3 + aspect)
        whole = (0.0, head, aspect * side, side)
        left, top = whole[2] + _GAP, head
    letters = max(8, int(side / _LETTER))
    lines = max(len(_caption(comparison, shot, side_, letters)) for shot in comparison.shots for side_ in (0, 1))
    crops = tuple((left + place * (side + _GAP), top) for place in range(3))
    return _Layout(top + side + 0.02 + lines * _LINE + 2 * _GAP, whole, crops, side, letters)


def _caption(comparison: Comparison, shot: Shot, side: int, letters: int) -> list[str]:
    """The lines below a codec's crop: its name, its rate and the quality of this frame."""
    one = comparison.sides[side]
    words = f"{one.codec} {one.rate_point}"
    words = words if len(words) <= letters else words.replace("[", " [")  # options may have a line of their own
    name = textwrap.wrap(words, letters, break_on_hyphens=False)
    values = f"{one.bpp:.4f} bpp, {shot.quality[side]:.2f} dB"
    return [*name, *textwrap.wrap(values, letters)]


@dataclass(frozen=True)
class _Canvas:
    """A figure on which things are placed in inches, from the upper left corner of a row."""

    figure: Any
    top: float

    def image(self, image: Image, left: float, top: float, width: float, height: float) -> Any:
        """Axes of this size with the image."""
        wide, high = self.figure.get_size_inches()
        box = (left / wide, 1 - (self.top + top + height) / high, width / wide, height / high)
        axes = self.figure.add_axes(box)
        axes.imshow(image, aspect="auto", extent=(0, image.shape[1], image.shape[0], 0))
        axes.set_axis_off()
        return axes

    def text(self, lines: Sequence[str], left: float, top: float, **style: Any) -> None:
        """Lines of text below this place; signs that matplotlib would read as mathematics stay as they are."""
        wide, high = self.figure.get_size_inches()
        for number, line in enumerate(lines):
            place = 1 - (self.top + top + number * _LINE) / high
            self.figure.text(left / wide, place, line, va="top", parse_math=False, **{"fontsize": POINTS, **style})


def _draw_row(canvas: _Canvas, comparison: Comparison, shot: Shot, crop: Crop, layout: _Layout) -> None:
    a, b = (f"{side.codec} {side.rate_point}" for side in comparison.sides)
    reason = shot.choice.text(a, b, comparison.chosen_by)
    title = f"{comparison.sequence}, frame {shot.choice.frame}" + (f": {reason}" if reason else "")
    longest = int(canvas.figure.get_size_inches()[0] / _LETTER)
    canvas.text([textwrap.shorten(title, longest, placeholder=" ...")], 0, 0.02)
    _draw_mark(canvas.image(shot.reference, *layout.whole), crop)
    captions = [["Original"], *(_caption(comparison, shot, side, layout.letters) for side in (0, 1))]
    for image, (left, top), lines in zip((shot.reference, *shot.decoded), layout.crops, captions, strict=True):
        axes = canvas.image(_enlarged(crop.of(image)), left, top, layout.side, layout.side)
        _draw_edge(axes)
        canvas.text(lines, left + layout.side / 2, top + layout.side + 0.03, ha="center")


def _enlarged(image: Image) -> Image:
    """Each pixel as a square of 8, so that resampling to the figure's own pixels leaves squares, and blurs nothing."""
    return image.repeat(8, axis=0).repeat(8, axis=1)


def _draw_mark(axes: Any, crop: Crop) -> None:
    """The place of the crop, in a color on white, which is seen on any picture."""
    from matplotlib.patches import Rectangle

    for color, width in (("white", 2.2), (MARK, 1.1)):
        axes.add_patch(
            Rectangle((crop.left, crop.top), crop.width, crop.height, fill=False, edgecolor=color, linewidth=width)
        )


def _draw_edge(axes: Any) -> None:
    """A frame of the mark's color around a crop."""
    from matplotlib.patches import Rectangle

    axes.add_patch(
        Rectangle((0, 0), 1, 1, transform=axes.transAxes, fill=False, edgecolor=MARK, linewidth=1.6)
    )  # fmt: skip
