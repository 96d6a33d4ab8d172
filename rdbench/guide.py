"""The guides in `guides/`: Markdown files that `rdbench guide NAME` prints."""

import sys
from pathlib import Path

from .errors import UsageError, did_you_mean

FOLDER = Path(__file__).parent / "guides"
WIDEST = 100
"""Columns of a guide on a wider terminal (our choice)."""


def find_guides() -> dict[str, Path]:
    """The files of the guides by name."""
    return {path.stem: path for path in sorted(FOLDER.glob("*.md"))}


def read_guide(name: str) -> str:
    """The Markdown of a guide. Raises UsageError for an unknown name."""
    guides = find_guides()
    if name not in guides:
        raise UsageError(f"There is no guide {name!r}{did_you_mean(name, guides)}")
    return guides[name].read_text(encoding="utf-8")


def list_guides() -> str:
    """A line for each guide: its name and its title."""
    titles = {name: read_guide(name).split("\n", 1)[0].removeprefix("# ") for name in find_guides()}
    width = max(map(len, titles))
    return "\n".join([*(f"{name:<{width}}  {title}" for name, title in titles.items()), "", "rdbench guide NAME"])


def print_guide(name: str | None) -> None:
    """Prints a guide, rendered where standard output is a terminal, else as it is; all titles without a name."""
    text = list_guides() if name is None else read_guide(name)
    if name is None or not sys.stdout.isatty():
        print(text)
        return
    from rich.console import Console
    from rich.markdown import Markdown

    console = Console()
    console.print(Markdown(text), width=min(console.width, WIDEST))
