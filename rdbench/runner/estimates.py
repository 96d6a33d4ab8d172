"""The estimated times of a plan: durations in words, and their sums by codec."""

from collections.abc import Sequence
from dataclasses import dataclass

from .sweep import Job

MINUTE, HOUR, DAY = 60, 3600, 86_400
"""Seconds."""
MOST_DAYS_WITH_HOURS = 100
"""Days from which on hours are left out (our choice)."""


@dataclass(frozen=True)
class Planned:
    """A job of a plan, and whether it is done already."""

    job: Job
    done: bool

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
    whole = _total(planned) + (" of encoding, one job after another." if known else ".")
    return [whole] if len(names) < 2 else [*lines, f"In all: {whole}"]


def _total(planned: Sequence[Planned]) -> str:
    """As `12 rate points, 3 of them done, 2 of unknown length, about 2 h 10 min`."""
    waiting = [one.job.estimate for one in planned if not one.done]
    known = [estimate for estimate in waiting if estimate is not None]
    parts = [f"{len(planned)} rate point{'s' * (len(planned) != 1)}"]
    if done := len(planned) - len(waiting):
        parts.append(f"{done} of them done")
    if unknown := len(waiting) - len(known):
        parts.append(f"{unknown} of unknown length")
    return ", ".join((*parts, f"about {duration(sum(known))}") if known else parts)
