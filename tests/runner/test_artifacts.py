"""What rate points share is made once: side by side, by processes, one of them killed at it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from rdbench.codec import Workspace

MAKER = """
import sys, time
from pathlib import Path
from rdbench.codec import Workspace

def make(folder):
    with open(folder / "steps", "a") as steps:
        steps.write("x")
    time.sleep(float(sys.argv[3]))
    (folder / "product").write_text("made")

own, shared = Path(sys.argv[1]), Path(sys.argv[2])
folder = Workspace(own, shared=shared).artifact("key", make)
print((folder / "product").read_text())
"""


def start(own: Path, shared: Path, seconds: float) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", MAKER, str(own), str(shared), str(seconds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_processes_side_by_side_make_it_once(tmp_path: Path) -> None:
    started = [start(tmp_path / name, tmp_path / "shared", 0.5) for name in ("a", "b")]
    assert [process.communicate(timeout=60)[0] for process in started] == ["made\n", "made\n"]
    assert (tmp_path / "shared" / "key" / "steps").read_text() == "x"


def test_a_process_that_waits_takes_over_from_one_that_is_killed(tmp_path: Path) -> None:
    steps = tmp_path / "shared" / "key" / "steps"
    first = start(tmp_path / "a", tmp_path / "shared", 600)
    deadline = time.monotonic() + 60
    while not steps.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    second = start(tmp_path / "b", tmp_path / "shared", 0)
    time.sleep(1)
    assert second.poll() is None  # it waits, or begins
    os.kill(first.pid, signal.SIGKILL)
    assert second.communicate(timeout=60)[0] == "made\n"
    assert first.wait() == -signal.SIGKILL
    assert steps.read_text() == "xx"  # the second call continued from the files of the first
    first.communicate()


def test_without_a_shared_folder_it_is_the_jobs_own(tmp_path: Path) -> None:
    folder = Workspace(tmp_path).artifact("key", lambda folder: (folder / "product").touch())
    assert (folder / "product").exists()
    assert tmp_path in folder.parents
