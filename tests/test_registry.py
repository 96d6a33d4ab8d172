"""Names with options, and the codecs that are installed."""

import subprocess
import sys
from pathlib import Path

import pytest

from rdbench.codecs.inr.bitstream import write_stream
from rdbench.errors import UsageError
from rdbench.registry import CodecSpec, find_card, find_codecs, load_codec, parse_specs, sniff


def test_specs_with_options() -> None:
    assert parse_specs("nerv, x265[preset=medium,bframes=0],tenerv[no-iff]") == [
        CodecSpec("nerv"),
        CodecSpec("x265", (("preset", "medium"), ("bframes", "0"))),
        CodecSpec("tenerv", (("no_iff", "true"),)),
    ]
    assert str(parse_specs("x265[bframes=0]")[0]) == "x265[bframes=0]"


@pytest.mark.parametrize("text", ["", "a,,b", "x265[", "x265]a[", "x 265"])
def test_malformed_specs(text: str) -> None:
    with pytest.raises(UsageError):
        parse_specs(text)


def test_every_card_names_a_codec_that_loads() -> None:
    for name in find_codecs():
        card = find_card(name)
        assert card.name == name
        assert card.summary
        assert issubclass(load_codec(name).Settings, object)


def test_a_file_and_an_entry_point_install_a_codec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = "from rdbench.codecs.nerv import NeRVCodec\nclass Mine(NeRVCodec):\n    'My network.'\n    name = 'mine'\n"
    (tmp_path / "plain_codec_of_a_test.py").write_text(module)
    info = tmp_path / "plain_codec_of_a_test-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plain_codec_of_a_test\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[rdbench.codecs]\nmine = plain_codec_of_a_test:Mine\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert (find_card("mine").kind, find_card("mine").summary) == ("INR", "My network.")
    assert load_codec("mine").__name__ == "Mine"
    write_stream(tmp_path / "a.bin", "mine", {"header": b"1"})
    assert sniff((tmp_path / "a.bin").read_bytes()) == "mine"


def test_unknown_codec() -> None:
    with pytest.raises(UsageError, match="did you mean x265"):
        find_card("x266")


def test_codecs_of_the_standard_library_are_not_hidden() -> None:
    code = "import codecs, rdbench.codecs; assert codecs.lookup('utf-8').name == 'utf-8'"
    subprocess.run([sys.executable, "-c", code], check=True)
