"""The figure has the size and the resolution that was asked for, shows the crops, and takes any name."""

import html
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rdbench.errors import UsageError
from rdbench.report.crops import Choice, Comparison, Shot, Side
from rdbench.report.figure import Look, parse_width, write_figure

EVIL = "x$\\frac{$[a=<b>]"


def comparison(frames: int = 1) -> Comparison:
    """A gray frame; A is red and B blue in a square of 32 pixels."""
    reference = np.full((90, 160, 3), 128, np.uint8)
    a, b = reference.copy(), reference.copy()
    a[40:72, 60:92] = (250, 0, 0)
    b[40:72, 60:92] = (0, 0, 128)
    shot = Shot(Choice(3, (("a", 0),)), reference, (a, b), (20.0, 21.5))
    sides = (Side(EVIL, "crf20", 0.1234, 20.0), Side("other", "crf30", 0.12, 21.0))
    return Comparison("set", "clip", "PSNR RGB", "PSNR", sides, (shot,) * frames)


def share(image: "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]", color: tuple[int, int, int]) -> float:
    """The share of the figure that has this color."""
    return float((np.abs(image.astype(int) - color).max(axis=2) < 12).mean())


@pytest.mark.parametrize("width", [7.0, 3.5])
def test_it_is_as_wide_as_asked_at_300_dpi_and_shows_all_three_crops(tmp_path: Path, width: float) -> None:
    write_figure(comparison(), tmp_path / "f.png", Look(width))
    with Image.open(tmp_path / "f.png") as file:
        assert file.size[0] == round(300 * width)
        assert round(file.info["dpi"][0]) == 300
        image = np.asarray(file.convert("RGB"))
    assert share(image, (250, 0, 0)) > 0.05
    assert share(image, (0, 0, 128)) == pytest.approx(share(image, (250, 0, 0)), rel=0.05)
    assert share(image, (128, 128, 128)) > 0.2


def test_each_frame_has_a_row(tmp_path: Path) -> None:
    heights = []
    for frames in (1, 2, 3):
        write_figure(comparison(frames), tmp_path / "f.png", Look())
        heights.append(Image.open(tmp_path / "f.png").size[1])
    assert heights[2] - heights[1] == pytest.approx(heights[1] - heights[0], abs=1)
    assert heights[1] - heights[0] > 400


def test_text_stays_text_in_svg_and_a_name_is_no_formula(tmp_path: Path) -> None:
    write_figure(comparison(), tmp_path / "f.svg", Look())
    text = html.unescape((tmp_path / "f.svg").read_text())
    assert f"{EVIL} crf20" in text
    assert "0.1234 bpp, 20.00 dB" in text


def test_widths() -> None:
    assert parse_width("3.5in") == parse_width("3.5") == 3.5
    assert parse_width("89mm") == pytest.approx(3.504, abs=0.001)
    assert parse_width("252pt") == pytest.approx(252 / 72.27)  # TeX's points, as in `plot --width`
    for wrong in ("", "wide", "0in", "1e9", "nan", "-3in"):
        with pytest.raises(UsageError, match="give a length from 2 to 20"):
            parse_width(wrong)


def test_another_kind_of_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none of \.png"):
        write_figure(comparison(), tmp_path / "f.bmp", Look())
