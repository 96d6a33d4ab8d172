"""What a clock must not hold: imports, and work that only the first call of a process does."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import golden
import pytest

from rdbench.registry import find_card, find_codecs, load_codec, parse_specs
from rdbench.runner.decoding import locate_ffmpeg
from rdbench.runner.options import ClipOptions
from rdbench.runner.session import single_job

INR = [name for name in find_codecs() if find_card(name).kind == "INR" and not load_codec(name).runs_outside]
CODECS = [*INR, *golden.CONVENTIONAL]
STREAMS = [*CODECS, *(name for name in golden.INR if "[" in name)]
QUICK = ("nerv", "hnerv-boost", "x265", "vvenc")
"""Codecs whose encoders load all kinds of modules late: those of training, of the optimizer, of other bit depths."""
OPTIONS = ClipOptions(preset="tiny", frames=2, seed=0, device="cpu", threads=1)
FACTOR, SECONDS = 4, 0.25
"""How much longer the first of two decodings may take: less than an import of torch._dynamo, of 1 to 6 s."""

PROGRAM = """
import json, os, sys
from pathlib import Path
import torch
from rdbench.registry import load_codec
from rdbench.runner import decoding, worker
from rdbench.runner.preparation import prepare
from rdbench.runner.sweep import Job

def decode(name, path):
    options = decoding.DecoderOptions("cpu", 1, sys.argv[2], {})
    cls = load_codec(name)
    device = prepare(cls.kind, "cpu", 1)
    before = set(sys.modules)
    first = decoding.decode_once(cls, Path(path), options, device)
    new = sorted(set(sys.modules) - before)
    second = decoding.decode_once(cls, Path(path), options, device)
    return {"new": new, "seconds": [first.seconds, second.seconds]}

def encode(text, folder):
    job, new = Job.from_json(text), []
    cls = load_codec(job.codec)
    plain = cls.encode
    def watched(self, source, point, bitstream, workspace):
        before = set(sys.modules)
        plain(self, source, point, bitstream, workspace)
        new.extend(sorted(set(sys.modules) - before))
    cls.encode = watched
    worker.encode(job, Path(folder) / "out.bin", Path(folder), lambda done, total, text: None)
    return {"new": new}

for line in sys.stdin:
    arguments = json.loads(line)
    if os.fork() == 0:  # like a process of its own, but torch is there
        print(json.dumps({"decode": decode, "encode": encode}[sys.argv[1]](*arguments)), flush=True)
        os._exit(0)
    if os.wait()[1]:
        sys.exit(1)
"""


def run(what: str, calls: list[tuple[str, str]]) -> list[dict[str, Any]]:
    """What each call gives, in processes of their own."""
    command = [sys.executable, "-c", PROGRAM, what, str(locate_ffmpeg(None))]
    lines = "".join(json.dumps(call) + "\n" for call in calls)
    done = subprocess.run(command, input=lines, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"new"')]


@pytest.fixture(scope="module")
def decoded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What decoding a bitstream of every codec gives: the golden one, or one that is encoded here."""
    folder = tmp_path_factory.mktemp("streams")
    calls = []
    for name in STREAMS:
        path = golden.file_of(name)
        if not path.exists():
            path = folder / f"{name}.bin"
            golden.encode(name, path, 0)
        calls.append((parse_specs(name)[0].name, str(path)))
    return dict(zip(STREAMS, run("decode", calls), strict=True))


@pytest.mark.parametrize("name", STREAMS)
def test_decoding_imports_nothing_and_the_first_one_takes_about_as_long(
    name: str, decoded: dict[str, dict[str, Any]]
) -> None:
    assert decoded[name]["new"] == []
    first, second = decoded[name]["seconds"]
    assert first < FACTOR * second + SECONDS


def encoding_job(name: str) -> str:
    """A short job."""
    job = single_job(name, "bunny@160x90", None, OPTIONS)
    short = {key: int(value) for key, value in golden.SHORT.items() if key in job.settings}
    return replace(job, settings={**job.settings, **short}).to_json()


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in CODECS]
)
def test_encoding_imports_nothing(name: str, tmp_path: Path) -> None:
    assert run("encode", [(encoding_job(name), str(tmp_path))]) == [{"new": []}]
