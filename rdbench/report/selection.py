"""What a command is about: some of the records, with the names that a reader chooses, for all kinds of report."""

from dataclasses import dataclass

import pandas as pd

from ..errors import UsageError, did_you_mean
from . import curves
from .cells import Rate
from .where import where


@dataclass(frozen=True)
class Selection:
    """The options that choose, name and sort results; None and empty: everything, as it is."""

    dataset: str | None = None
    codecs: str | None = None
    """Names of codecs or labels, separated by commas."""
    where: str | None = None
    """A condition on the columns of records (`where.py` has its grammar)."""
    labels: tuple[str, ...] = ()
    """New labels, each as `label=new label`."""
    sort: str | None = None
    """A column; with a `-` in front the greatest value comes first."""


def select(frame: pd.DataFrame, selection: Selection) -> pd.DataFrame:
    """The labeled rows of the selection, sorted. Raises UsageError for wrong names, and where nothing is left.

    Labels come from all rows, so that a series keeps its label whatever else is chosen.
    """
    found = curves.choose(matching(frame, selection), selection.codecs)
    return found if selection.sort is None else sort(found, selection.sort)


def matching(frame: pd.DataFrame, selection: Selection) -> pd.DataFrame:
    """The labeled rows of the dataset for which the condition holds, of all codecs: an anchor may be another one."""
    found = curves.labeled(only(frame, selection.dataset))
    for given in selection.labels:
        found = relabeled(found, given)
    return found if selection.where is None else where(found, selection.where)


def only(frame: pd.DataFrame, dataset: str | None) -> pd.DataFrame:
    """The rows of one dataset. Raises UsageError where there are none."""
    if dataset is None:
        return frame
    known = sorted(set(frame["dataset"]))
    if dataset not in known:
        raise UsageError(f"There are no results on {dataset!r}{did_you_mean(dataset, known)}")
    return frame[frame["dataset"] == dataset]


def relabeled(frame: pd.DataFrame, given: str) -> pd.DataFrame:
    """The labeled frame with another label for one series; the names that it had still find it. Raises UsageError."""
    number, text = _new_label(frame, given)
    if text in set(frame.loc[frame["series"] != number, "label"]):
        raise UsageError(f"Two series would have the label {text!r}; give each its own with --label.")
    mine = frame["series"] == number
    kept = {
        column: frame[name] for column, name in (("own_label", "label"), ("own_name", "name")) if column not in frame
    }
    frame = frame.assign(**kept)
    return frame.assign(label=frame["label"].mask(mine, text), name=frame["name"].mask(mine, text))


def _new_label(frame: pd.DataFrame, given: str) -> tuple[int, str]:
    """The series and its new label; the name may hold `=` itself, so the longest one that is known counts."""
    places = [place for place, letter in enumerate(given) if letter == "="]
    wrong: UsageError | None = None
    for place in reversed(places):
        name, text = given[:place].strip(), given[place + 1 :].strip()
        try:
            found = curves.find(frame, name)
        except UsageError as error:
            wrong = wrong or error
            continue
        if len(found) > 1:
            labels = "; ".join(frame.loc[frame["series"].isin(found), "label"].drop_duplicates())
            raise UsageError(f"--label {name} means {len(found)} series ({labels}); name one of them in full.")
        if text:
            return found[0], text
    raise wrong or UsageError(f"--label {given!r} is no label=new label, as in --label 'x265=x265 fast'.")


def sort(frame: pd.DataFrame, column: str) -> pd.DataFrame:
    """The rows sorted by a column, missing values last; `-column`: the greatest first. Raises UsageError."""
    name = column.removeprefix("-")
    if name not in frame:
        raise UsageError(f"There is no column {name!r} for --sort{did_you_mean(name, [str(c) for c in frame.columns])}")
    if frame[name].map(lambda cell: isinstance(cell, dict | list)).any():
        raise UsageError(f"The column {name} holds several values in one, so --sort cannot order it; choose another.")
    values = frame[name].map(lambda cell: cell.value if isinstance(cell, Rate) else cell)
    numbers, there = pd.to_numeric(values, errors="coerce"), values.notna()
    keys = numbers if numbers.notna().sum() == there.sum() else values.astype(str).where(there)
    order = keys.sort_values(ascending=name == column, kind="stable", na_position="last").index
    return frame.loc[order]
