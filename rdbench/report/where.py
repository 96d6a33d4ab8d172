"""Conditions on records, as `sequence == "Jockey" and bpp < 0.2`: a small language of comparisons, and nothing else.

An expression reads columns and compares them with numbers and texts. It calls nothing, reaches no attribute and no
variable, and its length and depth are limited, so a condition from anywhere is safe to evaluate; the expressions of
`pandas.DataFrame.query` are not, since they can reach attributes and functions of Python.

    expression  = both {"or" both}
    both        = one {"and" one}
    one         = ["not"] (comparison | "(" expression ")")
    comparison  = column ("==" | "!=" | "<" | "<=" | ">" | ">=") value | column ["not"] "in" "(" value {"," value} ")"
    column      = a name of a column, or `settings.name`: one entry of a column that holds several
    value       = a number, or a text in single or double quotes
"""

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import pandas as pd

from ..errors import UsageError, did_you_mean

MOST_LETTERS = 2000
"""Longest expression that is read (our choice)."""
DEEPEST = 20
"""Most parentheses and `not` inside each other (our choice)."""

Value = float | str
_COMPARISONS: Mapping[str, Callable[[Any, Any], Any]] = MappingProxyType(
    {"==": operator.eq, "!=": operator.ne, "<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt}
)
_TOKEN = re.compile(
    r"""\s*(?:(?P<number>[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?(?![\w.]))"""
    r"""|(?P<text>"[^"]*"|'[^']*')|(?P<word>[A-Za-z_][\w.\-]*)|(?P<sign>==|!=|<=|>=|<|>|[(),\[\]]))"""
)
_WORDS = ("and", "or", "not", "in")


@dataclass(frozen=True)
class _Token:
    """One word of an expression: its kind (a group of `_TOKEN`, or `end`) and its text."""

    kind: str
    text: str


def where(frame: pd.DataFrame, expression: str) -> pd.DataFrame:
    """The rows for which the expression is true. Raises UsageError for a wrong expression, and where no row is left.

    A missing value equals nothing, and is neither below nor above anything.
    """
    if len(expression) > MOST_LETTERS:
        raise UsageError(f"The condition of --where has {len(expression)} letters; give at most {MOST_LETTERS}.")
    kept = frame[_Reader(frame, expression).mask()]
    if kept.empty:
        raise UsageError(f"No result has {expression}; rdbench results without --where shows what there is.")
    return kept


class _Reader:
    """Reads an expression from left to right, and computes the mask of the rows of a frame as it goes."""

    def __init__(self, frame: pd.DataFrame, expression: str) -> None:
        self._frame, self._expression = frame, expression
        self._tokens = _tokens(expression)
        self._next = 0
        self._depth = 0

    def mask(self) -> "pd.Series[bool]":
        """Whether the whole expression holds, for each row. Raises UsageError."""
        found = self._either()
        if self._peek().kind != "end":
            raise self._wrong("an `and` or an `or`")
        return found

    def _either(self) -> "pd.Series[bool]":
        found = self._both()
        while self._take("or"):
            found = found | self._both()
        return found

    def _both(self) -> "pd.Series[bool]":
        found = self._one()
        while self._take("and"):
            found = found & self._one()
        return found

    def _one(self) -> "pd.Series[bool]":
        self._depth += 1
        if self._depth > DEEPEST:
            raise UsageError(f"The condition of --where has more than {DEEPEST} levels; simplify it.")
        try:
            if self._take("not"):
                return ~self._one()
            if self._take("("):
                found = self._either()
                self._need(")")
                return found
            return self._comparison()
        finally:
            self._depth -= 1

    def _comparison(self) -> "pd.Series[bool]":
        column = self._column()
        if self._take("not"):
            self._need("in")
            return ~self._any_of(column)
        if self._take("in"):
            return self._any_of(column)
        sign = self._peek()
        if sign.text not in _COMPARISONS or sign.kind != "sign":
            raise self._wrong("a comparison, as == or <")
        self._next += 1
        return _compared(column, sign.text, self._value())

    def _any_of(self, column: "pd.Series[Any]") -> "pd.Series[bool]":
        closing = "]" if self._take("[") else ")"
        if closing == ")":
            self._need("(")
        found = _compared(column, "==", self._value())
        while self._take(","):
            found = found | _compared(column, "==", self._value())
        self._need(closing)
        return found

    def _column(self) -> "pd.Series[Any]":
        token = self._peek()
        if token.kind != "word" or token.text in _WORDS:
            raise self._wrong("the name of a column")
        self._next += 1
        name, _, entry = token.text.partition(".")
        if name not in self._frame:
            known = [str(column) for column in self._frame.columns]
            raise UsageError(f"There is no column {name!r} for --where{did_you_mean(name, known)}")
        column = self._frame[name]
        return column.map(lambda cell: cell.get(entry) if isinstance(cell, Mapping) else None) if entry else column

    def _value(self) -> Value:
        token = self._peek()
        if token.kind not in ("number", "text"):
            raise self._wrong("a number, or a text in quotes")
        self._next += 1
        return float(token.text) if token.kind == "number" else token.text[1:-1]

    def _peek(self) -> _Token:
        return self._tokens[self._next]

    def _take(self, text: str) -> bool:
        """Goes on behind the word or the sign where it is the next one."""
        token = self._peek()
        taken = token.kind in ("word", "sign") and token.text == text
        self._next += taken
        return taken

    def _need(self, text: str) -> None:
        if not self._take(text):
            raise self._wrong(f"a {text}")

    def _wrong(self, wanted: str) -> UsageError:
        found = self._peek()
        place = "at the end" if found.kind == "end" else f"instead of {found.text}"
        return UsageError(f"The condition {self._expression!r} needs {wanted} {place}, as in 'sequence == \"Jockey\"'.")


def _tokens(expression: str) -> list[_Token]:
    """The words of the expression, and an end. Raises UsageError for a character that is part of none."""
    found: list[_Token] = []
    place = 0
    text = expression.rstrip()
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None:
            raise UsageError(
                f"The condition {expression!r} cannot be read from {text[place:].strip()[:20]!r} on; it compares "
                "columns with numbers and with texts in quotes, joined by and, or, not."
            )
        found.append(_Token(str(match.lastgroup), str(match.group(str(match.lastgroup)))))
        place = match.end()
    return [*found, _Token("end", "")]


def _compared(column: "pd.Series[Any]", sign: str, value: Value) -> "pd.Series[bool]":
    """The comparison of each cell with the value: as numbers with a number, as texts with a text."""
    if isinstance(value, str):
        cells = column.map(lambda cell: None if _missing(cell) else str(cell)).astype(object)
        known = cells.notna()
    else:
        cells = pd.to_numeric(column.map(lambda cell: None if isinstance(cell, Mapping | list) else cell), "coerce")
        known = cells.notna()
    found = pd.Series(sign == "!=", index=column.index)
    found[known] = _COMPARISONS[sign](cells[known], value)
    return found.astype(bool)


def _missing(cell: Any) -> bool:
    return cell is None or cell is pd.NA or (isinstance(cell, float) and cell != cell)
