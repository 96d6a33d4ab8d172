"""The estimates of a plan in words: durations, disk and memory, their sums by codec, what they are based on."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .costs import FROM_CODEC, Basis, Disk
from .rates import REFERENCE_GPU, STATED_SHARE, stated_rate
from .sweep import Job

MINUTE, HOUR, DAY = 60, 3600, 86_400
"""Seconds."""
MOST_DAYS_WITH_HOURS = 100
"""Days from which on hours are left out (our choice)."""


@dataclass(frozen=True)
class Planned:
    """A job of a plan, whether it is done already, and what it costs; None where that is unknown."""

    job: Job
    done: bool
    basis: Basis = FROM_CODEC
    macs: float | None = None
    """Multiply-accumulates of the encoding."""
    memory_mb: float | None = None
    disk: Disk | None = None

    @property
    def line(self) -> str:
        """The line of the plan: id (a dash before the clip is hashed), codec, clip, rate point, estimated time."""
        job = self.job
        number = "-" if job.clip_sha256 is None else job.id
        length = "unknown" if job.estimate is None else f"about {duration(job.estimate)}"
        clip = f"{job.clip.label}:{job.clip.name}"
        return f"{number:<12}  {job.name:<20} {clip}  {job.point:<8} {'done' if self.done else length}"


def duration(seconds: float) -> str:
    """Seconds in words, rounded to what an estimate is good for: `3.7 s`, `40 s`, `2 h 10 min`, `16 days 4 hours`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if (whole := round(seconds)) < MINUTE:
        return f"{whole} s"
    minutes = round(seconds / MINUTE)
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 24 * 60:
        return _joined((minutes // 60, "h"), (minutes % 60, "min"))
    hours = round(seconds / HOUR)
    if hours < MOST_DAYS_WITH_HOURS * 24:
        days, rest = divmod(hours, 24)
        return _joined((days, "day" + "s" * (days != 1)), (rest, "hour" + "s" * (rest != 1)))
    return f"{round(seconds / DAY):,} days"


def _joined(*parts: tuple[int, str]) -> str:
    return " ".join(f"{count} {unit}" for count, unit in parts if count)


def totals(planned: Sequence[Planned]) -> list[str]:
    """A line for each codec, where there are several, and one for the whole plan."""
    names = list(dict.fromkeys(one.job.name for one in planned))
    lines = [f"{name}: {_total([one for one in planned if one.job.name == name])}." for name in names]
    known = any(one.job.estimate is not None and not one.done for one in planned)
    whole = _total(planned, " of encoding, one job after another" if known else "") + "."
    return [whole] if len(names) < 2 else [*lines, f"In all: {whole}"]


def _total(planned: Sequence[Planned], after: str = "") -> str:
    """As `12 rate points, 3 of them done, 2 of unknown length, about 2 h 10 min`."""
    waiting = [one.job.estimate for one in planned if not one.done]
    known = [estimate for estimate in waiting if estimate is not None]
    parts = [f"{len(planned)} rate point{'s' * (len(planned) != 1)}"]
    if done := len(planned) - len(waiting):
        parts.append(f"{done} of them done")
    if unknown := len(waiting) - len(known):
        parts.append(f"{unknown} of unknown length")
    if known:
        parts.append(f"about {duration(sum(known))}{after}")
    return ", ".join((*parts, *_resources([one for one in planned if not one.done])))


def _resources(waiting: Sequence[Planned]) -> list[str]:
    """Disk of all jobs at most, and memory of the largest one."""
    disks = [one.disk for one in waiting if one.disk is not None]
    memories = [one.memory_mb for one in waiting if one.memory_mb is not None]
    parts = []
    if disks:
        kept, work = sum(disk.kept for disk in disks), max(disk.work for disk in disks)
        parts.append(f"at most {amount(kept)} of disk and {amount(work)} more for a job while it runs")
    if memories:
        parts.append(f"about {max(memories) / 1024:.1f} GiB of memory for the largest job")
    return parts


def amount(size: float) -> str:
    """Bytes in words, as `2.1 GB`, rounded up to two digits."""
    for unit, factor in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if size >= factor:
            value = size / factor
            step = 10 ** (math.floor(math.log10(value)) - 1)
            return f"{math.ceil(round(value / step, 6)) * step:.{1 if value < 9.95 else 0}f} {unit}"
    return "1 MB"


def basis_lines(planned: Sequence[Planned]) -> list[str]:
    """A line for each codec and measured rate, or GPU with a stated peak, that times are based on."""
    lines: dict[str, None] = {}
    for one in planned:
        rate, stated, codec = one.basis.rate, one.basis.stated, one.job.codec
        if one.done:
            continue
        if rate is not None:
            lines[
                f"Times of {codec}: by its rate that `rdbench bench fit` measured with {rate.width}x{rate.height} on "
                f"{rate.device}, {rate.macs_per_second / 1e9:.3g} billion multiply-accumulates a second."
            ] = None
        elif stated is not None:
            lines[
                f"Times of {codec}: estimated from {STATED_SHARE:.0%} of the stated peak of {stated}; "
                f"`rdbench bench fit {codec}` measures its rate there, and plans then use it."
            ] = None
    return list(lines)


def advice(planned: Sequence[Planned]) -> str | None:
    """A sentence on how to shorten what takes longer than a day; None for less."""
    waiting = [one for one in planned if not one.done and one.job.estimate is not None]
    if sum(one.job.estimate or 0 for one in waiting) < DAY:
        return None
    presets = {one.job.preset for one in waiting}
    ways = ["fewer frames (--frames)", "fewer rate points (--rate-points 2)"]
    if not presets <= {"quick", "best", "tiny"}:
        ways.insert(0, "--preset quick")
    networks = [one for one in waiting if one.macs is not None and one.job.device == "cpu"]
    rate = stated_rate(REFERENCE_GPU)
    if not networks or rate is None:
        return f"To shorten it: {', '.join(ways)}."
    here = sum(one.job.estimate or 0 for one in networks)
    there = sum(one.macs or 0 for one in networks) / rate
    return (
        f"To shorten it: {', '.join(ways)}, or a GPU: the {duration(here)} of training on this CPU may take an "
        f"{REFERENCE_GPU} about {duration(there)} (estimated from {STATED_SHARE:.0%} of its stated peak)."
    )
