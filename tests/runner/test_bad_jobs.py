"""One bad job is one bad record: whatever a codec does wrong is named there, and the sweep goes on."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import make_y4m

from rdbench.clips.dataset import Sequence
from rdbench.report.results import read_record
from rdbench.runner.checksum import write_checksum
from rdbench.runner.job import fail
from rdbench.runner.sweep import Job
from rdbench.video import VideoFormat
from rdbench.video.pipe import format_to_dict

BAD = '''
"""A codec that does one thing wrong."""
import numpy as np, os, sys
from pathlib import Path
from rdbench.codec import Codec, RatePoint, Settings
from rdbench.errors import BitstreamError
from rdbench.video import Frames, Video, VideoFormat
from rdbench.video.pipe import PipedVideo, send_video


class BadSettings(Settings):
    how: str = ""


class Wordless(Exception):
    def __str__(self):
        raise RuntimeError("no words")


ENCODING = {
    "sleep": "import time; time.sleep(60)",
    "wordless": "raise Wordless",
    "long": "raise ValueError('head' + 'x' * 10**7 + 'tail')",
    "strange": "raise ValueError('a\\\\0b\\\\ud800c\\\\nd')",
    "report_nan": "workspace.report['render_fps'] = float('nan')",
    "report_none": "workspace.report = None",
    "part_nan": "workspace.stopwatch.seconds['fit'] = float('nan')",
    "borrowed": "workspace.stopwatch.borrowed = float('inf')",
    "numpy": "workspace.report.update(parameters=np.int64(5), render_fps=np.float32(2.5)); "
             "workspace.progress(np.float32(0.5), np.int64(1), 'half')",
    "folder": "os.remove(bitstream); os.mkdir(bitstream)",
    "link": "os.rename(bitstream, 'elsewhere'); os.symlink(os.path.abspath('elsewhere'), bitstream)",
}


class Bad(Codec):
    """Keeps every frame as it is."""

    reference = "none"
    Settings = BadSettings

    @classmethod
    def missing(cls, host):
        return None

    @classmethod
    def version(cls, host):
        return "bad-1"

    def rate_points(self, clip):
        return [RatePoint("all", {})]

    def encode(self, source, point, bitstream, workspace):
        with open(bitstream, "wb") as stream:
            stream.write(self.settings.how.encode().ljust(20))
            send_video(source.video, stream)
        with open(os.environ["COUNT"], "a") as count:
            count.write("x")
        exec(ENCODING.get(self.settings.how, ""))

    @classmethod
    def decode(cls, bitstream, workspace):
        stream = open(bitstream, "rb")
        how = stream.read(20).decode("latin-1").strip()
        if how.startswith("!"):
            raise BitstreamError("The bitstream is spoilt.")
        if how == "decode_raises":
            raise ValueError("the decoder broke")
        if how == "measured" and "send" in sys.argv:
            raise ValueError("only the timed process may decode")
        if how == "no_video":
            return None
        video = PipedVideo(stream)
        return Wrong(video, how) if how in WRONG else video

    @classmethod
    def ledger(cls, bitstream):
        how = open(bitstream, "rb").read(20).decode().strip()
        return {"all": 1.5 if how == "ledger_float" else os.path.getsize(bitstream)}


WRONG = {
    "transposed": lambda planes: [plane.transpose(0, 2, 1) for plane in planes],
    "range": lambda planes: [plane.astype("<u2") + 1400 for plane in planes],
    "size": lambda planes: [plane.transpose(0, 2, 1) for plane in planes],
    "late": lambda planes: planes,
}


class Wrong(Video):
    def __init__(self, video, how):
        self._video, self._how, self.frames = video, how, None
        fmt = video.format
        self.format = {"range": VideoFormat(fmt.width, fmt.height, bit_depth=10),
                       "size": VideoFormat(fmt.height, fmt.width)}.get(how, fmt)

    def batches(self, size=8):
        for batch in self._video.batches(size):
            yield Frames(tuple(WRONG[self._how](list(batch.planes))))
        if self._how == "late":
            raise ValueError("the decoder broke late")
'''

Run = Callable[..., "tuple[dict[str, dict[str, Any]], subprocess.CompletedProcess[str]]"]


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder with the installed codec, as a package of a third party."""
    site = tmp_path / "site"
    (site / "bad-1.0.dist-info").mkdir(parents=True)
    (site / "badcodec.py").write_text(BAD)
    (site / "bad-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: bad\nVersion: 1.0\n")
    (site / "bad-1.0.dist-info" / "entry_points.txt").write_text("[rdbench.codecs]\nbad = badcodec:Bad\n")
    make_y4m(tmp_path / "small.y4m", 32, 16, 3)
    return site


@pytest.fixture
def run(site: Path, tmp_path: Path) -> Run:
    """Runs the codec in the named ways; returns the records by way, and how the command ended."""

    def call(*ways: str, options: tuple[str, ...] = ()) -> "tuple[Any, subprocess.CompletedProcess[str]]":
        codecs = ",".join(f"bad[how={way}]" if way else "bad" for way in ways)
        done = subprocess.run(
            [sys.executable, "-m", "rdbench.cli", "run", "--codecs", codecs, "--dataset", "small.y4m", "--metrics",
             "psnr", "--threads", "1", "--out", "out", *options],
            cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(site), "COUNT": str(tmp_path / "count")},
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert "Traceback" not in done.stdout + done.stderr
        records = [json.loads(path.read_text()) for path in (tmp_path / "out").rglob("record.json")]
        return {record["settings"].get("how", ""): record for record in records}, done

    return call


def folder(tmp_path: Path, way: str) -> Path:
    """The folder of the job that goes this way."""
    name = f"bad_how={way}" if way else "bad"
    (found,) = (tmp_path / "out" / "runs" / name).glob("*/*/all-*")
    return found


def test_a_failed_record_can_always_be_written(tmp_path: Path) -> None:
    fmt = format_to_dict(VideoFormat(32, 16, "420", 8))
    job = Job(
        codec="x264", name="x264", codec_version=3, settings={"a": object(), "b": "\ud800"},  # type: ignore[arg-type]
        sequence=Sequence("cl\udcffip", "files", "/nowhere/clip.y4m").to_dict(), format=fmt, clip_sha256="0" * 64,
        frames=3, point=28, point_settings={"crf": float("nan")},  # type: ignore[arg-type]
        conditions="rgb601", seed=0, command="rdbench run \udcff",
    )  # fmt: skip
    written = fail(job, tmp_path, "why \ud800\0" + "x" * 10**6)
    (path,) = tmp_path.rglob("record.json")
    record = read_record(path)
    assert (record.status, record.id, record.rate_point) == ("failed", job.id, "28")
    assert record.error == written.error
    assert record.error is not None
    assert record.error.startswith("why")


ENCODER = {
    "wordless": ("Wordless",),
    "long": ("ValueError: head", "tail"),
    "strange": ("ValueError: a", "c d"),
    "report_nan": ("nan", "render_fps", "finite number"),
    "report_none": ("workspace.report", "NoneType"),
    "part_nan": ("nan", "'fit'"),
    "borrowed": ("seconds",),
    "folder": ("wrote a folder", "one file"),
    "link": ("wrote a link", "one file"),
}
DECODER = {
    "decode_raises": ("ValueError: the decoder broke",),
    "no_video": ("NoneType", "expected", "Video"),
    "late": ("ValueError: the decoder broke late",),
    "ledger_float": ("1.5", "'all'", "whole number"),
    "transposed": ("gave planes of 16x32, expected 32x16",),
    "range": ("expected at most 1023 at 10 bit", "plane 0"),
    "size": ("frames of 16x32, expected 32x16",),
}


@pytest.mark.parametrize("reasons", [ENCODER, DECODER], ids=["encoder", "decoder"])
def test_whatever_a_codec_does_wrong_is_its_record_and_the_sweep_goes_on(run: Run, reasons: dict[str, Any]) -> None:
    records, done = run(*reasons, "numpy", options=("--jobs", "2"))
    assert done.returncode == 1
    assert set(records) == {*reasons, "numpy"}
    assert records["numpy"]["status"] == "ok"
    assert (records["numpy"]["parameters"], records["numpy"]["render_fps"]) == (5, 2.5)
    for way, words in reasons.items():
        record = records[way]
        assert record["status"] == "failed", way
        assert all(word in record["error"] for word in words), record["error"]
        assert "see the reason in its log" not in record["error"]
        assert len(record["error"]) < 2100
        assert record["error"].isprintable(), record["error"]


def test_the_reason_why_a_decoder_fails_while_it_is_measured_is_in_the_record(run: Run) -> None:
    records, _ = run("measured")
    assert records["measured"]["error"] == "ValueError: only the timed process may decode"


def test_a_full_disk_ends_the_run_with_the_jobs_that_still_run(run: Run, tmp_path: Path) -> None:
    run("decode_raises")
    job = folder(tmp_path, "decode_raises")
    (job / "log.txt").unlink()
    (job / "log.txt").symlink_to("/dev/full")
    start = time.monotonic()
    records, done = run("sleep", "decode_raises", options=("--jobs", "2"))
    assert time.monotonic() - start < 30
    assert done.returncode == 1
    assert "No space left" in done.stderr
    assert "it continues" in done.stderr
    assert "sleep" not in records
    assert not folder(tmp_path, "sleep").joinpath("bitstream.bin").exists()


def test_a_job_whose_folder_takes_no_record_is_one_failure(run: Run, tmp_path: Path) -> None:
    run("decode_raises")
    job = folder(tmp_path, "decode_raises")
    shutil.rmtree(job)
    job.write_text("a file where a folder belongs")
    records, done = run("decode_raises", "no_video")
    assert done.returncode == 1
    assert "FAILED: FileExistsError" in done.stdout
    assert set(records) == {"no_video"}


def test_a_kept_bitstream_that_does_not_decode_is_encoded_again_once(run: Run, tmp_path: Path) -> None:
    records, _ = run("healthy", "decode_raises")
    assert (records["healthy"]["status"], (tmp_path / "count").read_text()) == ("ok", "xx")
    job = folder(tmp_path, "healthy")
    good = (job / "bitstream.bin").read_bytes()
    (job / "record.json").unlink()
    (job / "bitstream.bin").write_bytes(b"!" + good[1:])
    write_checksum(job / "bitstream.bin")

    records, done = run("healthy", "decode_raises")
    assert (records["healthy"]["status"], records["decode_raises"]["status"]) == ("ok", "failed")
    assert (tmp_path / "count").read_text() == "xxxx"
    assert "does not decode (The bitstream is spoilt.)" in done.stderr.replace("\n", " ")
    assert "set aside" in (job / "log.txt").read_text()
    assert (job / "bitstream.bin.damaged").read_bytes() == b"!" + good[1:]
    assert (job / "bitstream.bin").read_bytes() == good
