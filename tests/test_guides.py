"""The guides: every command in them runs as it stands there, and what they list is complete."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Cli

from rdbench.guide import find_guides, list_guides, read_guide
from rdbench.report.results import COLUMNS

ROOT = Path(__file__).parents[1]
NAMES = sorted(find_guides())
ASKED = {"paper", "ci", "review", "codec", "record", "traps"}
FENCES = {"bash", "python", "toml", "text", "yaml", ""}
"""Languages of blocks: `bash` is run, `python` and `toml` with a file's name in the first line are written to it,
`text` needs a GPU, UVG or other programs."""
MOST_LINES = 150
BLOCK_SECONDS = 300
"""The most that a block may take on a busy machine; on a quiet one a whole guide takes less than a minute."""


def blocks(text: str) -> list[tuple[str, str]]:
    """Language and content of each fenced block."""
    return re.findall(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def write_file(folder: Path, content: str) -> None:
    """Writes a block that begins with `# name`; one without is an excerpt."""
    if match := re.match(r"# (\w+\.(?:py|toml))\n", content):
        (folder / match[1]).write_text(content)


def run_blocks(text: str, folder: Path) -> None:
    """Runs the commands of a guide in one shell session for each block, in one folder."""
    search = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": search, "COLUMNS": "120"}
    for language, content in blocks(text):
        if language in ("python", "toml"):
            write_file(folder, content)
        if language == "bash":
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", content], cwd=folder, env=environment, check=False,
                timeout=BLOCK_SECONDS, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            )  # fmt: skip
            assert done.returncode == 0, f"{content}\n{done.stdout}"


@pytest.mark.slow
@pytest.mark.timeout(2 * BLOCK_SECONDS)
@pytest.mark.parametrize("name", NAMES)
def test_every_command_runs_as_written(name: str, tmp_path: Path) -> None:
    run_blocks(read_guide(name), tmp_path)


def test_a_command_that_fails_is_found(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="no dataset"):
        run_blocks("```bash\nrdbench datasets no-such\n```\n", tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_the_form_of_a_guide(name: str) -> None:
    text = read_guide(name)
    assert text.startswith("# ")
    assert {language for language, _ in blocks(text)} <= FENCES
    assert text.count("```") % 2 == 0
    assert len(text.splitlines()) <= MOST_LINES
    assert max(map(len, text.splitlines())) <= 200
    assert f"rdbench/guides/{name}.md" in (ROOT / "README.md").read_text()


def test_most_commands_of_the_guides_run() -> None:
    languages = [language for name in NAMES for language, _ in blocks(read_guide(name))]
    assert set(NAMES) >= ASKED
    assert languages.count("bash") > 3 * languages.count("text")


def test_the_guide_lists_exactly_the_fields_of_a_record() -> None:
    text = read_guide("record")
    table = text[text.index("| field ") : text.index("## What is one result")]
    listed = [
        name for row in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", row.split("|")[1] if row else "")
    ]
    assert sorted(listed) == sorted(COLUMNS)


def test_the_command_lists_and_prints(cli: Cli) -> None:
    """Plain Markdown where standard output is no terminal."""
    listed = cli("guide").stdout
    assert [line.split()[0] for line in listed.splitlines() if line.strip()][:-1] == NAMES
    assert cli("guide", "traps").stdout == read_guide("traps") + "\n"
    unknown = cli("guide", "revue")
    assert (unknown.returncode, unknown.stderr.strip()) == (
        2,
        "rdbench: There is no guide 'revue'; did you mean review?",
    )


def test_a_terminal_gets_it_rendered() -> None:
    """Headings without their signs, tables with lines."""
    code = "import pty, sys; sys.exit(pty.spawn([sys.executable, '-m', 'rdbench.cli', 'guide', 'record']) >> 8)"
    environment = {**os.environ, "COLUMNS": "90", "TERM": "xterm"}
    shown = subprocess.run([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, check=True).stdout
    assert b"What is one result" in shown
    assert b"## What" not in shown
    assert b"\x1b[" in shown


def test_titles_are_listed() -> None:
    assert re.search(r"^ci +A regression gate in CI$", list_guides(), re.MULTILINE)
