"""`rdbench verify`: checks records that somebody else made, each by its bitstream, a fresh decoding and the clip.

Nothing is written into the folder that is checked, and no record ends the check of the others.
"""

import json
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ...codec import Clip, Progress
from ...errors import RdbenchError, UsageError, did_you_mean
from ...registry import CodecSpec, load_codec
from ...report.results import RECORD, SCHEMA, Record, read_record
from ..files import BITSTREAM, FRAMES
from .findings import Finding, Result, finding_of, note, overall, shorten, unknown
from .rebuild import Places, check_tool, find_clip, find_tool, hidden_options, rebuild_job
from .record_checks import (
    check_bitstream,
    check_derived,
    check_frames_csv,
    check_identity,
    check_values,
)
from .redecode import check_decoding, check_format
from .refit import check_refit

SEED = 0
"""Seed of the choice of a sample."""
LONGEST_REASON = 400
"""Characters of a reason that come from elsewhere, as an error (our choice)."""


@dataclass(frozen=True)
class Choice:
    """Which records to check, and which to encode again."""

    folder: Path
    codecs: tuple[CodecSpec, ...] = ()
    """Names as records have them, or names without options, which stand for all variants; none: all."""
    sample: int | None = None
    refit: int = 0


@dataclass(frozen=True)
class Row:
    """A record and whether it holds."""

    record: str
    """The path of its folder, below the folder that is checked."""
    codec: str
    sequence: str
    rate_point: str
    result: Result
    notes: str
    """What does not hold or cannot be checked."""


Watch = Callable[[str], Progress]
"""`watch(name)`: the progress callback for the work on one record."""


@dataclass(frozen=True)
class Found:
    """A finished record and its folder."""

    folder: Path
    record: Record


@dataclass(frozen=True)
class Selection:
    """What `select` found below the folder."""

    folder: Path
    rows: tuple[Row, ...]
    """Rows of the records with nothing to check: failed jobs, and files that are no readable records."""
    finished: tuple[Found, ...]
    """All finished records, in the order of their paths."""
    chosen: tuple[Found, ...]
    """Those to check."""
    again: frozenset[Path]
    """Folders of those to encode again."""

    def describe(self) -> str:
        """One sentence that says what is checked; empty where it is everything."""
        if len(self.chosen) == len(self.finished):
            return ""
        return (
            f"{len(self.chosen)} of {len(self.finished)} finished records are checked; a sample is that of Python's "
            f"random.Random({SEED}) from the records in the order of their paths."
        )


def select(choice: Choice) -> Selection:
    """The records below the folder, and which of them to check. Raises UsageError where there are none."""
    if not choice.folder.is_dir():
        raise UsageError(f"There is no folder {choice.folder}; name one that rdbench run wrote.")
    rows: list[Row] = []
    finished: list[Found] = []
    for path in sorted(choice.folder.rglob(RECORD)):
        try:
            record = read_record(path)
        except (RdbenchError, RecursionError) as error:  # the latter from JSON that is nested without end
            rows.append(_unreadable(path, choice.folder, error))
            continue
        if record.status == "ok":
            finished.append(Found(path.parent, record))
        elif _is_wanted(record, choice.codecs):
            rows.append(
                _row(path.parent, choice.folder, record, "failed", [shorten(record.error or "", LONGEST_REASON)])
            )
    _check_names(choice, {found.record.codec for found in finished} | {row.codec for row in rows if row.codec})
    if not rows and not finished:
        raise UsageError(f"There are no records in {choice.folder}; rdbench run writes them.")
    wanted = [found for found in finished if _is_wanted(found.record, choice.codecs)]
    chosen = _sample(wanted, choice.sample)
    again = frozenset(found.folder for found in _sample(chosen, choice.refit))
    return Selection(choice.folder, tuple(rows), tuple(finished), tuple(chosen), again)


def _sample(found: Sequence[Found], count: int | None) -> list[Found]:
    """That many of the records, chosen at random, always the same; all where there are not more."""
    if count is None or count >= len(found):
        return list(found)
    return [found[index] for index in sorted(random.Random(SEED).sample(range(len(found)), count))]


def _is_wanted(record: Record, codecs: Sequence[CodecSpec]) -> bool:
    return not codecs or any(_names(spec, record.codec) for spec in codecs)


def _names(spec: CodecSpec, codec: str) -> bool:
    """Whether the spec names the codec of a record: by its whole name, or by its name without any options."""
    if spec.options:
        with suppress(RdbenchError):  # not installed: no option is known to be a path
            spec = spec.without(hidden_options(load_codec(spec.name)))
    return codec == str(spec) if spec.options else codec.partition("[")[0] == spec.label


def _check_names(choice: Choice, codecs: set[str]) -> None:
    """Raises UsageError for a codec without a record."""
    known = codecs | {codec.partition("[")[0] for codec in codecs}
    for spec in choice.codecs:
        if not any(_names(spec, codec) for codec in codecs):
            raise UsageError(f"No record in {choice.folder} is of the codec {spec}{did_you_mean(str(spec), known)}")


def _unreadable(path: Path, root: Path, error: Exception) -> Row:
    """The row of a file that is no record: one of a later version, or one that cannot be opened, cannot be checked."""
    later = isinstance(error.__cause__, OSError)
    with suppress(OSError, ValueError, RecursionError, AttributeError):
        later = later or int(json.loads(path.read_text()).get("schema", 1)) > SCHEMA
    folder = str(path.parent.relative_to(root))
    result: Result = "cannot be checked" if later else "does not hold"
    return Row(shorten(folder, LONGEST_REASON), "", "", "", result, shorten(str(error), LONGEST_REASON))


def _row(folder: Path, root: Path, record: Record, result: Result, reasons: Sequence[str]) -> Row:
    codec, sequence, point = (shorten(name) for name in (record.codec, record.sequence, record.rate_point))
    return Row(
        shorten(str(folder.relative_to(root)), LONGEST_REASON), codec, sequence, point, result, "; ".join(reasons)
    )


def check_all(selection: Selection, places: Places, watch: Watch) -> Iterator[Row]:
    """A row for each record, as they are checked."""
    yield from selection.rows
    for found in selection.chosen:
        progress = watch(shorten(f"{found.record.codec} {found.record.sequence} {found.record.rate_point}"))
        findings: list[Finding] = []
        try:
            for finding in _check(found, selection, places, progress):
                findings.append(finding)
        except RdbenchError as error:
            findings.append(finding_of(error))
        except Exception as error:  # whatever a record does, the others are checked
            findings.append(unknown(f"the check ended early ({type(error).__name__}: {error})"))
        reasons = [shorten(finding.text, LONGEST_REASON) for finding in findings]
        yield _row(found.folder, selection.folder, found.record, overall(findings), reasons)


def _check(found: Found, selection: Selection, places: Places, progress: Progress) -> Iterator[Finding]:
    """Everything about one record, what costs little first."""
    record, bitstream = found.record, found.folder / BITSTREAM
    values = list(check_values(record))
    yield from values
    yield from check_identity(record, found.folder.name)
    damage = list(check_bitstream(record, bitstream))
    yield from damage
    if any(finding.result for finding in values):
        return
    yield from check_derived(record)
    yield from check_frames_csv(record, found.folder / FRAMES)
    tool = clip = None
    try:
        tool = find_tool(record, places)
    except RdbenchError as error:
        yield finding_of(error)
    try:
        clip = find_clip(record, places)
    except RdbenchError as error:
        yield finding_of(error)
    if tool is None or clip is None:
        yield note("it was not decoded")
        return
    job = rebuild_job(record, tool, clip, places)
    yield from check_format(record, job.video_format)
    yield from check_tool(record, tool, Clip(job.video_format, record.frames, tuple(clip.sizes)))
    if damage:
        yield note("it was not decoded, since this is not the bitstream of the record")
        return
    yield from check_decoding(record, tool, job, bitstream, progress)
    if found.folder in selection.again:
        others = [other.record for other in selection.finished]
        yield from check_refit(record, tool, job, others, progress)


def summary(rows: Sequence[Row]) -> str:
    """How many records have which result, in one line."""
    counts = Counter(row.result for row in rows)
    results: tuple[Result, ...] = ("holds", "does not hold", "cannot be checked")
    text = ", ".join(f"{result}: {counts[result]}" for result in results)
    failed = f" {counts['failed']} failed, and do not count." if counts["failed"] else ""
    return f"Records checked: {len(rows) - counts['failed']} ({text}).{failed}"
