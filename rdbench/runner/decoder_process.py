"""The process that decodes: its command line, its sealed folder, and what it must and must not see."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..clips.dataset import data_root
from ..errors import MediaError, RdbenchError
from ..processes import describe_end
from ..registry import codec_source, find_card
from .decoding import DecoderOptions, locate_ffmpeg
from .files import BITSTREAM, LOG, RUNS
from .seal import make_plan, sealed_command
from .sweep import Job

_PATH_LISTS = ("PATH", "LD_LIBRARY_PATH", "PYTHONPATH")
"""Variables with a list of folders in which programs and libraries are found."""


@dataclass(frozen=True)
class Decoder:
    """A decoding process that can be started while its folder exists."""

    command: list[str]
    folder: Path
    """Its working folder, which contains the bitstream alone."""


def decoder_options(job: Job) -> DecoderOptions:
    """The options of a job's decoder."""
    return DecoderOptions(job.device, job.threads, locate_ffmpeg(job.ffmpeg), job.programs)


@contextmanager
def sealed_decoder(
    tasks: Sequence[str], codec: str, options: DecoderOptions, bitstream: Path, hidden: Iterable[Path]
) -> Iterator[Decoder]:
    """A sealed process that does these tasks of `decoder.py` with a copy of the bitstream.

    It sees none of the files and folders `hidden`, where the kernel allows that; see `seal.py`.
    """
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch).resolve() / "work"
        folder.mkdir()
        shutil.copyfile(bitstream, folder / BITSTREAM)
        plan = make_plan(folder.parent, hidden, _needed(codec, options), options.device.startswith("cuda"))
        module, source = "rdbench.runner.decoder", codec_source(codec)
        command = [sys.executable, "-P", "-m", module, source, json.dumps(asdict(options)), *tasks]
        yield Decoder(sealed_command(plan, command), folder)


@contextmanager
def running_decoder(
    tasks: Sequence[str], job: Job, options: DecoderOptions, bitstream: Path, folder: Path
) -> "Iterator[subprocess.Popen[bytes]]":
    """A sealed decoder of a job in `folder`, which ends with the block; its output is a pipe.

    Raises MediaError where it fails after all frames were read.
    """
    hidden = hidden_from(job, folder, bitstream.parent)
    with sealed_decoder(tasks, job.codec, options, bitstream, hidden) as decoder:
        with subprocess.Popen(decoder.command, cwd=decoder.folder, stdout=subprocess.PIPE) as process:
            try:
                yield process
            except BaseException:
                process.kill()
                raise
        if process.returncode != 0:
            raise MediaError(f"The decoder ended with exit status {process.returncode}; see the reason in its log.")


def read_result(process: "subprocess.Popen[bytes]", folder: Path) -> dict[str, Any]:
    """The result of a decoder's first task. Raises RdbenchError with the reason where there is none."""
    assert process.stdout is not None
    line = process.stdout.readline()
    event = json.loads(line) if line.endswith(b"\n") else {}
    if event.get("event") == "result":
        return dict(event)
    raise RdbenchError(str(event.get("message") or describe_end("decode", process.wait(), folder / LOG)))


def hidden_from(job: Job, *folders: Path) -> list[Path]:
    """What the decoder of a job must not see: the clip, the data, and the results around these folders."""
    results = [_results_around(folder.absolute()) for folder in folders]
    return [Path(job.clip.path), data_root(Path(job.data_root) if job.data_root else None), *results]


def _results_around(folder: Path) -> Path:
    """The folder RUNS with all jobs, where `folder` is that of a job in it; else the folder itself."""
    above = folder.parents
    return above[3] if len(above) > 3 and above[3].name == RUNS else folder


def _needed(codec: str, options: DecoderOptions) -> list[Path]:
    """What a decoder reads besides the bitstream: Python, libraries, the codec and its programs."""
    own = [path for path in sys.path if path and Path(path) != Path.cwd()]
    python = [sys.prefix, sys.base_prefix, sys.exec_prefix, os.path.dirname(sys.executable), *own]
    lists = [folder for name in _PATH_LISTS for folder in os.environ.get(name, "").split(os.pathsep)]
    tools = [value for name, value in os.environ.items() if name.startswith("RDBENCH_") and name != "RDBENCH_DATA"]
    named = [*python, *(path for path in lists if os.path.isabs(path))]
    programs = [*tools, *options.programs.values(), *([options.ffmpeg] if options.ffmpeg else [])]
    around = [path for program in programs if (path := _folder_of(program)) is not None]
    return [*map(Path, named), *around, *_sources(codec)]


def _folder_of(program: str) -> Path | None:
    """The folder with all that belongs to a program or a file of weights; None where there is no such path."""
    found = Path(shutil.which(program) or program).expanduser()
    if not found.is_absolute() or not found.exists():
        return None
    real = found.resolve()
    folder = real if real.is_dir() else real.parent
    return folder.parent if folder.name == "bin" else folder


def _sources(codec: str) -> list[Path]:
    """The folders of the packages that hold the codec and rdbench, and of the file that declares the codec."""
    folders = [Path(codec).parent] if "/" in codec else []
    module = find_card(codec).load.partition(":")[0]
    for name in ("rdbench", *_prefixes(module.split("."))):
        with suppress(ImportError, ValueError):
            spec = importlib.util.find_spec(name)
            if spec is not None:
                inside = spec.submodule_search_locations
                folders += [Path(path) for path in inside] if inside else [Path(spec.origin or "/").parent]
    return folders


def _prefixes(words: Sequence[str]) -> list[str]:
    """`a.b.c` -> `a`, `a.b`, `a.b.c`."""
    return [".".join(words[: count + 1]) for count in range(len(words))]
