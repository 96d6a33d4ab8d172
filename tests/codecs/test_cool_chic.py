"""The declaration of Cool-chic with a stand-in for its sources, which keeps frames as they are."""

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from stand_in import waves

from rdbench.codec import Clip, Host, Source, Workspace
from rdbench.codecs.declared import COOL_CHIC
from rdbench.video import VideoFormat

PROGRAM = """
import argparse, json, os, pathlib, shutil
parser = argparse.ArgumentParser()
for name in ("input", "output", "workdir", "intra_pos", "n_frames", "lmbda", "extra_args"):
    parser.add_argument("--" + name)
given = parser.parse_args()
if given.workdir:
    os.chdir(given.workdir)  # as the real one does before it reads the input
    pathlib.Path(__file__).with_name("given.json").write_text(json.dumps(vars(given)))
shutil.copyfile(given.input, given.output)
"""


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A folder whose name would be taken for a chroma format."""
    folder = tmp_path / "v444_8b"
    for file, text in (
        ("samples/encode.py", PROGRAM), ("cc_decode.py", PROGRAM), ("coolchic/__init__.py", "__version__ = '5.0.1'"),
    ):  # fmt: skip
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text(text)
    return folder


@pytest.mark.parametrize("fmt", [VideoFormat(64, 48, frame_rate=Fraction(24)), VideoFormat(32, 16, bit_depth=10)])
def test_frames_come_back_and_the_input_is_named_for_cool_chic(fmt: VideoFormat, sources: Path) -> None:
    """Cool-chic takes the chroma format and the depth from the first 444 and _8b in the path that it is given."""
    codec = COOL_CHIC(COOL_CHIC.Settings(path=str(sources), arguments="--debug --n_itr=9"))
    host = Host(programs=codec.programs)
    assert COOL_CHIC.version(host).startswith("cool-chic 5.0.1 (declared ")
    work = sources / "work"
    work.mkdir()
    workspace, video = Workspace(work, host=host), waves(fmt, 5)
    point = codec.rate_point("lambda0.001", Clip(fmt, 5))
    codec.encode(Source(video, video), point, work / "out.bin", workspace)
    given = json.loads((sources / "samples" / "given.json").read_text())
    chroma, depth = ("444" if "444" in given["input"] else "420"), (8 if "_8b" in given["input"] else 10)
    assert (chroma, depth) == (fmt.chroma, fmt.bit_depth)
    assert f"_{fmt.width}x{fmt.height}_{fmt.whole_frame_rate}p_" in given["input"]
    assert (given["lmbda"], given["n_frames"], given["intra_pos"]) == ("0.001", "5", "0,-1")
    assert given["extra_args"] == "--debug --n_itr=9"
    decoded = COOL_CHIC.decode(work / "out.bin", Workspace(work, host=host))
    pairs = zip(decoded.batches(), video.batches(), strict=True)
    assert all(np.array_equal(a, b) for one, other in pairs for a, b in zip(one.planes, other.planes, strict=True))
    assert decoded.format == fmt
