"""Jobs on this machine: on the GPUs that the user left visible, and one at a time while they share a pre-training."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from fake_nvml import FakeNvml, Gpu
from sample_jobs import make_job

from rdbench.runner.executors import local
from rdbench.runner.machine import usable_cores
from rdbench.runner.options import RunOptions
from rdbench.runner.sweep import Job

SHARER = '''
"""Three rate points that share an artifact; each writes when it does what."""
import os, time
from rdbench.codec import Codec, RatePoint
from rdbench.video.pipe import PipedVideo, send_video


def note(text):
    with open(os.environ["SHARER_LOG"], "a") as log:
        log.write(f"{text} {time.time()}\\n")


class Sharer(Codec):
    missing = classmethod(lambda cls, host: None)
    version = classmethod(lambda cls, host: "1")

    def rate_points(self, clip):
        return [RatePoint(label, {"number": number}) for number, label in enumerate("abc")]

    def shared_artifact(self, point):
        return "work"

    def encode(self, source, point, bitstream, workspace):
        note(f"{point.label} begins")
        workspace.artifact("work", self.make)
        note(f"{point.label} has it")
        while point.label == "a" and "b begins" not in open(os.environ["SHARER_LOG"]).read():
            time.sleep(0.1)
        with open(bitstream, "wb") as stream:
            stream.write(b"S")
            send_video(source.video, stream)
        note(f"{point.label} ends")

    def make(self, folder):
        time.sleep(1)

    @classmethod
    def decode(cls, bitstream, workspace):
        stream = open(bitstream, "rb")
        stream.read(1)
        return PipedVideo(stream)
'''


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str | None]]:
    """The rate points in the order in which they start, each with its GPU; nothing really runs."""
    found: list[tuple[str, str | None]] = []

    def run_job(job: Job, out: Path, progress: object, stop: object, gpu: str | None, start: object) -> SimpleNamespace:
        found.append((job.point, gpu))
        time.sleep(0.05)
        return SimpleNamespace(status="ok")

    monkeypatch.setattr(local, "run_job", run_job)
    monkeypatch.setattr(local, "usable_cores", lambda: 64)
    return found


def run(jobs: list[Job], options: RunOptions) -> None:
    done = [job for job, _ in local.run_jobs(jobs, options, lambda job: lambda *values: None, threading.Event())]
    assert sorted(job.id for job in done) == sorted(job.id for job in jobs)


@pytest.mark.parametrize(
    ("visible", "entries"),
    [("2", {"2"}), ("GPU-1,0", {"GPU-1", "0"}), (None, {"GPU-0", "GPU-1", "GPU-2"}), ("", {None})],
)
def test_jobs_go_to_visible_gpus_alone_and_conventional_ones_to_none(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    started: list[tuple[str, str | None]],
    visible: str | None,
    entries: set[str | None],
) -> None:
    gpus = FakeNvml(*(Gpu(uuid=f"GPU-{number}") for number in range(3)))
    monkeypatch.setitem(sys.modules, "pynvml", gpus)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    neural = [make_job("nerv", f"{size}K", device="cuda") for size in range(50, 56)]
    run([*neural, *(make_job("x264", f"crf{crf}") for crf in (20, 30))], RunOptions(tmp_path, "local", 3))
    assert {gpu for point, gpu in started if point.endswith("K")} == entries
    assert {gpu for point, gpu in started if point.startswith("crf")} == {None}
    assert gpus.open == 0


def test_the_user_may_say_how_much_memory_a_job_needs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, started: list[tuple[str, str | None]]
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(Gpu(uuid="GPU-0", free=10 << 30)))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    running, most, lock = 0, 0, threading.Lock()

    def counted(*arguments: object) -> SimpleNamespace:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.3)
        with lock:
            running -= 1
        return SimpleNamespace(status="ok")

    monkeypatch.setattr(local, "run_job", counted)
    jobs = [make_job("nerv", f"{size}K", device="cuda") for size in range(50, 56)]
    run(jobs, RunOptions(tmp_path, "local", 6, gpu_memory_mb=5000))
    assert most == 2


@pytest.mark.slow
@pytest.mark.skipif(usable_cores() < 2, reason="two jobs side by side need two cores")
def test_rate_points_that_share_work_wait_outside_of_the_slots(
    toy_site: Path, small_clip: Path, tmp_path: Path
) -> None:
    site = tmp_path / "sharer_site"
    info = site / "sharer-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "sharer.py").write_text(SHARER)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: sharer\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[rdbench.codecs]\nsharer = sharer:Sharer\n")
    log = tmp_path / "log"
    environment = {**os.environ, "PYTHONPATH": f"{site}{os.pathsep}{toy_site}", "SHARER_LOG": str(log)}
    command = [
        sys.executable, "-m", "rdbench.cli", "run", "--codecs", "sharer,toy", "--dataset", str(small_clip),
        "--metrics", "psnr", "--jobs", "2", "--threads", "1", "--out", str(tmp_path / "out"),
    ]  # fmt: skip
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    times = {what: float(at) for what, _, at in (line.rpartition(" ") for line in log.read_text().splitlines())}
    assert len(times) == 9
    assert min(times["b begins"], times["c begins"]) > times["a has it"]
    assert times["b begins"] < times["a ends"]  # a waits for that
