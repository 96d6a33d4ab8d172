"""LaTeX: its structure, and that it compiles."""

import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest
from report.synthetic import frames, new

from rdbench.report.bd_table import bd_table
from rdbench.report.curves import labeled
from rdbench.report.latex import escaped
from rdbench.report.layouts import Comparison, printed
from rdbench.report.tables import rd_table, render

STRANGE = r"a_b & 50% $x$ #1 {c} ~d ^e \input{f} <g> |h| `i' [j] ü 中 ·"
RECORDS = frames(
    new("x265"), new("x265", "B"), new("nerv", factor=0.5), new("nerv", "B", 0.6), new(STRANGE, factor=0.8),
    new(STRANGE, "B", 0.9), new("late", factor=0.9, conditions="rgb709/2b"),
)  # fmt: skip


def test_nothing_of_a_text_is_a_command() -> None:
    assert escaped("a_b & 50%") == r"a\_b \& 50\%"
    assert escaped("\\x{y}") == r"\textbackslash{}x\{y\}"
    assert escaped("中\n") == "U+4E2D "


def test_numbers_are_right_aligned_units_stand_in_the_head_and_the_best_is_bold() -> None:
    lines = render(bd_table(RECORDS, "x265", codecs="nerv," + STRANGE), "latex").splitlines()
    assert lines[1].startswith(r"\begin{tabular}{lllrrrr")
    assert lines[3].startswith(r"codec & dataset & sequence & BD-rate (\%) & low (\%) &")
    best = next(line for line in lines if line.startswith("nerv"))
    second = next(line for line in lines if line.startswith(r"a\_b"))
    assert r"\textbf{$-$45.00}" in best
    assert r"\underline{$-$15.00}" in second


def test_notes_are_footnotes() -> None:
    text = printed(labeled(RECORDS), Comparison("x265"), "sequences", "latex", None, verbose=True)
    assert "not comparable$^{1}$" in text
    assert r"\par{\footnotesize 1: Conditions differ" in text


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="there is no pdflatex")
def test_tables_compile_without_edits(tmp_path: Path) -> None:
    tables = [
        render(rd_table(RECORDS), "latex"),
        render(bd_table(RECORDS, "x265"), "latex"),
        printed(labeled(RECORDS), Comparison("x265"), "sequences", "latex", None, verbose=True),
        render(pd.DataFrame({"settings": [{"gop": 8, "name": STRANGE}], "none": [None]}), "latex"),
    ]
    document = "\\documentclass{article}\n\\usepackage{booktabs}\n\\begin{document}\n%s\n\\end{document}\n"
    (tmp_path / "tables.tex").write_text(document % "\n\n".join(tables))
    done = subprocess.run(
        ["pdflatex", "-no-shell-escape", "-interaction=nonstopmode", "-halt-on-error", "tables.tex"],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "tables.pdf").stat().st_size > 1000
