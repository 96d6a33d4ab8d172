"""`rdbench codecs`: a table that fits a terminal, and all of one codec."""

from pathlib import Path

import pytest
from conftest import Cli

from rdbench.card import Host
from rdbench.errors import UsageError
from rdbench.registry import find_codecs, load_codec
from rdbench.runner.codec_page import codec_page, option_groups
from rdbench.runner.codec_table import WIDTH, codec_table

HOST = Host()
WITHOUT_LINES = {"kvazaar", "dcvc-dc", "dcvc-fm"}
"""Their declarations say nothing of one option each, and another text would be another version of the codec."""


def page(name: str) -> str:
    return "\n".join(codec_page(name, HOST))


def test_the_table_fits_a_terminal_and_says_what_is_missing() -> None:
    lines = codec_table(HOST)
    assert max(map(len, lines)) <= WIDTH
    rows = {line.split()[0]: line.split() for line in lines[1:] if line and not line.startswith(" ")}
    assert rows["hinerv"] == ["hinerv", "INR", "2023", "ready"]
    assert rows["x265"] == ["x265", "conventional", "ready"]
    assert rows["hm"][2] == "missing:"
    assert set(find_codecs()) <= set(rows)


@pytest.mark.parametrize("name", find_codecs())
def test_every_codec_has_a_page_and_every_option_a_line(name: str) -> None:
    lines = codec_page(name, HOST)
    assert lines[0].startswith(f"{name}: ")
    assert max(len(line) for line in lines if "rdbench run" not in line) <= WIDTH
    groups = option_groups(load_codec(name).Settings)
    listed = [option.name for group in groups for option in group.options]
    assert sorted(listed) == sorted(field.replace("_", "-") for field in load_codec(name).Settings.model_fields)
    if name not in WITHOUT_LINES:
        assert [option.name for group in groups for option in group.options if not option.line] == []


def test_an_inr_codec() -> None:
    text = page("tnerv")
    for expected in (
        "Combining Frame and GOP Embeddings for Neural Video Representation\n  Saethre et al., CVPR 2024",
        "1.3M-lambda0.25", "quick: epochs=60, finetune-epochs=30, lr=0.002, tiny-encoder=true", "paper: the defaults",
        "  no-flow=false  (true or false)\n      D1: independent frames without flows and blending.",
        "  lr=0.0005  (number, above 0)\n      Learning rate", "  epochs=1200  (whole number, at least 1)",
        "Settings of every INR codec.", "Left open by the paper, and our choice\n  Our choice: C_0, and how decoder",
        "PUBLISHED: C_0, c_E and c_i of the paper's models",
    ):  # fmt: skip
        assert expected in text
    assert "arXiv 2306.09818" in page("hinerv")
    assert "Kwan et al., NeurIPS 2023" in page("hinerv")
    about = text[text.index("About") : text.index("Rate points")]
    assert "our choice" not in about.lower()


def test_conventional_reference_and_declared_codecs() -> None:
    text = page("x265")
    assert "\n  rdbench run --codecs x265 --dataset bunny --rate-points crf42,crf17\n" in text
    assert "  bframes=none  (whole number or none, at least 0, at most 16)" in text
    assert "Presets\n" not in text
    assert "configuration=" in page("hm")
    text = page("dcvc-dc")
    assert "\nlearned, missing: dcvc-dc needs path" in text
    assert "path=none  (text or none)\n      the folder DCVC-family/DCVC-DC of github.com/microsoft/DCVC" in text


def test_a_file_and_a_codec_of_another_package(tmp_path: Path, cli: Cli) -> None:
    declared = load_codec("kvazaar").installed.here / "kvazaar.toml"  # type: ignore[attr-defined]
    mine = tmp_path / "mine.toml"
    mine.write_text(declared.read_text())
    text = page(str(mine))
    assert text.startswith("mine: ")
    assert f"rdbench run --codecs {mine} " in text
    toy = cli("codecs", "toy").stdout
    assert toy.startswith("toy: Keeps every frame as it is.\nconventional, ready: toy-1\n")
    assert "  crash=false  (true or false)" in toy
    assert "Default for 120 frames of 1280x720: all, most." in toy


def test_wrong_names(cli: Cli) -> None:
    done = cli("codecs", "hinrv")
    assert (done.returncode, done.stderr) == (2, "rdbench: There is no codec 'hinrv'; did you mean hinerv?\n")
    for name in ("x265,nerv", "x265[preset=fast]"):
        with pytest.raises(UsageError, match="is not one name of a codec"):
            codec_page(name, HOST)
