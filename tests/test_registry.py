"""Names with options, and the codecs that are installed."""

import subprocess
import sys

import pytest

from rdbench.errors import UsageError
from rdbench.registry import CodecSpec, find_card, find_codecs, load_codec, parse_specs


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


def test_unknown_codec() -> None:
    with pytest.raises(UsageError, match="did you mean x265"):
        find_card("x266")


def test_codecs_of_the_standard_library_are_not_hidden() -> None:
    code = "import codecs, rdbench.codecs; assert codecs.lookup('utf-8').name == 'utf-8'"
    subprocess.run([sys.executable, "-c", code], check=True)
