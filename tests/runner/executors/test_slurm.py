"""Jobs on SLURM: what is asked for, what is written into the scripts, and that a preempted job goes on."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import slurm_stand_in
from sample_jobs import make_job

from rdbench.errors import UsageError
from rdbench.runner.executors import slurm
from rdbench.runner.executors.slurm import Resources, minutes_of, parameters, resources_of, run_jobs, sbatch_options
from rdbench.runner.options import RunOptions, SweepOptions

submitit = pytest.importorskip("submitit")

NAPPER = '''
"""A codec whose encoder sleeps until it is ended the first time, and then finds what it left in its folder."""
import time
from rdbench.codec import Codec, RatePoint
from rdbench.video.pipe import PipedVideo, send_video


class Napper(Codec):
    missing = classmethod(lambda cls, host: None)
    version = classmethod(lambda cls, host: "1")

    def rate_points(self, clip):
        return [RatePoint("all", {})]

    def encode(self, source, point, bitstream, workspace):
        checkpoint = workspace.folder / "checkpoint"
        if not checkpoint.exists():
            checkpoint.touch()
            time.sleep(600)
        with open(bitstream, "wb") as stream:
            stream.write(b"N")
            send_video(source.video, stream)

    @classmethod
    def decode(cls, bitstream, workspace):
        stream = open(bitstream, "rb")
        stream.read(1)
        return PipedVideo(stream)
'''

ON_THIS_MACHINE = """
import sys, threading
from pathlib import Path
from rdbench.runner.executors.slurm import run_jobs
from rdbench.runner.options import RunOptions, SweepOptions
from rdbench.runner.sweep import plan

sweep = SweepOptions(codecs="napper", dataset=sys.argv[1], metrics="psnr", threads=1).sweep(1)
jobs = plan(sweep, "rdbench run")
options = RunOptions(Path(sys.argv[2]), "slurm", 4)
for job, record in run_jobs(jobs, options, lambda job: lambda *values: None, threading.Event(), cluster="local"):
    print(record.status, record.error)
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """An installed package with the codec `napper`."""
    site = tmp_path / "napper_site"
    info = site / "napper-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "napper.py").write_text(NAPPER)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: napper\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[rdbench.codecs]\nnapper = napper:Napper\n")
    return site


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Stand-ins for SLURM's programs on the path of this process; the folder of what they got."""
    for name, value in slurm_stand_in.install(tmp_path / "slurm").items():
        monkeypatch.setenv(name, value)
    return tmp_path / "slurm" / "home"


def run_command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "rdbench.cli", "run", "--metrics", "psnr", "--executor", "slurm", *arguments]


def flags(script: Path) -> dict[str, str]:
    """The options of sbatch in a script."""
    lines = [line.removeprefix("#SBATCH --") for line in script.read_text().splitlines() if line.startswith("#SBATCH")]
    return {name: value.strip("'") for name, _, value in (line.partition("=") for line in lines)}


def wait_for(condition: Callable[[], object], seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def records(out: Path) -> list[dict[str, object]]:
    return [json.loads(path.read_text()) for path in sorted(out.rglob("record.json"))]


@pytest.mark.parametrize(
    ("device", "estimate", "expected"),
    [
        ("cpu", 10.0, Resources(0, 2, 30)),
        ("cpu", 1800.0, Resources(0, 2, 120)),  # 3 * 30 minutes
        ("cpu", 7200.0, Resources(0, 2, 480)),
        ("cuda", None, Resources(1, 2, 720)),
    ],
)
def test_gpu_cores_and_time_follow_from_the_plan(device: str, estimate: float | None, expected: Resources) -> None:
    assert resources_of(make_job("x264", "crf30", device=device, threads=2, estimate=estimate)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("90", 90), ("90:30", 91), ("2:00:00", 120), ("1-0", 1440), ("1-12:30", 2190), ("0-00:00:01", 1)],
)
def test_time_limits_as_sbatch_takes_them(text: str, expected: int) -> None:
    assert minutes_of(text) == expected


@pytest.mark.parametrize("text", ["", "soon", "0", "-5", "1:2:3:4", "1.5", "00:00:00"])
def test_other_time_limits_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="time="):
        sbatch_options((("time", text),))


@pytest.mark.parametrize("name", ["array", "output", "signal"])
def test_options_that_rdbench_sets_itself_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match=f"--slurm {name}"):
        sbatch_options(((name, "1"),))


def test_what_the_user_asks_of_sbatch_wins() -> None:
    own = parameters(Resources(1, 4, 30), {"gres": "gpu:a100:1", "time": "2-0", "mem": "16G"}, 8)
    assert own["gpus_per_node"] is None
    assert own["timeout_min"] == 2880
    assert own["slurm_additional_parameters"] == {"requeue": True, "gres": "gpu:a100:1", "mem": "16G"}
    assert parameters(Resources(1, 4, 30), {}, 8)["gpus_per_node"] == 1
    given = SweepOptions(slurm=("partition=gpu", "cpus-per-task=2")).run_options()
    assert given.slurm == (("partition", "gpu"), ("cpus_per_task", "2"))


def test_scripts_ask_for_a_gpu_where_a_job_computes_on_one_and_lost_jobs_are_failed_records(
    monkeypatch: pytest.MonkeyPatch, home: Path, tmp_path: Path
) -> None:
    monkeypatch.setattr(submitit.core.core.Job, "_results_timeout_s", 0)
    monkeypatch.setattr(slurm, "POLL_SECONDS", 0.5)
    monkeypatch.setenv("ENDED", "OUT_OF_MEMORY")
    (home / "hold").touch()
    neural = [make_job("nerv", f"{size}K", device="cuda", threads=3) for size in (50, 60, 70)]
    conventional = make_job("x264", "crf30", estimate=5.0)
    options = RunOptions(tmp_path / "out", "slurm", 2, slurm=(("partition", "gpu"),))
    ended = list(run_jobs([*neural, conventional], options, lambda job: lambda *values: None, threading.Event()))
    scripts = [flags(path) for path in sorted(home.glob("*.sbatch"))]
    with_gpu = next(script for script in scripts if "gpus-per-node" in script)
    assert with_gpu.items() >= {
        "array": "0-2%2", "gpus-per-node": "1", "cpus-per-task": "3", "time": "720", "partition": "gpu",
        "requeue": "", "signal": "USR2@120", "open-mode": "append",
    }.items()  # fmt: skip
    (without,) = [script for script in scripts if "gpus-per-node" not in script]
    assert without.items() >= {"time": "30", "cpus-per-task": "1", "partition": "gpu"}.items()
    assert len(ended) == 4
    assert all("OUT_OF_MEMORY" in str(record.error) and record.status == "failed" for _, record in ended)
    assert len(records(tmp_path / "out")) == 4


@pytest.mark.slow
def test_a_sweep_runs_as_an_array_and_a_preempted_job_goes_on(
    home: Path, site: Path, toy_site: Path, small_clip: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    environment = {**os.environ, "PYTHONPATH": f"{site}{os.pathsep}{toy_site}"}
    command = run_command(
        "--codecs", "napper,toy,toy[crash]", "--dataset", str(small_clip), "--rate-points", "1", "--threads", "1",
        "--slurm", "time=90", "--slurm", "account=me", "--out", str(out),
    )  # fmt: skip
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        wait_for(lambda: list(out.rglob("checkpoint")))
        os.kill(int((home / "pid-100_0").read_text()), signal.SIGUSR2)  # as SLURM does before it preempts a job
        printed, _ = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 1, printed
    found = {str(record["codec"]): record for record in records(out)}
    assert {name: record["status"] for name, record in found.items()} == {
        "napper": "ok", "toy": "ok", "toy[crash=true]": "failed",
    }, printed  # fmt: skip
    assert "the toy broke" in str(found["toy[crash=true]"]["error"])
    (script,) = home.glob("*.sbatch")
    assert flags(script).items() >= {"array": "0-2%3", "time": "90", "account": "me", "cpus-per-task": "1"}.items()
    assert "preempted" in (home / "log-100_0").read_text()
    assert not (home / "cancelled").exists()


@pytest.mark.slow
def test_the_users_interrupt_cancels_what_was_submitted(
    home: Path, site: Path, small_clip: Path, tmp_path: Path
) -> None:
    command = run_command("--codecs", "napper", "--dataset", str(small_clip), "--out", str(tmp_path / "out"))
    environment = {**os.environ, "PYTHONPATH": str(site)}
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
    )  # fmt: skip
    try:
        wait_for(lambda: list((tmp_path / "out").rglob("checkpoint")))
        process.send_signal(signal.SIGINT)
        printed, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, printed
    assert (home / "cancelled").read_text() == "100\n"


@pytest.mark.slow
def test_submitits_local_executor_continues_a_preempted_job(site: Path, small_clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-c", ON_THIS_MACHINE, str(small_clip), str(out)]
    environment = {**os.environ, "PYTHONPATH": str(site)}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        wait_for(lambda: list(out.rglob("checkpoint")))
        (task,) = task_processes(out)
        os.kill(task, signal.SIGUSR2)
        printed, _ = process.communicate(timeout=120)
    finally:
        process.kill()
    assert printed == "ok None\n"
    assert [record["status"] for record in records(out)] == ["ok"]


def task_processes(out: Path) -> list[int]:
    """The processes in which submitit runs tasks for this folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if b"submitit.core._submit" in words and str(out / "slurm").encode() in words:
            found.append(int(path.parent.name))
    return found


def test_without_slurm_or_submitit_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    options = RunOptions(tmp_path / "out", "slurm", 2)
    sweep = SweepOptions(codecs="x264", dataset="bunny").sweep(1)
    for call in (
        lambda: slurm.for_cluster(sweep, options),
        lambda: list(run_jobs([], options, lambda job: lambda *values: None, threading.Event())),
    ):
        with pytest.raises(UsageError, match="login node"):
            call()
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(UsageError, match="pip install"):
        list(run_jobs([], options, lambda job: lambda *values: None, threading.Event()))


def test_the_cluster_decides_the_device_and_not_this_machine(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    sweep = SweepOptions(codecs="nerv", dataset="bunny").sweep(1)
    options = RunOptions(Path("out"), "slurm", 2, slurm=(("partition", "long"),))
    assert slurm.for_cluster(sweep, options).device == "cpu"
    monkeypatch.setenv("GRES", "gpu:a100:4(S:0-1)")
    chosen = slurm.for_cluster(sweep, options)
    assert (chosen.device, chosen.threads) == ("cuda", 4)
    assert "--partition=long" in (home / "sinfo").read_text()
    given = SweepOptions(codecs="nerv", dataset="bunny", device="cpu", threads=9).sweep(1)
    assert (slurm.for_cluster(given, options).device, slurm.for_cluster(given, options).threads) == ("cpu", 9)
    certain = SweepOptions(codecs="nerv", dataset="bunny", device="cuda:1").sweep(1)
    with pytest.raises(UsageError, match="cuda:1"):
        slurm.for_cluster(certain, options)
