"""Sentences: what was found against each anchor, and what it may not be taken for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from ...measure.bdrate import NOT_COMPARABLE, NOT_REPORTABLE, SMALL_OVERLAP, SPREAD_LIMIT
from .differences import Column

QUALITY_NAMES = {"psnr_rgb": "PSNR", "psnr_yuv": "PSNR YUV", "ms_ssim_db": "MS-SSIM", "vmaf": "VMAF"}
FEW_SEQUENCES = 5
"""Below this many sequences a page says that they are few (our choice)."""
FEW_SECONDS = 1.0
"""A clip shorter than this is said to be short (our choice)."""
UNFINISHED = ("tiny", "quick", "best")
"""The presets that train for a small share of the published time."""
ALL_PUBLISHED = "All of these numbers are published ones; none was run here, and their test conditions may differ."
MINUS = "\N{MINUS SIGN}"


@dataclass(frozen=True)
class Finding:
    """One sentence on a series against the anchor; `claim` is false where the numbers do not carry a difference."""

    series: int
    text: str
    claim: bool
    rate: float | None = None
    """BD-rate in percent, for the order of the sentences."""


def percents(*values: float) -> list[str]:
    """Signed percentages with true minus signs, whole where one of them is 10 or more and this one is not near 0."""
    whole = max(map(abs, values)) >= 9.95
    texts = [f"{value:+.{0 if whole and abs(value) >= 0.5 else 1}f}" for value in values]
    return ["0.0" if float(text) == 0 else text.replace("-", MINUS) for text in texts]


def findings(column: Column, labels: Sequence[str]) -> list[Finding]:
    """A sentence for each series of the column: claims first, the largest saving before the others."""
    found = [_finding(cell, labels[cell["series"]], labels[column.anchor], column.metric) for cell in column.cells]
    return sorted(found, key=lambda one: (not one.claim, one.rate is None, one.rate or 0.0))


def _finding(cell: Mapping[str, Any], test: str, anchor: str, metric: str) -> Finding:
    quality = QUALITY_NAMES[metric]
    number, rate = int(cell["series"]), cell.get("bd_rate")
    if rate is None:
        return Finding(number, f"No number for {test} against {anchor}: {_reason(cell)}", False)
    where = _where(cell)
    low, high = cell.get("low"), cell.get("high")
    if low is None or high is None:
        text = (
            f"{test} needed {_difference(rate, anchor)} at equal {quality} in one measurement ({where}; no interval)."
        )
        return Finding(number, text, False, rate)
    interval = "95 % interval {} to {} %".format(*percents(low, high))
    if low <= 0 <= high:
        text = (
            f"No difference in bits between {test} and {anchor} at equal {quality} is shown: "
            f"{percents(rate)[0]} % ({interval}), on {where}."
        )
        return Finding(number, text, False, rate)
    return Finding(number, f"{test} needs {_difference(rate, anchor)} at equal {quality} ({interval}), on {where}.",
                   True, rate)  # fmt: skip


def _difference(rate: float, anchor: str) -> str:
    digits = 0 if abs(rate) >= 9.95 else 1
    return f"{abs(rate):.{digits}f} % {'fewer' if rate < 0 else 'more'} bits than {anchor}"


def _where(cell: Mapping[str, Any]) -> str:
    """The sequences and seeds behind a mean."""
    count, seeds = len(cell["sequences"]), cell.get("seeds", "1")
    return f"{count} sequence{'' if count == 1 else 's'}, {seeds} seed{'' if seeds == '1' else 's'}"


def _reason(cell: Mapping[str, Any]) -> str:
    """Why there is no mean: what the table notes, or what it notes of the first sequence without a BD-rate."""
    notes = [cell.get("notes", ""), *(own.get("notes", "") for own in cell["each"].values())]
    for note in notes:
        for start in (NOT_REPORTABLE, NOT_COMPARABLE):
            if f"{start}: " in note:
                reason = str(note[note.index(start) :]).removeprefix(f"{start}: ")
                return reason.split(". ")[0].rstrip(".") + "."
    known = [note for note in notes if note and "--per-sequence" not in note]
    return str(known[0]) if known else "they share no sequence."


def caveats(rows: pd.DataFrame, columns: Sequence[Column]) -> list[str]:
    """What the numbers of the measured rows may not be taken for, in whole sentences."""
    done = rows[rows["status"] == "ok"]
    texts = [_content(done), _length(done), _training(done), _seeds(done), _health(columns), _clocks(done)]
    failed = int((rows["status"] != "ok").sum())
    if failed:
        texts.append(
            f"{failed} rate point{' has' if failed == 1 else 's have'} failed and {'is' if failed == 1 else 'are'} in "
            "no curve; the table below says why."
        )
    return [text for text in texts if text]


def _content(rows: pd.DataFrame) -> str:
    counts = rows.groupby("dataset")["sequence"].nunique()
    few = counts[counts < FEW_SEQUENCES]
    if few.empty:
        return ""
    names = ", ".join(f"{count} sequence{'' if count == 1 else 's'} of {name}" for name, count in few.items())
    return f"Only {names}: other content may rank the codecs differently."


def _length(rows: pd.DataFrame) -> str:
    seconds = rows["frames"].astype(float) / rows["frame_rate"].astype(float)
    if not (seconds < FEW_SECONDS).any():
        return ""
    least = rows.iloc[int(seconds.to_numpy().argmin())]
    return (
        f"Clips as short as {int(least['frames'])} frames ({seconds.min():.2g} s): codecs that share bits over time, "
        "and networks that hold a whole clip, look worse than on long ones."
    )


def _trained(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of codecs that were trained on the clip, which their timings say."""
    return rows[[isinstance(parts, Mapping) and "fit" in parts for parts in rows["parts"]]]


def _training(rows: pd.DataFrame) -> str:
    trained = _trained(rows)
    short = trained[trained["preset"].isin(UNFINISHED)]
    if short.empty:
        return ""
    names = ", ".join(sorted(set(short["label"])))
    presets = " and ".join(name for name in UNFINISHED if (short["preset"] == name).any())
    return f"{names}: trained with the preset {presets}, far from converged; these are not the results of the papers."


def _seeds(rows: pd.DataFrame) -> str:
    trained = _trained(rows)
    seeds = trained.groupby("label")["seed"].nunique()
    single = sorted(seeds.index[seeds == 1])
    return f"{', '.join(single)}: one seed, so the chance in training is not measured." if single else ""


def _health(columns: Sequence[Column]) -> str:
    """A sentence on BD-rates that rest on little overlap or on the choice of method."""
    cells = [cell for column in columns for cell in column.cells if "bd_rate" in cell]
    low = sum(cell.get("overlap", 1.0) < SMALL_OVERLAP for cell in cells)
    wide = sum(cell.get("spread", 0.0) > SPREAD_LIMIT for cell in cells)
    parts = [
        *([f"{low} compare curves whose qualities overlap by less than {100 * SMALL_OVERLAP:g} %"] if low else []),
        *([f"{wide} change by more than {SPREAD_LIMIT:g} point with the method of interpolation"] if wide else []),
    ]
    return f"Of {len(cells)} BD-rates, {' and '.join(parts)}; the matrix marks them." if parts else ""


def _clocks(rows: pd.DataFrame) -> str:
    machines = rows[["cpu", "gpu", "threads"]].astype(str).drop_duplicates()
    beside = pd.to_numeric(rows["jobs"]).fillna(1).max()
    if len(machines) > 1:
        return f"Times come from {len(machines)} machines or numbers of threads, and do not compare across them."
    return f"Times were measured beside {beside - 1:g} other jobs, so they are too long." if beside > 1 else ""
