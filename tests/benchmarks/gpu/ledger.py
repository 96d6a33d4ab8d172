"""The results of the kit: rows that are written, as JSON and as Markdown, each time that one is added."""

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

JSON, MARKDOWN, LOG = "gpu.json", "gpu.md", "log.txt"
"""Names of the files in the output folder; LOG has what all processes printed."""
OK, DIFFERS, FAILED, LIMIT, NO_TIME = "ok", "differs", "failed", "time limit", "no time left"
SKIPPED = "skipped"
LONGEST_CELL = 300


@dataclass(frozen=True)
class Row:
    """The outcome of one piece of work: its part, its name, a status, seconds, values by name, and what went wrong."""

    part: str
    name: str
    status: str = OK
    seconds: float = 0.0
    values: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""


class Ledger:
    """Rows from several threads, on disk after each."""

    def __init__(self, folder: Path, heading: Mapping[str, Any]) -> None:
        """`heading`: what is known of the whole run."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.rows = folder, list[Row]()
        self._heading, self._lock = dict(heading), threading.Lock()

    def add(self, row: Row) -> None:
        """Adds a row, writes both files, and prints one line."""
        with self._lock:
            self.rows.append(row)
            content = {**self._heading, "rows": [asdict(each) for each in self.rows]}
            _write(self.folder / JSON, json.dumps(content, indent=1, default=str))
            _write(self.folder / MARKDOWN, markdown(self._heading, self.rows))
        print(f"{row.part}: {row.name}: {row.status}, {row.seconds:.1f} s {row.error}".rstrip(), flush=True)


def _write(path: Path, text: str) -> None:
    """Replaces the file at once, so that a kill leaves a whole one."""
    draft = path.with_suffix(".draft")
    draft.write_text(text)
    draft.replace(path)


def markdown(heading: Mapping[str, Any], rows: Sequence[Row]) -> str:
    """A heading, then a table for each part, with a column for each value."""
    lines = ["# Measured on a GPU", "", *(f"- {key}: {value}" for key, value in heading.items()), ""]
    for part in dict.fromkeys(row.part for row in rows):
        lines += [f"## {part}", "", *_table([row for row in rows if row.part == part]), ""]
    return "\n".join(lines)


def _table(rows: Sequence[Row]) -> list[str]:
    columns = list(dict.fromkeys(key for row in rows for key in row.values))
    head = ["what", "outcome", "s", *columns, "error"]
    body = [
        [row.name, row.status, f"{row.seconds:.1f}", *(_cell(row.values.get(key, "")) for key in columns), row.error]
        for row in rows
    ]
    return [_line(head), "|" + "---|" * len(head), *map(_line, body)]


def _line(cells: Sequence[str]) -> str:
    texts = [" ".join(cell.replace("|", "/").split()) for cell in cells]
    return "| " + " | ".join(text[-LONGEST_CELL:] for text in texts) + " |"


def _cell(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
