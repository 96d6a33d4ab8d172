"""The decoder's process in a whole run: what it cannot reach, and what the record says of it."""

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import make_y4m

SPY = '''
"""A codec whose decoder looks for everything that it must not have."""
import json, os, socket, sys
from pathlib import Path
from rdbench.codec import Codec, RatePoint, Settings
from rdbench.video.pipe import PipedVideo, send_video
from rdbench.video.readers import MemoryVideo
from rdbench.video import Frames


class SpySettings(Settings):
    waver: bool = False


class Spy(Codec):
    """Keeps every frame as it is."""

    reference = "none"
    Settings = SpySettings

    @classmethod
    def missing(cls, host):
        return None

    @classmethod
    def version(cls, host):
        return "spy-1"

    def rate_points(self, clip):
        return [RatePoint("all", {})]

    def encode(self, source, point, bitstream, workspace):
        (workspace.folder / "secret").write_text("seen")
        known = {**json.loads(os.environ["SPY"]), "workspace": str(workspace.folder.absolute() / "secret"),
                 "results": str(workspace.folder.absolute().parents[4]), "waver": self.settings.waver}
        with open(bitstream, "wb") as stream:
            stream.write(json.dumps(known).encode() + b"\\n")
            send_video(source.video, stream)

    @classmethod
    def decode(cls, bitstream, workspace):
        stream = open(bitstream, "rb")
        known = json.loads(stream.readline())
        print("SPY", json.dumps({name: attempt(known[name]) for name in ("clip", "data", "workspace", "results")}
                                | {"port": connect(known["port"])}
                                | {"HOME": attempt(os.environ["HOME"]), "here": sorted(os.listdir())}), file=sys.stderr)
        video = PipedVideo(stream)
        return Wavering(video) if known["waver"] else video


class Wavering(PipedVideo):
    """Other samples in frame 2 each time."""

    def __init__(self, video):
        self.format, self.frames, self._video = video.format, None, video

    def batches(self, size=8):
        done = 0
        for batch in self._video.batches(size):
            planes = [plane.copy() for plane in batch.planes]
            if done <= 2 < done + len(batch):
                planes[0][2 - done, 0] = list(os.urandom(64))
            done += len(batch)
            yield Frames(tuple(planes))


def attempt(path):
    try:
        return sorted(os.listdir(path)) if os.path.isdir(path) else open(path, "rb").read(9).decode()
    except OSError as error:
        return type(error).__name__


def connect(port):
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
        return "connected"
    except OSError as error:
        return type(error).__name__
'''

Run = Callable[..., tuple[dict[str, Any], str]]


@pytest.fixture
def run_spy(tmp_path: Path) -> Run:
    """Runs the codec on a clip and returns its record and the log."""
    site = tmp_path / "site"
    (site / "spy-1.0.dist-info").mkdir(parents=True)
    (site / "spycodec.py").write_text(SPY)
    (site / "spy-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: spy\nVersion: 1.0\n")
    (site / "spy-1.0.dist-info" / "entry_points.txt").write_text("[rdbench.codecs]\nspy = spycodec:Spy\n")
    data, home = tmp_path / "data", tmp_path / "home"
    for folder in (data, home):
        folder.mkdir()
        (folder / "other.yuv").write_text("seen")
    clip = make_y4m(tmp_path / "small.y4m", 64, 48, 4)

    def call(codec: str, port: int = 1) -> tuple[dict[str, Any], str]:
        known = {"clip": str(clip), "data": str(data), "port": port}
        environment = {
            **os.environ, "PYTHONPATH": str(site), "RDBENCH_DATA": str(data), "HOME": str(home),
            "SPY": json.dumps(known),
        }  # fmt: skip
        command = [sys.executable, "-m", "rdbench.cli", "run", "--codecs", codec, "--dataset", str(clip),
                   "--metrics", "psnr", "--out", "out"]  # fmt: skip
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False
        )
        records = list((tmp_path / "out").rglob("record.json"))
        assert len(records) == 1, done.stdout + done.stderr
        return json.loads(records[0].read_text()), (records[0].parent / "log.txt").read_text()

    return call


def works(*command: str) -> bool:
    """Whether the kernel allows the command's namespaces."""
    return (
        shutil.which(command[0]) is not None
        and not subprocess.run(command, capture_output=True, check=False).returncode
    )


def test_the_decoder_reaches_nothing_but_the_bitstream(run_spy: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        record, log = run_spy("spy", port)
        socket.create_connection(("127.0.0.1", port), 5).close()
    assert record["error"] is None
    assert record["psnr_rgb"] == 100
    found = [json.loads(line.partition("SPY ")[2]) for line in log.splitlines() if line.startswith("SPY ")]
    assert len(found) > 3  # the timed decodings, the one for the hashes, and the one that is measured
    assert all(one["here"] == ["bitstream.bin"] for one in found)
    assert all(set(one["HOME"]) <= {".cache", ".config", ".local", "run", "tmp"} for one in found)
    allowed = works("unshare", "-Urmn", "sh", "-c", "mount -t tmpfs none /mnt")
    assert record["seal"] == ["environment", *(["network", "files"] if allowed else [])]
    if not allowed:
        pytest.skip("the kernel forbids namespaces to this user; only the environment was tested")
    for one in found:
        assert one["clip"] == ""
        assert one["data"] == one["results"] == []
        assert one["workspace"] in ("FileNotFoundError", "NotADirectoryError")
        assert one["port"] != "connected"


def test_two_decodings_that_differ_are_a_failure(run_spy: Run) -> None:
    record, _ = run_spy("spy[waver]")
    assert record["status"] == "failed"
    assert "frame 2" in record["error"]
    assert "decod" in record["error"]


def test_the_record_has_the_hash_and_the_samples_of_the_decodings(run_spy: Run) -> None:
    record, _ = run_spy("spy")
    assert len(record["frames_sha256"]) == 64
    assert len(record["decode_samples"]) == 5
    assert sorted(record["decode_samples"])[2] == record["decode_seconds"]
    assert record["decode_cold_seconds"] > 0
