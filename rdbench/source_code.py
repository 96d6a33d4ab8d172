"""The version of the source code behind a codec: a hash that a change of the code changes, and no comment does."""

import sys
from collections.abc import Iterator
from functools import lru_cache
from hashlib import sha256
from importlib.machinery import ModuleSpec
from importlib.util import find_spec, resolve_name
from pathlib import Path

from .codec import Codec
from .errors import RdbenchError
from .source_file import read_source

HARNESS = "rdbench"
FRAMES = f"{HARNESS}.video.readers"
"""What gives every codec its frames, also one that does not import it."""
DECIDES_NO_BITS = tuple(f"{HARNESS}.{room}" for room in ("cli", "runner", "report", "registry"))
"""Parts of rdbench that do not count, even where a codec imports them."""


@lru_cache(maxsize=256)
def code_digest(cls: type[Codec]) -> str:
    """Eight hex digits of a hash of all source that can decide the bits of a codec; computed once in a process.

    It changes with the code of the class's module, with the modules of rdbench that this one imports, directly or not
    (the engine), with the conversions of frames, and with every file of a plugin's package. It does not change with
    comments, docstrings, formatting, line endings or the version of Python. Other packages (torch) do not count; they
    belong to `Codec.version`. Raises RdbenchError for a class whose source is in no file.
    """
    lines = [f"{name} {read_source(path).digest}\n" for name, path in sorted(source_files(cls).items())]
    return sha256("".join(lines).encode()).hexdigest()[:8]


def source_files(cls: type[Codec]) -> dict[str, Path]:
    """The files that `code_digest` covers, by the full names of the modules (data files of a plugin: by their paths).

    Imports count wherever they stand, in functions and below `if TYPE_CHECKING:` too. An import from a package counts
    for everything that the package imports itself, and so for all names that it hands on. Raises RdbenchError.
    """
    if not _files_of(cls.__module__):
        raise RdbenchError(f"The source of the codec {cls.__qualname__} is in no file; put it into a module.")
    found: dict[str, Path] = {}
    waiting = [FRAMES, *(base.__module__ for base in cls.__mro__ if issubclass(base, Codec))]
    asked: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in asked or any(_inside(name, part) for part in DECIDES_NO_BITS):
            continue
        asked.add(name)
        for module, path in _files_of(name).items():
            if module not in found:
                found[module] = path
                waiting += [other for other in _imports(module, path) if _counts(other, module, path)]
    return found


def _inside(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def _counts(imported: str, importer: str, path: Path) -> bool:
    """Whether an import is followed: into rdbench, and from a plugin that is one file to the files beside it."""
    if _inside(imported, HARNESS):
        return True
    if "." in imported + importer or path.name == "__init__.py" or imported in sys.stdlib_module_names:
        return False
    spec = _spec(imported)
    return spec is not None and spec.origin is not None and Path(spec.origin).parent == path.parent


def _files_of(name: str) -> dict[str, Path]:
    """The file of a module of rdbench; the files of the whole package of a plugin's module."""
    if _inside(name, HARNESS):
        path = _file(_spec(name))
        return {} if path is None else {name: path}
    for outer in (*_parents(name), name):
        if (path := _file(_spec(outer))) is not None:
            return _package_files(outer, path.parent) if path.name == "__init__.py" else {outer: path}
    return {}


def _parents(name: str) -> list[str]:
    """The packages around a module, the outermost first."""
    parts = name.split(".")
    return [".".join(parts[:end]) for end in range(1, len(parts))]


def _package_files(package: str, folder: Path) -> dict[str, Path]:
    """All files of a package but hidden ones, backups of editors and what Python compiled."""
    found = {}
    for path in folder.rglob("*"):
        parts = path.relative_to(folder).parts
        if not path.is_file() or any(part.startswith(".") or part == "__pycache__" for part in parts):
            continue
        if path.suffix == ".py":
            found[".".join((package, *(Path(part).stem for part in parts if part != "__init__.py")))] = path
        elif not path.name.endswith("~"):
            found["/".join((package, *parts))] = path
    return found


def _file(spec: ModuleSpec | None) -> Path | None:
    return Path(spec.origin) if spec is not None and spec.has_location and spec.origin is not None else None


@lru_cache(maxsize=4096)
def _spec(name: str) -> ModuleSpec | None:
    """Where a module is; None where there is none of this name. Imports no module but the packages around it."""
    parent = name.rpartition(".")[0]
    if name not in sys.modules and parent:
        around = _spec(parent)
        if around is None or around.submodule_search_locations is None:
            return None
    try:
        return find_spec(name)
    except (ImportError, ValueError):  # a module without a spec is the program that was started
        return None


def _imports(module: str, path: Path) -> Iterator[str]:
    """The full names of all that a module imports: modules, the packages around them, and names that may be modules."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for found in read_source(path).imports:
        base = "." * found.level + found.module
        full = resolve_name(base, package) if found.level else base
        for name in (full, *(f"{full}.{name}" for name in found.names)):
            yield from (*_parents(name), name)
