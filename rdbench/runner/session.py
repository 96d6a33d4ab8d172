"""What the commands do, with words for the terminal: run, plan, encode, decode, measure, fetch."""

import os
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress, TaskID

from ..errors import RdbenchError, UsageError
from .checksum import verify_checksum, write_checksum
from .display import Display, Lines, task_bars
from .job import finished_record
from .run import Outcome, locked, run
from .sweep import Job, Sweep, choose_points, plan

DEFAULT_OUT = "results"


def _sweep(options: dict[str, Any], parallel: int) -> Sweep:
    known = {f.name for f in fields(Sweep)}
    values = {key: value for key, value in options.items() if key in known}
    values.setdefault("threads", max(1, (os.cpu_count() or 1) // parallel))
    values["codecs"] = str(values["codecs"])
    return Sweep(**values)


def run_session(options: dict[str, Any]) -> int:
    """Runs a sweep and prints RD points, BD-rates and where everything is; returns the exit status."""
    console = Console(stderr=False)
    out = Path(options.get("out", DEFAULT_OUT))
    parallel = int(options.get("jobs", 1))
    if parallel < 1:
        raise UsageError(f"--jobs {parallel} runs nothing; give at least 1.")
    command = shlex.join(["rdbench", *sys.argv[1:]])
    start = time.monotonic()
    with locked(out):
        jobs = plan(_sweep(options, parallel), command)
        console.print(f"{len(jobs)} rate points to measure", highlight=False)
        with Display(console, len(jobs)) as display:
            outcome = run(jobs, out, options.get("executor", "local"), parallel, display.progress, display.finished)
        _print_outcome(console, outcome, jobs, out)
    console.print(f"Took {time.monotonic() - start:.0f} s.", highlight=False)
    return 1 if outcome.failed else 0


def _print_outcome(console: Console, outcome: Outcome, jobs: list[Job], out: Path) -> None:
    from ..report import tables
    from ..report.results import to_frame

    frame = to_frame([record for _, record in outcome.records if record.status == "ok"])
    if len(frame):
        print("\nRD points\n" + tables.render(tables.rd_table(frame), "table"))
        _print_bd_rates(frame)
        plot = _draw(frame, out)
        print(f"\nRD plot: {plot}")
    print(f"Records, bitstreams, values of each frame and logs: {out / 'runs'}")
    for record in outcome.failed:
        console.print(f"Failed: {record.codec} {record.sequence} {record.rate_point}: {record.error}", markup=False)


def _print_bd_rates(frame: Any) -> None:
    """Against x265 where it ran, else against the first conventional name, else against the first codec."""
    from ..report import tables

    names = list(dict.fromkeys(frame["codec"]))
    if len(names) < 2:
        return
    anchor = next((n for n in names if n.startswith("x265")), names[0])
    metric = "psnr_rgb" if frame["psnr_rgb"].notna().any() else "psnr_yuv"
    table = tables.bd_table(frame, anchor, metric)
    print(f"\nBD-rate against {anchor} ({metric}, pchip)\n" + tables.render(table, "table"))


def _draw(frame: Any, out: Path) -> Path:
    from ..report import plots

    folder = out / "plots"
    folder.mkdir(exist_ok=True)
    plot = folder / "rd.png"
    metric = "psnr_rgb" if frame["psnr_rgb"].notna().any() else "psnr_yuv"
    plots.rd_plot(frame, plot, metric=metric)
    return plot


def show_plan(options: dict[str, Any]) -> None:
    """Prints the jobs with their estimated times and what is done already."""
    out = Path(options.get("out", DEFAULT_OUT))
    jobs = plan(_sweep(options, 1), "rdbench plan")
    total, unknown = 0.0, 0
    for job in jobs:
        done = finished_record(out, job) is not None
        known = "done" if done else "unknown" if job.estimate is None else f"about {job.estimate:.0f} s"
        total += 0 if done or job.estimate is None else job.estimate
        unknown += job.estimate is None and not done
        print(f"{job.id}  {job.name:<20} {job.clip.label}:{job.clip.name}  {job.point:<8} {known}")
    more = f", and {unknown} of unknown length" if unknown else ""
    print(f"{len(jobs)} rate points, about {total / 60:.1f} minutes of encoding one after the other{more}.")


def single_job(name: str, clip: str, label: str | None, options: dict[str, Any]) -> Job:
    """One codec at one rate point (the middle one where none is named) on one clip."""
    from ..clips import dataset
    from ..codec import Clip, Host
    from ..registry import create, parse_specs

    specs = parse_specs(name)
    if len(specs) != 1:
        raise UsageError(f"{name} is {len(specs)} codecs; name one.")
    codec = create(specs[0], options["preset"])
    if reason := codec.missing(Host(options["ffmpeg"], codec.programs)):
        raise UsageError(f"{specs[0].label} cannot run here: {reason}")
    root = Path(options["data_root"]) if options["data_root"] else None
    sequences = dataset.resolve(clip, root, options["ffmpeg"])
    if len(sequences) != 1:
        raise UsageError(f"{clip} is {len(sequences)} sequences; name one, as in {clip}:{sequences[0].name}.")
    video = sequences[0].open(options["ffmpeg"], options["frames"])
    if label is None:
        points = choose_points(codec, Clip(video.format, video.frames or 1, tuple(sequences[0].sizes)), None)
        label = points[len(points) // 2].label
    given = {"codecs": name, "dataset": clip, "rate_points": label, "metrics": "psnr"}
    values = {key: value for key, value in {**options, **given}.items() if value is not None}
    (job,) = plan(_sweep(values, 1), shlex.join(["rdbench", *sys.argv[1:]]))
    return job


def encode_clip(name: str, clip: str, output: Path, label: str | None, options: dict[str, Any]) -> None:
    """Encodes one clip into one file, in this process."""
    _encode_job(single_job(name, clip, label, options), output)


def bench_codec(
    what: str, name: str, clip: str, label: str | None, steps: int, format_: str, options: dict[str, Any]
) -> None:
    """Prints how fast a codec fits or decodes."""
    import json

    from ..report import tables
    from .bench import bench

    report = bench(what, single_job(name, clip, label, options), steps)
    if format_ == "json":
        print(json.dumps(report.as_dict(), indent=1))
        return
    print(tables.render(report.table(), format_))
    if format_ == "table":
        print("\n".join(report.lines()))


def _encode_job(job: Job, output: Path) -> None:
    import tempfile

    from . import worker

    console = Console(stderr=True)
    lines = Lines(console, job.name)
    with tempfile.TemporaryDirectory() as scratch, task_bars(console) as bars:
        task = bars.add_task(job.name, total=1)

        def progress(done: float, total: float, text: str) -> None:
            bars.update(task, completed=done, total=total, description=f"{job.name}: {text}")
            lines.update(done, total, text)

        partial = Path(scratch) / "bitstream"
        result = worker.encode(job, partial, Path(scratch), progress)
        _place(partial, output)
        write_checksum(output)
    fmt = job.video_format
    bits = 8 * output.stat().st_size
    bpp = bits / (job.frames * fmt.width * fmt.height)
    print(f"{output}: {bits // 8} bytes, {bpp:.4f} bpp, {job.frames} frames, {result['seconds']:.1f} s")


def _place(partial: Path, output: Path) -> None:
    import shutil

    with writable(output):
        shutil.copyfile(partial, output.with_name(output.name + ".partial"))
        output.with_name(output.name + ".partial").replace(output)


@contextmanager
def writable(output: Path) -> Iterator[None]:
    """Turns what goes wrong while `output` is written into a sentence; a partial file does not stay."""
    try:
        yield
    except OSError as error:
        with suppress(OSError):
            output.with_name(output.name + ".partial").unlink()
        raise RdbenchError(f"{output} cannot be written ({error.strerror}); choose another place with -o.") from error


def decode_clip(
    bitstream: Path, output: Path, codec: str | None, span: str | None, device: str, threads: int | None,
    ffmpeg: str | None,
) -> None:  # fmt: skip
    """Decodes a bitstream, or the frames first:end of it, to y4m."""
    import tempfile

    from ..codec import Host, Workspace
    from ..registry import create, parse_specs, sniff
    from ..video.readers import write_y4m
    from .worker import resolve_device

    try:
        head = bitstream.open("rb").read(64)
    except OSError as error:
        raise UsageError(f"The bitstream {bitstream} cannot be read ({error.strerror}); check its path.") from error
    verify_checksum(bitstream)
    spec = parse_specs(codec or sniff(head))[0]
    name, chosen = spec.name, create(spec)
    with tempfile.TemporaryDirectory() as scratch:
        device = resolve_device(device, name)
        workspace = Workspace(Path(scratch), device, threads or os.cpu_count() or 1, host=Host(ffmpeg, chosen.programs))
        video = chosen.decode(bitstream, workspace)
        partial = output.with_name(output.name + ".partial")
        with writable(output):
            count = write_y4m(partial, _span(video, span))
            partial.replace(output)
    print(f"{output}: {count} frames of {video.format.width}x{video.format.height}, decoded by {spec.label}")


def _span(video: Any, text: str | None) -> Any:
    """The frames first:end of a video, in y4m's color space."""
    from ..video import BATCH, Frames, Video, VideoFormat
    from ..video.color import convert

    try:
        first, end = (int(part) for part in text.split(":")) if text else (0, sys.maxsize)
    except ValueError as error:
        raise UsageError(f"--frames {text} is not of the form first:end, as in --frames 100:110.") from error
    if not 0 <= first < end:
        raise UsageError(f"--frames {text} holds no frame; give first:end with first below end.")
    source: VideoFormat = video.format
    target = replace(source, chroma="444") if source.chroma == "rgb" else source

    class Span(Video):
        format = target
        frames = None

        def batches(self, size: int = BATCH) -> Iterator[Frames]:
            part = None
            for part in video.span(first, end, size):
                yield convert(part, source, target) if target != source else part
            if part is None:
                count = sum(len(batch) for batch in video.batches())
                raise UsageError(f"--frames {text} begins after the last frame; there are {count}.")

    return Span()


def measure_clips(
    reference: str, test: Path, conditions: str, metrics: str, frames_csv: Path | None, format_: str,
    data_root: str | None, ffmpeg: str | None,
) -> None:  # fmt: skip
    """Prints the quality of one clip against another."""
    import pandas as pd

    from ..clips import dataset
    from ..measure import metrics as scoring
    from ..report import tables
    from ..video.conditions import find_conditions
    from ..video.readers import open_video

    sequences = dataset.resolve(reference, Path(data_root) if data_root else None, ffmpeg)
    if len(sequences) != 1:
        raise UsageError(f"{reference} is {len(sequences)} sequences; name one, as in {reference}:{sequences[0].name}.")
    ruler = find_conditions(conditions)
    scores = scoring.compare(
        sequences[0].open(ffmpeg), open_video(test, ffmpeg), ruler, tuple(metrics.split(",")), ffmpeg
    )
    if frames_csv:
        scoring.write_frames_csv(frames_csv, scores)
    values = {key: value for key, value in asdict(scoring.summarize(scores)).items() if value is not None}
    print(tables.render(pd.DataFrame([{"conditions": ruler.stamp, "frames": len(scores), **values}]), format_))


def fetch_dataset(name: str, data_root: Path | None) -> None:
    """Downloads a dataset with a progress bar."""
    from ..clips.fetch import fetch

    console = Console()
    with Progress(console=console, disable=not console.is_terminal) as bars:
        tasks: dict[str, TaskID] = {}

        def progress(file: str, done: int, total: int | None) -> None:
            if file not in tasks:
                tasks[file] = bars.add_task(file, total=total)
            bars.update(tasks[file], completed=done, total=total)

        paths = fetch(name, data_root, progress)
    for path in paths:
        print(path)
