"""Helpers for tests on folders of records that somebody may have changed."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rdbench.runner.verify.check import Choice, Row, check_all, select
from rdbench.runner.verify.findings import Finding
from rdbench.runner.verify.rebuild import Places

Values = dict[str, Any]
X265 = "x265[preset=ultrafast]"


def folder_of(place: Path, codec: str, point: str = "") -> Path:
    """The folder of the record of this codec, at this rate point."""
    return next(p.parent for p in sorted(place.rglob("record.json"))
                if json.loads(p.read_text())["codec"] == codec and p.parent.name.startswith(point))  # fmt: skip


def copy(folder: Path, place: Path, change: Callable[[Values], object] = lambda values: None) -> Path:
    """A copy of a record's folder under `place`, of the same name, whose record is changed."""
    target = shutil.copytree(folder, place / folder.name)
    edit(target, change)
    return target


def edit(folder: Path, change: Callable[[Values], object]) -> None:
    values = json.loads((folder / "record.json").read_text())
    change(values)
    (folder / "record.json").write_text(json.dumps(values))


def rows_of(place: Path, places: Places | None = None, **choice: Any) -> dict[str, Row]:
    """The rows by the folder below `place` that contains the record's."""
    selection = select(Choice(place, **choice))
    rows = check_all(selection, places or Places(), lambda name: lambda done, total, text: None)
    return {row.record.split("/")[0]: row for row in rows}


def texts(findings: list[Finding]) -> str:
    return "; ".join(finding.text for finding in findings)
