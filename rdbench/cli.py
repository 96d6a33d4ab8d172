"""The command line: parse, call, print."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from . import cli_reports
from .cli_options import (
    CodecName,
    Codecs,
    ConditionsName,
    DataRoot,
    DatasetSpec,
    Device,
    Ffmpeg,
    Format,
    FrameCount,
    Metrics,
    Precision,
    Preset,
    RatePoints,
    Seed,
    Seeds,
    Set,
    SweepFile,
    Threads,
    complete_codecs,
    complete_datasets,
)  # fmt: skip
from .errors import RdbenchError, UsageError
from .runner import defaults, interrupt

if TYPE_CHECKING:
    from .runner.options import SweepOptions


class NamedGroup(TyperGroup):
    """A group of commands in which any other word is the name that its command `show` gets: `rdbench datasets uvg`."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that the first word names, or `show`."""
        return super().resolve_command(ctx, args if args[0] in self.commands else ["show", *args])


app = typer.Typer(
    name="rdbench",
    help="At the same quality, how many bits, and how long? Neural and conventional video codecs, measured alike.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
datasets_app = typer.Typer(
    cls=NamedGroup, help="The datasets: list them, print all of one (NAME), or fetch some.",
    invoke_without_command=True, subcommand_metavar="[NAME | fetch NAME]",
)  # fmt: skip
app.add_typer(datasets_app, name="datasets")


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"rdbench {version('rdbench')}")
        raise typer.Exit


@app.callback()
def top(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """At the same quality, how many bits, and how long? Neural and conventional video codecs, measured alike."""


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


def _with_file(given: "SweepOptions", sweep: Path | None) -> "SweepOptions":
    """The command line on top of the sweep file."""
    from .runner.options import read_sweep

    return given.over(read_sweep(sweep)) if sweep else given


@app.command()
def run(
    sweep: SweepFile = None, codecs: Codecs = None, dataset: DatasetSpec = None, frames: FrameCount = None,
    rate_points: RatePoints = None, preset: Preset = None, set_: Set = None, conditions: ConditionsName = None,
    metrics: Metrics = None, seed: Seed = None, seeds: Seeds = None, device: Device = None, threads: Threads = None,
    precision: Precision = None,
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
    save: Annotated[
        Path | None, typer.Option("--save-sweep", help="Also write these options as a TOML file for rdbench run.")
    ] = None,
    then: Annotated[
        str | None,
        typer.Option(help="A shell command for the end; it gets RDBENCH_OUT, _MEASURED, _FAILED, _STATUS, _SECONDS."),
    ] = None,
) -> None:  # fmt: skip
    """Encode, decode and measure: codecs x sequences x rate points."""
    from .runner.options import SweepOptions
    from .runner.session import run_session
    from .runner.sweep_file import save_sweep

    given = SweepOptions(
        codecs=codecs, dataset=dataset, frames=frames, rate_points=rate_points, preset=preset,
        set=tuple(set_) if set_ else None, conditions=conditions, metrics=metrics, seed=seed, seeds=seeds,
        device=device,
        threads=threads, precision=precision, timeout=timeout, data_root=data_root, ffmpeg=ffmpeg, out=out,
        executor=executor, jobs=jobs,
        gpu_memory=gpu_memory, slurm=tuple(slurm) if slurm else None, anchor=anchor,
    )  # fmt: skip
    options = _with_file(given, sweep)
    if save is not None:
        save_sweep(save, options, shlex.join(["rdbench", *sys.argv[1:]]))
    try:
        raise typer.Exit(run_session(options, then))
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


for _command in (
    cli_reports.bdrate, cli_reports.results, cli_reports.plot, cli_reports.report, cli_reports.show, cli_reports.check,
):  # fmt: skip
    app.command()(cli_reports.without_collection(_command))


@app.command(name="codecs")
def list_codecs(
    name: Annotated[
        str | None,
        typer.Argument(help="A codec, or a TOML file that declares one.", autocompletion=complete_codecs),
    ] = None,
    ffmpeg: Ffmpeg = None,
) -> None:
    """List the codecs and whether each can run here, or print all of one: paper, options, presets, rate points."""
    from .card import Host

    if name is None:
        from .runner.codec_table import codec_table

        print("\n".join(codec_table(Host(ffmpeg=ffmpeg))))
        return
    from .runner.codec_page import codec_page

    print("\n".join(codec_page(name, Host(ffmpeg=ffmpeg))))


@datasets_app.callback()
def list_datasets(context: typer.Context, data_root: DataRoot = None) -> None:
    """List the datasets, and whether their files are here; with a NAME, print all of one."""
    if context.invoked_subcommand is not None:
        return
    from .clips.describe import dataset_table

    print("\n".join(dataset_table(Path(data_root) if data_root else None)))
    print("\nrdbench datasets NAME prints all of one, and how to get it.")


@datasets_app.command(hidden=True)
def show(context: typer.Context, name: str, data_root: DataRoot = None) -> None:
    """Print all of one dataset: license, how to get it, variants, sequences, and where they are here."""
    from .clips.describe import describe_dataset

    root = data_root or (context.parent.params.get("data_root") if context.parent else None)
    print("\n".join(describe_dataset(name, Path(root) if root else None)))


@datasets_app.command()
def fetch(name: Annotated[str, typer.Argument(autocompletion=complete_datasets)], data_root: DataRoot = None) -> None:
    """Download, check and unpack datasets: uvg, uvg:Jockey,Beauty or uvg:Jockey,bunny1080."""
    from .runner.session import fetch_dataset

    fetch_dataset(name, Path(data_root) if data_root else None)


@app.command()
def encode(
    codec: CodecName, clip: str,
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
    precision: Annotated[
        str | None, typer.Option("--precision", help="Render in bfloat16 or float16: other frames, faster on a GPU.")
    ] = None,
    ffmpeg: Ffmpeg = None,
) -> None:
    """Decode a bitstream to a y4m file."""
    from .runner.options import SweepOptions
    from .runner.session import decode_clip

    checked = SweepOptions(device=device, threads=threads, precision=precision)
    decode_clip(bitstream, output, codec, frames, device or defaults.DEVICE, threads, ffmpeg, checked.rendering)


@app.command()
def bench(
    what: Annotated[str, typer.Argument(help="fit (training) or decode.")],
    codec: Annotated[str, typer.Argument(help="nerv, hinerv[epochs=300], x265, ...")],
    dataset: Annotated[str, typer.Option("--dataset", help="One clip.")] = "bunny@320x180",
    frames: Annotated[int, typer.Option("--frames", help="Only the first N frames.")] = 16,
    rate_point: Annotated[str | None, typer.Option("--rate-point", help="Its label; default: the middle one.")] = None,
    steps: Annotated[int, typer.Option("--steps", help="Steps of each stage, or decodings.")] = 20,
    precision: Annotated[
        str | None, typer.Option("--precision", help="Decode in bfloat16 or float16 instead of float32.")
    ] = None,
    format_: Format = "table", preset: Preset = None, seed: Seed = defaults.SEED,
    device: Device = defaults.DEVICE, threads: Threads = None, data_root: DataRoot = None, ffmpeg: Ffmpeg = None,
) -> None:  # fmt: skip
    """Time training steps or decoding: operations per second, and the share of the machine's peak."""
    from .runner.options import ClipOptions
    from .runner.session import bench_codec

    options = ClipOptions(preset, frames, seed, device, threads, data_root, ffmpeg, precision)
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
def guide(
    name: Annotated[str | None, typer.Argument(help="paper, ci, review, codec, record or traps.")] = None,
) -> None:
    """Print a guide, or list them: a paper's comparison, CI, reviewing, a codec, the records, traps."""
    from .guide import print_guide

    print_guide(name)


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
