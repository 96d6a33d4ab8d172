"""Names with options, and the codecs that are installed."""

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from broken_codec import PLACES, UNUSED_BY_SWEEPS, install_broken

from rdbench.cli import main
from rdbench.codec import Host
from rdbench.codecs.inr.bitstream import write_stream
from rdbench.errors import RdbenchError, UsageError
from rdbench.registry import CodecSpec, create, find_card, find_codecs, load_codec, parse_specs, plugin_errors, sniff


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


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Installs a codec `mine` that raises in one place."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(site)
    monkeypatch.delitem(sys.modules, "brokencodec", raising=False)
    yield lambda place, *raised: install_broken(site, place, *raised)
    sys.modules.pop("brokencodec", None)


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    """Runs the command line in this process; returns its status."""
    monkeypatch.setattr("sys.argv", ["rdbench", *words])
    with pytest.raises(SystemExit) as end:
        main()
    assert isinstance(end.value.code, int)
    return end.value.code


RAISED = [(place, 'KeyError("my reason")') for place in PLACES]
RAISED += [
    ("import", f'{error}("my reason")') for error in ("SystemExit", "ValueError", "RecursionError", "SyntaxError")
]


@pytest.mark.parametrize(("place", "raised"), RAISED)
def test_a_broken_codec_is_listed_with_its_reason(
    broken: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    place: str,
    raised: str,
) -> None:
    broken(place, raised)
    assert run(monkeypatch, "codecs") == 0
    lines = capsys.readouterr().out.splitlines()
    (line,) = [line for line in lines if line.startswith("mine ")]
    assert "not usable" in line
    assert "my reason" in line
    assert raised.partition("(")[0] in line
    assert any(line.startswith("x264 ") for line in lines)


@pytest.mark.parametrize("place", [*sorted(set(PLACES) - set(UNUSED_BY_SWEEPS)), "estimate"])
def test_a_sweep_refuses_a_broken_codec_in_one_sentence(
    broken: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    small_clip: Path,
    place: str,
) -> None:
    broken(place)
    assert run(monkeypatch, "plan", "--codecs", "x264,mine", "--dataset", str(small_clip), "--frames", "2") == 1
    error = capsys.readouterr().err.strip()
    assert error.count("\n") == 0
    assert re.fullmatch(r"rdbench: The codec 'mine' is not usable: it raised KeyError \('my reason'\); .*\.", error)


def test_a_card_of_a_module_that_is_gone_is_listed_as_unusable(
    broken: Callable[..., None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    broken("module")
    assert run(monkeypatch, "codecs") == 0
    assert "mine     not usable: The codec 'mine' is not usable: it raised ImportError" in capsys.readouterr().out


def test_a_card_of_a_module_that_raises_is_listed_as_unusable(
    broken: Callable[..., None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    broken("heavy")
    assert run(monkeypatch, "codecs") == 0
    assert "it raised KeyError ('my reason')" in capsys.readouterr().out


@pytest.mark.parametrize("place", PLACES)
def test_a_broken_codec_leaves_the_others_alone(broken: Callable[..., None], tmp_path: Path, place: str) -> None:
    broken(place)
    write_stream(tmp_path / "a.bin", "nerv", {"header": b"1"})
    assert sniff((tmp_path / "a.bin").read_bytes()) == "nerv"
    assert create(CodecSpec("x264")).missing(Host()) is None
    with pytest.raises(UsageError, match="No codec recognizes"):
        sniff(b"nobody's")


def test_a_bitstream_of_nobody_names_the_codecs_that_could_not_be_asked(broken: Callable[..., None]) -> None:
    broken("import")
    with pytest.raises(UsageError, match=r"\(mine cannot be asked"):
        sniff(b"nobody's")


def test_a_codec_without_rate_points_is_refused(
    broken: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    small_clip: Path,
) -> None:
    broken("none")
    for more in ((), ("--rate-points", "3")):
        assert run(monkeypatch, "plan", "--codecs", "mine", "--dataset", str(small_clip), *more) == 2
        assert "mine offers no rate point for 6 frames of 64x48" in capsys.readouterr().err


def test_a_long_reason_of_several_lines_becomes_short_and_one() -> None:
    with pytest.raises(RdbenchError) as refused, plugin_errors("mine"):
        raise ValueError("first\n\tsecond " + "x" * 10_000)
    assert "(first second xxx" in str(refused.value)
    assert len(str(refused.value)) < 400


def test_an_error_that_is_a_sentence_already_is_kept() -> None:
    with pytest.raises(UsageError, match=r"^Mine\.$"), plugin_errors("mine"):
        raise UsageError("Mine.")
