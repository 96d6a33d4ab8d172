"""The commands of the command line that look into records: tables, BD-rates, figures, the page, the regression gate."""

import functools
import gc
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, ParamSpec

import typer

from .cli_options import (
    Chosen,
    DataRoot,
    Dataset,
    Ffmpeg,
    Folders,
    Force,
    Format,
    NewLabels,
    PerSequence,
    Sort,
    Where,
)  # fmt: skip
from .runner import defaults

Parameters = ParamSpec("Parameters")


def without_collection(command: Callable[Parameters, None]) -> Callable[Parameters, None]:
    """The command, during which Python looks for no garbage: among 10,000 records that is a quarter of its time."""

    @functools.wraps(command)
    def run(*arguments: Parameters.args, **options: Parameters.kwargs) -> None:
        gc.disable()
        try:
            command(*arguments, **options)
        finally:
            gc.enable()

    return run


def bdrate(
    folders: Folders,
    anchor: Annotated[
        str, typer.Option("--anchor", help="The codec, or the label, that the others are compared with.")
    ],
    metric: Annotated[str, typer.Option("--metric")] = "psnr_rgb",
    method: Annotated[str, typer.Option("--method", help="pchip, akima or cubic.")] = "pchip",
    dataset: Dataset = None, codecs: Chosen = None, where: Where = None, label: NewLabels = None, sort: Sort = None,
    per_sequence: PerSequence = False,
    layout: Annotated[
        str, typer.Option("--layout", help="rows, or sequences: a row for each codec, a column for each sequence.")
    ] = "rows",
    format_: Format = "table",
    force_conditions: Force = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="Also list what cannot be compared.")] = False,
) -> None:  # fmt: skip
    """Bjontegaard delta rate and quality against an anchor, with overlap and notes on their reliability."""
    from .report import layouts
    from .report.published import load_any
    from .report.selection import Selection, matching

    frame = matching(load_any(folders), Selection(dataset, where=where, labels=tuple(label or ())))
    comparison = layouts.Comparison(anchor, metric, method, per_sequence, force_conditions, codecs)
    print(layouts.printed(frame, comparison, layout, format_, sort, verbose))


def results(
    folders: Folders, format_: Format = "table", dataset: Dataset = None, codecs: Chosen = None, where: Where = None,
    label: NewLabels = None, sort: Sort = None,
    columns: Annotated[
        str | None, typer.Option("--columns", help="Only these columns, in this order: codec,bpp,psnr_rgb.")
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="All columns, as csv and json have them anyway.")] = False,
) -> None:  # fmt: skip
    """Print the records as a table."""
    from .report import tables
    from .report.published import load_any
    from .report.selection import Selection, select

    frame = load_any(folders)
    chosen = select(frame, Selection(dataset, codecs, where, tuple(label or ()), sort))
    table = tables.results_table(chosen, format_, list(frame.columns), columns, all_, in_order=sort is not None)
    print(tables.render(table, format_))


def plot(
    folders: Folders,
    output: Annotated[Path, typer.Option("-o", "--output", help="A .png, .pdf, .svg or .pgf file.")] = Path("rd.png"),
    x: Annotated[str, typer.Option("--x", help="bpp or encode_seconds.")] = "bpp",
    metric: Annotated[str, typer.Option("--metric", help="psnr_rgb (default), psnr_yuv, vmaf, ...")] = "psnr_rgb",
    dataset: Dataset = None, codecs: Chosen = None, where: Where = None, label: NewLabels = None, sort: Sort = None,
    per_sequence: PerSequence = False,
    published: Annotated[
        list[str] | None, typer.Option("--published", help="Published curves to overlay: files, or names: hinerv,vtm.")
    ] = None,
    ledger: Annotated[bool, typer.Option("--ledger", help="Where the bytes go, stacked.")] = False,
    width: Annotated[str | None, typer.Option("--width", help="3.5in, 8.9cm, 252pt.")] = None,
    height: Annotated[str | None, typer.Option("--height", help="As --width.")] = None,
    title: Annotated[str | None, typer.Option("--title")] = None,
    xlim: Annotated[str | None, typer.Option("--xlim", help="The ends of the axis, as 0.01:1.")] = None,
    ylim: Annotated[str | None, typer.Option("--ylim", help="The ends for --metric, as 30:42.")] = None,
    font: Annotated[str | None, typer.Option("--font", help="A font and its size in points: 'DejaVu Serif:8'.")] = None,
) -> None:  # fmt: skip
    """Plot RD curves, quality over encode time (--x encode_seconds), or where the bytes go (--ledger)."""
    from .registry import find_codecs
    from .report import overlays, plots
    from .report.figures import read_options
    from .report.published import load_any
    from .report.results import load_training_curves
    from .report.selection import Selection, select

    options = read_options(width, height, title, xlim, ylim, font)
    frame = load_any(folders)
    # Names of codecs may mean published curves too, so with an overlay they choose among both
    late = None if ledger or not published else codecs
    frame = select(frame, Selection(dataset, None if late else codecs, where, tuple(label or ()), sort))
    if ledger:
        plots.ledger_plot(frame, output, options, in_order=sort is not None)
    else:
        overlay = overlays.load_overlay(published) if published else None
        training = load_training_curves(folders) if x == "encode_seconds" else {}
        plots.rd_plot(
            frame, output, x, metric, per_sequence, overlay, training, late, options, tuple(find_codecs())
        )  # fmt: skip
    print(f"Wrote {output}")


def report(
    folders: Folders,
    output: Annotated[Path, typer.Option("-o", "--output", help="An .html file.")] = Path("report.html"),
    anchor: Annotated[str | None, typer.Option("--anchor", help="The codec to compare with first.")] = None,
    dataset: Dataset = None, codecs: Chosen = None, where: Where = None, label: NewLabels = None, sort: Sort = None,
    published: Annotated[
        list[str] | None, typer.Option("--published", help="Published curves to offer: files, or names: hinerv,vtm.")
    ] = None,
    frames: Annotated[int, typer.Option("--frames", help="Frames of each pair of codecs to decode; 0: none.")] = 4,
    frames_seconds: Annotated[float, typer.Option("--frames-seconds", help="Time for all decodings.")] = 120.0,
    device: Annotated[str, typer.Option("--device", help="auto (default: the record's), cpu, cuda.")] = defaults.DEVICE,
    data_root: DataRoot = None, ffmpeg: Ffmpeg = None,
) -> None:  # fmt: skip
    """Write one HTML page: what was found, curves, BD-rates, and every record; it needs no network."""
    from .registry import find_codecs
    from .report import page

    options = page.ReportOptions(
        tuple(folders), output, tuple(published or ()), dataset, codecs, anchor, where, tuple(label or ()), sort,
        known=tuple(find_codecs()),
    )  # fmt: skip
    data = page.report_data(options)
    if frames > 0:
        from .runner.show.page import FrameBudget, with_frames
        from .runner.verify.rebuild import Places

        places = Places(data_root=Path(data_root) if data_root else None, ffmpeg=ffmpeg, device=device)
        data = with_frames(data, options.folders, FrameBudget(frames, frames_seconds), places, _say)
    page.write(data, output)
    print(f"Wrote {output}")


def show(
    a: Annotated[str, typer.Argument(metavar="A", help="The folder of a record, or a codec of the results.")],
    b: Annotated[str, typer.Argument(metavar="B", help="The same.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="A .png, .pdf or .svg file.")] = Path("show.png"),
    results: Annotated[Path, typer.Option("--results", help="Where codecs are looked for by name.")] = Path("results"),
    sequence: Annotated[str | None, typer.Option("--sequence", help="Needed where there are several.")] = None,
    worst: Annotated[int, typer.Option("--worst", help="How many of the worst frames.")] = 3,
    frame: Annotated[list[int] | None, typer.Option("--frame", help="This frame; the first one is 0.")] = None,
    metric: Annotated[str, typer.Option("--metric", help="The worst by psnr or ms_ssim.")] = "psnr",
    crop: Annotated[str, typer.Option("--crop", help="Where both differ most; worst: where A is.")] = "difference",
    width: Annotated[str, typer.Option("--width", help="3.5in, 89mm, 252pt.")] = "7in", label: NewLabels = None,
    codecs: Annotated[str | None, typer.Option("--codecs", help="Where the programs of codecs are.")] = None,
    dataset: Annotated[str | None, typer.Option("--dataset", help="Clips that the records alone do not find.")] = None,
    device: Annotated[str, typer.Option("--device", help="auto (default: the record's), cpu, cuda.")] = defaults.DEVICE,
    timeout: Annotated[float | None, typer.Option("--timeout", help="Seconds for each decoding.")] = None,
    data_root: DataRoot = None, ffmpeg: Ffmpeg = None,
) -> None:  # fmt: skip
    """Show two codecs at equal bits, side by side and enlarged, where they fail: a figure."""
    from .runner.show.session import ShowOptions, show_session

    show_session(ShowOptions(
        a, b, output, results, sequence, worst, tuple(frame or ()), metric, crop, width, tuple(label or ()),
        codecs, dataset, device, timeout, data_root, ffmpeg,
    ))  # fmt: skip


def check(
    folders: Folders,
    baseline: Annotated[Path, typer.Option("--baseline", help="The kept baseline, a JSON file.")],
    only: Annotated[str | None, typer.Option("--only", help="Only these codecs, of records and baseline.")] = None,
    ignore_missing: Annotated[
        bool, typer.Option("--ignore-missing", help="Pass where the records lack points of the baseline.")
    ] = False,
    max_bd_rate: Annotated[float, typer.Option("--max-bd-rate", help="Percent; a codec may have its own.")] = 2.0,
    max_psnr_drop: Annotated[float, typer.Option("--max-psnr-drop", help="dB at one rate point; likewise.")] = 0.1,
    max_time_ratio: Annotated[
        float, typer.Option("--max-time-ratio", help="New to old time of a curve, beyond the noise; likewise.")
    ] = 2.0,
    update: Annotated[
        bool, typer.Option("--update", help="Write the records as the new baseline instead; its limits stay.")
    ] = False,
) -> None:
    """Compare results with a kept baseline; exit status 1 on a regression.

    The baseline may have limits of its own for a codec: "limits": {"x265": {"exact": true}, "nerv": {"bd_rate": 1.0,
    "psnr_drop": 0.2, "time_ratio": 3.0}}. Times are judged by the median over all samples of a curve, three at least,
    beyond their own spread, and only on the processor and with the threads of the baseline.
    """
    from .report import baseline as baselines
    from .report import regression
    from .report.results import load

    frame = load(folders)
    if update:
        baselines.save_baseline(baseline, baselines.updated(frame, baseline, only))
        print(f"Wrote {baseline}")
        return
    kept = baselines.read_baseline(baseline)
    if only is not None:
        frame, kept = baselines.restricted(frame, kept, only)
    report = regression.check(frame, kept, max_bd_rate, max_psnr_drop, max_time_ratio, ignore_missing)
    print("\n".join(report.lines()))
    raise typer.Exit(0 if report.ok else 1)


def _say(text: str) -> None:
    """Progress, which is no part of what a command prints."""
    print(text, file=sys.stderr)
