"""A sweep through the real command line, with a third party's codec: records, resume, failures, locks."""

import json
import os
import signal
import subprocess
import sys
import time
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import pytest
from conftest import Cli
from filelock import FileLock


def records(out: Path) -> list[dict]:  # type: ignore[type-arg]
    return [json.loads(path.read_text()) for path in sorted(out.rglob("record.json"))]


def test_lossless_codec_is_measured_as_lossless(cli: Cli, small_clip: Path, tmp_path: Path) -> None:
    done = cli("run", "--codecs", "toy", "--dataset", str(small_clip), "--rate-points", "all", "--out", "out")
    assert done.returncode == 0, done.stderr
    (record,) = records(tmp_path / "out")
    folder = next((tmp_path / "out").rglob("record.json")).parent
    size = (folder / "bitstream.bin").stat().st_size
    assert record["status"] == "ok"
    assert record["bits"] == 8 * size
    assert record["bpp"] == pytest.approx(8 * size / (64 * 48 * 6))
    assert record["kbps"] == pytest.approx(8 * size * 25 / 6 / 1000)
    assert record["psnr_rgb"] == 100
    assert record["frames"] == 6
    assert sum(record["ledger"].values()) == size
    assert record["command"].endswith("--out out")
    assert (folder / "frames.csv").read_text().count("\n") == 7
    assert "noise on standard output" in (folder / "log.txt").read_text()


def test_second_run_skips_and_a_failed_one_is_tried_again(cli: Cli, small_clip: Path, tmp_path: Path) -> None:
    common = ("--dataset", str(small_clip), "--rate-points", "all", "--out", "out")
    assert cli("run", "--codecs", "toy", *common).returncode == 0
    before = next((tmp_path / "out").rglob("record.json")).stat().st_mtime_ns
    again = cli("run", "--codecs", "toy", *common)
    assert "was there" in again.stdout
    assert next((tmp_path / "out").rglob("record.json")).stat().st_mtime_ns == before
    record = next((tmp_path / "out").rglob("record.json"))
    values = json.loads(record.read_text())
    record.write_text(json.dumps({**values, "status": "failed", "error": "the disk was full"}))
    assert cli("run", "--codecs", "toy", *common).returncode == 0
    assert json.loads(record.read_text())["status"] == "ok"


def test_rate_points_share_what_is_made_once(cli: Cli, small_clip: Path, tmp_path: Path) -> None:
    common = ("--codecs", "toy", "--dataset", str(small_clip), "--out", "out", "--jobs", "2")
    assert cli("run", "--rate-points", "all,most", *common).returncode == 0
    assert cli("run", "--rate-points", "all,most", "--seed", "1", *common).returncode == 0
    counts = list((tmp_path / "out").rglob("shared-*/all/count"))
    assert [count.read_text() for count in counts] == ["x", "x"]  # one for each seed


def test_failures_are_records_and_harm_nobody_else(cli: Cli, small_clip: Path, tmp_path: Path) -> None:
    done = cli(
        "run", "--codecs", "toy[crash],toy[kill],toy[drop=2],toy[sleep=30],toy", "--dataset", str(small_clip),
        "--rate-points", "all", "--timeout", "12", "--jobs", "2", "--out", "out",
    )  # fmt: skip
    assert done.returncode == 1
    errors = {r["codec"]: r["error"] for r in records(tmp_path / "out")}
    assert "the toy broke" in errors["toy[crash=true]"]
    assert "killed" in errors["toy[kill=true]"]
    assert "4 frames where 6" in errors["toy[drop=2]"]
    assert "--timeout" in errors["toy[sleep=30]"]
    assert errors["toy"] is None
    assert "Traceback" not in done.stdout + done.stderr


def test_two_runs_do_not_share_a_folder(cli: Cli, small_clip: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with FileLock(tmp_path / "out" / ".rdbench.lock"):
        done = cli("run", "--codecs", "toy", "--dataset", str(small_clip), "--out", "out")
    assert done.returncode == 2
    assert "Another run" in done.stderr


def test_two_runs_with_one_folder_divide_the_jobs(small_clip: Path, tmp_path: Path, toy_site: Path) -> None:
    """Each job is done once, two of them at a time, and both runs list all of them."""
    command = [sys.executable, "-m", "rdbench.cli", "run", "--codecs", "toy,toy[sleep=0.1],toy[sleep=0.2]",
               "--dataset", str(small_clip), "--rate-points", "all,most", "--threads", "1", "--out", "out"]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(toy_site), os.environ.get("PYTHONPATH", "")])}
    runs = [
        subprocess.Popen(command, cwd=tmp_path, text=True, env=environment, stdout=subprocess.PIPE) for _ in range(2)
    ]
    printed = [run.communicate(timeout=120)[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0]
    assert all("[6/6]" in text for text in printed)
    logs = [path.read_text() for path in (tmp_path / "out").rglob("log.txt")]
    assert [log.count("== encode") for log in logs] == [1] * 6
    files = [*(tmp_path / "out").rglob("record.json")]
    starts = [datetime.fromisoformat(json.loads(path.read_text())["started"]).timestamp() for path in files]
    spans = sorted(zip(starts, (path.stat().st_mtime for path in files), strict=True))
    assert any(second < end for (_, end), (second, _) in pairwise(spans))


def test_interrupt_stops_cleanly_and_the_next_run_continues(
    cli: Cli, small_clip: Path, tmp_path: Path, toy_site: Path
) -> None:
    arguments = [
        "run", "--codecs", "toy,toy[sleep=60]", "--dataset", str(small_clip), "--rate-points", "all", "--out", "out",
    ]  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-m", "rdbench.cli", *arguments], cwd=tmp_path, text=True,
        env={**os.environ, "PYTHONPATH": str(toy_site)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not records(tmp_path / "out") and time.monotonic() < deadline:
        time.sleep(0.2)
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "same command continues" in errors
    assert [r["status"] for r in records(tmp_path / "out")] == ["ok"]
    assert "was there" in cli(*[a.replace("toy,toy[sleep=60]", "toy") for a in arguments]).stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--codecs", "toi"], "did you mean toy"),
        (["--codecs", "toy[crush]"], "did you mean crash"),
        (["--codecs", "toy[sleep=long]"], "sleep"),
        (["--codecs", "toy,"], "empty name"),
        (["--codecs", "toy", "--rate-points", "some"], "some"),
        (["--codecs", "toy", "--frames", "0"], "at least 1"),
        (["--codecs", "toy", "--frames", "700"], "6 frames"),
        (["--codecs", "toy", "--preset", "finest"], "tiny"),
        (["--codecs", "toy", "--conditions", "rgb602"], "rgb601"),
        (["--codecs", "toy", "--metrics", "ssim"], "ms_ssim"),
        (["--codecs", "toy", "--set", "x265.crf=3"], "x265"),
        (["--codecs", "toy", "--executor", "sun"], "slurm"),
        (["--codecs", "toy", "--jobs", "0"], "--jobs"),
    ],
)
def test_wrong_command_lines_exit_2_with_one_sentence(
    cli: Cli, small_clip: Path, arguments: list[str], words: str
) -> None:
    done = cli("run", "--dataset", str(small_clip), "--out", "out", *arguments)
    assert done.returncode == 2, done.stdout + done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("content", "name"), [(None, "missing.y4m"), (b"", "empty.mp4"), (b"no video at all" * 100, "text.mp4")]
)
def test_what_is_no_video_is_named(cli: Cli, tmp_path: Path, content: bytes | None, name: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    done = cli("run", "--codecs", "toy", "--dataset", name, "--out", "out")
    assert done.returncode in (1, 2)
    assert name.split(".")[0] in done.stderr
    assert "Traceback" not in done.stderr


def test_an_output_folder_that_is_a_file_is_named(cli: Cli, small_clip: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = cli("run", "--codecs", "toy", "--dataset", str(small_clip), "--out", "file")
    assert done.returncode == 2
    assert "--out" in done.stderr


def test_a_sweep_file_and_a_plan(cli: Cli, small_clip: Path, tmp_path: Path) -> None:
    (tmp_path / "sweep.toml").write_text(f'codecs = ["toy"]\ndataset = "{small_clip}"\nframes = 2\nout = "out"\n')
    planned = cli("plan", "sweep.toml")
    assert planned.returncode == 0, planned.stderr
    assert planned.stdout.count("toy") == 2
    assert not (tmp_path / "out").exists()
    assert cli("run", "sweep.toml").returncode == 0
    assert {r["frames"] for r in records(tmp_path / "out")} == {2}
    (tmp_path / "bad.toml").write_text('codec = "toy"\n')
    assert "unknown key 'codec'" in cli("run", "bad.toml").stderr
