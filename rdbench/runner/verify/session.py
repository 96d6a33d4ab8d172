"""What `rdbench verify` prints: a row for each record, the tolerance, and how many hold."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import pandas as pd
from rich.console import Console

from ...clips import dataset
from ...codec import Progress
from ...errors import UsageError, did_you_mean
from ...registry import parse_specs
from ...report import tables
from .. import defaults
from ..display import Lines, task_bars
from .check import Choice, Row, Selection, Watch, check_all, select, summary
from .rebuild import Places
from .redecode import NOT_CHECKED, TOLERANCE


@dataclass(frozen=True)
class VerifyOptions:
    """Options of the command; None stands for the default."""

    folder: Path
    codecs: str | None = None
    sample: int | None = None
    refit: int | None = None
    dataset: str | None = None
    device: str = defaults.DEVICE
    timeout: float | None = None
    """Seconds for each process."""
    format: str = "table"
    data_root: str | None = None
    ffmpeg: str | None = None


def verify_session(options: VerifyOptions) -> int:
    """Checks the records below a folder and prints the rows, also those so far when stopped; returns the exit status.

    Raises UsageError before anything is checked.
    """
    selection, places = _select(options)
    rows: list[Row] = []
    try:
        with _watch() as watch:
            for row in check_all(selection, places, watch):
                rows.append(row)
    finally:
        _print(rows, selection, options.format)
    return 1 if any(row.result == "does not hold" for row in rows) else 0


def _select(options: VerifyOptions) -> tuple[Selection, Places]:
    if options.format not in tables.FORMATS:
        raise UsageError(f"There is no format {options.format!r}{did_you_mean(options.format, tables.FORMATS)}")
    for name, count in (("--sample", options.sample), ("--refit", options.refit)):
        if count is not None and count < 1:
            raise UsageError(f"{name} {count} chooses no record; give at least 1.")
    _check_device(options.device)
    root = Path(options.data_root) if options.data_root else None
    codecs = tuple(parse_specs(options.codecs)) if options.codecs else ()
    clips = tuple(dataset.resolve(options.dataset, root, options.ffmpeg)) if options.dataset else ()
    places = Places(codecs, clips, root, options.ffmpeg, options.device, options.timeout)
    return select(Choice(options.folder, codecs, options.sample, options.refit or 0)), places


def _check_device(device: str) -> None:
    """Raises UsageError for a device that this machine does not have, which is no fault of any record."""
    if device in ("auto", "cpu"):
        return
    import torch

    if not device.startswith("cuda"):
        raise UsageError(f"There is no device {device!r}; there are auto, cpu and cuda.")
    if not torch.cuda.is_available():
        raise UsageError(f"There is no GPU for --device {device}; use --device cpu.")


@contextmanager
def _watch() -> Iterator[Watch]:
    """Progress on standard error: a bar on a terminal, lines elsewhere."""
    console = Console(stderr=True)
    with task_bars(console) as bars:
        task = bars.add_task("verify", total=1)

        def watch(name: str) -> Progress:
            lines = Lines(console, name)

            def progress(done: float, total: float, text: str) -> None:
                bars.update(task, completed=done, total=total, description=f"{name}: {text}")
                lines.update(done, total, text)

            return progress

        yield watch


def _print(rows: list[Row], selection: Selection, format_: str) -> None:
    """The rows on standard output; the sentences below them too, but beside csv and the like on standard error."""
    frame = pd.DataFrame([asdict(row) for row in rows], columns=[field.name for field in fields(Row)])
    print(tables.render(frame.drop(columns="record") if format_ == "table" else frame, format_))
    below = (selection.describe(), TOLERANCE, NOT_CHECKED, summary(rows))
    print("\n".join(line for line in below if line), file=sys.stdout if format_ == "table" else sys.stderr)
