"""RD curves and byte ledgers, legible in print and for the color-blind (Okabe-Ito colors, one marker each)."""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pandas as pd

from ..errors import RdbenchError, UsageError, did_you_mean
from . import curves
from .lines import Line, Panel, mean_panel, sequence_panel
from .published import AVERAGE
from .results import QUALITY

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
SUFFIXES = (".png", ".pdf", ".svg")
AXES = {"bpp": "bits per pixel", "encode_seconds": "encode time (s)"}
LABELS = {"psnr_rgb": "PSNR RGB (dB)", "psnr_yuv": "PSNR YUV 6:1:1 (dB)", "psnr_y": "PSNR Y (dB)",
          "ms_ssim_db": "MS-SSIM (dB)", "vmaf": "VMAF"}  # fmt: skip


def rd_plot(
    frame: pd.DataFrame,
    output: Path,
    x: str = "bpp",
    metric: str = "psnr_rgb",
    per_sequence: bool = False,
    published: pd.DataFrame | None = None,
    training_curves: Mapping[str, pd.DataFrame] = MappingProxyType({}),
    codecs: str | None = None,
) -> None:
    """Quality over rate (or encode time), a line for each series: a row of panels for each sequence, or one of means.

    A mean is over the sequences that all series of its panel have; seeds show as their mean with a band from the
    lowest to the highest. `codecs` chooses the series by the names of codecs or by labels. Over encode time, panels of
    one sequence also show `training_curves` (by record id, from `results.load_training_curves`): PSNR of the frames
    that the network renders during training, before compression. Raises UsageError where the series of a panel share
    no sequence.
    """
    if x not in AXES:
        raise UsageError(f"There is no axis {x!r}; there are {', '.join(AXES)}.")
    if metric not in QUALITY:
        raise UsageError(f"There is no metric {metric!r}{did_you_mean(metric, QUALITY)}")
    datasets = set(frame["dataset"])
    data = frame if published is None else pd.concat([frame.astype(object), published.astype(object)])
    data = curves.choose(data, codecs)
    data = data[(data["status"] == "ok") & data["dataset"].isin(datasets)]
    metric, metrics = _metrics(data, x, metric)
    rows = _panel_rows(data, x, metrics, per_sequence)
    figure, axes = _figure(output, len(rows), len(metrics))
    styles = {str(name): i for i, name in enumerate(dict.fromkeys(data["label"]))}
    for r, panels in enumerate(rows):
        for c, panel in enumerate(panels):
            _plot_panel(axes[r][c], panel, x, metrics[c], styles)
            if (x, metrics[c]) == ("encode_seconds", "psnr_rgb") and len(panel.sequences) == 1:
                same = data[data["sequence"] == panel.sequences[0]]
                _plot_training(axes[r][c], same, training_curves, styles)
    notes = dict.fromkeys(note for panels in rows for panel in panels for note in panel.notes)
    _legend(figure, axes, list(notes))
    _save(figure, output)


def _metrics(data: pd.DataFrame, x: str, metric: str) -> tuple[str, list[str]]:
    """The metric (`psnr_yuv` where none has the one asked for), and all that get a column of panels."""
    own = data if "source" not in data else data[data["source"].isna()] if data["source"].isna().any() else data
    if own[metric].isna().all() and own["psnr_yuv"].notna().any():
        metric = "psnr_yuv"
    metrics = [m for m in dict.fromkeys((metric, "ms_ssim_db")) if m in own and own[m].notna().any()]
    if not metrics or own[x].isna().all():
        raise RdbenchError(f"These results have no {metric} over {x}; nothing to draw.")
    return metric, metrics


def _panel_rows(data: pd.DataFrame, x: str, metrics: Sequence[str], per_sequence: bool) -> list[list[Panel]]:
    """The panels: a row for each sequence or dataset, a column for each metric."""
    if per_sequence:
        named = data[data["sequence"] != AVERAGE]
        parts = named.groupby(["dataset", "sequence"], sort=True)
        return [[sequence_panel(part, x, metric) for metric in metrics] for _, part in parts]
    return [[mean_panel(part, x, metric) for metric in metrics] for _, part in data.groupby("dataset", sort=True)]


def _legend(figure: Any, axes: Any, notes: Sequence[str]) -> None:
    """Adds one legend below all panels, since a curve need not be in the first one; the notes are its title."""
    entries: dict[str, Any] = {}
    for axis in axes.flat:
        handles, labels = axis.get_legend_handles_labels()
        entries.update(zip(labels, handles, strict=True))
    longest = max((len(label) for label in entries), default=1)
    width, height = figure.get_size_inches()
    columns = max(1, int(width // (0.085 * longest + 0.6)))  # 0.085 inch: a letter of 9 points
    lines = [line for note in notes for line in textwrap.wrap(note, int(width // 0.075))]  # 0.075 inch: of 8 points
    figure.set_size_inches(width, height + 0.2 * (len(lines) - (-len(entries) // columns)))
    figure.legend(
        list(entries.values()), list(entries), loc="outside lower center", ncols=columns, fontsize=9,
        title="\n".join(lines) or None, title_fontsize=8,
    )  # fmt: skip


def _plot_panel(axis: Any, panel: Panel, x: str, metric: str, styles: dict[str, int]) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    axis.set_title(panel.title, fontsize=10)
    for line in panel.lines:
        _plot_line(axis, line, styles[line.label])
    if not axis.lines:
        axis.set_axis_off()
        axis.text(0.5, 0.5, f"no {metric} here", ha="center", va="center", fontsize=9, transform=axis.transAxes)
        return
    axis.set_xscale("log")
    low, high = axis.get_xlim()
    axis.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high < 200 * low else (1.0,), numticks=12))
    axis.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.set_xlabel(AXES[x], fontsize=9)
    axis.set_ylabel(LABELS.get(metric, metric), fontsize=9)
    axis.tick_params(labelsize=9)
    axis.grid(True, which="both", linewidth=0.3, alpha=0.6)


def _plot_line(axis: Any, line: Line, style: int) -> None:
    """One series: its mean over seeds, with a band where there are several."""
    color = COLORS[style % len(COLORS)]
    axis.plot(
        line.points["x"], line.points["mean"], label=line.legend, color=color, markersize=4.5,
        marker=MARKERS[(style + style // len(COLORS)) % len(MARKERS)], linestyle="--" if line.source else "-",
        linewidth=1.3,
    )  # fmt: skip
    if line.seeds > 1:
        axis.fill_between(
            line.points["x"], line.points["low"], line.points["high"], color=color, alpha=0.2, linewidth=0
        )


def _plot_training(axis: Any, rows: pd.DataFrame, curves: Mapping[str, pd.DataFrame], styles: dict[str, int]) -> None:
    for name, record in zip(rows["label"], rows["id"], strict=True):
        if record in curves:
            color = COLORS[styles[str(name)] % len(COLORS)]
            axis.plot(curves[record]["seconds"], curves[record]["psnr"], color=color, linewidth=0.8, alpha=0.6)


def ledger_plot(frame: pd.DataFrame, output: Path) -> None:
    """Bits per pixel of each part of the bitstreams, stacked, a bar for each record."""
    frame = curves.labeled(frame)
    frame = frame[(frame["status"] == "ok") & frame["ledger"].map(lambda v: isinstance(v, dict) and bool(v))]
    if frame.empty:
        raise RdbenchError("None of these results has a ledger; only records of our own runs do.")
    frame = frame.sort_values(["dataset", "sequence", "label", "seed", "bpp"])
    figure, axes = _figure(output, 1, 1, size=(max(5.0, 0.45 * len(frame) + 4), 5.5))
    names = list(dict.fromkeys(name for ledger in frame["ledger"] for name in ledger))
    seeds = frame.groupby("label")["seed"].transform("nunique") > 1
    labels = [
        f"{r.label} {r.sequence} {r.rate_point}" + (f" seed {r.seed}" if several else "")
        for r, several in zip(frame.itertuples(), seeds, strict=True)
    ]
    places = range(len(frame))  # two records may have one label
    pixels = frame["width"] * frame["height"] * frame["frames"]
    bottom = pd.Series(0.0, index=frame.index)
    for i, name in enumerate(names):
        height = frame["ledger"].map(lambda ledger, name=name: 8 * ledger.get(name, 0)) / pixels
        axes[0][0].bar(
            places,
            height,
            bottom=bottom,
            label=name,
            color=COLORS[i % len(COLORS)],
            hatch="//" if i >= len(COLORS) else "",
        )
        bottom = bottom + height
    axes[0][0].set_ylabel("bits per pixel", fontsize=9)
    axes[0][0].set_xticks(places, labels, rotation=90, fontsize=9)
    axes[0][0].legend(fontsize=9, loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0)
    _save(figure, output)


def _figure(output: Path, rows: int, columns: int, size: tuple[float, float] | None = None) -> tuple[Any, Any]:
    if output.suffix not in SUFFIXES:
        raise UsageError(f"{output} is none of {', '.join(SUFFIXES)}; give the plot such a name.")
    from matplotlib.figure import Figure  # not pyplot, which takes as long to import as a plot to draw

    figure = Figure(figsize=size or (4.8 * columns, 3.6 * rows), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def _save(figure: Any, output: Path) -> None:
    try:
        figure.savefig(output, dpi=150)
    except OSError as error:
        raise RdbenchError(f"{output} cannot be written ({error.strerror}); choose another place with -o.") from error
