"""Tables as plain text: for a terminal, and in markdown."""

import re

from .cells import Cell, Grid
from .heads import head

_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]+)?(?= \[|$)")
_GAP = "    "


def terminal(table: Grid) -> str:
    """Columns side by side, numbers aligned by their point, with the notes below."""
    columns = []
    for place, (name, numeric) in enumerate(zip(table.columns, table.numeric, strict=True)):
        texts = _aligned([row[place] for row in table.rows]) if numeric else [row[place].text for row in table.rows]
        width = max(map(len, [name, *texts]))
        place_text = str.rjust if numeric else str.ljust
        columns.append([place_text(text, width) for text in [name, *texts]])
        columns[-1].insert(1, "-" * width)
    lines = [_GAP.join(line).rstrip() for line in zip(*columns, strict=True)]
    return "\n".join([*lines, *table.notes])


def markdown(table: Grid) -> str:
    """A table in markdown with units in the head and the best value in bold face, and the notes below."""
    heads = [head(name) for name in table.columns]
    rows = [heads, *([_marked(cell) for cell in row] for row in table.rows)]
    widths = [max(3, *(len(row[place]) for row in rows)) for place in range(len(heads))]
    rows = [
        [_placed(text, width, numeric) for text, width, numeric in zip(row, widths, table.numeric, strict=True)]
        for row in rows
    ]
    rule = [
        "-" * (width - 1) + ":" if numeric else "-" * width
        for width, numeric in zip(widths, table.numeric, strict=True)
    ]  # fmt: skip
    lines = [f"| {' | '.join(row)} |" for row in [rows[0], rule, *rows[1:]]]
    notes = [line for note in table.notes for line in ("", note)]
    return "\n".join([*lines, *notes])


def _aligned(cells: list[Cell]) -> list[str]:
    """The cells with their numbers above each other; intervals and numbers of footnotes stand behind them."""
    parts = []
    for cell in cells:
        found = _NUMBER.match(cell.text)
        end = found.end() if found else len(cell.text)
        parts.append((cell.text[:end], cell.text[end:] + (f" ({cell.note})" if cell.note else "")))
    before, behind = (max((len(part[side]) for part in parts), default=0) for side in (0, 1))
    return [f"{number:>{before}}{rest:<{behind}}" for number, rest in parts]


def _placed(text: str, width: int, numeric: bool) -> str:
    return text.rjust(width) if numeric else text.ljust(width)


def _marked(cell: Cell) -> str:
    """The text with its footnote, the best value in bold face; a bar stays a letter, and a line break a space."""
    text = " ".join(cell.text.replace("|", "\\|").splitlines())
    note = f" ({cell.note})" if cell.note else ""
    return (f"**{text}**" if cell.rank == 1 and text else text) + note
