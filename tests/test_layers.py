"""Imports point downwards: between the rooms of `rdbench/` and of `codecs/inr/`, and from one codec to another.

A room is a folder or a file at the top of its tree. It may import from the rooms below it, never from one above it or
beside it, and the modules inside a room form no circle. Imports inside functions count; those that only a type checker
executes (`if TYPE_CHECKING:`) do not.
"""

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = {"rdbench.codecs": ROOT / "codecs", "rdbench": ROOT / "rdbench"}
"""Packages by their name, the inner one first: `codecs/` is installed as `rdbench.codecs`."""

HARNESS = (
    {"cli", "conformance"},
    {"cli_reports"},
    {"cli_options"},
    {"runner", "guide"},
    {"registry", "report", "source_code"},
    {"codec", "clips", "measure"},
    {"video"},
    {"card", "errors", "processes", "source_file"},
)
"""The rooms of `rdbench/`, the highest first; rooms in one line do not import each other."""

INR = (
    {""},  # the package itself, which hands on what the author of a codec needs
    {"c3", "nirvana"},
    {"index_based", "embedding_based", "selecting", "pieces"},
    {"codec"},
    {"prepared", "trained"},
    {"training"},
    {"compression", "rendering", "clip_header"},
    {"networks", "entropy"},
    {"recipes", "bitstream", "switches", "presets"},
)
"""The rooms of `codecs/inr/`, the highest first."""

CHANGED_CODECS = {("nvrc", "hinerv"): "NVRC compresses HiNeRV's network"}
"""Codec files that may import another one, and why."""


@dataclass(frozen=True)
class Import:
    """One import of a module of ours by another, both with their full names."""

    importer: str
    imported: str
    line: int

    def __str__(self) -> str:
        return f"{self.importer}:{self.line} imports {self.imported}"


def modules() -> dict[str, Path]:
    """Every module of `rdbench` and `rdbench.codecs` by its full name; a package is named like its folder."""
    found = {}
    for package, folder in FOLDERS.items():
        for path in folder.rglob("*.py"):
            parts = path.relative_to(folder).with_suffix("").parts
            found[".".join((package, *(part for part in parts if part != "__init__")))] = path
    return found


MODULES = modules()


def imports_of(name: str, source: str, package: str) -> Iterator[Import]:
    """The modules of ours that a module of this package imports, inside functions too."""
    for node in executed(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (Import(name, a.name, node.lineno) for a in node.names if a.name.split(".")[0] == "rdbench")
        elif isinstance(node, ast.ImportFrom):
            base = absolute(node, package)
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                if base.split(".")[0] == "rdbench":
                    yield Import(name, inner if inner in MODULES else base, node.lineno)


def executed(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those below `if TYPE_CHECKING:`."""
    for child in ast.iter_child_nodes(tree):
        yield child
        if isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            for other in child.orelse:
                yield from (other, *executed(other))
        else:
            yield from executed(child)


def absolute(node: ast.ImportFrom, package: str) -> str:
    """The full name of the module that `from ... import` names."""
    if node.level == 0:
        return node.module or ""
    parts = package.split(".")
    base = parts[: len(parts) - node.level + 1]
    return ".".join([*base, *([node.module] if node.module else [])])


def all_imports() -> Iterator[Import]:
    """The imports of all modules."""
    for name, path in MODULES.items():
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        yield from imports_of(name, path.read_text(), package)


ALL = list(all_imports())


def room(name: str, package: str) -> str | None:
    """The room of a module inside a package (empty for the package itself); None for a module outside it."""
    if name == package:
        return ""
    return name.removeprefix(f"{package}.").split(".")[0] if name.startswith(f"{package}.") else None


def upward(package: str, layers: Sequence[set[str]]) -> list[str]:
    """The imports between rooms of a package that do not point downwards."""
    height = {name: -index for index, names in enumerate(layers) for name in names}
    wrong = []
    for found in ALL:
        above, below = room(found.importer, package), room(found.imported, package)
        if above != below and above in height and below in height and height[below] >= height[above]:
            wrong.append(str(found))
    return wrong


def is_harness(name: str) -> bool:
    """Whether a module belongs to `rdbench/`."""
    return not name.startswith(("rdbench.codecs", "rdbench.datasets"))


def test_what_counts_as_an_import() -> None:
    source = """
from typing import TYPE_CHECKING
import rdbench.errors
from ..video import ffmpeg, Video
from . import dataset
if TYPE_CHECKING:
    from ..report import tables
def late():
    from ..runner.job import run_job
"""
    found = [entry.imported for entry in imports_of("rdbench.clips.fetch", source, "rdbench.clips")]
    assert found == ["rdbench.errors", "rdbench.video.ffmpeg", "rdbench.video", "rdbench.clips.dataset",
                     "rdbench.runner.job"]  # fmt: skip


def test_every_room_has_a_layer() -> None:
    inr = {room(name, "rdbench.codecs.inr") for name in MODULES} - {None}
    assert inr == set().union(*INR)
    harness = {room(name, "rdbench") for name in MODULES if is_harness(name)} - {""}
    assert harness == set().union(*HARNESS)


def test_the_harness_imports_downwards() -> None:
    assert upward("rdbench", HARNESS) == []


def test_the_parts_of_inr_codecs_import_downwards() -> None:
    assert upward("rdbench.codecs.inr", INR) == []


@pytest.mark.parametrize("package", ["rdbench", "rdbench.codecs", "rdbench.codecs.inr"])
def test_the_modules_of_a_room_form_no_circle(package: str) -> None:
    graphs: dict[str, dict[str, set[str]]] = {}
    for found in ALL:
        mine = room(found.importer, package)
        if mine is not None and mine == room(found.imported, package) and found.importer != found.imported:
            graphs.setdefault(mine, {}).setdefault(found.importer, set()).add(found.imported)
    assert graphs
    assert [circle for graph in graphs.values() if (circle := first_circle(graph))] == []


def first_circle(graph: Mapping[str, set[str]]) -> list[str]:
    """Modules that import each other in a circle; empty where there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_the_harness_imports_no_codec_and_no_dataset() -> None:
    assert [str(found) for found in ALL if is_harness(found.importer) and not is_harness(found.imported)] == []


def test_a_codec_imports_no_other_codec() -> None:
    files = {path.stem for path in FOLDERS["rdbench.codecs"].glob("*.py")} - {"__init__"}
    pairs = {(room(f.importer, "rdbench.codecs"), room(f.imported, "rdbench.codecs")) for f in ALL}
    crossing = {(a, b) for a, b in pairs if b in files and a != b and a is not None}
    assert crossing == set(CHANGED_CODECS)
