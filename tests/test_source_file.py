"""The hash of a source file: what changes it and what does not, and that every Python computes the same one."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rdbench.source_file import read_source

ROOT = Path(__file__).parents[1]
CODE = '''"""A module."""
import math
from . import other

RATE: float = 0.5
"""A constant."""


class Codec(Base, kind="x"):
    """A codec."""

    def encode(self, *values: int, deep=None, **more) -> "list[int]":
        """Writes."""
        # a comment
        if values == (1, 2) and not deep:
            return [f"{value:>{self.width}} of {len(values)!r}" "b" for value in values]
        return {**more, 'a': -1.5e3, b'b': 0x10, "c": None, "d": ..., "e": True}
'''


def digest(folder: Path, code: str | bytes, name: str = "module.py") -> str:
    """The hash of a new file."""
    folder = folder / str(len(list(folder.iterdir())))
    folder.mkdir()
    (folder / name).write_bytes(code if isinstance(code, bytes) else code.encode())
    return read_source(folder / name).digest


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("# a comment", "# another comment, and one more line\n        # of it"),
        ('"""A module."""\n', ""),
        ('        """Writes."""\n', '        """Writes\n\n        much more."""\n'),
        ('"""A constant."""\n', ""),
        ("values == (1, 2)", "(values  ==  ( 1,2, ))"),
        ("\n", "\r\n"),
        ("    ", "  "),
        ("'a'", '"a"'),
        ("0x10", "16"),
        ("-1.5e3", "-1500.0"),
        ('"b" for', "'' 'b' for"),
        ("import math", "import math;"),
    ],
)
def test_what_does_not_change_it(old: str, new: str, tmp_path: Path) -> None:
    assert old in CODE
    assert digest(tmp_path, CODE.replace(old, new)) == digest(tmp_path, CODE)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("0.5", "0.25"), ("import math", "import cmath"), ("from .", "from .."), ("Base, ", ""), ('kind="x"', "**x"),
        ("*values: int", "*values: float"), ("deep=None", "deep"), ("not deep", "deep"), (" and ", " or "),
        ("(1, 2)", "[1, 2]"), (">{self", "<{self"), ("!r", "!s"), ('"b" for', '"c" for'), ("-1.5e3", "1.5e3"),
        ("b'b'", "'b'"), ('"c": None', '"c": False'), ("...", "None"), ("True", "1"), ("**more,", "'x': more,"),
        ("Codec(", "Coder("), ("0x10", "16.0"), ('"c"', '"c\\u0301"'),
    ],
)  # fmt: skip
def test_what_changes_it(old: str, new: str, tmp_path: Path) -> None:
    assert old in CODE
    assert digest(tmp_path, CODE.replace(old, new, 1)) != digest(tmp_path, CODE)


def test_files_without_syntax_count_byte_for_byte(tmp_path: Path) -> None:
    assert digest(tmp_path, b"\0\1", "m.so") == digest(tmp_path, b"\0\1", "m.so") != digest(tmp_path, b"\0\2", "m.so")
    broken = digest(tmp_path, "print 'an older Python'\n")
    assert broken == digest(tmp_path, "print 'an older Python'\n") != digest(tmp_path, "print  'an older Python'\n")


def other_pythons() -> Iterator[str]:
    """Other versions of Python on this machine, from 3.11 on."""
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for name in (f"python3.{minor}" for minor in range(11, 15) if minor != sys.version_info[1]):
        programs = [*map(str, versions.glob(f"3.*/bin/{name}")), shutil.which(name)]
        if (program := programs[0]) is not None:
            yield program


PRINT_ALL = """
import sys, importlib.util
from pathlib import Path
spec = importlib.util.spec_from_file_location("source_file", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
for path in sys.argv[2:]:
    print(module.read_source(Path(path)).digest)
"""


@pytest.mark.slow
def test_every_python_computes_the_same(tmp_path: Path) -> None:
    pythons = list(other_pythons())
    if not pythons:
        pytest.skip("there is no other Python from 3.11 on")
    odd = tmp_path / "odd.py"
    odd.write_text(
        'y = f"{1:}" f"{x=}" "" f"a{{b}}" f"{x!s:{x}.{x}}"\ntry: pass\nexcept* ValueError: pass\n'
        "match x:\n    case None | {'a': 1, **rest}: pass\nasync def g(a, /, b=1, *, c, d=2): return await a\n"
        "z = 'caf\\u00e9 \\U0001fae8', 1e400, 1j, -0.0, 10**20, lambda *, k=None: k\n"
    )  # fmt: skip
    files = [*(ROOT / "codecs").rglob("*.py"), *(ROOT / "rdbench").rglob("*.py"), odd]
    expected = [read_source(path).digest for path in files]
    for python in pythons:
        module = str(ROOT / "rdbench" / "source_file.py")
        command = [python, "-c", PRINT_ALL, module, *map(str, files)]
        assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.split() == expected, python
