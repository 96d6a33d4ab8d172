"""Figures as files: their size, font, title and limits, in formats in which text stays text."""

import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ..errors import RdbenchError, UsageError

SUFFIXES = (".png", ".pdf", ".svg", ".pgf")
TEX = ("pdflatex", "xelatex", "lualatex")
"""Programs that measure the text of a .pgf, the first one that is here."""
INCHES: Mapping[str, float] = MappingProxyType({"in": 1.0, "cm": 1 / 2.54, "mm": 1 / 25.4, "pt": 1 / 72.27})
"""Inches of a unit. `pt` is TeX's point, in which LaTeX states \\columnwidth; that of PostScript is 1/72 in."""
DPI = 150
"""Pixels per inch of a .png (our choice)."""
LEAST, MOST = 1.0, 60.0
"""Smallest and largest width or height in inches (our choice)."""
SMALLEST_LETTER, LARGEST_LETTER = 4.0, 40.0
"""Sizes of letters in points (our choice)."""


@dataclass(frozen=True)
class FigureOptions:
    """How a figure looks; None: as matplotlib and its content have it."""

    width: float | None = None
    """Inches."""
    height: float | None = None
    """Inches."""
    title: str | None = None
    xlim: tuple[float | None, float | None] = (None, None)
    ylim: tuple[float | None, float | None] = (None, None)
    font: str | None = None
    """The name of a family."""
    letters: float = 9.0
    """Size of the letters in points."""


def read_options(
    width: str | None, height: str | None, title: str | None, xlim: str | None, ylim: str | None, font: str | None
) -> FigureOptions:
    """The options from the texts of the command line. Raises UsageError."""
    family, letters = _font(font)
    wide, high = (None if text is None else inches(name, text) for name, text in (("width", width), ("height", height)))
    return FigureOptions(wide, high, title, _limits("xlim", xlim), _limits("ylim", ylim), family, letters)


def inches(name: str, text: str, least: float = LEAST, most: float = MOST) -> float:
    """Inches of `3.5in`, `8.9cm`, `89mm`, `252pt` (INCHES), or of a number alone, for the option `--name`.

    Raises UsageError for what is no length from `least` to `most` inches.
    """
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?|\.[0-9]+)(in|cm|mm|pt)?", text.strip())
    found = float(match[1]) * INCHES[match[2] or "in"] if match else 0.0
    if not least <= found <= most:
        raise UsageError(
            f"--{name} cannot be {text!r}; give a length from {least:g} to {most:g} inches, as 3.5in, 89mm or 252pt."
        )
    return found


def _limits(name: str, text: str | None) -> tuple[float | None, float | None]:
    """The ends of `0.01:1`; an end that is left out, as in `30:`, follows the curves."""
    if text is None:
        return None, None
    try:
        low, high = (float(part) if part.strip() else None for part in text.split(":"))
    except ValueError as error:
        raise UsageError(f"--{name} cannot be {text!r}; give both ends or one, as 0.01:1 or 30: .") from error
    if low is not None and high is not None and not low < high:
        raise UsageError(f"--{name} {text} is no range; the first end is below the second.")
    if name == "xlim" and any(end is not None and not end > 0 for end in (low, high)):
        raise UsageError(f"--xlim {text} is not above 0, as rates and times on a logarithmic axis are.")
    return low, high


def _font(text: str | None) -> tuple[str | None, float]:
    """The family and the size of `Times New Roman`, `DejaVu Serif:8` or `8`. Raises UsageError for an unknown one."""
    if text is None:
        return None, FigureOptions.letters
    name, _, size = text.rpartition(":") if re.search(r":[0-9.]+$", text) else (text, "", "")
    if not size and re.fullmatch(r"[0-9.]+", name):
        name, size = "", name
    try:
        letters = float(size) if size else FigureOptions.letters
    except ValueError as error:
        raise UsageError(f"--font {text!r} has no size in points; write it as 'DejaVu Serif:8'.") from error
    if not SMALLEST_LETTER <= letters <= LARGEST_LETTER:
        raise UsageError(f"--font {text!r} is not from {SMALLEST_LETTER:g} to {LARGEST_LETTER:g} points.")
    if name:
        from matplotlib import font_manager

        try:
            font_manager.findfont(name, fallback_to_default=False)
        except ValueError as error:
            raise UsageError(f"There is no font {name!r} on this machine; choose one that matplotlib finds.") from error
    return name or None, letters


@contextmanager
def styled(options: FigureOptions) -> Iterator[None]:
    """Figures made and saved inside have this font; a name with $ is no formula, and SVG files keep text as text."""
    from matplotlib import rc_context

    settings: Any = {
        "svg.fonttype": "none", "font.size": options.letters, "text.parse_math": False,
        "figure.autolayout": False, "figure.constrained_layout.use": False,  # the layout is `new_figure`'s alone
    }  # fmt: skip
    if options.font is not None:
        settings["font.family"] = options.font
    tex = next((name for name in TEX if shutil.which(name)), None)
    if tex is not None:
        settings["pgf.texsystem"] = tex
    with rc_context(settings):
        yield


def new_figure(output: Path, rows: int, columns: int, size: tuple[float, float]) -> tuple[Any, Any]:
    """A figure and its array of axes. Raises UsageError for a file name of another kind."""
    if output.suffix not in SUFFIXES:
        raise UsageError(f"{output} is none of {', '.join(SUFFIXES)}; give the plot such a name.")
    if output.suffix == ".pgf" and not any(map(shutil.which, TEX)):
        raise UsageError(f"A .pgf needs {', '.join(TEX[:-1])} or {TEX[-1]}; install one, or write an .svg.")
    from matplotlib.figure import Figure  # not pyplot, which takes as long to import as a plot to draw

    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def save(figure: Any, output: Path) -> None:
    """Writes the file. Raises RdbenchError where it cannot be written, or where LaTeX cannot measure a .pgf."""
    if output.suffix == ".pgf":
        _save_pgf(figure, output)
        return
    try:
        if output.suffix == ".png":
            _lay_out(figure)
        figure.savefig(output, dpi=DPI)
    except OSError as error:
        raise RdbenchError(f"{output} cannot be written ({error.strerror}); choose another place with -o.") from error


def _lay_out(figure: Any) -> None:
    """Places the axes for a .png now; `savefig` would do it by drawing all twice, the first time only for this."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure.set_dpi(DPI)
    FigureCanvasAgg(figure)  # the figure's canvas from here on, and what measures the text
    figure.get_layout_engine().execute(figure)
    figure.set_layout_engine(None)  # not "none", a placeholder for which `savefig` draws twice too


def _save_pgf(figure: Any, output: Path) -> None:
    from matplotlib.backends.backend_pgf import LatexError

    try:
        figure.savefig(output)
    except OSError as error:
        raise RdbenchError(f"{output} cannot be written ({error.strerror}); choose another place with -o.") from error
    except LatexError as error:
        raise RdbenchError(
            f"LaTeX cannot measure the text of {output}; it needs the packages pgf and underscore (Debian: "
            "texlive-pictures, texlive-latex-extra), and labels without & # $. An .svg needs no LaTeX, and its text "
            "stays text too."
        ) from error
