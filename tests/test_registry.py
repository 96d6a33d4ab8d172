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


def flat(text: str) -> str:
    """The text without its line breaks and columns."""
    return " ".join(text.split())


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
    text = flat(capsys.readouterr().out)
    row = text[text.index(" mine ") : text.index(" nerv ")]
    assert "not usable" in row
    assert "my reason" in row
    assert raised.partition("(")[0] in row
    assert " x264 " in text


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
    assert "mine unknown The codec 'mine' is not usable: it raised ImportError" in flat(capsys.readouterr().out)


def test_a_card_of_a_module_that_raises_is_listed_as_unusable(
    broken: Callable[..., None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    broken("heavy")
    assert run(monkeypatch, "codecs") == 0
    assert "it raised KeyError ('my reason')" in flat(capsys.readouterr().out)


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


@pytest.fixture
def twins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two packages that install a codec `twin`, and one of them another codec."""
    for package, names in (("one_twin", ("twin", "single")), ("other_twin", ("twin",))):
        site = tmp_path / package
        info = site / f"{package}-1.dist-info"
        info.mkdir(parents=True)
        code = "from rdbench.codecs.ffmpeg import X264Codec\nclass Mine(X264Codec):\n    'A twin.'\n"
        (site / f"{package}.py").write_text(code)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1\n")
        points = "".join(f"{name} = {package}:Mine\n" for name in names)
        (info / "entry_points.txt").write_text(f"[rdbench.codecs]\n{points}")
        monkeypatch.syspath_prepend(site)


@pytest.mark.usefixtures("twins")
def test_two_packages_with_a_codec_of_one_name_stop_only_its_use(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (find_card("single").summary, find_card("x265").name) == ("A twin.", "x265")
    with pytest.raises(RdbenchError, match=r"named 'twin': (one|other)_twin .* and (one|other)_twin .*; uninstall one"):
        load_codec("twin")
    assert sniff(b"\x00\x00\x00\x01\x67") == "x264"
    assert run(monkeypatch, "codecs") == 0
    text = flat(capsys.readouterr().out)
    for expected in ("one_twin (one_twin:Mine)", "other_twin (other_twin:Mine)", " single conventional ready"):
        assert expected in text


def test_a_checkout_in_the_working_folder_is_not_imported(small_clip: Path, tmp_path: Path) -> None:
    """Neither by the command line nor by the processes that encode, decode and measure."""
    folder = tmp_path / "checkout"
    (folder / "rdbench").mkdir(parents=True)
    (folder / "rdbench" / "__init__.py").write_text("raise SystemExit('another rdbench')\n")
    words = ["run", "--codecs", "x264", "--dataset", str(small_clip), "--rate-points", "crf32", "--out", "out"]
    command = [sys.executable, "-P", "-m", "rdbench.cli", *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert (done.returncode, "another rdbench" in done.stdout + done.stderr) == (0, False), done.stdout
