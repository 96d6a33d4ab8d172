"""Progress output of a run: bars on a terminal, lines elsewhere."""

import time
from collections.abc import Callable, Sequence

import rich.progress
from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from ..codec import Progress
from ..report.results import Record
from .remaining import Remaining
from .sweep import Job

LINE_SECONDS = 10.0
"""Shortest time between two lines of progress of a job, where the output is no terminal (our choice)."""
LINE_SHARE = 0.05
"""Shortest time between two lines, as a share of how long the job has run (our choice): 47 lines from one hour to ten.
"""


def task_bars(console: Console) -> rich.progress.Progress:
    """Progress bars for tasks; nothing where the console is no terminal."""
    return rich.progress.Progress(
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(), TimeRemainingColumn(), console=console, disable=not console.is_terminal,
    )  # fmt: skip


def line_interval(elapsed: float, jobs: int = 1) -> float:
    """Seconds between two lines of progress of a job that has run for `elapsed` seconds, beside others.

    Long jobs report less often, so that a log of weeks stays readable.
    """
    return max(LINE_SECONDS, LINE_SHARE * elapsed) * max(1, jobs)


class Lines:
    """Lines of progress, at most one every `line_interval`; none on a terminal, which shows bars."""

    def __init__(self, console: Console, name: str, jobs: Callable[[], int] = lambda: 1) -> None:
        self._console, self._name, self._jobs = console, name, jobs
        self._began = self._last = time.monotonic()

    def update(self, done: float, total: float, text: str, after: Callable[[], str] = lambda: "") -> None:
        """The progress callback; `after()` ends the line."""
        now = time.monotonic()
        if self._console.is_terminal or now - self._last < line_interval(now - self._began, self._jobs()):
            return
        self._last = now
        share = 100 * done / total if total else 0
        line = f"  {self._name}: {text} ({share:.0f} %){after()}"
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


class Display:
    """The progress of a sweep: bars on a terminal, lines elsewhere, and a line for each finished job.

    All of them say how many jobs are done, and how long the others take as far as that is known.
    """

    def __init__(self, console: Console, jobs: Sequence[Job]) -> None:
        self._console, self._bars = console, task_bars(console)
        self._all = self._bars.add_task("all jobs", total=len(jobs))
        self._remaining = Remaining(jobs)
        self._total, self._done = len(jobs), 0
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> "Display":
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def progress(self, job: Job) -> Progress:
        """The progress callback of one job, which begins."""
        name = f"{job.name} {job.clip.name} {job.point}"
        task = self._bars.add_task(name, total=1)
        self._tasks[job.id] = task
        self._remaining.start(job)
        lines = Lines(self._console, name, lambda: self._remaining.running)

        def update(done: float, total: float, text: str) -> None:
            self._remaining.progress(job, done, total)
            self._bars.update(task, completed=done, total=total, description=f"{name}: {text}")
            if self._console.is_terminal:
                self._bars.update(self._all, description=self._remaining.text())
            lines.update(done, total, text, lambda: f"; {self._remaining.text()}")

        return update

    def finished(self, job: Job, record: Record, was_there: bool) -> None:
        """Prints a line for a finished job; `was_there`: an earlier run had finished it."""
        if job.id in self._tasks:
            self._bars.remove_task(self._tasks.pop(job.id))
        self._remaining.finish(job, record.status == "ok" and not was_there)
        self._done += 1
        left = self._remaining.text()
        self._bars.update(self._all, completed=self._done, description=left)
        name, count = f"{job.name} {job.clip.label}:{job.clip.name} {job.point}", f"[{self._done}/{self._total}]"
        result = f"{name}: {_words(record)}{' (was there)' if was_there else ''}"
        text = f"{count} {result if record.status == 'ok' else f'FAILED: {record.error} ({name})'}"
        after = f"; {left.partition(', ')[2]}" if not was_there and ", " in left else ""
        self._console.print(text + after, markup=False, highlight=False, soft_wrap=True)


def _words(record: Record) -> str:
    quality = record.psnr_rgb if record.psnr_rgb is not None else record.psnr_yuv
    values = (
        (record.bpp, "{:.4f} bpp"), (quality, "{:.2f} dB"),
        (record.encode_seconds, "encode {:.1f} s"), (record.decode_seconds, "decode {:.2f} s"),
    )  # fmt: skip
    return ", ".join(text.format(value) for value, text in values if value is not None)
