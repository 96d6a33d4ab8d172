"""The command line: parse, call, print."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .errors import RdbenchError, UsageError
from .runner import defaults, interrupt

if TYPE_CHECKING:
    from .runner.options import SweepOptions

app = typer.Typer(
    name="rdbench",
    help="At the same quality, how many bits, and how long? Neural and conventional video codecs, measured alike.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
datasets_app = typer.Typer(help="The datasets: list them, or fetch one.", invoke_without_command=True)
app.add_typer(datasets_app, name="datasets")

Ffmpeg = Annotated[str | None, typer.Option("--ffmpeg", help="Path of an ffmpeg to use instead of the bundled one.")]
DataRoot = Annotated[str | None, typer.Option("--data-root", help="Folder of the datasets (or set RDBENCH_DATA).")]
Format = Annotated[str, typer.Option("--format", help="table, csv, json, markdown or latex.")]
Folders = Annotated[list[Path], typer.Argument(help="Folders of records, or CSV files of published curves.")]
Dataset = Annotated[str | None, typer.Option("--dataset", help="Only this dataset.")]
Force = Annotated[bool, typer.Option("--force-conditions", help="Compare across test conditions; a note marks it.")]
Chosen = Annotated[
    str | None, typer.Option("--codecs", help="Only these: names of codecs or labels, separated by commas.")
]
Where = Annotated[
    str | None, typer.Option("--where", help="Only results with this: 'sequence == \"Jockey\" and bpp < 0.2'.")
]
NewLabels = Annotated[
    list[str] | None, typer.Option("--label", help="Another name for a series: 'x265\\[preset=fast]=x265 fast'.")
]
Sort = Annotated[str | None, typer.Option("--sort", help="A column to sort by; -COLUMN: the greatest first.")]
PerSequence = Annotated[bool, typer.Option("--per-sequence", help="A row or a panel for each sequence.")]


def main() -> None:
    """Runs the command line; errors are one sentence, a traceback only with --debug."""
    debug = "--debug" in sys.argv
    arguments = [a for a in sys.argv[1:] if a != "--debug"]
    try:
        with interrupt.heeded():
            sys.exit(app(args=arguments, standalone_mode=True))
    except RdbenchError as error:
        if debug:
            raise
        print(f"rdbench: {error}", file=sys.stderr)
        sys.exit(2 if isinstance(error, UsageError) else 1)
    except OSError as error:
        if debug or error.filename is None:
            raise
        print(
            f"rdbench: {str(error.filename)[:200]} cannot be used ({error.strerror}); check the path.", file=sys.stderr
        )
        sys.exit(2)


def _say(text: str) -> None:
    """Progress, which is no part of what a command prints."""
    print(text, file=sys.stderr)


def _with_file(given: "SweepOptions", sweep: Path | None) -> "SweepOptions":
    """The command line on top of the sweep file."""
    from .runner.options import read_sweep

    return given.over(read_sweep(sweep)) if sweep else given


SweepFile = Annotated[Path | None, typer.Argument(metavar="[SWEEP.toml]", help="A TOML file with the same options.")]
Codecs = Annotated[str | None, typer.Option("--codecs", help="nerv,x265[preset=medium], ...")]
DatasetSpec = Annotated[str | None, typer.Option("--dataset", help="uvg, uvg:Jockey, bunny@320x180, a file, a folder.")]
FrameCount = Annotated[int | None, typer.Option("--frames", help="Only the first N frames.")]
RatePoints = Annotated[str | None, typer.Option("--rate-points", help="How many, or labels: 4 or crf27,crf32.")]
Preset = Annotated[str | None, typer.Option("--preset", help="paper, quick or tiny.")]
Set = Annotated[list[str] | None, typer.Option("--set", help="codec.option=value")]
ConditionsName = Annotated[str | None, typer.Option("--conditions", help="rgb601 (default), rgb709 or yuv420.")]
Metrics = Annotated[str | None, typer.Option("--metrics", help="psnr,ms_ssim (default), vmaf.")]
Seed = Annotated[int | None, typer.Option("--seed")]
Seeds = Annotated[str | None, typer.Option("--seeds", help="Repeat each training with these seeds: 0,1,2.")]
Device = Annotated[str | None, typer.Option("--device", help="auto (default), cpu, cuda.")]
Threads = Annotated[int | None, typer.Option("--threads", help="Threads of each job (default: cores / jobs).")]


@app.command()
def run(
    sweep: SweepFile = None, codecs: Codecs = None, dataset: DatasetSpec = None, frames: FrameCount = None,
    rate_points: RatePoints = None, preset: Preset = None, set_: Set = None, conditions: ConditionsName = None,
    metrics: Metrics = None, seed: Seed = None, seeds: Seeds = None, device: Device = None, threads: Threads = None,
    timeout: Annotated[float | None, typer.Option("--timeout", help="Seconds for each stage of a job.")] = None,
    data_root: DataRoot = None, ffmpeg: Ffmpeg = None,
    out: Annotated[Path | None, typer.Option("--out", help="Where records go (default: results).")] = None,
    executor: Annotated[str | None, typer.Option("--executor", help="local (default), ray or slurm.")] = None,
    jobs: Annotated[int | None, typer.Option("--jobs", help="Jobs at a time (default: one per GPU, else 1).")] = None,
    gpu_memory: Annotated[int | None, typer.Option("--gpu-memory", help="MiB that each job needs on a GPU.")] = None,
    slurm: Annotated[list[str] | None, typer.Option("--slurm", help="An option of sbatch: partition=gpu.")] = None,
    anchor: Annotated[
        str | None, typer.Option("--anchor", help="The codec of --codecs to compare with at the end.")
    ] = None,
) -> None:  # fmt: skip
    """Encode, decode and measure: codecs x sequences x rate points."""
    from .runner.options import SweepOptions
    from .runner.session import run_session

    given = SweepOptions(
        codecs=codecs, dataset=dataset, frames=frames, rate_points=rate_points, preset=preset,
        set=tuple(set_) if set_ else None, conditions=conditions, metrics=metrics, seed=seed, seeds=seeds,
        device=device,
        threads=threads, timeout=timeout, data_root=data_root, ffmpeg=ffmpeg, out=out, executor=executor, jobs=jobs,
        gpu_memory=gpu_memory, slurm=tuple(slurm) if slurm else None, anchor=anchor,
    )  # fmt: skip
    options = _with_file(given, sweep)
    try:
        raise typer.Exit(run_session(options))
    except KeyboardInterrupt:
        print("Stopped; what is done is kept, and the same command continues.", file=sys.stderr)
        raise typer.Exit(interrupt.exit_status()) from None


@app.command()
def plan(
    sweep: SweepFile = None, codecs: Codecs = None, dataset: DatasetSpec = None, frames: FrameCount = None,
    rate_points: RatePoints = None, preset: Preset = None, set_: Set = None, conditions: ConditionsName = None,
    metrics: Metrics = None, seed: Seed = None, seeds: Seeds = None, device: Device = None, threads: Threads = None,
    data_root: DataRoot = None, ffmpeg: Ffmpeg = None,
    out: Annotated[Path | None, typer.Option("--out")] = None,
) -> None:  # fmt: skip
    """List what would run, with estimated times; runs nothing."""
    from .runner.options import SweepOptions
    from .runner.session import show_plan

    given = SweepOptions(
        codecs=codecs, dataset=dataset, frames=frames, rate_points=rate_points, preset=preset,
        set=tuple(set_) if set_ else None, conditions=conditions, metrics=metrics, seed=seed, seeds=seeds,
        device=device,
        threads=threads, data_root=data_root, ffmpeg=ffmpeg, out=out,
    )  # fmt: skip
    show_plan(_with_file(given, sweep))


@app.command()
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


@app.command()
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


@app.command()
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


@app.command()
def report(
    folders: Folders,
    output: Annotated[Path, typer.Option("-o", "--output", help="An .html file.")] = Path("report.html"),
    anchor: Annotated[str | None, typer.Option("--anchor", help="The codec to compare with first.")] = None,
    dataset: Dataset = None,
    codecs: Chosen = None,
    published: Annotated[list[Path] | None, typer.Option("--published", help="Published curves to offer.")] = None,
    frames: Annotated[int, typer.Option("--frames", help="Frames of each pair of codecs to decode; 0: none.")] = 4,
    frames_seconds: Annotated[float, typer.Option("--frames-seconds", help="Time for all decodings.")] = 120.0,
    device: Annotated[str, typer.Option("--device", help="auto (default: the record's), cpu, cuda.")] = defaults.DEVICE,
    data_root: DataRoot = None, ffmpeg: Ffmpeg = None,
) -> None:  # fmt: skip
    """Write one HTML page: what was found, curves, BD-rates, and every record; it needs no network."""
    from .registry import find_codecs
    from .report import page

    options = page.ReportOptions(
        tuple(folders), output, tuple(published or ()), dataset, codecs, anchor, known=tuple(find_codecs())
    )
    data = page.report_data(options)
    if frames > 0:
        from .runner.show.page import FrameBudget, with_frames
        from .runner.verify.rebuild import Places

        places = Places(data_root=Path(data_root) if data_root else None, ffmpeg=ffmpeg, device=device)
        data = with_frames(data, options.folders, FrameBudget(frames, frames_seconds), places, _say)
    page.write(data, output)
    print(f"Wrote {output}")


@app.command()
def check(
    folders: Folders,
    baseline: Annotated[Path, typer.Option("--baseline", help="The kept baseline, a JSON file.")],
    max_bd_rate: Annotated[float, typer.Option("--max-bd-rate", help="Percent.")] = 2.0,
    max_psnr_drop: Annotated[float, typer.Option("--max-psnr-drop", help="dB.")] = 0.1,
    max_time_ratio: Annotated[float, typer.Option("--max-time-ratio")] = 2.0,
    update: Annotated[bool, typer.Option("--update", help="Write a new baseline instead.")] = False,
) -> None:
    """Compare results with a kept baseline; exit status 1 on a regression."""
    from .report import regression
    from .report.results import load

    frame = load(folders)
    if update:
        limits = regression.kept_limits(baseline)
        regression.save_baseline(baseline, regression.make_baseline(frame, limits))
        print(f"Wrote {baseline}")
        return
    report = regression.check(frame, regression.read_baseline(baseline), max_bd_rate, max_psnr_drop, max_time_ratio)
    print("\n".join(report.lines()))
    raise typer.Exit(0 if report.ok else 1)


@app.command(name="codecs")
def list_codecs(ffmpeg: Ffmpeg = None) -> None:
    """List the codecs: what each is, its rate points, and whether it can run here."""
    from .card import Host
    from .registry import check_class, find_card, find_codecs, plugin_errors

    codecs, host = find_codecs(), Host(ffmpeg=ffmpeg)
    for name in codecs:
        try:
            with plugin_errors(name):
                card = find_card(name, codecs)
                reason = card.missing(host)
                details = card.found(host) if reason is None else ""
                if reason is None:
                    check_class(name, codecs)
        except RdbenchError as error:
            print(f"{name:<8} not usable: {error}")
            continue
        print(f"{name:<8} {card.kind}: {card.summary} ({card.reference}). Rate points: {card.rate_points}.")
        print(f"{'':<8} {'cannot run here: ' + reason if reason else 'ready' + (details and ': ' + details)}")


@datasets_app.callback()
def list_datasets(context: typer.Context, data_root: DataRoot = None) -> None:
    """List the datasets, and whether their files are here."""
    if context.invoked_subcommand is not None:
        return
    from .clips.dataset import status
    from .clips.manifest import find_datasets

    for name in find_datasets():
        print(f"{name:<10} {status(name, Path(data_root) if data_root else None)}")


@datasets_app.command()
def fetch(name: str, data_root: DataRoot = None) -> None:
    """Download, check and unpack a dataset."""
    from .runner.session import fetch_dataset

    fetch_dataset(name, Path(data_root) if data_root else None)


@app.command()
def encode(
    codec: str, clip: str,
    output: Annotated[Path, typer.Option("-o", "--output")],
    rate_point: Annotated[str | None, typer.Option("--rate-point", help="Its label; default: the middle one.")] = None,
    preset: Preset = None, frames: FrameCount = None, seed: Seed = defaults.SEED,
    device: Device = defaults.DEVICE, threads: Threads = None, data_root: DataRoot = None, ffmpeg: Ffmpeg = None,
) -> None:  # fmt: skip
    """Encode one clip to one bitstream."""
    from .runner.options import ClipOptions
    from .runner.session import encode_clip

    encode_clip(codec, clip, output, rate_point, ClipOptions(preset, frames, seed, device, threads, data_root, ffmpeg))


@app.command()
def decode(
    bitstream: Path,
    output: Annotated[Path, typer.Option("-o", "--output", help="A .y4m file.")],
    codec: Annotated[str | None, typer.Option("--codec", help="Needed if the bitstream names no codec.")] = None,
    frames: Annotated[str | None, typer.Option("--frames", help="first:end, as in 100:110.")] = None,
    device: Device = defaults.DEVICE,
    threads: Threads = None,
    ffmpeg: Ffmpeg = None,
) -> None:
    """Decode a bitstream to a y4m file."""
    from .runner.options import SweepOptions
    from .runner.session import decode_clip

    SweepOptions(device=device, threads=threads)  # checks both
    decode_clip(bitstream, output, codec, frames, device or defaults.DEVICE, threads, ffmpeg)


@app.command()
def bench(
    what: Annotated[str, typer.Argument(help="fit (training) or decode.")],
    codec: Annotated[str, typer.Argument(help="nerv, hinerv[epochs=300], x265, ...")],
    dataset: Annotated[str, typer.Option("--dataset", help="One clip.")] = "bunny@320x180",
    frames: Annotated[int, typer.Option("--frames", help="Only the first N frames.")] = 16,
    rate_point: Annotated[str | None, typer.Option("--rate-point", help="Its label; default: the middle one.")] = None,
    steps: Annotated[int, typer.Option("--steps", help="Steps of each stage, or decodings.")] = 20,
    format_: Format = "table", preset: Preset = None, seed: Seed = defaults.SEED,
    device: Device = defaults.DEVICE, threads: Threads = None, data_root: DataRoot = None, ffmpeg: Ffmpeg = None,
) -> None:  # fmt: skip
    """Time training steps or decoding: operations per second, and the share of the machine's peak."""
    from .runner.options import ClipOptions
    from .runner.session import bench_codec

    options = ClipOptions(preset, frames, seed, device, threads, data_root, ffmpeg)
    bench_codec(what, codec, dataset, rate_point, steps, format_, options)


@app.command()
def measure(
    reference: str,
    test: Path,
    conditions: ConditionsName = defaults.CONDITIONS,
    metrics: Metrics = defaults.METRICS,
    frames_csv: Annotated[
        Path | None, typer.Option("--frames-csv", help="Also write the values of each frame.")
    ] = None,
    format_: Format = "table",
    frames: Annotated[
        str | None, typer.Option("--frames", help="Only first:end, as in 100:110; TEST may be that part alone.")
    ] = None,
    data_root: DataRoot = None,
    ffmpeg: Ffmpeg = None,
) -> None:
    """Measure the quality of one clip against another, as in a run."""
    from .runner.session import measure_clips

    ruler, chosen = conditions or defaults.CONDITIONS, metrics or defaults.METRICS
    measure_clips(reference, test, ruler, chosen, frames_csv, format_, data_root, ffmpeg, frames)


@app.command()
def verify(
    folder: Annotated[Path, typer.Argument(help="A folder of records, of which nothing is changed.")],
    codecs: Annotated[str | None, typer.Option("--codecs", help="Only these, and where their programs are.")] = None,
    sample: Annotated[int | None, typer.Option("--sample", help="Only N records, chosen at random.")] = None,
    refit: Annotated[
        int | None, typer.Option("--refit", help="Encode N of them again, with the settings that they name.")
    ] = None,
    dataset: Annotated[str | None, typer.Option("--dataset", help="Clips that the records alone do not find.")] = None,
    device: Annotated[str, typer.Option("--device", help="auto (default: the record's), cpu, cuda.")] = defaults.DEVICE,
    timeout: Annotated[float | None, typer.Option("--timeout", help="Seconds for each decoding or encoding.")] = None,
    format_: Format = "table", data_root: DataRoot = None, ffmpeg: Ffmpeg = None,
) -> None:  # fmt: skip
    """Check somebody's records by their bitstreams and the clips; exit status 1 where one does not hold."""
    from .runner.verify.session import VerifyOptions, verify_session

    options = VerifyOptions(folder, codecs, sample, refit, dataset, device, timeout, format_, data_root, ffmpeg)
    try:
        raise typer.Exit(verify_session(options))
    except KeyboardInterrupt:
        print("Stopped; the rows above are those of the records that were checked.", file=sys.stderr)
        raise typer.Exit(130) from None


@app.command()
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


@app.command()
def clean(
    folder: Annotated[Path, typer.Argument(help="A folder of results, as given to rdbench run --out.")],
    failed: Annotated[bool, typer.Option("--failed", help="The whole folders of failed jobs too.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print what would be removed.")] = False,
) -> None:
    """Remove work folders, with the checkpoints of unfinished jobs, and damaged files; finished records stay."""
    from .runner.clean import clean as remove_leftovers

    remove_leftovers(folder, failed, dry_run)


if __name__ == "__main__":
    main()
