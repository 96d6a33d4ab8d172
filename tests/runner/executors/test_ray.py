"""A sweep on a Ray cluster of this machine; skipped where Ray is not installed (the `ray` extra)."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Cli

from rdbench.errors import UsageError
from rdbench.runner.executors.ray import for_cluster
from rdbench.runner.options import SweepOptions

pytest.importorskip("ray")

KILLER = '''
"""A codec whose encoder kills Ray's process above it the first time, as if the machine were lost."""
import os, signal, time
from pathlib import Path
from rdbench.codec import Codec, RatePoint
from rdbench.video.pipe import PipedVideo, send_video


def parent(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


class Killer(Codec):
    missing = classmethod(lambda cls, host: None)
    version = classmethod(lambda cls, host: "1")

    def rate_points(self, clip):
        return [RatePoint("all", {})]

    def encode(self, source, point, bitstream, workspace):
        checkpoint = workspace.folder / "checkpoint"
        if not checkpoint.exists():
            checkpoint.touch()
            pid = os.getppid()
            while b"ray::" not in Path(f"/proc/{pid}/cmdline").read_bytes():
                pid = parent(pid)
            os.kill(pid, signal.SIGKILL)
            time.sleep(600)
        with open(bitstream, "wb") as stream:
            stream.write(b"K")
            send_video(source.video, stream)

    @classmethod
    def decode(cls, bitstream, workspace):
        stream = open(bitstream, "rb")
        stream.read(1)
        return PipedVideo(stream)
'''


@pytest.mark.slow
def test_a_sweep_on_ray_gives_the_records_of_a_local_one(cli: Cli, small_clip: Path, tmp_path: Path) -> None:
    codecs = "x264[preset=ultrafast],toy,toy[crash]"
    common = ("run", "--codecs", codecs, "--dataset", str(small_clip), "--rate-points", "1", "--threads", "1")
    for executor in ("local", "ray"):
        done = cli(*common, "--executor", executor, "--out", executor, timeout=300)
        assert done.returncode == 1, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
    outcomes: list[dict[str, tuple[object, ...]]] = []
    for executor in ("local", "ray"):
        records = [json.loads(path.read_text()) for path in (tmp_path / executor).rglob("record.json")]
        outcomes.append({r["codec"]: (r["status"], r["bits"], r["psnr_rgb"], r["error"], r["id"]) for r in records})
        assert len(list((tmp_path / executor).rglob("bitstream.bin"))) == 2
    assert outcomes[0] == outcomes[1]
    assert outcomes[1]["toy"][0] == "ok"
    assert "the toy broke" in str(outcomes[1]["toy[crash=true]"][3])


@pytest.mark.slow
def test_a_lost_job_runs_again_and_continues_on_the_shared_disk(small_clip: Path, tmp_path: Path) -> None:
    site, out = tmp_path / "killer_site", tmp_path / "out"
    info = site / "killer-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "killer.py").write_text(KILLER)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: killer\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[rdbench.codecs]\nkiller = killer:Killer\n")
    command = [
        sys.executable, "-m", "rdbench.cli", "run", "--codecs", "killer", "--dataset", str(small_clip), "--metrics",
        "psnr", "--threads", "1", "--executor", "ray", "--out", str(out),
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(site)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [json.loads(path.read_text())["status"] for path in out.rglob("record.json")] == ["ok"]
    assert not list(out.glob(".rdbench-*"))


class Cluster:
    """A stand-in for the module `ray` with nodes of 8 and of 16 cores."""

    def __init__(self, gpus: float = 0.0) -> None:
        self._gpus = gpus

    def init(self, **options: object) -> None:
        """Connects to nothing."""

    def nodes(self) -> list[dict[str, object]]:
        sizes = {8: True, 16: True, 64: False}
        return [{"Alive": alive, "Resources": {"CPU": float(size)}} for size, alive in sizes.items()]

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": 24.0, "GPU": self._gpus}


def test_threads_are_no_more_than_a_node_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rdbench.runner.options.usable_cores", lambda: 32)
    monkeypatch.setitem(sys.modules, "ray", Cluster())
    options = SweepOptions(codecs="nerv", dataset="bunny", executor="ray")
    chosen = for_cluster(options.sweep(1))
    assert (chosen.threads, chosen.device) == (16, "cpu")
    assert for_cluster(options.model_copy(update={"threads": 3}).sweep(1)).threads == 3
    with pytest.raises(UsageError, match="at most 16"):
        for_cluster(options.model_copy(update={"threads": 17}).sweep(1))
    monkeypatch.setitem(sys.modules, "ray", Cluster(gpus=2))
    assert for_cluster(options.sweep(1)).device == "cuda"
    with pytest.raises(UsageError, match="cuda:1"):
        for_cluster(options.model_copy(update={"device": "cuda:1"}).sweep(1))
