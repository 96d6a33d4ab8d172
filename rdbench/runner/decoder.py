"""The process that decodes, sealed: `python -m rdbench.runner.decoder CODEC OPTIONS TASK...` beside a bitstream.

CODEC is what `registry.load_class` takes. Each task writes to standard output: `decode`, under the clock, and `ledger`
one event (`events.py`), `send` the frames for a PipedVideo, and `pick=3,17` only frames 3 and 17. Of several tasks,
each runs in a process of its own, so that what is sent is decoded by a process that has decoded nothing before.
"""

import json
import os
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import IO

from ..codec import Codec
from ..registry import load_class
from ..video.checked import CheckedVideo
from ..video.chosen import Chosen, seeks
from ..video.pipe import send_failure, send_video
from .decoding import DecoderOptions, decode_timed
from .events import Events, claim_stdout
from .failure import describe_process_failure
from .files import BITSTREAM
from .preparation import prepare
from .reports import check_ledger, check_parts, check_report


def decode(cls: type[Codec], options: DecoderOptions, stream: IO[bytes]) -> None:
    """Decodes under the clock (`decode_timed`)."""
    result = decode_timed(cls, Path(BITSTREAM), options, prepare(cls.kind, options.device, options.threads))
    checked = {"parts": check_parts(result["parts"]), "report": check_report(result["report"])}
    Events(stream).send("result", **{**result, **checked})


def read_ledger(cls: type[Codec], options: DecoderOptions, stream: IO[bytes]) -> None:
    """Reads the ledger."""
    ledger = check_ledger(cls.ledger(Path(BITSTREAM)), Path(BITSTREAM).stat().st_size)
    Events(stream).send("result", ledger=ledger)


def send_frames(cls: type[Codec], options: DecoderOptions, stream: IO[bytes]) -> None:
    """Decodes the bitstream and writes its frames."""
    device = prepare(cls.kind, options.device, options.threads)
    with tempfile.TemporaryDirectory() as scratch:
        send_video(CheckedVideo(cls.decode(Path(BITSTREAM), options.workspace(Path(scratch), device))), stream)


def send_chosen(cls: type[Codec], options: DecoderOptions, stream: IO[bytes], numbers: Sequence[int]) -> None:
    """Decodes what it takes to write the frames with these numbers, in ascending order."""
    device = prepare(cls.kind, options.device, options.threads)
    with tempfile.TemporaryDirectory() as scratch:
        video = cls.decode(Path(BITSTREAM), options.workspace(Path(scratch), device))
        send_video(Chosen(CheckedVideo(video), numbers, seeks(video)), stream)


TASKS = {"decode": decode, "ledger": read_ledger, "send": send_frames}
PICK = "pick="
"""Beginning of the task that writes some frames; their numbers follow, separated by commas."""


def _find_task(name: str) -> Callable[[type[Codec], DecoderOptions, IO[bytes]], None]:
    if name.startswith(PICK):
        return partial(send_chosen, numbers=[int(number) for number in name.removeprefix(PICK).split(",")])
    return TASKS[name]


def _run_task(name: str, cls: type[Codec], options: DecoderOptions, stream: IO[bytes]) -> int:
    """The exit status of a task; an error becomes one sentence in the stream."""
    try:
        _find_task(name)(cls, options, stream)
        stream.flush()
    except KeyboardInterrupt:
        return 130
    except BaseException as error:
        _report(error, name, stream)
        return 1
    return 0


def _report(error: BaseException, task: str, stream: IO[bytes]) -> None:
    traceback.print_exc()
    message = describe_process_failure(error)
    with suppress(OSError):  # nobody reads any more
        if task == "send" or task.startswith(PICK):
            send_failure(message, stream)
        else:
            Events(stream).send("error", message=message)


def _run_apart(name: str, cls: type[Codec], options: DecoderOptions, stream: IO[bytes]) -> int:
    """Runs a task in a process of its own; returns its status, or minus the signal that ended it."""
    if sys.platform != "linux":  # libraries of other systems may not survive a fork
        command = [sys.executable, "-P", "-m", "rdbench.runner.decoder", *sys.argv[1:3], name]
        return subprocess.run(command, stdout=stream, check=False).returncode
    child = os.fork()
    if child == 0:
        status = _run_task(name, cls, options, stream)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main() -> int:
    """Runs the tasks in turn, up to the first that fails."""
    stream = claim_stdout()
    codec, options, *tasks = sys.argv[1:]
    try:
        cls = load_class(codec)
        if cls.kind != "conventional":
            import torch  # noqa: F401 - once for all tasks
    except BaseException as error:
        _report(error, tasks[0], stream)
        return 1
    chosen = DecoderOptions(**json.loads(options))
    if len(tasks) == 1:
        return _run_task(tasks[0], cls, chosen, stream)
    for name in tasks:
        status = _run_apart(name, cls, chosen, stream)
        if status < 0:
            os.kill(os.getpid(), -status)  # so that whoever waits sees what happened
        if status != 0:
            return status
    return 0


if __name__ == "__main__":
    sys.exit(main())
