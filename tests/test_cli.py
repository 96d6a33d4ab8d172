"""The command line answers at once, and imports nothing heavy to do so."""

import importlib.metadata
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Cli

PROBE = """
import sys
sys.argv = ["rdbench", {verb!r}]
from rdbench.cli import main
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
heavy = {{"torch", "matplotlib", "pandas", "scipy", "numpy", "rdbench.codec", *{more!r}}} & set(sys.modules)
assert not heavy, heavy
"""


@pytest.mark.parametrize(("verb", "more"), [("--help", ["pydantic"]), ("codecs", [])])
def test_listing_imports_nothing_heavy(verb: str, more: list[str]) -> None:
    """Neither arrays nor classes of codecs; a command with options has pydantic from typer, which checks them by it."""
    code = PROBE.format(verb=verb, more=more)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def cpu_seconds(*command: str, env: dict[str, str]) -> float:
    """CPU seconds of one process, the best of four: the first compiles what is imported."""
    seconds = []
    for _ in range(4):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *command], stdout=subprocess.DEVNULL, check=True, env=env)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(seconds)


@pytest.mark.parametrize("verb", ["--help", "codecs"])
def test_listing_costs_little_more_than_its_libraries(verb: str, tmp_path: Path) -> None:
    """A third of a second on a quiet machine; as a ratio, since the machine that tests may be slow or busy.

    Compiled files lie on disk, as they do after an installation. Codecs of others are not listed: they are imported.
    """
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    env["PYTHONPYCACHEPREFIX"] = str(tmp_path)
    libraries = cpu_seconds("-c", "import typer, pydantic.main, rich.table", env=env)
    listing = cpu_seconds("-m", "rdbench.cli", verb, env=env)
    assert listing < 3 * libraries, (listing, libraries)


def test_codecs_lists_ours_and_theirs(cli: Cli) -> None:
    listed = cli("codecs").stdout
    assert max(map(len, listed.splitlines())) <= 80
    for name in ("nerv", "x264", "x265", "svtav1", "libaom", "vvenc", "toy"):
        assert f"\n{name} " in "\n" + listed
    assert "\ntoy          conventional       ready: toy-1\n" in listed


def test_codecs_names_what_is_missing(cli: Cli) -> None:
    listed = cli("codecs", "--ffmpeg", "no-such-ffmpeg")
    assert listed.returncode == 0
    assert "missing: " in listed.stdout


def test_datasets_are_listed(cli: Cli) -> None:
    listed = cli("datasets").stdout
    for name in ("bunny", "uvg", "hevc_b", "mcl_jcv"):
        assert name in listed


LONG = "a" * 5000


@pytest.mark.parametrize(
    "arguments",
    [
        ("encode", "x264", "~no-such-user/clip", "-o", "x.bin"), ("measure", "~no-such-user/clip", "b.y4m"),
        ("measure", LONG, "b.y4m"), ("measure", "bunny@160x90", LONG), ("results", LONG), ("verify", LONG),
        ("clean", LONG),
        ("check", LONG, "--baseline", "x"), ("decode", LONG, "-o", "x.y4m"), ("run", f"{LONG}.toml"),
        ("plan", "--codecs", "x264", "--dataset", LONG),
    ],
)  # fmt: skip
def test_names_that_no_file_can_have_are_named_in_one_sentence(cli: Cli, arguments: tuple[str, ...]) -> None:
    done = cli(*arguments)
    assert done.returncode == 2, done.stdout
    assert done.stderr.startswith("rdbench: ")
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr


def test_the_version_is_that_of_the_package(cli: Cli) -> None:
    assert cli("--version").stdout == f"rdbench {importlib.metadata.version('rdbench')}\n"


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("rdbench run --codecs nerv,x2", ["nerv,x264", "nerv,x265"]), ("rdbench codecs hnerv-", ["hnerv-boost"]),
        ("rdbench plan --dataset uv", ["uvg"]), ("rdbench encode to", ["toy"]), ("rdbench ver", ["verify"]),
    ],
)  # fmt: skip
def test_a_shell_completes_commands_codecs_and_datasets(toy_site: Path, words: str, found: list[str]) -> None:
    completing = {
        "_RDBENCH_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1),
        "PYTHONPATH": str(toy_site),
    }  # fmt: skip
    program = Path(sys.executable).with_name("rdbench")  # what is completed depends on the name of the program
    done = subprocess.run([program], env=os.environ | completing, capture_output=True, text=True, check=False)
    assert done.stdout.split() == found
