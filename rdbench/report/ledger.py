"""Where the bytes go: the ledgers of bitstreams as stacked bars."""

from pathlib import Path

import pandas as pd

from ..errors import RdbenchError
from . import curves
from .figures import FigureOptions, new_figure, save, styled
from .styles import COLORS


def ledger_plot(
    frame: pd.DataFrame, output: Path, options: FigureOptions = FigureOptions(), in_order: bool = False
) -> None:
    """Bits per pixel of each part of the bitstreams, stacked, a bar for each record, sorted unless `in_order`."""
    with styled(options):
        _ledger_plot(frame, output, options, in_order)


def _ledger_plot(frame: pd.DataFrame, output: Path, options: FigureOptions, in_order: bool) -> None:
    frame = curves.labeled(frame)
    frame = frame[(frame["status"] == "ok") & frame["ledger"].map(lambda v: isinstance(v, dict) and bool(v))]
    if frame.empty:
        raise RdbenchError("None of these results has a ledger; only records of our own runs do.")
    if not in_order:
        frame = frame.sort_values(["dataset", "sequence", "label", "seed", "bpp"])
    figure, axes = new_figure(output, 1, 1, (options.width or max(5.0, 0.45 * len(frame) + 4), options.height or 5.5))
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
    axes[0][0].set_ylabel("bits per pixel", fontsize=options.letters)
    axes[0][0].set_xticks(places, labels, rotation=90, fontsize=options.letters)
    axes[0][0].legend(fontsize=options.letters, loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0)
    if options.title:
        figure.suptitle(options.title, fontsize=options.letters + 1)
    save(figure, output)
