"""The declarations that come along, and the one in the README: what they need, and that they code."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
from declared_codecs import code, planes, same
from stand_in import waves

from rdbench.codec import Host
from rdbench.codecs.declared import COOL_CHIC, DCVC_DC, DCVC_FM, KVAZAAR, DeclaredCodec, load
from rdbench.codecs.ffmpeg import X265Codec
from rdbench.codecs.programs.declared_programs import SHIPPED, declared_programs, read_tables
from rdbench.registry import find_card, load_codec
from rdbench.video import VideoFormat


def test_kvazaar(tmp_path: Path) -> None:
    video, sizes = waves(VideoFormat(64, 48), 5), []
    for label in ("qp37", "qp22"):
        workspace = code(KVAZAAR, video, tmp_path / label, label, preset="ultrafast")
        sizes.append((tmp_path / label / "out.bin").stat().st_size)
    decoded = planes(KVAZAAR.decode(tmp_path / "qp22" / "out.bin", workspace))
    error = np.mean((decoded[0].astype(float) - planes(video)[0]) ** 2)
    assert 10 * np.log10(255**2 / error) > 38
    assert sizes[0] < 0.7 * sizes[1]
    assert same(
        X265Codec.decode(tmp_path / "qp22" / "out.bin", workspace),
        KVAZAAR.decode(tmp_path / "qp22" / "out.bin", workspace),
    )


def test_the_example_of_the_readme(tmp_path: Path) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    (tmp_path / "my_codec.toml").write_text(
        next(b for b in re.findall(r"```toml\n(.*?)```", readme, re.S) if "[rate]" in b)
    )
    cls, video = load(tmp_path / "my_codec.toml"), waves(VideoFormat(64, 48), 5)
    workspace = code(cls, video, tmp_path / "work", "q2")
    decoded = cls.decode(tmp_path / "work" / "out.bin", workspace)
    assert decoded.format.width == 64
    assert np.mean((planes(decoded)[0].astype(float) - planes(video)[0]) ** 2) < 10


def test_shipped_examples_say_what_they_need(tmp_path: Path) -> None:
    for cls in (DCVC_DC, DCVC_FM, COOL_CHIC):
        assert f"{cls.name} needs path" in (cls.missing(Host()) or "")
    given = {"path": str(tmp_path), "weights": str(tmp_path), "python_of": sys.executable}
    why = DCVC_DC.missing(Host(programs=given)) or ""
    assert "does not tell the version of dcvc-dc and prints 'There is no" in why
    assert "give the folder DCVC-family/DCVC-DC of github.com/microsoft/DCVC as path" in why
    for file in ("image_model.py", "video_model.py", "common_model.py"):
        (tmp_path / "src" / "models").mkdir(parents=True, exist_ok=True)
        (tmp_path / "src" / "models" / file).write_text("")
    for file in ("cvpr2024_image.pth.tar", "cvpr2024_video.pth.tar"):
        (tmp_path / file).write_text("weights")
    assert DCVC_FM.missing(Host(programs={**given, "threads": "1"})) is None


@pytest.mark.parametrize("cls", [KVAZAAR, DCVC_DC, DCVC_FM, COOL_CHIC], ids=lambda cls: cls.name)
def test_the_card_says_what_the_class_says(cls: type[DeclaredCodec], tmp_path: Path) -> None:
    """The card is read without the schema of the file, the class with it."""
    card = find_card(cls.name)
    assert load_codec(cls.name) is cls
    assert (card.kind, card.summary, card.reference) == (cls.kind, cls.__doc__, cls.reference)
    path = SHIPPED / f"{cls.name}.toml"
    assert declared_programs(path, *read_tables(path)) == cls.installed
    for host in (Host(), Host(ffmpeg=str(tmp_path / "none")), Host(programs={"path": str(tmp_path / "none")})):
        assert card.missing(host) == cls.missing(host)
    assert cls is not KVAZAAR or card.found(Host()) == cls.version(Host())
