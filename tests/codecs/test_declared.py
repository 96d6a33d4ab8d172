"""Codecs declared in TOML: what is read, written and run, and a sentence for each thing that is wrong."""

import json
import re
import tracemalloc
from fractions import Fraction
from pathlib import Path

import pytest
from conftest import Cli
from declared_codecs import code, same
from stand_in import waves, write_program

from rdbench.codec import Clip, Host, Source, Workspace
from rdbench.codecs.declared import KVAZAAR, load
from rdbench.errors import BitstreamError, EncoderError, UsageError
from rdbench.video import VideoFormat

COPY = """
import json, os, pathlib, shutil, sys
verb, source, target, *rest = sys.argv[1:]
if os.environ.get("FAIL") == verb: sys.exit("disk on fire")
if os.environ.get("FAIL") == "silent": sys.exit()
pathlib.Path(__file__).with_name(verb + ".json").write_text(json.dumps([os.getcwd(), os.environ.get("MODE"), *rest]))
print("done 2 of all", "done 4 of all", sep="\\n")
if "%" in source or "%" in target:  # a folder of images: their names and bytes
    if verb == "encode":
        files = sorted(pathlib.Path(source).parent.iterdir())
        pathlib.Path(target).write_text(json.dumps([f.read_bytes().hex() for f in files]))
    else:
        for index, data in enumerate(json.loads(pathlib.Path(source).read_text())):
            pathlib.Path(target % (index + 1)).write_bytes(bytes.fromhex(data))
else:
    shutil.copyfile(source, target)
"""

TOML = """
summary = "Copies frames"
reference = "none"

[version]
command = ["{{python}}", "-c", "print('copier 1.5')"]
pattern = 'copier (\\S+)'

[settings.mode]
default = "a b"
choices = ["a b", "$HOME; echo {{}}", "plain"]

[settings.speed]
default = 3

[settings.weights]
path = true
default = "{weights}"
help = "any file"

[rate]
label = "q{{rate}}"
points = [10, 20]
range = [0, 30.5]

[input]
format = "{format}"
chroma = ["420", "444"]
depth = [8, 10]

[encode]
command = [
    "{{python}}", "{{here}}/program.py", "encode", "{{input}}", "{{bitstream}}", "{{mode}}", "{{speed}}", "{{rate}}",
    "{{width}}x{{height}}", "{{fps}}={{fps_num}}/{{fps_den}}", "{{frames}},{{last}}", "{{chroma}}", "{{depth}}",
    "{{seed}}", "{{threads}}", "{{{{brace}}}}", "{{weights}}",
]
folder = "{{here}}"
environment = {{ MODE = "mode {{mode}}" }}
progress = 'done (\\d+)'

[decode]
command = ["{{python}}", "{{here}}/program.py", "decode", "{{bitstream}}", "{{output}}"]

[output]
format = "{format}"
"""


@pytest.fixture
def toml(tmp_path: Path) -> Path:
    """A codec that copies raw planes."""
    return write(tmp_path)


def write(folder: Path, format: str = "yuv", change: str = "") -> Path:
    """`change`: a text of the file, an arrow, and what replaces it."""
    (folder / "program.py").write_text(COPY)
    (folder / "weights.bin").write_text("w")
    path = folder / "copier.toml"
    text = TOML.format(format=format, weights=folder / "weights.bin")
    if change:
        old, new = change.split(" -> ")
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)
    return path


@pytest.mark.parametrize("format", ["yuv", "y4m"])
@pytest.mark.parametrize(
    "fmt",
    [
        VideoFormat(64, 48, frame_rate=Fraction(30000, 1001)),
        VideoFormat(62, 46, bit_depth=10),
        VideoFormat(31, 17, "444"),
    ],
)
def test_planes_come_back(format: str, fmt: VideoFormat, tmp_path: Path) -> None:
    cls, video = load(write(tmp_path, format)), waves(fmt, 4)
    workspace = code(cls, video, tmp_path / "work")
    decoded = cls.decode(tmp_path / "work" / "out.bin", Workspace(tmp_path / "work", host=workspace.host))
    assert decoded.format == fmt
    assert same(decoded, video)
    ledger = cls.ledger(tmp_path / "work" / "out.bin")
    assert sum(ledger.values()) == (tmp_path / "work" / "out.bin").stat().st_size
    assert ledger.get("header") == (18 if format == "yuv" else None)


def test_images_come_back(tmp_path: Path) -> None:
    cls = load(write(tmp_path, "png"))
    rgb = waves(VideoFormat(32, 16, "rgb", full_range=True), 3)
    workspace = code(cls, rgb, tmp_path / "work")
    decoded = cls.decode(tmp_path / "work" / "out.bin", Workspace(tmp_path / "work", host=workspace.host))
    assert decoded.format.chroma == "rgb"
    assert same(decoded, rgb)


def test_every_field_is_one_argument(toml: Path, tmp_path: Path) -> None:
    cls, shown = load(toml), []
    fmt = VideoFormat(64, 48, frame_rate=Fraction(24000, 1001), bit_depth=10)
    codec = cls(cls.Settings(mode="$HOME; echo {}", speed=9))
    workspace = Workspace(tmp_path, threads=2, seed=7, host=Host(programs=codec.programs))
    workspace.progress = lambda done, total, text: shown.append(text)
    video = waves(fmt, 5)
    codec.encode(Source(video, video), codec.rate_point("q20", Clip(fmt, 5)), tmp_path / "out.bin", workspace)
    assert json.loads((tmp_path / "encode.json").read_text()) == [
        str(tmp_path), "mode $HOME; echo {}", "$HOME; echo {}", "9", "20", "64x48", "24=24000/1001", "5,4", "420", "10",
        "7", "2", "{brace}", str(tmp_path / "weights.bin"),
    ]  # fmt: skip
    assert shown[-1] == "4 of 5 frames coded"
    assert "program.py encode" in workspace.report["command"]


def test_rate_points(toml: Path) -> None:
    cls, clip = load(toml), Clip(VideoFormat(64, 48), 5)
    codec = cls(cls.Settings())
    assert [(p.label, p.settings["rate"]) for p in codec.rate_points(clip)] == [("q10", 10), ("q20", 20)]
    assert [codec.rate_point(label, clip).settings["rate"] for label in ("q0", "q17", "q2.5")] == [0, 17, 2.5]
    for label in ("q31", "q-1", "q07", "q1.50", "17", "q", "r10", "q1e1"):
        with pytest.raises(UsageError, match="no rate point"):
            codec.rate_point(label, clip)


def test_version_and_paths(toml: Path, tmp_path: Path) -> None:
    cls = load(toml)
    assert cls.version(Host()).startswith("copier 1.5 (declared ")
    before = cls.version(Host())
    toml.write_text(toml.read_text() + "# another file is another codec\n")
    assert load(toml).version(Host()) != before
    (tmp_path / "weights.bin").unlink()
    assert cls.missing(Host()) == (
        f"There is no {tmp_path / 'weights.bin'}, the weights of copier; give it with copier[weights=PATH]."
    )
    assert cls.missing(Host(programs={"weights": str(toml)})) is None
    mute = load(write(tmp_path, change="copier (\\S+) -> tool (\\S+)"))
    assert "does not tell the version of copier" in (mute.missing(Host()) or "")
    gone = load(write(tmp_path, change='"{python}", "-c" -> "no-such-program", "-c"'))
    assert "no-such-program cannot be run" in (gone.missing(Host()) or "")


def test_the_files_that_the_commands_name_are_in_the_version(toml: Path, tmp_path: Path) -> None:
    """The script and the weights, and the Python that runs the script is not."""
    cls = load(toml)
    before = cls.version(Host())
    assert re.fullmatch(r"copier 1\.5 \(declared [0-9a-f]{8}, programs [0-9a-f]{8}\)", before)
    (tmp_path / "program.py").write_text(COPY + "# another\n")
    changed = cls.version(Host())
    assert changed != before
    (tmp_path / "weights.bin").write_text("other weights")
    assert cls.version(Host()) not in (before, changed)
    (tmp_path / "weights.bin").write_text("w")
    (tmp_path / "program.py").write_text(COPY)
    assert cls.version(Host()) == before
    (tmp_path / "elsewhere.bin").write_text("w")
    assert cls.version(Host(programs={"weights": str(tmp_path / "elsewhere.bin")})) == before


@pytest.mark.parametrize(
    ("change", "file"),
    [
        ('"{python}", "{here}/program.py", "encode" -> "{here}/tool", "encode"', "tool"),
        ('"{python}", "{here}/program.py", "encode" -> "{python}", "script.py", "encode"', "script.py"),
        ('"{threads}" -> "--model={here}/model"', "model"),
        ('"{python}", "{here}/program.py", "decode" -> "{here}/tool", "decode"', "tool"),
    ],
)
def test_every_way_to_name_a_file(change: str, file: str, tmp_path: Path) -> None:
    """A program, a path from the command's folder, a word after `=`, a file of the decoder alone."""
    write_program(tmp_path / file, "one")
    cls = load(write(tmp_path, change=change))
    before = cls.version(Host())
    write_program(tmp_path / file, "other")
    assert cls.version(Host()) != before


def test_another_build_of_a_program_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    cls = load(write(tmp_path, change='"{python}", "{here}/program.py", "encode" -> "tool", "encode"'))
    write_program(tmp_path / "tool", "one")
    before = cls.version(Host())
    write_program(tmp_path / "tool", "other")
    assert cls.version(Host()) != before


def test_what_a_declaration_says_of_seed_and_threads(tmp_path: Path) -> None:
    cls = load(write(tmp_path))
    assert (cls.uses_seed, cls.threads_decide_bits, cls.runs_outside) == (True, True, True)
    assert not load(write(tmp_path, change='"{seed}", -> "0",')).uses_seed
    assert load(write(tmp_path, change='MODE = "mode {mode}" -> MODE = "{seed}"')).uses_seed
    same = load(write(tmp_path, change='reference = "none" -> threads_decide_bits = false'))
    assert not same.threads_decide_bits
    assert (KVAZAAR.uses_seed, KVAZAAR.threads_decide_bits) == (False, True)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ('"{mode}", -> "{mood}",', r"encode has the unknown field \{mood\}; did you mean mode"),
        ('"decode", "{bitstream}" -> "decode", "{input}"', r"decode has the unknown field \{input\}"),
        ('"{speed}", -> "{speed!r}",', r"unknown field \{speed\}"),
        ('"{{brace}}" -> "{brace"', "not understood"),
        ('"{mode}", -> "{0}",', r"unknown field \{0\}"),
        ("[output] -> [outputs]", "unknown key 'outputs'|lacks 'output'"),
        ('label = "q{rate}" -> label = "q{speed}"', r"rate.label has the unknown field \{speed\}"),
        ("summary = -> sumary =", "unknown key 'sumary'|lacks 'summary'"),
        ("points = [10, 20] -> points = []", "points"),
        ("points = [10, 20] -> points = [nan]", "points.*finite"),
        ("points = [10, 20] -> points = [10, inf]", "points.*finite"),
        ("range = [0, 30.5] -> range = [0, nan]", "range.*finite"),
        ('label = "q{rate}" -> label = "q"', "rate.label 'q' lacks {rate}"),
        ('[output] -> [output]\nname = "../../evil.y4m"', "output.name '../../evil.y4m' points outside its folder"),
        ('[output] -> [output]\nname = "/tmp/evil.y4m"', "output.name '/tmp/evil.y4m' points outside"),
        ('[output] -> [output]\nname = ".."', "output.name '..' points outside"),
        ("[input] -> [input]\nname = 'up/in.yuv'", "input.name 'up/in.yuv' points outside"),
        ("'done (\\d+)' -> 'done \\d+'", "0 groups; it needs exactly one"),
        ("'done (\\d+)' -> 'done ('", "no regular expression"),
        ("[settings.speed] -> [settings.rate]", "setting 'rate' needs another name"),
        ("default = 3 -> help = 'x'", "'speed' has no default"),
        ('format = "yuv"\nchroma -> format = "avi"\nchroma', "'input.format' cannot be 'avi'"),
        ("summary = -> = summary", "cannot be read"),
    ],
)
def test_a_wrong_file_gets_a_sentence(change: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        load(write(tmp_path, change=change))
    assert "copier.toml" in str(caught.value)
    assert str(caught.value).endswith(".")


def test_a_command_is_a_list(toml: Path) -> None:
    text = toml.read_text()
    start = text.index("command = [", text.index("[decode]"))
    toml.write_text(text[:start] + 'command = "copy {bitstream} {output}"\n\n[output]\nformat = "yuv"\n')
    with pytest.raises(UsageError, match=r"'decode.command' must be a list, not one line for a shell"):
        load(toml)


def test_files_that_are_not_there_or_ill_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        load(tmp_path / "none.toml")
    with pytest.raises(UsageError, match="cannot be a codec's name"):
        load(tmp_path / "a b.toml")


def test_programs_that_fail(toml: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cls, video = load(toml), waves(VideoFormat(64, 48), 3)
    monkeypatch.setenv("FAIL", "encode")
    with pytest.raises(EncoderError, match=r"encode of copier ended with exit status 1.*disk on fire"):
        code(cls, video, tmp_path / "work")
    monkeypatch.setenv("FAIL", "silent")
    with pytest.raises(EncoderError, match="without an error but wrote no"):
        code(cls, video, tmp_path / "work")
    monkeypatch.delenv("FAIL")
    workspace, path = code(cls, video, tmp_path / "work"), tmp_path / "work" / "out.bin"
    assert same(cls.decode(path, workspace), video)
    data = path.read_bytes()
    monkeypatch.setenv("FAIL", "decode")
    with pytest.raises(BitstreamError, match=r"decode of copier ended with exit status 1.*disk on fire"):
        cls.decode(path, workspace)
    monkeypatch.setenv("FAIL", "silent")
    with pytest.raises(BitstreamError, match="its output is not right"):
        cls.decode(path, workspace)
    monkeypatch.delenv("FAIL")
    for damaged in (b"", data[:18], b"x" + data[1:], data[:-1], data[:4] + b"\0\0" + data[6:]):
        path.write_bytes(damaged)
        with pytest.raises(BitstreamError):
            cls.decode(path, workspace)


CHATTER = """
import sys
line = b"." * 1023 + b"\\n"
print("first words", flush=True)
for index in range({blocks}):
    sys.stdout.buffer.write(1024 * line)
    sys.stdout.buffer.write(b"done %d of all\\n" % index)
sys.stdout.buffer.flush()
sys.exit("last words")
"""


def test_a_log_keeps_its_ends_and_progress_reads_the_last_one(tmp_path: Path) -> None:
    """64 MiB are printed; the worker's own memory, which a log read as a whole would fill, is not touched."""
    path = write(tmp_path)
    (tmp_path / "program.py").write_text(CHATTER.format(blocks=64))
    cls, shown = load(path), list[str]()
    codec = cls(cls.Settings())
    (tmp_path / "work").mkdir()
    workspace = Workspace(tmp_path / "work", host=Host(programs=codec.programs),
                          progress=lambda done, total, text: shown.append(text))  # fmt: skip
    video = waves(VideoFormat(64, 48), 3)
    tracemalloc.start()
    try:
        with pytest.raises(EncoderError, match="last words"):
            codec.encode(
                Source(video, video), codec.rate_point("q10", Clip(video.format, 3)), tmp_path / "out.bin", workspace
            )
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()
    log = (tmp_path / "work" / "encode.log").read_bytes()
    assert len(log) < 3 << 20
    assert log.startswith(b"first words\n")
    assert re.search(rb"\n\[\d{8} bytes are left out here\]\n", log)
    assert log.endswith(b"done 63 of all\nlast words\n")
    assert shown[-1] == "3 of 3 frames coded"


def test_what_the_program_does_not_code_is_refused(tmp_path: Path) -> None:
    cls = load(write(tmp_path, change='chroma = ["420", "444"] -> chroma = ["420"]\nmultiple = 4'))
    for fmt, words in (
        (VideoFormat(66, 48), "multiples of 4 only, not 66x48"),
        (VideoFormat(64, 48, "gray"), "does not code gray"),
    ):
        with pytest.raises(UsageError, match=words):
            code(cls, waves(fmt, 1), tmp_path / "work")
    odd = load(write(tmp_path))
    with pytest.raises(UsageError, match="even sizes only, not 63x48"):
        code(odd, waves(VideoFormat(63, 48), 1), tmp_path / "work")


def test_run_with_a_file(toml: Path, small_clip: Path, cli: Cli, tmp_path: Path) -> None:
    arguments = ("run", "--codecs", "./copier.toml[mode=plain,weights=weights.bin]", "--dataset", str(small_clip),
                 "--set", "copier.speed=4", "--rate-points", "q10,q5", "--out", "out")  # fmt: skip
    ran = cli(*arguments)
    assert ran.returncode == 0, ran.stderr
    records = [json.loads(path.read_text()) for path in sorted((tmp_path / "out").rglob("record.json"))]
    assert [r["codec"] for r in records] == 2 * ["copier[mode=plain,speed=4]"]
    assert {r["psnr_y"] for r in records} == {100}
    assert {r["bits"] for r in records} == {8 * (18 + 6 * 64 * 48 * 3 // 2)}
    assert records[0]["versions"]["codec"].startswith("copier 1.5")
    assert "was there" in cli(*arguments).stdout
    stream = next((tmp_path / "out").rglob("bitstream.bin"))
    decoded = cli("decode", str(stream), "-o", "back.y4m", "--codec", "./copier.toml")
    assert decoded.returncode == 0, decoded.stderr
    assert "decoded by copier" in decoded.stdout


@pytest.mark.parametrize(
    ("codecs", "words"),
    [
        ("./none.toml", "none.toml cannot be read"),
        ("copier.toml[mood=x]", "copier has no option 'mood'; did you mean mode"),
        ("copier.toml[mode=loud]", "The option 'mode' of copier cannot be 'loud'"),
        ("copier.toml[weights=nowhere]", "There is no nowhere, the weights of copier"),
        ("copier.toml,other/copier.toml", "are two codecs of one name"),
        ("x265.toml", "has the name of an installed codec"),
    ],
)
def test_run_with_a_wrong_file(codecs: str, words: str, toml: Path, small_clip: Path, cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "copier.toml").write_text(toml.read_text())
    (tmp_path / "x265.toml").write_text(toml.read_text())
    done = cli("run", "--codecs", codecs, "--dataset", str(small_clip))
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
