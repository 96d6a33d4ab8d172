"""RD curves and byte ledgers, legible in print and for the color-blind (Okabe-Ito colors, one marker each)."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pandas as pd

from ..errors import RdbenchError, UsageError, did_you_mean
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
) -> None:
    """Quality over rate (or encode time): a row of panels for each sequence, or one row for their averages.

    Over encode time, panels of one sequence also show `training_curves` (by record id, from
    `results.load_training_curves`): PSNR of the frames that the network renders during training, before compression.
    """
    if x not in AXES:
        raise UsageError(f"There is no axis {x!r}; there are {', '.join(AXES)}.")
    if metric not in QUALITY:
        raise UsageError(f"There is no metric {metric!r}{did_you_mean(metric, QUALITY)}")
    frame = frame[frame["status"] == "ok"]
    if frame[metric].isna().all() and frame["psnr_yuv"].notna().any():
        metric = "psnr_yuv"
    metrics = [m for m in dict.fromkeys((metric, "ms_ssim_db")) if m in frame and frame[m].notna().any()]
    if not metrics or frame[x].isna().all():
        raise RdbenchError(f"These results have no {metric} over {x}; nothing to draw.")
    data = frame if published is None else pd.concat([frame.astype(object), published.astype(object)])
    data = data.assign(curve=_curve_names(data))
    rows = _panels(data, set(frame["dataset"]), per_sequence)
    figure, axes = _figure(output, len(rows), len(metrics))
    styles = {name: i for i, name in enumerate(dict.fromkeys(data["curve"]))}
    for r, (title, part) in enumerate(rows):
        for c, name in enumerate(metrics):
            _plot_panel(axes[r][c], part, x, name, styles)
            if (x, name) == ("encode_seconds", "psnr_rgb") and part["sequence"].nunique() == 1:
                same = data[data["sequence"] == part["sequence"].iloc[0]]
                _plot_training(axes[r][c], same, training_curves, styles)
            axes[r][c].set_title(title, fontsize=10)
    _legend(figure, axes)
    _save(figure, output)


def _curve_names(data: pd.DataFrame) -> list[str]:
    """The codec of each row, with its conditions where the rows do not all have the same."""
    mixed = data["conditions"].nunique() > 1
    return [f"{c} [{k}]" if mixed else str(c) for c, k in zip(data["codec"], data["conditions"], strict=True)]


def _legend(figure: Any, axes: Any) -> None:
    """Adds one legend below all panels, since a curve need not be in the first one."""
    entries: dict[str, Any] = {}
    for axis in axes.flat:
        handles, labels = axis.get_legend_handles_labels()
        entries.update(zip(labels, handles, strict=True))
    longest = max((len(label) for label in entries), default=1)
    width, height = figure.get_size_inches()
    columns = max(1, int(width // (0.085 * longest + 0.6)))  # 0.085 inch: a letter of 9 points
    figure.set_size_inches(width, height + 0.2 * -(-len(entries) // columns))
    figure.legend(list(entries.values()), list(entries), loc="outside lower center", ncols=columns, fontsize=9)


def _panels(data: pd.DataFrame, datasets: set[str], per_sequence: bool) -> list[tuple[str, pd.DataFrame]]:
    """Titles and rows: a panel for each sequence, or the mean over sequences at each rate point."""
    data = data[data["dataset"].isin(datasets)]
    named = data[data["sequence"] != AVERAGE]
    if per_sequence:
        return [(f"{d}: {s}", part) for (d, s), part in named.groupby(["dataset", "sequence"], sort=True)]
    panels = []
    for dataset, part in data.groupby("dataset", sort=True):
        sequences = part[part["sequence"] != AVERAGE]
        count = sequences["sequence"].nunique()
        panels.append((f"{dataset}" + (f" (mean of {count} sequences)" if count > 1 else ""), _averaged(part)))
    return panels


def _averaged(part: pd.DataFrame) -> pd.DataFrame:
    """Means at the rate points that all of a curve's sequences have; else the published average."""
    values = [column for column in (*AXES, *QUALITY) if column in part]
    part = part.assign(**{column: pd.to_numeric(part[column]) for column in values})
    kept = part[part["sequence"] != AVERAGE]
    lone = part[~part["curve"].isin(set(kept["curve"]))]
    total = kept.groupby("curve")["sequence"].nunique()
    count = kept.groupby(["curve", "rate_point"])["sequence"].transform("nunique")
    kept = kept[count == kept["curve"].map(total)]
    both = pd.concat([kept, lone])
    both = both.assign(source=both["source"].fillna("") if "source" in both else "")
    keys = ["curve", "rate_point"]
    sources = both.groupby(keys, sort=False)["source"].first()
    names = both.groupby(keys, sort=False)["sequence"].agg(lambda names: " ".join(sorted(set(names))))
    mean = both.groupby(keys, sort=False)[values].mean().assign(source=sources, sequence=names).reset_index()
    most = total.max() if len(total) else 0
    fewer = {str(name): f"{n} of {most} sequences" for name, n in total.items() if n < most}
    return mean.assign(extent=[fewer.get(str(name), "") for name in mean["curve"]])


def _plot_panel(axis: Any, part: pd.DataFrame, x: str, metric: str, styles: dict[str, int]) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    sources = part["source"].fillna("") if "source" in part else pd.Series("", index=part.index)
    for name, curve in part.assign(source=sources).groupby("curve", sort=False):
        curve = curve.assign(**{column: pd.to_numeric(curve[column]) for column in (x, metric)})
        curve = curve.dropna(subset=[x, metric]).sort_values(x)
        if curve.empty:
            continue
        style, foreign = styles[str(name)], bool(curve["source"].iloc[0])
        label = f"{name} (published: {str(curve['source'].iloc[0]).split(';')[0][:40]})" if foreign else str(name)
        if "extent" in curve and curve["extent"].iloc[0]:
            label = f"{label}, {curve['extent'].iloc[0]}"
        axis.plot(
            curve[x], curve[metric], label=label, color=COLORS[style % len(COLORS)], markersize=4.5,
            marker=MARKERS[(style + style // len(COLORS)) % len(MARKERS)], linestyle="--" if foreign else "-",
            linewidth=1.3,
        )  # fmt: skip
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


def _plot_training(axis: Any, rows: pd.DataFrame, curves: Mapping[str, pd.DataFrame], styles: dict[str, int]) -> None:
    for name, record in zip(rows["curve"], rows["id"], strict=True):
        if record in curves:
            color = COLORS[styles[str(name)] % len(COLORS)]
            axis.plot(curves[record]["seconds"], curves[record]["psnr"], color=color, linewidth=0.8, alpha=0.6)


def ledger_plot(frame: pd.DataFrame, output: Path) -> None:
    """Bits per pixel of each part of the bitstreams, stacked, a bar for each record."""
    frame = frame[(frame["status"] == "ok") & frame["ledger"].map(lambda v: isinstance(v, dict) and bool(v))]
    if frame.empty:
        raise RdbenchError("None of these results has a ledger; only records of our own runs do.")
    frame = frame.sort_values(["dataset", "sequence", "codec", "bpp"])
    figure, axes = _figure(output, 1, 1, size=(max(5.0, 0.45 * len(frame) + 4), 5.5))
    names = list(dict.fromkeys(name for ledger in frame["ledger"] for name in ledger))
    labels = [f"{r.codec} {r.sequence} {r.rate_point}" for r in frame.itertuples()]
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
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot.subplots(
        rows, columns, figsize=size or (4.8 * columns, 3.6 * rows), squeeze=False, layout="constrained"
    )


def _save(figure: Any, output: Path) -> None:
    from matplotlib import pyplot

    try:
        figure.savefig(output, dpi=150)
    except OSError as error:
        raise RdbenchError(f"{output} cannot be written ({error.strerror}); choose another place with -o.") from error
    finally:
        pyplot.close(figure)
