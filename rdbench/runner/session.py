"""What each command does, with its output for the terminal: run, plan, encode, decode, bench, measure, fetch."""

import json
import os
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console
from rich.progress import Progress, TaskID

from ..clips import dataset
from ..clips.content import known_facts
from ..clips.fetch import fetch
from ..codec import Clip, Host, Precision, Workspace
from ..errors import RdbenchError, UsageError
from ..registry import create, find_card, parse_specs, sniff
from ..report import tables
from ..video import BATCH, Frames, Video
from ..video.checked import CheckedVideo
from ..video.color import convert
from ..video.conditions import find_conditions
from . import worker
from .answers import encode_macs, memory_mb
from .checksum import checksum_path, verify_checksum, write_checksum
from .costs import disk, with_estimate
from .display import Display, Lines, task_bars
from .estimates import Planned, advice, basis_lines, totals
from .executors import for_executor
from .files import RUNS
from .machine import usable_cores
from .notes import alpha_note, alpha_notes, clip_notes, color_notes
from .options import ClipOptions, RunOptions, Sweep, SweepOptions
from .preparation import resolve_device
from .rates import Rate, keep_rate, rates_path, read_rates
from .resume import finished_record, with_earlier_threads
from .run import locked, run
from .summary import check_anchor, print_outcome
from .sweep import Job, choose_points, plan
from .then import Finished, run_then
from .workers import Expected, prepared_workers


def _command() -> str:
    return shlex.join(["rdbench", *sys.argv[1:]])


def run_session(options: SweepOptions, then: str | None = None) -> int:
    """Runs a sweep and prints RD points, BD-rates and where everything is; returns the exit status.

    `then` is a shell command that runs at the end; how it ends is printed and changes nothing else.
    """
    console = Console(stderr=False)
    run_options = options.run_options()
    sweep = for_executor(run_options, options.sweep(run_options.jobs))
    start = time.monotonic()
    # Ray's jobs write elsewhere and send their files back, so that no lock of a job keeps two runs apart
    with (
        locked(run_options.out, shared=run_options.executor != "ray"),
        prepared_workers(_expected_workers(sweep, run_options)) as start_worker,
    ):
        jobs = plan(sweep, _command())
        check_anchor(options.anchor, jobs)
        rates = read_rates()
        planned = [_planned(job, run_options.out, rates) for job in jobs]
        jobs = [one.job for one in planned]
        _announce(console, planned)
        for note in (*color_notes(jobs), *alpha_notes(jobs)):
            console.print(note, markup=False, highlight=False, soft_wrap=True)
        with Display(console, jobs) as display:
            outcome = run(jobs, run_options, display.progress, display.finished, start_worker)
        print_outcome(console, outcome, run_options.out, options.anchor)
    failed, seconds = len(outcome.failed), time.monotonic() - start
    finished = Finished(run_options.out, len(outcome.records) - failed, failed, seconds)
    console.print(f"Took {finished.seconds:.0f} s.", highlight=False)
    if then is not None:
        console.print(run_then(then, finished), markup=False, highlight=False, soft_wrap=True)
    return finished.status


def _expected_workers(sweep: Sweep, options: RunOptions) -> list[Expected]:
    """The workers that the codecs of a sweep on this machine will need; they import while the sweep is planned.

    None where there are results already: all jobs may be finished, so that workers start when one is needed.
    """
    if options.executor != "local" or (options.out / RUNS).exists():
        return []
    cards = [find_card(spec.name) for spec in parse_specs(sweep.codecs)]
    return [Expected(torch, sweep.threads) for torch in sorted({card.kind != "conventional" for card in cards})]


def show_plan(options: SweepOptions) -> None:
    """Prints the jobs with their estimated times and what is done already; hashes no clip."""
    out = options.run_options().out
    rates = read_rates()
    planned = [_priced(_planned(job, out, rates)) for job in plan(options.sweep(1), "rdbench plan", known_facts)]
    for one in planned:
        print(one.line)
    jobs = [one.job for one in planned]
    for note in (*color_notes(jobs), *alpha_notes(jobs), *clip_notes(jobs)):
        print(note)
    print("\n".join([*totals(planned), *basis_lines(planned)]))
    if (hint := advice(planned)) is not None:
        print(hint)


def _planned(job: Job, out: Path, rates: Sequence[Rate]) -> Planned:
    """The job, with the best estimate and whether it is done, which nobody knows without the clip's hash."""
    if job.clip_sha256 is not None:
        job = with_earlier_threads(job, out)
    done = job.clip_sha256 is not None and finished_record(out, job) is not None
    job, basis = with_estimate(job, rates)
    return Planned(job, done, basis, encode_macs(job))


def _priced(one: Planned) -> Planned:
    """The job with its disk and memory, which take time to find out."""
    return one if one.done else replace(one, disk=disk(one.job), memory_mb=memory_mb(one.job))


def _announce(console: Console, planned: Sequence[Planned]) -> None:
    """Says what a run is about to do, how long it takes, and above a day how to shorten it."""
    hint = advice(planned)
    for line in (*totals(planned), *basis_lines(planned), *([hint] if hint is not None else [])):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def single_job(name: str, clip: str, label: str | None, options: ClipOptions) -> Job:
    """The job of one codec at one rate point (the middle one where none is named) on one clip. Raises UsageError."""
    specs = parse_specs(name)
    if len(specs) != 1:
        raise UsageError(f"{name} is {len(specs)} codecs; name one.")
    codec = create(specs[0], options.preset)
    if reason := codec.missing(Host(options.ffmpeg, codec.programs)):
        raise UsageError(f"{specs[0].label} cannot run here: {reason}")
    sequence = _single_sequence(clip, options.data_folder, options.ffmpeg)
    video = sequence.open(options.ffmpeg, options.frames)
    if label is None:
        points = choose_points(codec, Clip(video.format, video.frames or 1, tuple(sequence.sizes)), None)
        label = points[len(points) // 2].label
    sweep = SweepOptions(
        codecs=name, dataset=clip, rate_points=label, metrics="psnr", frames=options.frames, preset=options.preset,
        seed=options.seed, device=options.device, threads=options.threads, data_root=options.data_root,
        ffmpeg=options.ffmpeg, precision=options.precision,
    )  # fmt: skip
    (job,) = plan(sweep.sweep(1), _command())
    return job


def _single_sequence(clip: str, data_folder: Path | None, ffmpeg: str | None) -> dataset.Sequence:
    sequences = dataset.resolve(clip, data_folder, ffmpeg)
    if len(sequences) != 1:
        raise UsageError(f"{clip} is {len(sequences)} sequences; name one, as in {clip}:{sequences[0].name}.")
    return sequences[0]


def encode_clip(name: str, clip: str, output: Path, label: str | None, options: ClipOptions) -> None:
    """Encodes one clip into one file, in this process."""
    job = single_job(name, clip, label, options)
    if (note := alpha_note(job.clip, job.ffmpeg)) is not None:
        print(note, file=sys.stderr)
    _encode_job(job, output)


def bench_codec(
    what: str, name: str, clip: str, label: str | None, steps: int, format_: str, options: ClipOptions
) -> None:
    """Prints the speed of a codec's training (`fit`) or of its decoding."""
    from .bench import bench, measured_rate

    job = single_job(name, clip, label, options)
    report = bench(what, job, steps)
    if (rate := measured_rate(what, job, report)) is not None:
        keep_rate(rate)
    if format_ == "json":
        print(json.dumps(report.as_dict(), indent=1))
        return
    print(tables.render(report.table(), format_))
    if format_ == "table":
        print("\n".join(report.lines()))
        if rate is not None:
            print(f"`rdbench plan` estimates times by this rate; it is kept in {rates_path()}.")


def _encode_job(job: Job, output: Path) -> None:
    console = Console(stderr=True)
    lines = Lines(console, job.name)
    with tempfile.TemporaryDirectory() as scratch, task_bars(console) as bars:
        task = bars.add_task(job.name, total=1)

        def progress(done: float, total: float, text: str) -> None:
            bars.update(task, completed=done, total=total, description=f"{job.name}: {text}")
            lines.update(done, total, text)

        partial = Path(scratch) / "bitstream"
        result = worker.encode(job, partial, Path(scratch), progress)
        _copy_to(partial, output)
        write_checksum(output)
    fmt = job.video_format
    bits = 8 * output.stat().st_size
    bpp = bits / (job.frames * fmt.width * fmt.height)
    print(f"{output}: {bits // 8} bytes, {bpp:.4f} bpp, {job.frames} frames, {result['seconds']:.1f} s")


def _copy_to(partial: Path, output: Path) -> None:
    with writable(output):
        shutil.copyfile(partial, output.with_name(output.name + ".partial"))
        output.with_name(output.name + ".partial").replace(output)


@contextmanager
def writable(output: Path) -> Iterator[None]:
    """Turns an OSError inside the block into an RdbenchError that names `output`, and removes the partial file."""
    try:
        yield
    except OSError as error:
        with suppress(OSError):
            output.with_name(output.name + ".partial").unlink()
        raise RdbenchError(f"{output} cannot be written ({error.strerror}); choose another place with -o.") from error


def decode_clip(
    bitstream: Path, output: Path, codec: str | None, span: str | None, device: str, threads: int | None,
    ffmpeg: str | None, precision: Precision = "float32",
) -> None:  # fmt: skip
    """Decodes a bitstream, or the frames first:end of it, to y4m; in float32, or rendered in a faster number format."""
    from ..video.readers import write_y4m

    try:
        head = bitstream.open("rb").read(64)
    except OSError as error:
        raise UsageError(f"The bitstream {bitstream} cannot be read ({error.strerror}); check its path.") from error
    checked = verify_checksum(bitstream)
    spec = parse_specs(codec or sniff(head))[0]
    chosen = create(spec)
    if precision not in ("float32", *chosen.rendering_precisions):
        raise UsageError(f"{spec.label} does not render in {precision}; omit --precision.")
    with tempfile.TemporaryDirectory() as scratch:
        device = resolve_device(device, chosen.kind)
        workspace = Workspace(
            Path(scratch), device, threads or os.cpu_count() or 1, host=Host(ffmpeg, chosen.programs),
            precision=precision,
        )  # fmt: skip
        video = CheckedVideo(chosen.decode(bitstream, workspace))
        partial = output.with_name(output.name + ".partial")
        with writable(output):
            count = write_y4m(partial, _span(video, span))
            partial.replace(output)
    if not checked:
        missing = f"there is no {checksum_path(bitstream).name} next to {bitstream}"
        print(f"Note: {missing}; damage that the stream does not show may go unnoticed.", file=sys.stderr)
    print(f"{output}: {count} frames of {video.format.width}x{video.format.height}, decoded by {spec.label}")


class _Span(Video):
    """The frames `first` to `end` - 1 of a video; RGB becomes 4:4:4, which y4m can hold. Raises UsageError for none."""

    def __init__(self, video: Video, first: int, end: int) -> None:
        source = video.format
        self.format, self.frames = replace(source, chroma="444") if source.chroma == "rgb" else source, None
        self._video, self._first, self._end = video, first, end

    def batches(self, size: int = BATCH) -> Iterator[Frames]:
        """The converted frames."""
        source, target = self._video.format, self.format
        part = None
        for part in self._video.span(self._first, self._end, size):
            yield convert(part, source, target) if target != source else part
        if part is None:
            count = sum(len(batch) for batch in self._video.batches())
            raise UsageError(f"--frames {self._first}:{self._end} begins after the last frame; there are {count}.")


def _span(video: Video, text: str | None) -> Video:
    """The frames `first:end` of a video. Raises UsageError."""
    first, end = _parse_span(text) if text else (0, sys.maxsize)
    return _Span(video, first, end)


def _parse_span(text: str) -> tuple[int, int]:
    """`100:110` -> (100, 110). Raises UsageError."""
    try:
        first, end = (int(part) for part in text.split(":"))
    except ValueError as error:
        raise UsageError(f"--frames {text} is not of the form first:end, as in --frames 100:110.") from error
    if not 0 <= first < end:
        raise UsageError(f"--frames {text} holds no frame; give first:end with first below end.")
    return first, end


class _Part(Video):
    """The frames `first` to `end` - 1 of a video, unchanged, in batches. Raises UsageError where it is shorter."""

    def __init__(self, video: Video, first: int, end: int, name: str) -> None:
        self.format, self.frames = video.format, end - first
        self._video, self._first, self._end, self._name = video, first, end, name

    def batches(self, size: int = BATCH) -> Iterator[Frames]:
        """The frames."""
        waiting: list[Frames] = []
        count = 0
        for frame in self._video.span(self._first, self._end, 1):
            waiting.append(frame)
            count += 1
            if len(waiting) == size or count == self._end - self._first:
                yield Frames(tuple(np.concatenate(planes) for planes in zip(*(f.planes for f in waiting), strict=True)))
                waiting = []
        if count < self._end - self._first:
            raise UsageError(
                f"--frames {self._first}:{self._end} goes beyond the last frame of {self._name}, which has "
                f"{_count(self._video)}."
            )


def _count(video: Video) -> int:
    return video.frames if video.frames is not None else sum(len(batch) for batch in video.batches())


def _parts(reference: Video, test: Video, span: str, names: tuple[str, str]) -> tuple[Video, Video]:
    """The same frames of both clips; a test clip of exactly that many frames is such a part itself."""
    first, end = _parse_span(span)
    whole = _count(test) == end - first
    return _Part(reference, first, end, names[0]), test if whole else _Part(test, first, end, names[1])


def measure_clips(
    reference: str, test: Path, conditions: str, metrics: str, frames_csv: Path | None, format_: str,
    data_root: str | None, ffmpeg: str | None, span: str | None = None,
) -> None:  # fmt: skip
    """Prints the quality of one clip against another, or of the frames `first:end` alone."""
    from ..measure import metrics as scoring
    from ..video.readers import open_video

    sequence = _single_sequence(reference, Path(data_root) if data_root else None, ffmpeg)
    chosen = find_conditions(conditions)
    if (note := alpha_note(sequence, ffmpeg)) is not None:
        print(note, file=sys.stderr)
    ours: Video = sequence.open(ffmpeg)
    theirs: Video = open_video(test, ffmpeg)
    if span is not None:
        ours, theirs = _parts(ours, theirs, span, (reference, str(test)))
    scores = scoring.compare(ours, theirs, chosen, tuple(metrics.split(",")), ffmpeg, threads=usable_cores())
    if frames_csv:
        scoring.write_frames_csv(frames_csv, scores)
    values = {key: value for key, value in asdict(scoring.summarize(scores)).items() if value is not None}
    print(tables.render(pd.DataFrame([{"conditions": chosen.stamp, "frames": len(scores), **values}]), format_))


def fetch_dataset(name: str, data_root: Path | None) -> None:
    """Downloads a dataset with a progress bar."""
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
