"""A source file: its imports, and a hash that comments, docstrings, formatting and Python's version do not change."""

import ast
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from hashlib import file_digest, sha256
from itertools import groupby
from pathlib import Path

IGNORED = frozenset({"ctx", "kind", "type_comment", "type_ignores"})
"""Fields of syntax trees that do not change what the code does."""


@dataclass(frozen=True)
class Import:
    """One statement: `import module` has no names; `from ..module import names` has a level of 2."""

    module: str
    names: tuple[str, ...] = ()
    level: int = 0


@dataclass(frozen=True)
class SourceFile:
    """What a file holds; a file that is no Python source has a hash of its bytes and no imports."""

    digest: str
    """Hex SHA-256 of the code."""
    imports: tuple[Import, ...] = ()
    """All imports, also those inside functions and conditions."""


def read_source(path: Path) -> SourceFile:
    """The contents of a file, read again only when its size or modification time has changed. Raises OSError."""
    state = path.stat()
    return _read(path, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=4096)
def _read(path: Path, size: int, changed: int) -> SourceFile:
    tree = _parse(path)
    if tree is None:
        with path.open("rb") as file:
            return SourceFile(file_digest(file, "sha256").hexdigest())
    words: list[str] = []
    _describe(tree, words.append)
    digest = sha256("\0".join(words).encode("utf-8", "surrogatepass")).hexdigest()
    return SourceFile(digest, _find_imports(tree))


def _parse(path: Path) -> ast.Module | None:
    """The syntax tree; None for another file, and for one that this Python cannot parse."""
    if path.suffix != ".py":
        return None
    try:
        return ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return None


def _find_imports(tree: ast.Module) -> tuple[Import, ...]:
    found: list[Import] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [Import(alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found.append(Import(node.module or "", tuple(alias.name for alias in node.names), node.level))
    return tuple(found)


def _describe(value: object, add: Callable[[str], None]) -> None:
    """Adds the words for a node, a list or a plain value.

    `ast.dump` would not do: which empty fields it shows, and their order, depend on the version of Python.
    """
    if isinstance(value, ast.Constant):
        _describe_constant(value.value, add)
    elif isinstance(value, ast.AST):
        add(f"({type(value).__name__}")
        for name in sorted(value._fields):
            child = getattr(value, name, None)
            if child is not None and child != [] and name not in IGNORED:
                add(name)
                _describe(_text_parts(child) if isinstance(value, ast.JoinedStr) else child, add)
        add(")")
    elif isinstance(value, list):
        add("[")
        for item in value:
            if not _is_docstring(item):
                _describe(item, add)
        add("]")
    else:
        add(repr(value))


def _describe_constant(value: object, add: Callable[[str], None]) -> None:
    """Strings as they are: which characters `repr` escapes depends on the Unicode tables of this Python."""
    add(f"(Constant {type(value).__name__}")
    add(value if isinstance(value, str) else repr(value))
    add(")")


def _is_docstring(item: object) -> bool:
    """Whether a statement is nothing but a string."""
    return isinstance(item, ast.Expr) and isinstance(item.value, ast.Constant) and isinstance(item.value.value, str)


def _text_parts(parts: list[ast.expr]) -> list[ast.expr]:
    """The parts of an f-string; some versions of Python divide its text into several parts, or keep empty ones."""
    joined: list[ast.expr] = []
    for is_text, group in groupby(parts, lambda part: isinstance(part, ast.Constant)):
        if not is_text:
            joined += group
        elif text := "".join(str(part.value) for part in group if isinstance(part, ast.Constant)):
            joined.append(ast.Constant(text))
    return joined
