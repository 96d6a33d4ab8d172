"""An encoder of ffmpeg that reads raw frames from standard input: availability, input, progress, errors."""

import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np

from rdbench.codec import Host, Workspace
from rdbench.errors import MediaError
from rdbench.video import Frames
from rdbench.video.ffmpeg import ffmpeg_encoders, find_ffmpeg

_FOLLOW_UP = re.compile(
    r"Task finished|Terminating thread|before EOF|Nothing was written|to consumers|^Svt\[(info|warn)"
)


def lacks_encoder(host: Host, encoder: str) -> str | None:
    """None if this machine's ffmpeg has the encoder, else a sentence with the remedy."""
    try:
        program = find_ffmpeg(host.ffmpeg)
        known = ffmpeg_encoders(program)
    except MediaError as error:
        return str(error)
    if encoder in known:
        return None
    return f"{program} was built without {encoder}; leave --ffmpeg out, or give one that has it."


def feed(process: "subprocess.Popen[bytes]", frames: Iterator[Frames], show: Callable[[], None]) -> bool:
    """Writes all frames and waits for the end; False when the encoder closed its input before it had all frames."""
    assert process.stdin is not None
    complete = True
    try:
        for batch in frames:
            for index in range(len(batch)):
                for plane in batch.planes:
                    process.stdin.write(np.ascontiguousarray(plane[index]).data)
            show()
        process.stdin.close()
    except BrokenPipeError:
        complete = False
        with suppress(BrokenPipeError):
            process.stdin.close()
    while True:
        try:
            process.wait(timeout=0.5)
            break
        except subprocess.TimeoutExpired:
            show()
    show()
    return complete


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
