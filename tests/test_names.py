"""Files, modules and commands that README and docstrings name exist."""

import ast
import importlib
import re
from pathlib import Path

import pytest
import typer

from rdbench.cli import app

ROOT = Path(__file__).parents[1]
SOURCES = sorted(path for folder in ("rdbench", "codecs", "tests") for path in (ROOT / folder).rglob("*.py"))
PAGES = ["README.md", *(str(path.relative_to(ROOT)) for path in sorted((ROOT / "results").rglob("*.md")))]
FILE = re.compile(r"`([\w./-]+\.(?:py|toml|md))`")
MODULE = re.compile(r"`(rdbench(?:\.\w+)+)`")
COMMAND = re.compile(r"(?:^|`|\$ ?|bin/|^ {4})rdbench ([a-z]+)\b", re.MULTILINE)
EXAMPLES = {"my_codec.toml", "./mine.toml", "sweep.toml", "SWEEP.toml", "config.toml"}
"""Files that a user writes."""


def docstrings(path: Path) -> str:
    """All strings that stand alone: docstrings of modules, classes, functions and attributes."""
    found = [node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Expr)]
    return "\n".join(str(value.value) for value in found if isinstance(value, ast.Constant))


def missing_files(text: str, near: Path) -> list[str]:
    places = (ROOT, ROOT / "codecs", ROOT / "tests" / "codecs", *near.parents)
    names = set(FILE.findall(text)) - EXAMPLES
    return sorted(name for name in names if not any((place / name).exists() for place in places))


def test_files_in_docstrings_exist() -> None:
    missing = {str(path.relative_to(ROOT)): missing_files(docstrings(path), path) for path in SOURCES}
    assert {path: names for path, names in missing.items() if names} == {}


@pytest.mark.parametrize("page", PAGES)
def test_files_and_commands_on_pages_exist(page: str) -> None:
    text = (ROOT / page).read_text()
    assert missing_files(text, ROOT / page) == []
    group = typer.main.get_command(app)
    known = set(group.list_commands(None))  # type: ignore[attr-defined]
    code = "\n".join(re.findall(r"`[^`\n]*`|^    .*$|```.*?```", text, re.DOTALL | re.MULTILINE))
    assert set(COMMAND.findall(code)) <= known


def test_modules_in_docstrings_exist() -> None:
    for name in sorted({name for path in SOURCES for name in MODULE.findall(docstrings(path))}):
        module, _, attribute = name.rpartition(".")
        try:
            importlib.import_module(name)
        except ImportError:
            getattr(importlib.import_module(module), attribute)


def test_a_name_that_is_gone_is_found() -> None:
    assert missing_files("see `inr/gone.py` and `codecs/nerv.py`", ROOT / "README.md") == ["inr/gone.py"]
