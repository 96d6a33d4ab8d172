"""An encoder that reads raw frames from its standard input: feed it, watch it, tell why it failed."""

import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np

from rdbench.codec import Workspace
from rdbench.video import Frames

_ECHO = re.compile(r"Task finished|Terminating thread|before EOF|Nothing was written|to consumers|^Svt\[(info|warn)")


def feed(process: "subprocess.Popen[bytes]", frames: Iterator[Frames], show: Callable[[], None]) -> bool:
    """Writes all frames and waits for the end; False when the encoder stopped listening before it had them all."""
    assert process.stdin is not None
    taken = True
    try:
        for batch in frames:
            for index in range(len(batch)):
                for plane in batch.planes:
                    process.stdin.write(np.ascontiguousarray(plane[index]).data)
            show()
        process.stdin.close()
    except BrokenPipeError:
        taken = False
        with suppress(BrokenPipeError):
            process.stdin.close()
    while True:
        try:
            process.wait(timeout=0.5)
            break
        except subprocess.TimeoutExpired:
            show()
    show()
    return taken


def read_reason(log: Path) -> str:
    """The last lines of a log that are not ffmpeg's echo of an earlier one."""
    lines = (line.strip() for line in log.read_text(errors="replace").splitlines())
    return " | ".join([line for line in lines if line and not _ECHO.search(line)][-8:])


def show_progress(progress: Path, total: int | None, workspace: Workspace) -> None:
    """Hands on the number of frames that ffmpeg says it has coded."""
    if not progress.exists() or not total:
        return
    coded = re.findall(rb"^frame=(\d+)$", progress.read_bytes(), re.MULTILINE)
    if coded:
        workspace.progress(int(coded[-1]), total, f"{int(coded[-1])} of {total} frames coded")
