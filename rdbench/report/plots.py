"""RD curves, legible in print and for the color-blind, with the colors and markers of `palette.py`."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pandas as pd

from ..errors import RdbenchError, UsageError, did_you_mean
from . import curves, end_labels, overlays
from .figures import FigureOptions, new_figure, save, styled
from .heads import head
from .ledger import ledger_plot
from .lines import TITLE_LETTERS, Line, Panel, mean_panel, pareto, seeds_note, sequence_panel
from .panels import group_names
from .published import AVERAGE
from .results import QUALITY
from .styles import LineStyle, line_styles

__all__ = ["AXES", "ledger_plot", "rd_plot"]

AXES = {"bpp": "bits per pixel", "encode_seconds": "encode time (s)"}
NARROWEST = 2.2
"""Smallest width of a panel in inches where the width of the figure is given (our choice)."""
FRONT = "Pareto front"
_LETTER = 0.0094
"""Width of a letter in inches for each point of its size, a little more than that of the usual fonts."""
_LINE = 0.0185
"""Height of a line in inches for each point of its letters."""


@dataclass(frozen=True)
class _Place:
    """A panel of a figure: its row and column, its metric and the rows of data that it shows."""

    row: int
    column: int
    metric: str
    panel: Panel


def rd_plot(
    frame: pd.DataFrame,
    output: Path,
    x: str = "bpp",
    metric: str = "psnr_rgb",
    per_sequence: bool = False,
    published: pd.DataFrame | None = None,
    training_curves: Mapping[str, pd.DataFrame] = MappingProxyType({}),
    codecs: str | None = None,
    options: FigureOptions = FigureOptions(),
    known: Sequence[str] = (),
) -> None:
    """Quality over rate, a line for each series, or over encode time, points with their Pareto front.

    A panel has one dataset, one kind of test conditions and one metric: of one sequence each, or of means over the
    sequences that all series of the panel have; seeds show as their mean with a band from the lowest to the highest.
    `codecs` chooses the series by the names of codecs or by labels; `known` are the names of all codecs, for colors
    that stay. Only those `published` curves are shown that compare (`overlays.comparable`). Over encode time, panels of
    one sequence also show `training_curves` (by record id, from `results.load_training_curves`): PSNR of the frames
    that the network renders during training, before compression. Raises UsageError where the series of a panel share
    no sequence.
    """
    if x not in AXES:
        raise UsageError(f"There is no axis {x!r}; there are {', '.join(AXES)}.")
    if metric not in QUALITY:
        raise UsageError(f"There is no metric {metric!r}{did_you_mean(metric, QUALITY)}")
    own = curves.labeled(frame)
    own = own[own["status"] == "ok"]
    data, metrics, notes = _data(own, published, codecs, x, metric)
    with styled(options):
        _draw(data, output, x, metrics, per_sequence, training_curves, options, line_styles(data, known), notes)


def _data(
    own: pd.DataFrame, published: pd.DataFrame | None, codecs: str | None, x: str, metric: str
) -> tuple[pd.DataFrame, list[str], list[str]]:
    """The rows to show with labels as short as a panel allows, the metrics, and notes on what is not shown."""
    notes = []
    data = own
    if published is not None and len(own):
        metric = _metrics(own, x, metric)[0]
        overlay, note = overlays.comparable(own, published, metric)
        notes += [note] if note else []
        data = overlays.joined(own, overlay) if len(overlay) else own
    data = overlays.chosen(data, codecs)
    metrics = _metrics(data, x, metric)
    data = data.assign(group=group_names(data))
    count = data.groupby(["group", "name"])["series"].transform("nunique")
    return data.assign(label=data["name"].where(count == 1, data["label"])), metrics, notes


def _metrics(data: pd.DataFrame, x: str, metric: str) -> list[str]:
    """All metrics that get panels: first the one asked for, or `psnr_yuv` where none of our own rows has it."""
    ours = ~curves.published(data)
    own = data[ours] if ours.any() else data
    if own[metric].isna().all() and own["psnr_yuv"].notna().any():
        metric = "psnr_yuv"
    metrics = [m for m in dict.fromkeys((metric, "ms_ssim_db")) if m in own and own[m].notna().any()]
    if not metrics or own[x].isna().all():
        raise RdbenchError(f"These results have no {metric} over {x}; nothing to draw.")
    return metrics


def _draw(
    data: pd.DataFrame, output: Path, x: str, metrics: Sequence[str], per_sequence: bool,
    training: Mapping[str, pd.DataFrame], options: FigureOptions, styles: Mapping[str, LineStyle], notes: list[str],
) -> None:  # fmt: skip
    places = _places(data, x, metrics, per_sequence, options.width)
    rows, columns = (1 + max(getattr(place, name) for place in places) for name in ("row", "column"))
    size = _size(rows, columns, options)
    figure, axes = new_figure(output, rows, columns, size)
    direct = x == "bpp" and len(places) <= len(metrics) <= 2 and all(
        end_labels.room(place.panel.lines, size[0] / columns, options.letters) for place in places
    )  # fmt: skip
    for place in places:
        axis = axes[place.row][place.column]
        ylim = options.ylim if place.metric == metrics[0] else (None, None)
        if x == "encode_seconds" and place.metric == "psnr_rgb" and len(place.panel.sequences) == 1:
            _plot_training(axis, data[data["sequence"] == place.panel.sequences[0]], training, styles)
        _plot_panel(axis, place, x, styles, replace(options, ylim=ylim))  # after what its limits have to enclose
        if direct and place.panel.lines:
            end_labels.add(axis, place.panel.lines, styles, 0.75 * size[1] / rows, options.letters)
    used = {(place.row, place.column) for place in places}
    for row in range(rows):
        for column in range(columns):
            if (row, column) not in used:
                axes[row][column].remove()
    panels = [place.panel for place in places]
    texts = [*_caption(panels), *notes, *(note for panel in panels for note in panel.notes)]
    _finish(figure, list(dict.fromkeys(texts)), direct, options)
    save(figure, output)


def _caption(panels: Sequence[Panel]) -> list[str]:
    """What the lines are means over, and where published ones come from."""
    lines = [line for panel in panels for line in panel.lines]
    sources = [(line.label, line.source) for line in lines if line.source]
    own = any(not line.source for line in lines)
    return [*seeds_note(lines), *(overlays.caption(sources) if own else [])]


def _size(rows: int, columns: int, options: FigureOptions) -> tuple[float, float]:
    """Width and height in inches; a panel of a grid is smaller than one alone."""
    width = options.width or columns * (4.8 if columns <= 2 else 3.5)
    return width, options.height or rows * 0.75 * min(width / columns, 4.8)


def _places(
    data: pd.DataFrame, x: str, metrics: Sequence[str], per_sequence: bool, width: float | None
) -> list[_Place]:
    """The panels on a grid: the metrics of one side by side, or, for many, a block of rows for each metric."""
    if per_sequence:
        data = data[data["sequence"] != AVERAGE]
    parts = [part for _, part in data.groupby(["group", "sequence"] if per_sequence else ["group"], sort=True)]
    several = data.groupby("dataset")["group"].nunique().max() > 1
    most = max(1, int(width // NARROWEST)) if width else len(parts) * len(metrics)
    block = len(parts) > 2 or (per_sequence and len(parts) > 1)
    columns = min(_grid_columns(len(parts)) if block else len(metrics), most)
    found: list[_Place] = []
    for j, metric in enumerate(metrics):
        below = columns * (1 + max((place.row for place in found), default=-1))
        shown = [part for part in parts if per_sequence or not block or part[metric].notna().any()]
        for i, part in enumerate(shown):
            panel = (sequence_panel if per_sequence else mean_panel)(part, x, metric)
            if several:
                conditions = str(part["group"].iloc[0]).split(" · ")[1]
                title = f"{panel.title}, {conditions}".replace("\n", " ")
                panel = replace(panel, title=textwrap.fill(title, TITLE_LETTERS))
            at = below + i if block else i * len(metrics) + j
            found.append(_Place(at // columns, at % columns, metric, panel))
    return found


def _grid_columns(count: int) -> int:
    """The columns of a grid of panels: 3 for 7 sequences (our choice)."""
    if count <= 3:
        return count
    return 2 if count == 4 else 3 if count <= 9 else 4


def _finish(figure: Any, notes: Sequence[str], direct: bool, options: FigureOptions) -> None:
    """Adds the title, one legend for all panels unless labels are direct, and the notes at the bottom.

    A curve need not be in the first panel. The figure grows by what is added where its height is not given.
    """
    entries = {} if direct else _entries(figure)
    width, height = figure.get_size_inches()
    letters, small = options.letters, options.letters - 1
    lines = [line for note in notes for line in textwrap.wrap(note, max(20, int(width / (_LETTER * small))))]
    below = _LINE * small * len(lines) + (0.08 if lines else 0.0)
    legend, tall = _legend(figure, entries, letters)
    if options.height is None:
        height += below + tall + (0.3 if options.title else 0.0)
        figure.set_size_inches(width, height)
    share = min((below + tall) / height, 0.8)
    figure.get_layout_engine().set(rect=(0, share, 1, 1 - share))
    if options.title:
        figure.suptitle(options.title, fontsize=letters + 2)
    if legend is not None:
        legend.set_bbox_to_anchor((0, below / height, 1, 1), figure.transFigure)
    figure.text(0.01, 0.04 / height, "\n".join(lines), fontsize=small, ha="left", va="bottom").set_in_layout(False)


def _legend(figure: Any, entries: Mapping[str, Any], letters: float) -> tuple[Any, float]:
    """A legend at the bottom and its height in inches; None and 0 without entries."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    if not entries:
        return None, 0.0
    columns = max(1, int(figure.get_size_inches()[0] // (_LETTER * letters * max(map(len, entries)) + 0.6)))
    legend = figure.legend(
        list(entries.values()), list(entries), loc="lower center", ncols=columns, fontsize=letters, frameon=False
    )
    legend.set_in_layout(False)
    canvas: Any = FigureCanvasAgg(figure)
    box = legend.get_window_extent(canvas.get_renderer())
    return legend, box.height / figure.dpi


def _entries(figure: Any) -> dict[str, Any]:
    """The handles of a legend by their labels, each once, the Pareto front last."""
    found: dict[str, Any] = {}
    for axis in figure.axes:
        handles, labels = axis.get_legend_handles_labels()
        found.update(zip(labels, handles, strict=True))
    return {name: found[name] for name in sorted(found, key=lambda name: name == FRONT)}


def _plot_panel(axis: Any, place: _Place, x: str, styles: Mapping[str, LineStyle], options: FigureOptions) -> None:
    panel = place.panel
    axis.set_title(panel.title, fontsize=options.letters + 1)
    if not panel.lines:
        axis.set_axis_off()
        text = f"no {place.metric} here"
        axis.text(0.5, 0.5, text, ha="center", va="center", fontsize=options.letters, transform=axis.transAxes)
        return
    for line in panel.lines:
        _plot_line(axis, line, styles[line.label], joined=x == "bpp")
    if x != "bpp":
        front = pareto(panel.lines)
        axis.plot(
            front["x"], front["mean"], label=FRONT, color="#888888", linewidth=1.0, drawstyle="steps-post", zorder=1
        )
    _scale(axis, options)
    axis.set_xlabel(AXES[x], fontsize=options.letters)
    axis.set_ylabel(head(place.metric), fontsize=options.letters)
    axis.tick_params(labelsize=options.letters)
    axis.grid(True, which="both", linewidth=0.3, alpha=0.6)


def _scale(axis: Any, options: FigureOptions) -> None:
    """A logarithmic axis of x with few plain numbers, and the limits that were asked for."""
    from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter

    axis.set_xscale("log")
    axis.set_xlim(*options.xlim)
    axis.set_ylim(*options.ylim)
    low, high = axis.get_xlim()
    subs = (1.0, 2.0, 5.0) if high < 200 * low else (1.0,)
    few = high < 4 * low  # 1, 2 and 5 alone would leave one number or none
    axis.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]) if few else LogLocator(subs=subs, numticks=12))
    axis.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.xaxis.set_minor_formatter(NullFormatter())


def _plot_line(axis: Any, line: Line, style: LineStyle, joined: bool) -> None:
    """One series: its mean over seeds, with a band where there are several; published ones dashed and hollow.

    Rate points that are not `joined` have bars in place of the band: no time lies between two encodings.
    """
    points = line.points
    axis.plot(
        points["x"], points["mean"], label=line.label, color=style.color, markersize=4.5, marker=style.marker,
        markerfacecolor="white" if line.source else style.color, linewidth=1.3,
        linestyle="none" if not joined else "--" if line.source else "-",
    )  # fmt: skip
    if line.seeds > 1 and joined:
        axis.fill_between(points["x"], points["low"], points["high"], color=style.color, alpha=0.2, linewidth=0)
    elif line.seeds > 1:
        axis.vlines(points["x"], points["low"], points["high"], color=style.color, linewidth=0.8)


def _plot_training(
    axis: Any, rows: pd.DataFrame, training: Mapping[str, pd.DataFrame], styles: Mapping[str, LineStyle]
) -> None:
    for name, record in zip(rows["label"], rows["id"], strict=True):
        if record in training:
            course = training[record]
            axis.plot(course["seconds"], course["psnr"], color=styles[str(name)].color, linewidth=0.8, alpha=0.6)
