"""Progress output of a run: bars on a terminal, lines elsewhere."""

import time

import rich.progress
from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from ..codec import Progress
from ..report.results import Record
from .sweep import Job

LINE_SECONDS = 10.0
"""Seconds between two lines of progress of a job, where the output is no terminal (our choice)."""


def task_bars(console: Console) -> rich.progress.Progress:
    """Progress bars for tasks; nothing where the console is no terminal."""
    return rich.progress.Progress(
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(), TimeRemainingColumn(), console=console, disable=not console.is_terminal,
    )  # fmt: skip


class Lines:
    """Lines of progress, at most one every LINE_SECONDS; none on a terminal, which shows bars."""

    def __init__(self, console: Console, name: str) -> None:
        self._console, self._name, self._last = console, name, time.monotonic()

    def update(self, done: float, total: float, text: str) -> None:
        """The progress callback."""
        now = time.monotonic()
        if self._console.is_terminal or now - self._last < LINE_SECONDS:
            return
        self._last = now
        share = 100 * done / total if total else 0
        self._console.print(f"  {self._name}: {text} ({share:.0f} %)", markup=False, highlight=False, soft_wrap=True)


class Display:
    """The progress of a sweep: bars on a terminal, lines elsewhere, and a line for each finished job."""

    def __init__(self, console: Console, total: int) -> None:
        self._console, self._bars = console, task_bars(console)
        self._all = self._bars.add_task("all jobs", total=total)
        self._total, self._done = total, 0
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> "Display":
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def progress(self, job: Job) -> Progress:
        """The progress callback of one job."""
        name = f"{job.name} {job.clip.name} {job.point}"
        task = self._bars.add_task(name, total=1)
        self._tasks[job.id] = task
        lines = Lines(self._console, name)

        def update(done: float, total: float, text: str) -> None:
            self._bars.update(task, completed=done, total=total, description=f"{name}: {text}")
            lines.update(done, total, text)

        return update

    def finished(self, job: Job, record: Record, was_there: bool) -> None:
        """Prints a line for a finished job; `was_there`: an earlier run had finished it."""
        if job.id in self._tasks:
            self._bars.remove_task(self._tasks.pop(job.id))
        self._done += 1
        self._bars.update(self._all, completed=self._done)
        name = f"[{self._done}/{self._total}] {job.name} {job.clip.label}:{job.clip.name} {job.point}"
        text = f"{name}: {_words(record)}{' (was there)' if was_there else ''}"
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


def _words(record: Record) -> str:
    if record.status != "ok":
        return f"FAILED: {record.error}"
    quality = record.psnr_rgb if record.psnr_rgb is not None else record.psnr_yuv
    values = (
        (record.bpp, "{:.4f} bpp"), (quality, "{:.2f} dB"),
        (record.encode_seconds, "encode {:.1f} s"), (record.decode_seconds, "decode {:.2f} s"),
    )  # fmt: skip
    return ", ".join(text.format(value) for value, text in values if value is not None)
