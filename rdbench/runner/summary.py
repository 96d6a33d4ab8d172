"""What `rdbench run` prints at its end: rate points, BD-rates, where everything is, and how to go on."""

import shlex
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from rich.console import Console

from ..errors import RdbenchError, UsageError, did_you_mean
from ..registry import find_card, find_codecs
from ..report import tables
from ..report.results import to_frame
from .run import Outcome
from .sweep import Job


def check_anchor(anchor: str | None, jobs: Sequence[Job]) -> None:
    """Raises UsageError, before anything runs, for an anchor that is no codec of the jobs and no label of one."""
    names = list(dict.fromkeys(name for job in jobs for name in (job.name, job.codec)))
    if anchor is not None and not any(anchor == name or anchor.startswith(f"{name},") for name in names):
        raise UsageError(f"The anchor {anchor!r} is none of these codecs{did_you_mean(anchor, names)}")


def print_outcome(console: Console, outcome: Outcome, out: Path, anchor: str | None) -> None:
    """Prints the end of a run, and draws its plot."""
    done = [(job, record) for job, record in outcome.records if record.status == "ok"]
    frame = to_frame([record for _, record in done])
    if len(frame):
        print("\nRD points\n" + tables.render(tables.rd_table(frame), "table"))
        chosen = anchor or _usual_anchor([job for job, _ in done])
        _print_bd_rates(frame, chosen, given=anchor is not None)
        print(f"\nRD plot: {_plot(frame, out)}")
        _write_page(out)
    print(f"Records, bitstreams, values of each frame and logs: {out / 'runs'}")
    if outcome.failed:
        counts = f"{len(outcome.failed)} of {len(outcome.records)} rate points failed"
        console.print(
            f"{counts}: the lines with FAILED say why, and log.txt in their folders says more. The same command tries "
            "them again.", markup=False, highlight=False, soft_wrap=True,
        )  # fmt: skip
    if len(frame):
        names = list(dict.fromkeys(frame["codec"]))
        print("\n".join(_next_commands(out, chosen if len(names) > 1 else None)))


def _usual_anchor(jobs: Sequence[Job]) -> str:
    """The first conventional codec, which others are usually compared with, else the first codec (our choice)."""
    codecs = find_codecs()
    usual = (job.name for job in jobs if job.codec in codecs and find_card(job.codec, codecs).kind == "conventional")
    return next(usual, jobs[0].name)


def _print_bd_rates(frame: pd.DataFrame, anchor: str, given: bool) -> None:
    """BD-rates against the anchor, with a line that says how it was chosen unless the user did."""
    names = list(dict.fromkeys(frame["codec"]))
    if len(names) < 2 and not given:
        return
    metric = _metric(frame)
    how = "" if given else f"Anchor: {anchor}, chosen from {', '.join(names)}; --anchor NAME chooses another.\n"
    try:
        table = tables.bd_table(frame, anchor, metric)
    except RdbenchError as error:
        print(f"\n{how}No BD-rate: {error}")
        return
    print(f"\nBD-rate against {anchor} ({metric}, pchip)\n{how}" + tables.render(table, "table"))


def _metric(frame: pd.DataFrame) -> str:
    return "psnr_rgb" if frame["psnr_rgb"].notna().any() else "psnr_yuv"


def _plot(frame: pd.DataFrame, out: Path) -> Path:
    from ..report import plots

    folder = out / "plots"
    folder.mkdir(exist_ok=True)
    plot, metric, known = folder / "rd.png", _metric(frame), tuple(find_codecs())
    try:
        plots.rd_plot(frame, plot, metric=metric, known=known)
    except UsageError:  # the codecs have no sequence in common
        plots.rd_plot(frame, plot, metric=metric, per_sequence=True, known=known)
    return plot


def _write_page(out: Path) -> None:
    """Writes the page of all records in the folder, without frames, which take decoding; says where it is."""
    from ..report import page

    path = out / "report.html"
    try:
        options = page.ReportOptions((out,), path, known=tuple(find_codecs()))
        page.write(page.report_data(options), path)
    except RdbenchError as error:
        print(f"No page: {error}")
        return
    print(f"Page for the browser: {path}")


def _next_commands(out: Path, anchor: str | None) -> list[str]:
    """The commands that look into these records; the one with an anchor only where there is another codec."""
    folder = shlex.quote(str(out))
    compare = [] if anchor is None else [f"  rdbench bdrate {folder} --anchor {shlex.quote(anchor)} --layout sequences"]
    return [
        "To go on:",
        f"  rdbench report {folder} -o report.html  # with frames, where codecs fail",
        *compare,
        f"  rdbench plot {folder} --per-sequence -o rd.pdf",
        f"  rdbench results {folder} --format csv",
    ]
