"""Plots: what is plotted, and what is refused."""

import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from rdbench.errors import RdbenchError, UsageError
from rdbench.report.plots import COLORS, MARKERS, ledger_plot, rd_plot
from rdbench.report.results import COLUMNS


def make(codec: str, sequence: str = "A", lift: float = 0.0, **changes: Any) -> pd.DataFrame:
    rows = [
        {
            "codec": codec, "dataset": "uvg", "sequence": sequence, "rate_point": f"p{i}", "conditions": "rgb601/1a",
            "width": 160, "height": 90, "frames": 8, "status": "ok", "bpp": 0.05 * 2**i, "psnr_rgb": 30 + 3 * i + lift,
            "ms_ssim_db": 9.0 + 2 * i + lift, "encode_seconds": 1.0 + i,
            "ledger": {"weights": 400 * 2**i, "header": 60},
        } | changes
        for i in range(4)
    ]  # fmt: skip
    return pd.DataFrame(rows).reindex(columns=list(COLUMNS))


def texts(svg: Path) -> str:
    """The words of an SVG whose glyphs are paths: matplotlib writes each text as a comment."""
    return " ".join(re.findall(r"<!-- (.*?) -->", svg.read_text()))


@pytest.mark.parametrize(("suffix", "magic"), [(".png", b"\x89PNG"), (".pdf", b"%PDF"), (".svg", b"<?xml")])
def test_files_by_suffix(tmp_path: Path, suffix: str, magic: bytes) -> None:
    output = tmp_path / f"rd{suffix}"
    rd_plot(make("x265"), output)
    assert output.read_bytes().startswith(magic)


def test_panels_legend_and_published_curves(tmp_path: Path) -> None:
    frame = pd.concat([make("x265", "A"), make("x265", "B"), make("late", "B")])
    published = make("c3", "A", 1.0, conditions="rgb601/published").assign(source="C3 repository; more")
    frame.loc[frame["sequence"] == "A", "ms_ssim_db"] = None
    rd_plot(frame, tmp_path / "rd.svg", per_sequence=True, published=published.assign(ms_ssim_db=None))
    words = texts(tmp_path / "rd.svg")
    assert words.count("uvg: A") == words.count("uvg: B") == 2
    for word in (
        "PSNR RGB (dB)",
        "MS-SSIM (dB)",
        "bits per pixel",
        "no ms_ssim_db here",
        "late, rgb601/1a",
        "(published: C3 repository)",
    ):
        assert word in words
    assert "stroke-dasharray" in (tmp_path / "rd.svg").read_text()


def test_average_and_encode_time(tmp_path: Path) -> None:
    rd_plot(pd.concat([make("x265", "A"), make("x265", "B")]), tmp_path / "rd.svg", x="encode_seconds")
    words = texts(tmp_path / "rd.svg")
    assert "mean of 2 sequences" in words
    assert "encode time (s)" in words


def test_a_mean_says_which_sequences_it_leaves_out_and_why(tmp_path: Path) -> None:
    frame = pd.concat([make("x265", name) for name in "ABC"] + [make("nerv", name) for name in "AB"])
    rd_plot(frame, tmp_path / "rd.svg")
    words = texts(tmp_path / "rd.svg")
    assert "mean of 2 of 3 sequences" in words
    assert "without C, which not" in words
    late = pd.concat([frame, make("late", "D"), make("late", "E")])
    with pytest.raises(UsageError, match=r"no sequence in common.*--per-sequence"):
        rd_plot(late, tmp_path / "rd.svg")
    rd_plot(late, tmp_path / "rd.svg", codecs="x265")
    assert "mean of 3 sequences" in texts(tmp_path / "rd.svg")


def test_seeds_are_a_line_with_a_band_and_the_legend_says_so(tmp_path: Path) -> None:
    def bands(frame: pd.DataFrame) -> int:
        rd_plot(frame.assign(ms_ssim_db=None), tmp_path / "rd.svg")
        return (tmp_path / "rd.svg").read_text().count("FillBetweenPolyCollection")

    assert bands(make("nerv")) == 0
    assert bands(pd.concat([make("nerv", lift=lift, seed=seed) for seed, lift in enumerate((0.0, 1.0))])) == 1
    assert "nerv (mean of 2 seeds; band: lowest to highest)" in texts(tmp_path / "rd.svg")


def test_other_presets_and_numbers_of_frames_are_lines_of_their_own(tmp_path: Path) -> None:
    frame = pd.concat([make("nerv"), make("nerv", lift=1.0, frames=4), make("x265")])
    rd_plot(frame, tmp_path / "rd.svg", per_sequence=True)
    words = texts(tmp_path / "rd.svg")
    for label in ("nerv, 8 frames", "nerv, 4 frames", "x265, 8 frames"):
        assert label in words


def test_what_a_line_lacks_is_named_below_the_panels(tmp_path: Path) -> None:
    rd_plot(pd.concat([make("x265", "A"), make("x265", "B").iloc[1:]]), tmp_path / "rd.svg")
    assert "x265 is without rate points p0, which not all of its curves have." in texts(tmp_path / "rd.svg")


def test_eight_colors_and_markers_are_distinct() -> None:
    assert len(set(COLORS)) == len(set(MARKERS)) == 8


def test_ledger(tmp_path: Path) -> None:
    ledger_plot(make("nerv"), tmp_path / "ledger.svg")
    words = texts(tmp_path / "ledger.svg")
    for word in ("weights", "header", "nerv A p3"):
        assert word in words
    ledger_plot(pd.concat([make("nerv"), make("nerv", seed=1)]), tmp_path / "ledger.svg")
    assert "nerv A p3 seed 1" in texts(tmp_path / "ledger.svg")


def test_refusals(tmp_path: Path) -> None:
    frame = make("x265")
    with pytest.raises(UsageError, match=r"\.png, \.pdf, \.svg"):
        rd_plot(frame, tmp_path / "rd.gif")
    with pytest.raises(UsageError, match="no axis"):
        rd_plot(frame, tmp_path / "rd.png", x="kbps")
    with pytest.raises(UsageError, match="did you mean psnr_rgb"):
        rd_plot(frame, tmp_path / "rd.png", metric="psnr_rbg")
    with pytest.raises(RdbenchError, match="nothing to draw"):
        rd_plot(frame.assign(psnr_rgb=None, ms_ssim_db=None), tmp_path / "rd.png")
    with pytest.raises(RdbenchError, match="ledger"):
        ledger_plot(frame.assign(ledger=None), tmp_path / "l.png")
    with pytest.raises(RdbenchError, match="cannot be written"):
        rd_plot(frame, tmp_path / "absent" / "rd.png")


def test_training_curves_are_plotted_over_time_where_a_panel_shows_one_sequence(tmp_path: Path) -> None:
    one = make("nerv").assign(id=["a", "b", "c", "d"])
    curves = {"b": pd.DataFrame({"stage": "fit", "epoch": [1, 2], "seconds": [0.5, 1.5], "psnr": [20.0, 28.0]})}

    def lines(frame: pd.DataFrame, x: str) -> int:
        rd_plot(frame, tmp_path / "p.svg", x=x, training_curves=curves)
        return len(re.findall(r"stroke-opacity: 0\.6; stroke-width: 0\.8", (tmp_path / "p.svg").read_text()))

    plotted = lines(one, "encode_seconds")
    assert plotted == lines(one, "bpp") + 1
    both = pd.concat([one, make("nerv", "B")])
    assert lines(both, "encode_seconds") == plotted - 1
