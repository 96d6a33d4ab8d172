"""Which curves a table of BD-rates compares: each series against the anchor on each sequence, seed by seed."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from ..errors import UsageError
from ..measure.bdrate import BdResult, compare_pairs
from ..measure.statistics import pair_seeds
from . import curves
from .hull import upper_hull

FORCE = "--force-conditions compares them"
"""What the note of two curves that do not compare ends with."""
_HEAD = ["series", "name", "label", "dataset", "sequence", "conditions", "frames", "clip_sha256", "hull", "parameters"]


@dataclass(frozen=True)
class Comparison:
    """A series against the anchor on one sequence: a BD result for each pair of seeds, or notes why there is none."""

    series: int
    name: str
    dataset: str
    sequence: str
    conditions: str
    seeds: tuple[int, ...] = ()
    """The seed of each result: the test's, or the anchor's where only that has several."""
    results: tuple[BdResult, ...] = ()
    notes: tuple[str, ...] = ()

    def used(self, method: str) -> list[BdResult]:
        """The results that have a BD-rate by the method."""
        return [result for result in self.results if result.rate[method] is not None]

    @property
    def text(self) -> str:
        """All notes; those that are not of every seed name theirs."""
        texts = list(self.notes)
        for note in dict.fromkeys(note for result in self.results for note in result.notes):
            of = [str(seed) for seed, result in zip(self.seeds, self.results, strict=True) if note in result.notes]
            texts.append(note if len(of) == len(self.results) else f"Seed {', '.join(of)}: {note}")
        return " ".join(texts)


@dataclass
class _Measured:
    """What one series measured on one sequence."""

    series: int
    name: str
    label: str
    dataset: str
    sequence: str
    conditions: Any
    frames: Any
    clip: str
    """The beginning of the hash of the frames; empty where it is not recorded."""
    hull: bool = False
    """Whether its curves are the upper convex hulls of their rate points."""
    trained: bool = False
    """Whether its rate points are networks with parameters, of which another seed gives others."""
    seeds: dict[int, tuple[list[float], list[float]]] = field(default_factory=dict)
    """Rates and qualities of each seed."""
    repeated: bool = False
    """Whether a rate point has several records, of which the latest counts."""


def comparisons(
    frame: pd.DataFrame, anchors: AbstractSet[int], anchor: str, metric: str, force: bool
) -> list[Comparison]:
    """Each series against the anchor on each sequence that they share, sorted by codec's label and conditions.

    `anchors` are the numbers of the anchor's series and `anchor` is its name. Raises UsageError where several of them
    are equally near to a test.
    """
    plans: list[tuple[_Measured, _Measured | None, list[str]]] = []
    for group in _measured(frame, metric):
        bases = sorted((one for one in group if one.series in anchors), key=lambda one: one.series)
        others = [one for one in group if one.series not in anchors]
        for test in sorted(others, key=lambda one: (one.name, one.conditions, one.series)) if bases else ():
            base, reason = _base(test, bases, anchor, force)
            if reason and not force:
                plans.append((test, None, [f"{reason}; {FORCE}."]))
            else:
                plans.append((test, base, [f"{reason}."] if reason else []))
    return _compared(plans)


def _measured(frame: pd.DataFrame, metric: str) -> list[list[_Measured]]:
    """All series of each sequence that have finished records with the metric, in order of datasets and sequences."""
    usable = frame[(frame["status"] == "ok") & frame[metric].notna()]
    usable = usable[usable["dataset"].notna() & usable["sequence"].notna() & usable["conditions"].notna()]
    repeated = (~usable.index.isin(curves.latest(usable)[0].index)).tolist()
    given = (usable[name].tolist() for name in ("dataset", "sequence", "series", "seed", "bpp", metric))
    firsts = usable.drop_duplicates(["dataset", "sequence", "series"])
    heads = iter(firsts.reindex(columns=_HEAD).to_dict("records"))
    sites: dict[tuple[str, str], dict[int, _Measured]] = {}
    for place, (dataset, sequence, series, seed, rate, quality) in enumerate(zip(*given, strict=True)):
        site = sites.setdefault((dataset, sequence), {})
        if series not in site:
            site[series] = _first(next(heads))
        if repeated[place]:
            site[series].repeated = True
            continue
        own = site[series].seeds.setdefault(int(seed), ([], []))
        own[0].append(float(rate))
        own[1].append(float(quality))
    for measured in (one for site in sites.values() for one in site.values() if one.hull):
        measured.seeds = {seed: _on_hull(*points) for seed, points in measured.seeds.items()}
    return [list(sites[key].values()) for key in sorted(sites)]


def _on_hull(rates: list[float], qualities: list[float]) -> tuple[list[float], list[float]]:
    """The points of a curve that are on its upper convex hull."""
    places = upper_hull(rates, qualities)
    return [rates[place] for place in places], [qualities[place] for place in places]


def _first(row: Mapping[Any, Any]) -> _Measured:
    """A curve without points, of its first row."""
    clip = str(row["clip_sha256"] or "")
    return _Measured(
        int(row["series"]), str(row["name"]), str(row["label"]), str(row["dataset"]), str(row["sequence"]),
        row["conditions"], row["frames"], "" if clip in ("nan", "None") else clip[:8], row["hull"] is True,
        pd.notna(row["parameters"]),
    )  # fmt: skip


def _base(test: _Measured, bases: Sequence[_Measured], anchor: str, force: bool) -> tuple[_Measured, str | None]:
    """The anchor's curves of the test's conditions and frames, else others with the reason why they do not compare.

    Raises UsageError where several of the anchor's series are equally near to the test.
    """
    reasons = [_mismatch(base, test) for base in bases]
    near = [base for base, reason in zip(bases, reasons, strict=True) if reason is None]
    if not near:
        ranks = [_distance(base, test) for base in bases]
        near = [base for base, rank in zip(bases, ranks, strict=True) if rank == min(ranks)]
    if len(near) > 1 and (force or None in reasons):
        labels = "; ".join(base.label for base in near)
        raise UsageError(f"The anchor {anchor} is several series ({labels}); name one of them in full with --anchor.")
    return near[0], _mismatch(near[0], test)


def _distance(base: _Measured, test: _Measured) -> tuple[bool, float]:
    """Equal conditions are nearer than others, and then the longer curve (our choice)."""
    return base.conditions != test.conditions, -float(base.frames) if pd.notna(base.frames) else 0.0


def _mismatch(base: _Measured, test: _Measured) -> str | None:
    """Why two curves cannot be compared, or None; what is not recorded does not count as a difference."""
    if test.conditions != base.conditions:
        return f"Conditions differ ({test.conditions}, anchor {base.conditions})"
    if test.frames != base.frames and pd.notna(test.frames) and pd.notna(base.frames):
        return f"Numbers of frames differ ({test.frames:g}, anchor {base.frames:g})"
    if test.clip and base.clip and test.clip != base.clip:
        return f"The clips differ ({test.clip}, anchor {base.clip})"
    return None


def _compared(plans: Sequence[tuple[_Measured, _Measured | None, list[str]]]) -> list[Comparison]:
    """The comparisons of tests with their anchors, where they have one, all computed in one call."""
    points: list[tuple[list[float], list[float]]] = []
    places: dict[tuple[int, int], int] = {}  # of the curve of a series' seed, by the identity of what was measured

    def place(measured: _Measured, seed: int) -> int:
        key = id(measured), seed
        if key not in places:
            places[key] = len(points)
            points.append(measured.seeds[seed])
        return places[key]

    matched = [_seed_pairs(base, test) if base else [] for test, base, _ in plans]
    wanted = [
        (place(base, first), place(test, second))
        for (test, base, _), pairs in zip(plans, matched, strict=True) if base for first, second in pairs
    ]  # fmt: skip
    results = iter(compare_pairs(points, wanted))
    return [
        _comparison(test, base, notes, pairs, tuple(next(results) for _ in pairs))
        for (test, base, notes), pairs in zip(plans, matched, strict=True)
    ]


def _seed_pairs(base: _Measured, test: _Measured) -> list[tuple[int, int]]:
    """The one curve of a codec without training with all of the other's; else those of equal seeds.

    One training repeated beside several of the other codec would have an interval with the spread of those alone.
    """
    if any(len(one.seeds) == 1 and not one.trained for one in (base, test)):
        return [(first, second) for first in sorted(base.seeds) for second in sorted(test.seeds)]
    return pair_seeds(base.seeds, test.seeds)


def _comparison(
    test: _Measured, base: _Measured | None, notes: list[str], pairs: Sequence[tuple[int, int]],
    results: tuple[BdResult, ...],
) -> Comparison:  # fmt: skip
    place = (test.series, test.name, test.dataset, test.sequence, str(test.conditions))
    if base is None:
        return Comparison(*place, notes=tuple(notes))
    again = [
        f"The {name} has rate points more than once (other threads); the latest records count."
        for name, one in (("anchor", base), ("test", test)) if one.repeated
    ]  # fmt: skip
    seeds = tuple(second if len(test.seeds) > 1 else first for first, second in pairs)
    unpaired = _unpaired((base.seeds, test.seeds), pairs)
    return Comparison(*place, seeds, results, (*notes, *again, *unpaired))


def _unpaired(kept: Sequence[Mapping[int, object]], pairs: Sequence[tuple[int, int]]) -> list[str]:
    """Notes on seeds of the anchor and of the test that have no partner."""
    notes = []
    for place, (name, other) in enumerate((("anchor", "test"), ("test", "anchor"))):
        alone = sorted(set(kept[place]) - {pair[place] for pair in pairs})
        if alone:
            notes.append(f"Seeds {', '.join(map(str, alone))} of the {name} are left out; the {other} lacks them.")
    return notes
