"""Plots: what is plotted, and what is refused."""

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from rdbench.errors import RdbenchError, UsageError
from rdbench.report.figures import FigureOptions
from rdbench.report.plots import rd_plot
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


def words(svg: Path) -> list[ElementTree.Element]:
    """The texts of an SVG, whose text is text."""
    root = ElementTree.fromstring(svg.read_text())
    return list(root.iter("{http://www.w3.org/2000/svg}text"))


def texts(svg: Path) -> str:
    """All words of an SVG."""
    return " ".join("".join(text.itertext()) for text in words(svg))


def colors(svg: Path) -> list[str]:
    """The colors of the curves: lines of this width are nothing else."""
    found = re.findall(r"stroke: (#[0-9a-f]{6}); stroke-width: 1\.3", svg.read_text())
    found += re.findall(r"stroke-dasharray: [\d.,]+; stroke-dashoffset: 0; stroke: (#[0-9a-f]{6})", svg.read_text())
    return list(dict.fromkeys(found))


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
    found = texts(tmp_path / "rd.svg")
    assert found.count("uvg: A") == found.count("uvg: B") == 2
    for word in (
        "PSNR RGB (dB)",
        "MS-SSIM (dB)",
        "bits per pixel",
        "no ms_ssim_db here",
        "late",
        "c3 (published)",
        "Published, not run here: c3 (C3 repository).",
    ):
        assert word in found
    assert "stroke-dasharray" in (tmp_path / "rd.svg").read_text()


def test_average_and_encode_time(tmp_path: Path) -> None:
    rd_plot(pd.concat([make("x265", "A"), make("x265", "B")]), tmp_path / "rd.svg", x="encode_seconds")
    found = texts(tmp_path / "rd.svg")
    assert "mean of 2 sequences" in found
    assert "encode time (s)" in found


def test_a_mean_says_which_sequences_it_leaves_out_and_why(tmp_path: Path) -> None:
    frame = pd.concat([make("x265", name) for name in "ABC"] + [make("nerv", name) for name in "AB"])
    rd_plot(frame, tmp_path / "rd.svg")
    found = texts(tmp_path / "rd.svg")
    assert "mean of 2 of 3 sequences" in found
    assert "without C, which not" in found
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
    assert "means over seeds (nerv: 2)" in texts(tmp_path / "rd.svg")


def test_other_presets_and_numbers_of_frames_are_lines_of_their_own(tmp_path: Path) -> None:
    frame = pd.concat([make("nerv"), make("nerv", lift=1.0, frames=4), make("x265")])
    rd_plot(frame, tmp_path / "rd.svg", per_sequence=True)
    found = texts(tmp_path / "rd.svg")
    for label in ("nerv, 8 frames", "nerv, 4 frames", "x265, 8 frames"):
        assert label in found


def test_what_a_line_lacks_is_named_below_the_panels(tmp_path: Path) -> None:
    rd_plot(pd.concat([make("x265", "A"), make("x265", "B").iloc[1:]]), tmp_path / "rd.svg")
    assert "x265 is without rate points p0, which not all of its curves have." in texts(tmp_path / "rd.svg")


def test_refusals(tmp_path: Path) -> None:
    frame = make("x265")
    with pytest.raises(UsageError, match=r"\.png, \.pdf, \.svg, \.pgf"):
        rd_plot(frame, tmp_path / "rd.gif")
    with pytest.raises(UsageError, match="no axis"):
        rd_plot(frame, tmp_path / "rd.png", x="kbps")
    with pytest.raises(UsageError, match="did you mean psnr_rgb"):
        rd_plot(frame, tmp_path / "rd.png", metric="psnr_rbg")
    with pytest.raises(RdbenchError, match="nothing to draw"):
        rd_plot(frame.assign(psnr_rgb=None, ms_ssim_db=None), tmp_path / "rd.png")
    with pytest.raises(RdbenchError, match="cannot be written"):
        rd_plot(frame, tmp_path / "absent" / "rd.png")


def test_training_curves_are_plotted_over_time_where_a_panel_shows_one_sequence(tmp_path: Path) -> None:
    one = make("nerv").assign(id=["a", "b", "c", "d"])
    curves = {"b": pd.DataFrame({"stage": "fit", "epoch": [1, 2], "seconds": [0.5, 1.5], "psnr": [20.0, 28.0]})}

    def lines(frame: pd.DataFrame, x: str) -> int:
        rd_plot(frame, tmp_path / "p.svg", x=x, training_curves=curves)
        return len(re.findall(r"stroke-opacity: 0\.6; stroke-width: 0\.8", (tmp_path / "p.svg").read_text()))

    plotted = lines(one, "encode_seconds")
    ticks = {float(tick) for tick in texts(tmp_path / "p.svg").split() if re.fullmatch(r"[\d.]+", tick)}
    assert ticks >= {0.5, 20}  # the whole curve is shown; the points begin at 1 s and 30 dB
    assert plotted == lines(one, "bpp") + 1
    both = pd.concat([one, make("nerv", "B")])
    assert lines(both, "encode_seconds") == plotted - 1


def test_a_codec_keeps_its_color_when_others_come_and_go(tmp_path: Path) -> None:
    known = [f"codec{number:02}" for number in range(25)]

    def color(*codecs: str) -> list[str]:
        frame = pd.concat([make(codec, lift=lift) for lift, codec in enumerate(codecs)]).assign(ms_ssim_db=None)
        rd_plot(frame, tmp_path / "rd.svg", known=known)
        return colors(tmp_path / "rd.svg")

    alone = color("codec17")
    assert len(alone) == 1
    assert color("codec07", "codec17")[1:] == alone
    assert color("codec03", "codec07", "codec17")[2:] == alone


def test_labels_stand_at_the_ends_of_few_curves_and_in_a_legend_for_many(tmp_path: Path) -> None:
    def has_legend(*codecs: str) -> bool:
        frame = pd.concat([make(codec, lift=lift) for lift, codec in enumerate(codecs)])
        rd_plot(frame.assign(ms_ssim_db=None), tmp_path / "rd.svg")
        found = texts(tmp_path / "rd.svg")
        assert all(codec in found for codec in codecs)
        return 'id="legend_' in (tmp_path / "rd.svg").read_text()

    assert not has_legend("x264", "x265", "nerv")
    assert has_legend(*(f"codec{number}" for number in range(9)))
    assert has_legend("a codec with a name that is too long to stand beside a panel")


def test_seven_sequences_stand_in_three_columns(tmp_path: Path) -> None:
    frame = pd.concat([make("x265", name) for name in "ABCDEFG"]).assign(ms_ssim_db=None)
    rd_plot(frame, tmp_path / "rd.svg", per_sequence=True)
    titles = [text for text in words(tmp_path / "rd.svg") if "uvg: " in str(text.text)]
    assert [str(title.text)[-1] for title in titles] == list("ABCDEFG")
    assert len({title.get("x") for title in titles}) == 3
    assert len({title.get("y") for title in titles}) == 3


def test_no_line_joins_points_over_time_but_their_pareto_front(tmp_path: Path) -> None:
    frame = pd.concat([make("x265"), make("nerv", lift=-9.0)]).assign(ms_ssim_db=None)
    rd_plot(frame, tmp_path / "rd.svg", x="encode_seconds")
    assert "Pareto front" in texts(tmp_path / "rd.svg")
    assert colors(tmp_path / "rd.svg") == []
    rd_plot(frame, tmp_path / "rd.svg")
    assert "Pareto front" not in texts(tmp_path / "rd.svg")
    assert len(colors(tmp_path / "rd.svg")) == 2


def test_each_kind_of_conditions_has_its_own_panel(tmp_path: Path) -> None:
    frame = pd.concat([make("x265"), make("nerv"), make("x265", conditions="rgb709/2b")]).assign(ms_ssim_db=None)
    rd_plot(frame, tmp_path / "rd.svg")
    found = texts(tmp_path / "rd.svg")
    assert "uvg, rgb601" in found
    assert "uvg, rgb709" in found
    assert "rgb601/1a" not in found


def test_only_comparable_published_curves_are_shown_and_a_note_says_why_none_is(tmp_path: Path) -> None:
    other = make("c3", conditions="rgb-as-in-its-paper/published").assign(source="A paper")
    rd_plot(make("x265"), tmp_path / "rd.svg", published=other)
    found = texts(tmp_path / "rd.svg")
    assert "No published curve has these conditions (rgb601; published: rgb-as-in-its-paper)" in found.replace(
        "  ", " "
    )
    assert "c3" not in found
    near = pd.concat([other, make("c3", conditions="rgb601/published").assign(source="A repository; a file")])
    rd_plot(make("x265"), tmp_path / "rd.svg", published=near)
    found = texts(tmp_path / "rd.svg")
    assert found.count("c3 (published)") == 2  # at the ends of its two curves
    assert "Published, not run here: c3 (A repository)." in found


def test_size_title_limits_and_letters(tmp_path: Path) -> None:
    options = FigureOptions(width=3.5, height=2.5, title="A title", xlim=(0.01, 1.0), ylim=(20.0, None), letters=7.0)
    rd_plot(make("x265").assign(ms_ssim_db=None), tmp_path / "rd.svg", options=options)
    text = (tmp_path / "rd.svg").read_text()
    assert re.search(r'width="252(\.0)?pt" height="180(\.0)?pt"', text) or re.search(
        r'height="180(\.0)?pt"[^>]*width="252(\.0)?pt"', text
    )
    found = texts(tmp_path / "rd.svg")
    assert "A title" in found
    assert "0.01" in found
    assert "font-size: 7px" in text


def test_a_name_with_dollars_is_no_formula(tmp_path: Path) -> None:
    rd_plot(pd.concat([make("a$x^$"), make("$\\frac{b", lift=1.0)]), tmp_path / "rd.svg")
    assert "a$x^$" in texts(tmp_path / "rd.svg")
    assert "$\\frac{b" in texts(tmp_path / "rd.svg")


def test_an_axis_of_less_than_two_octaves_has_several_numbers(tmp_path: Path) -> None:
    """On a logarithmic axis from 0.089 to 0.159, 1, 2 and 5 leave a single number."""
    rd_plot(make("nerv").assign(bpp=[0.089, 0.12, 0.14, 0.159]), tmp_path / "rd.svg", metric="psnr_rgb")
    assert "0.1 0.12 0.14 0.16 bits per pixel" in texts(tmp_path / "rd.svg")
