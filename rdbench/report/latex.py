"""Tables for papers: LaTeX that compiles as it is printed, with the package booktabs and no other."""

import re
import unicodedata
from collections.abc import Mapping
from types import MappingProxyType

from .cells import Cell, Grid
from .heads import head

_SPECIAL: Mapping[str, str] = MappingProxyType({
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"\char34{}", "`": r"\textasciigrave{}", "[": "{[}", "]": "{]}",
})  # fmt: skip
_MINUS = re.compile(r"(?<![\w.])-(?=[0-9])")
_LAST_PLAIN = 0x17F
"""The last letter (of Latin Extended-A) that LaTeX sets without more packages."""


def latex(table: Grid) -> str:
    """The table in LaTeX: numbers right-aligned with equal digits, units in the head, the best in bold face and the
    second underlined, notes below.
    """  # fmt: skip
    layout = "".join("r" if numeric else "l" for numeric in table.numeric)
    rows = [
        [_cell(cell, numeric) for cell, numeric in zip(row, table.numeric, strict=True)] for row in table.rows
    ]  # fmt: skip
    heads = [escaped(head(name)) for name in table.columns]
    return "\n".join([
        r"% needs \usepackage{booktabs}",
        rf"\begin{{tabular}}{{{layout}}}",
        r"\toprule", _row(heads), r"\midrule", *map(_row, rows), r"\bottomrule",
        r"\end{tabular}",
        *(rf"\par{{\footnotesize {escaped(note)}\par}}" for note in table.notes),
    ])  # fmt: skip


def escaped(text: str) -> str:
    """The text with everything that LaTeX would read as a command; letters that it lacks are named by their code."""
    return "".join(_letter(letter) for letter in text)


def _letter(letter: str) -> str:
    if letter in _SPECIAL:
        return _SPECIAL[letter]
    if letter.isascii():
        return letter if letter.isprintable() else " "
    if letter.isalpha() and ord(letter) <= _LAST_PLAIN:
        return letter
    plain = unicodedata.normalize("NFKD", letter)
    if plain.isascii() and plain.isprintable() and plain:
        return "".join(map(_letter, plain))
    return f"U+{ord(letter):04X}"


def _cell(cell: Cell, numeric: bool) -> str:
    text = escaped(cell.text)
    if numeric:
        text = _MINUS.sub("$-$", text)
    if cell.rank == 1:
        text = rf"\textbf{{{text}}}"
    if cell.rank == 2:
        text = rf"\underline{{{text}}}"
    return text + (f"$^{{{cell.note}}}$" if cell.note else "")


def _row(cells: list[str]) -> str:
    return " & ".join(cells) + r" \\"
