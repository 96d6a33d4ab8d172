"""Which source stands behind a codec, and that the hash of it changes with what decides bits and with nothing else."""

import json
import os
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from rdbench.codec import Codec
from rdbench.errors import RdbenchError
from rdbench.registry import load_codec
from rdbench.source_code import code_digest, source_files

ROOT = Path(__file__).parents[1]
Digests = dict[str, str]

HASH_AFTER_EDITS = """
import json, sys
from pathlib import Path
from rdbench.codecs.ffmpeg import X264Codec, X265Codec
from rdbench.codecs.hinerv import HiNeRVCodec
from rdbench.codecs.nerv import NeRVCodec
from rdbench.source_code import code_digest, __file__ as here
codecs = {"x264": X264Codec, "x265": X265Codec, "hinerv": HiNeRVCodec, "nerv": NeRVCodec}
found = {}
for name, file, old, new in [["", "errors.py", "", ""], *json.load(sys.stdin)]:
    path = Path(here).parent / file
    text = path.read_text()
    assert old in text, file
    path.write_text(text.replace(old, new, 1) if old else text)
    code_digest.cache_clear()
    found[name] = {codec: code_digest(cls) for codec, cls in codecs.items()}
    path.write_text(text)
print(json.dumps(found))
"""

EDITS = {
    "comment": ("codecs/inr/recipes/losses.py", "import torch\n", "import torch  # a comment\n"),
    "docstring": ("codecs/inr/recipes/losses.py", '"""', '"""Other words. '),
    "line endings": ("codecs/hinerv.py", "\n\n", "\n\r\n"),
    "engine": ("codecs/inr/recipes/losses.py", "import torch\n", "import torch\n\nNEW = 1\n"),
    "scheme": ("codecs/inr/compression/nvrc/lanes.py", "import ", "import abc\nimport "),
    "codec": ("codecs/hinerv.py", "import ", "import abc\nimport "),
    "adapter": ("codecs/ffmpeg.py", "veryslow", "very-slow"),
    "frames": ("video/readers.py", "import re\n", "import re\n\nNEW = 1\n"),
    "reports": ("report/results.py", "import ", "import abc\nimport "),
    "runner": ("runner/job.py", "import ", "import abc\nimport "),
    "other codec": ("codecs/hnerv.py", "import ", "import abc\nimport "),
}
CHANGES = {
    "engine": {"hinerv", "nerv"}, "scheme": {"hinerv", "nerv"}, "codec": {"hinerv"}, "adapter": {"x264", "x265"},
    "frames": {"hinerv", "nerv", "x264", "x265"},
}  # fmt: skip
"""The codecs that an edit changes; those that are not listed change none."""


@pytest.fixture(scope="module")
def after_edits(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Digests]:
    """The hashes in a copy of this tree, unchanged (under the empty name) and after each edit."""
    site = tmp_path_factory.mktemp("site")
    skip = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "rdbench", site / "rdbench", ignore=skip)
    shutil.copytree(ROOT / "codecs", site / "rdbench" / "codecs", ignore=skip)
    edits = json.dumps([[name, *edit] for name, edit in EDITS.items()])
    done = subprocess.run(
        [sys.executable, "-c", HASH_AFTER_EDITS], input=edits, env={**os.environ, "PYTHONPATH": str(site)}, cwd=site,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_changes_the_codecs_whose_bits_it_can_change(name: str, after_edits: dict[str, Digests]) -> None:
    before, after = after_edits[""], after_edits[name]
    assert {codec for codec in before if after[codec] != before[codec]} == CHANGES.get(name, set())


def test_codecs_of_one_module_have_one_hash_and_others_another(after_edits: dict[str, Digests]) -> None:
    found = after_edits[""]
    assert found["x264"] == found["x265"]
    assert len({found["x265"], found["hinerv"], found["nerv"]}) == 3
    assert all(len(value) == 8 and int(value, 16) >= 0 for value in found.values())


def test_an_installed_copy_has_the_same_hash(after_edits: dict[str, Digests]) -> None:
    """The layout of a wheel, another folder, no checkout."""
    assert after_edits[""] == {name: code_digest(load_codec(name)) for name in after_edits[""]}


CODE_A_CLIP = """
import sys, tempfile
from pathlib import Path
import numpy as np
from rdbench.codec import Clip, Source, Workspace
from rdbench.codecs.hinerv import HiNeRVCodec
from rdbench.video import Frames, VideoFormat
from rdbench.video.conditions import find_conditions
from rdbench.video.readers import MemoryVideo, RgbVideo
planes = tuple(np.zeros((2, h, w), np.uint8) for h, w in ((24, 32), (12, 16), (12, 16)))
video = MemoryVideo(VideoFormat(32, 24), Frames(planes))
codec = HiNeRVCodec(HiNeRVCodec.Settings(**{**HiNeRVCodec.presets["tiny"], "epochs": 1}))
folder = Path(tempfile.mkdtemp())
source = Source(video, RgbVideo(video, find_conditions("rgb601")))
codec.encode(source, codec.rate_point("3K", Clip(video.format, 2)), folder / "b", Workspace(folder))
list(HiNeRVCodec.decode(folder / "b", Workspace(folder)).batches())
print(*(name for name in sys.modules if name.split(".")[0] == "rdbench"))
"""


@pytest.mark.slow
def test_all_that_encoding_and_decoding_imports_counts() -> None:
    done = subprocess.run([sys.executable, "-c", CODE_A_CLIP], capture_output=True, text=True, check=True)
    used = set(done.stdout.split())
    assert "rdbench.codecs.inr.entropy.ans" in used
    assert used <= source_files(load_codec("hinerv")).keys()


def test_what_stands_behind_a_conventional_codec() -> None:
    files = source_files(load_codec("x265"))
    assert files["rdbench.codecs.ffmpeg"] == ROOT / "codecs" / "ffmpeg.py"
    assert {"rdbench.codec", "rdbench.video.readers", "rdbench.codecs.programs.elementary"} <= files.keys()
    assert not [name for name in files if name.startswith(("rdbench.codecs.inr", "rdbench.runner", "rdbench.report"))]


@pytest.mark.parametrize("name", ["kvazaar", "hm", "tnerv"])
def test_every_kind_of_codec_has_a_hash(name: str) -> None:
    assert len(code_digest(load_codec(name))) == 8


def test_no_other_files_of_ours_can_decide_bits() -> None:
    """The hash covers Python files; a declaration's TOML file and script are in the version of its codec.

    Reports and guides do not count, whatever they consist of.
    """
    tracked = [path for folder in ("rdbench", "codecs") for path in (ROOT / folder).rglob("*") if path.is_file()]
    others = {path.relative_to(ROOT) for path in tracked if path.suffix != ".py" and "__pycache__" not in path.parts}
    declared = {path for path in others if path.parent == Path("codecs/declarations") and path.suffix == ".toml"}
    pages = {path for path in others if path.is_relative_to("rdbench/report/page/assets")}
    guides = {path for path in others if path.parent == Path("rdbench/guides")}
    assert others - declared - pages - guides == {Path("rdbench/py.typed")}


PLUGIN = """
from rdbench.codec import Codec
from {helper} import LEVEL
class Plugin(Codec):
    pass
"""


def plugin(folder: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], module: str) -> type[Codec]:
    """The codec of a third party whose files are these."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    monkeypatch.syspath_prepend(folder)
    for name in [name for name in sys.modules if name.split(".")[0].startswith("plug")]:
        monkeypatch.delitem(sys.modules, name)
    cls: type[Codec] = import_module(module).Plugin
    return cls


def digest_now(cls: type[Codec]) -> str:
    """The hash as a new process computes it."""
    code_digest.cache_clear()
    return code_digest(cls)


def test_every_file_of_a_plugins_package_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {
        "plugpack/__init__.py": "", "plugpack/codec.py": PLUGIN.format(helper=".engine.helper"),
        "plugpack/engine/__init__.py": "", "plugpack/engine/helper.py": "LEVEL = 1  # a level\n",
        "plugpack/found_by_name.py": "TABLE = [1]\n", "plugpack/table.json": "[1, 2]\n",
    }  # fmt: skip
    cls = plugin(tmp_path, monkeypatch, files, "plugpack.codec")
    before = digest_now(cls)
    (tmp_path / "plugpack/engine/helper.py").write_text("# another comment\nLEVEL = 1\n")
    (tmp_path / "plugpack/.editor").write_text("hidden")
    (tmp_path / "plugpack/codec.py~").write_text("backup")
    assert digest_now(cls) == before
    for name in ("engine/helper.py", "found_by_name.py", "table.json", "new.bin"):
        path = tmp_path / "plugpack" / name
        kept = path.read_text() if path.exists() else None
        path.write_text("LEVEL = 2\n")
        assert digest_now(cls) != before, name
        path.unlink()
        if kept is not None:
            path.write_text(kept)
    assert digest_now(cls) == before


def test_a_plugin_in_single_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {
        "plugone.py": PLUGIN.format(helper="plughelp"),
        "plughelp.py": "LEVEL = 1\n",
        "plugother.py": "LEVEL = 1\n",
    }
    cls = plugin(tmp_path, monkeypatch, files, "plugone")
    before = digest_now(cls)
    (tmp_path / "plugother.py").write_text("LEVEL = 22\n")
    assert digest_now(cls) == before
    (tmp_path / "plughelp.py").write_text("LEVEL = 22\n")
    assert digest_now(cls) != before


def test_a_plugin_counts_what_it_uses_of_rdbench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "from rdbench.codecs.inr import IndexCodec\nimport numpy\nclass Plugin(IndexCodec):\n    pass\n"
    files = source_files(plugin(tmp_path, monkeypatch, {"plugnerv.py": code}, "plugnerv"))
    assert {"plugnerv", "rdbench.codecs.inr.training.trainer", "rdbench.codecs.inr.entropy.ans"} <= files.keys()
    assert {name.split(".")[0] for name in files} == {"plugnerv", "rdbench"}


def test_a_plugin_on_another_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A class also changes with the package of its base class."""
    files = {
        "plugbase/__init__.py": "from rdbench.codec import Codec\nclass Base(Codec):\n    pass\n",
        "plugbase/part.py": "LEVEL = 1\n", "plugtop.py": "from plugbase import Base\nclass Plugin(Base):\n    pass\n",
    }  # fmt: skip
    cls = plugin(tmp_path, monkeypatch, files, "plugtop")
    before = digest_now(cls)
    (tmp_path / "plugbase" / "part.py").write_text("LEVEL = 22\n")
    assert digest_now(cls) != before


def test_a_codec_without_a_file_is_refused() -> None:
    space: dict[str, type[Codec]] = {}
    exec("from rdbench.codec import Codec\nclass Typed(Codec):\n    __module__ = 'typed_in'\n", space)
    with pytest.raises(RdbenchError, match="Typed is in no file; put it into a module"):
        code_digest(space["Typed"])
