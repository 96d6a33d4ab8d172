"""The cells of a table as people read them: digits, ranks, intervals and the numbers of footnotes."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import pandas as pd

_DIGITS: Mapping[str, int] = MappingProxyType(
    {"bpp": 4, "kbps": 1, "ms_ssim": 4, "encode_seconds": 1, "decode_fps": 1, "overlap": 2}
)
_BEST: Mapping[str, bool] = MappingProxyType({"bd_rate": True, "bd_quality": False})
"""The columns in which rows compete, and whether the lowest value is the best."""
_RIVALS = ("dataset", "sequence", "conditions")
"""Rows that are equal in these compete with each other."""


@dataclass(frozen=True)
class Rate:
    """A BD-rate in percent with the ends of its interval; None where there is none, and then the words say why."""

    value: float | None
    low: float | None = None
    high: float | None = None
    words: str = ""
    notes: str = ""

    @property
    def text(self) -> str:
        """The rate with its interval, or the words."""
        if self.value is None:
            return self.words
        return f"{self.value:.1f}" + ("" if self.low is None else f" [{self.low:.1f}, {self.high:.1f}]")


class Cell(NamedTuple):  # a frozen dataclass takes three times as long to make, and a table has 100,000
    """One cell: its text, 1 for the best of its rivals and 2 for the second, and the number of its footnote."""

    text: str
    rank: int = 0
    note: str = ""


@dataclass(frozen=True)
class Grid:
    """A table as text: names of columns, which of them hold numbers, rows of cells, and footnotes."""

    columns: list[str]
    numeric: list[bool]
    rows: list[list[Cell]]
    notes: list[str]


def grid(frame: pd.DataFrame, footnotes: bool) -> Grid:
    """The frame as text; with `footnotes` the notes stand below the table, and cells have their numbers."""
    notes: dict[str, str] = {}
    columns = []
    for place, name in enumerate(map(str, frame.columns)):
        values = frame.iloc[:, place]
        ranks = _ranks(frame, name, values)
        columns.append([
            _cell(name, value, rank, notes, footnotes) for value, rank in zip(values.tolist(), ranks, strict=True)
        ])  # fmt: skip
    return Grid(
        list(map(str, frame.columns)),
        [_is_numeric(frame.iloc[:, place]) for place in range(frame.shape[1])],
        [list(row) for row in zip(*columns, strict=True)],
        [f"{number}: {note}" for note, number in notes.items()],
    )


def _cell(name: str, value: Any, rank: int, notes: dict[str, str], footnotes: bool) -> Cell:
    if isinstance(value, Rate):
        return Cell(value.text, rank, _numbered(value.notes, notes))
    if footnotes and name == "notes":
        return Cell(_numbered(value, notes))
    return Cell(_text(name, value), rank)


def _numbered(note: str, notes: dict[str, str]) -> str:
    """The number of a note, a new one where it is the first of its kind; nothing for an empty one."""
    return notes.setdefault(note, str(len(notes) + 1)) if note else ""


def _ranks(frame: pd.DataFrame, name: str, values: "pd.Series[Any]") -> list[int]:
    """1 for the best value and 2 for the second among rivals; 0 for others, and where nothing competes."""
    rates = values.map(lambda value: isinstance(value, Rate)).astype(bool)
    if name not in _BEST and not rates.any():
        return [0] * len(frame)
    numbers = pd.to_numeric(values.map(lambda value: value.value if isinstance(value, Rate) else value), "coerce")
    rivals = [frame[column] for column in _RIVALS if column in frame and not rates.any()]
    groups: Any = numbers.groupby(rivals) if rivals else numbers.groupby([True] * len(frame))
    ranks = groups.rank(method="min", ascending=_BEST.get(name, True))
    alone = groups.transform("count") < 2
    return [int(rank) if rank in (1, 2) and not single else 0 for rank, single in zip(ranks, alone, strict=True)]


def _is_numeric(values: Iterable[Any]) -> bool:
    """Whether a column is numbers, perhaps with words where one is missing, as a BD-rate is."""
    return any(isinstance(value, int | float | Rate) and not _missing(value) for value in values)


def _missing(value: Any) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and value != value)


def _text(column: str, value: Any) -> str:
    if isinstance(value, dict | list):
        return json.dumps(value)
    if _missing(value) or value is pd.NaT:
        return ""
    if isinstance(value, float):
        return f"{value:.{_DIGITS.get(column, 2)}f}"
    return str(value)
