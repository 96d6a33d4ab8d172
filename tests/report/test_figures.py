"""Options of figures, from the texts of the command line."""

import shutil
import subprocess
from pathlib import Path

import pytest

from rdbench.errors import UsageError
from rdbench.report.figures import TEX, FigureOptions, new_figure, read_options, save, styled


def read(**given: str) -> FigureOptions:
    names = ("width", "height", "title", "xlim", "ylim", "font")
    return read_options(*(given.get(name) for name in names))


def test_lengths_limits_and_fonts() -> None:
    assert read(width="3.5in").width == read(width="3.5").width == 3.5
    assert read(width="8.89cm").width == pytest.approx(3.5)
    assert read(height="252.945pt").height == pytest.approx(3.5)
    assert read(xlim="0.01:1").xlim == (0.01, 1)
    assert read(ylim="30:").ylim == (30, None)
    assert (read(font="8").font, read(font="8").letters) == (None, 8)
    assert (read(font="DejaVu Serif:7.5").font, read(font="DejaVu Serif:7.5").letters) == ("DejaVu Serif", 7.5)
    assert read() == FigureOptions()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("width", "3.5m"), ("width", "-3in"), ("width", "0.1in"), ("height", "1000in"), ("width", "nan"), ("xlim", "1"),
        ("xlim", "1:0.1"), ("xlim", "0:1"), ("xlim", "a:b"), ("ylim", "1:2:3"), ("ylim", "nan:3"),
        ("font", "No Such Font 9000"), ("font", "900"),
    ],
)  # fmt: skip
def test_what_makes_no_figure_is_refused(name: str, value: str) -> None:
    with pytest.raises(UsageError, match=name):
        read(**{name: value})


def test_a_pgf_without_latex_is_refused_in_a_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match=r"\.pgf needs pdflatex, xelatex or lualatex"):
        new_figure(Path("rd.pgf"), 1, 1, (4, 3))


def has_pgf() -> bool:
    """Whether a LaTeX is here with the packages that a .pgf needs."""
    if not any(map(shutil.which, TEX)) or shutil.which("kpsewhich") is None:
        return False
    return all(
        subprocess.run(["kpsewhich", f"{name}.sty"], check=False).returncode == 0 for name in ("pgf", "underscore")
    )


@pytest.mark.slow
@pytest.mark.skipif(not has_pgf(), reason="there is no LaTeX with the packages pgf and underscore")
def test_the_text_of_a_pgf_stays_text(tmp_path: Path) -> None:
    output = tmp_path / "rd.pgf"
    with styled(FigureOptions()):
        figure, axes = new_figure(output, 1, 1, (4, 3))
        axes[0][0].set_title("Curves of x265_slow")
        save(figure, output)
    assert "Curves of x265_slow" in output.read_text()
