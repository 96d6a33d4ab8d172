"""An encoder of ffmpeg that reads raw frames from standard input: input, progress, errors."""

import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO

import numpy as np

from rdbench.codec import Workspace
from rdbench.video import Frames

_FOLLOW_UP = re.compile(
    r"Task finished|Terminating thread|before EOF|Nothing was written|to consumers|^Svt\[(info|warn)"
)


def run_encoder(command: list[str], frames: Iterator[Frames], log: Path, show: Callable[[], None]) -> int | None:
    """Runs an encoder that reads all frames from standard input, and returns its exit status.

    None stands for an encoder that closed its input before it had all frames. `show` is called now and then.
    """
    with log.open("wb") as errors, subprocess.Popen(command, stdin=subprocess.PIPE, stderr=errors) as process:
        assert process.stdin is not None
        try:
            complete = _feed(process.stdin, frames, show)
            _wait(process, show)
        except BaseException:
            process.kill()
            raise
    return process.returncode if complete else None


def run_encoder_on_file(
    command: list[str], frames: Iterator[Frames], raw: Path, log: Path, show: Callable[[], None]
) -> int:
    """Writes all frames to the file `raw`, runs an encoder that reads it, removes it, and returns the exit status."""
    try:
        with raw.open("wb") as file:
            for batch in frames:
                _write(file, batch)
        with log.open("wb") as errors, subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=errors) as process:
            try:
                _wait(process, show)
            except BaseException:
                process.kill()
                raise
    finally:
        raw.unlink(missing_ok=True)
    return process.returncode


def _feed(stream: IO[bytes], frames: Iterator[Frames], show: Callable[[], None]) -> bool:
    """Writes all frames and closes the stream; False when its reader closed it before."""
    try:
        for batch in frames:
            _write(stream, batch)
            show()
        stream.close()
    except BrokenPipeError:
        with suppress(BrokenPipeError):
            stream.close()
        return False
    return True


def _write(stream: IO[bytes], frames: Frames) -> None:
    for index in range(len(frames)):
        for plane in frames.planes:
            stream.write(np.ascontiguousarray(plane[index]).data)


def _wait(process: "subprocess.Popen[bytes]", show: Callable[[], None]) -> None:
    while True:
        try:
            process.wait(timeout=0.5)
            break
        except subprocess.TimeoutExpired:
            show()
    show()


def read_reason(log: Path) -> str:
    """The last lines of a log, without ffmpeg's messages that only follow from an earlier one."""
    lines = (line.strip() for line in log.read_text(errors="replace").splitlines())
    return " | ".join([line for line in lines if line and not _FOLLOW_UP.search(line)][-8:])


def show_progress(progress: Path, total: int | None, workspace: Workspace) -> None:
    """Reports the number of coded frames that ffmpeg has written to its progress file."""
    if not progress.exists() or not total:
        return
    coded = re.findall(rb"^frame=(\d+)$", progress.read_bytes(), re.MULTILINE)
    if coded:
        workspace.progress(int(coded[-1]), total, f"{int(coded[-1])} of {total} frames coded")
