"""What a record says of a number: what identifies it, where it was made, and what is measured again or not."""

import hashlib
import json
import os
import statistics
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from conftest import TOY_CODEC, Cli, make_y4m

from rdbench.clips.dataset import resolve
from rdbench.runner.sweep import digest

NOISY = (
    TOY_CODEC.replace("return PipedVideo(stream)", "return Noisy(PipedVideo(stream))")
    + """
from rdbench.video import Frames, Video


class Noisy(Video):
    def __init__(self, video):
        self.format, self.frames, self._video = video.format, video.frames, video

    def batches(self, size=8):
        for batch in self._video.batches(size):
            luma = batch.planes[0].copy()
            luma[0, 0, 0] = int.from_bytes(os.urandom(1), "little")
            yield Frames((luma, *batch.planes[1:]))
"""
)


def read(out: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(out.rglob("record.json"))]


def test_a_record_says_where_its_number_comes_from(cli: Cli, small_clip: Path, tmp_path: Path) -> None:
    done = cli("run", "--codecs", "x264[preset=ultrafast]", "--preset", "tiny", "--dataset", str(small_clip),
               "--rate-points", "crf22", "--threads", "1", "--out", "out")  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    (record,) = read(tmp_path / "out")
    folder = next((tmp_path / "out").rglob("record.json")).parent
    (clip,) = resolve(str(small_clip))
    planes = hashlib.sha256()
    for batch in clip.open().batches():
        for t in range(len(batch)):
            for plane in batch.planes:
                planes.update(plane[t].tobytes())
    assert record["bitstream_sha256"] == hashlib.sha256((folder / "bitstream.bin").read_bytes()).hexdigest()
    assert record["clip_sha256"] == record["identity"]["clip"] == planes.hexdigest()
    assert len(record["frames_sha256"]) == 64
    assert (record["preset"], record["schema"], record["jobs"]) == ("tiny", 2, 1)
    assert record["cpu"]
    assert 1 <= record["cpu_cores"] <= (os.cpu_count() or 1)
    assert record["load"] >= 0
    assert record["versions"]["rdbench"] == version("rdbench")
    assert digest(record["identity"]) == record["id"] == folder.name.split("-")[-1]
    assert record["identity"]["settings"]["preset"] == "ultrafast"
    assert record["identity"]["point"] == {"crf": 22}
    assert record["device"] == record["identity"]["device"] == "cpu"
    assert "environment" in record["seal"]


def test_decoding_is_repeated_and_every_sample_is_kept(cli: Cli, small_clip: Path, tmp_path: Path) -> None:
    assert (
        cli("run", "--codecs", "toy", "--dataset", str(small_clip), "--rate-points", "1", "--out", "out").returncode
        == 0
    )
    (record,) = read(tmp_path / "out")
    assert len(record["decode_samples"]) == 5
    assert record["decode_seconds"] == statistics.median(record["decode_samples"])
    assert record["decode_cold_seconds"] > 0


def test_missing_metrics_are_measured_without_encoding_again(cli: Cli, tmp_path: Path) -> None:
    make_y4m(tmp_path / "clip.y4m", 192, 176, 3)
    common = ("run", "--codecs", "x264[preset=ultrafast]", "--dataset", "clip.y4m", "--rate-points", "crf40",
              "--out", "out")  # fmt: skip
    assert cli(*common, "--metrics", "psnr").returncode == 0
    (before,) = read(tmp_path / "out")
    assert before["ms_ssim"] is None
    path = next((tmp_path / "out").rglob("record.json"))
    stream = path.with_name("bitstream.bin").stat().st_mtime_ns
    again = cli(*common)
    assert again.returncode == 0, again.stdout
    assert "was there" not in again.stdout
    (after,) = read(tmp_path / "out")
    assert 0 < after["ms_ssim"] < 1
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"ms_ssim", "ms_ssim_db"}
    assert path.with_name("bitstream.bin").stat().st_mtime_ns == stream
    assert path.with_name("log.txt").read_text().count("== encode") == 1
    vmaf = cli(*common, "--metrics", "vmaf")
    assert vmaf.returncode == 0, vmaf.stdout
    (last,) = read(tmp_path / "out")
    assert last["vmaf"] is not None
    assert last["ms_ssim"] == after["ms_ssim"]
    assert "was there" in cli(*common).stdout


def test_seeds_repeat_only_codecs_that_have_one(cli: Cli, small_clip: Path, tmp_path: Path) -> None:
    done = cli("run", "--codecs", "toy,x264[preset=ultrafast]", "--dataset", str(small_clip), "--rate-points", "1",
               "--seeds", "3,5", "--out", "out")  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    seeds = sorted((record["codec"], record["seed"]) for record in read(tmp_path / "out"))
    assert seeds == [("toy", 3), ("toy", 5), ("x264[preset=ultrafast]", 0)]


def test_other_jobs_repeat_nothing_and_other_threads_are_another_result(
    cli: Cli, small_clip: Path, tmp_path: Path
) -> None:
    common = ("run", "--codecs", "toy,x264[preset=ultrafast]", "--dataset", str(small_clip), "--rate-points", "1",
              "--out", "out")  # fmt: skip
    assert cli(*common, "--threads", "3", "--jobs", "1").returncode == 0
    again = cli(*common, "--jobs", "2")
    assert again.stdout.count("was there") == 2, again.stdout
    assert cli(*common, "--threads", "2").returncode == 0
    threads = sorted((record["codec"], record["threads"]) for record in read(tmp_path / "out"))
    assert threads == [("toy", 2), ("toy", 3), ("x264[preset=ultrafast]", 2), ("x264[preset=ultrafast]", 3)]


def test_a_changed_plugin_is_another_version(cli: Cli, small_clip: Path, tmp_path: Path, toy_site: Path) -> None:
    common = ("run", "--codecs", "toy", "--dataset", str(small_clip), "--rate-points", "1", "--out", "out")
    source = toy_site / "toycodec.py"
    try:
        assert cli(*common).returncode == 0
        source.write_text(TOY_CODEC + "\n# a comment changes nothing\n")
        assert "was there" in cli(*common).stdout
        source.write_text(TOY_CODEC.replace("time.sleep(self.settings.sleep)", "time.sleep(2 * self.settings.sleep)"))
        assert "was there" not in cli(*common).stdout
    finally:
        source.write_text(TOY_CODEC)
    assert len({record["versions"]["codec"] for record in read(tmp_path / "out")}) == 2


def test_two_decodings_that_differ_are_a_failure(cli: Cli, small_clip: Path, tmp_path: Path, toy_site: Path) -> None:
    source = toy_site / "toycodec.py"
    try:
        source.write_text(NOISY)
        done = cli("run", "--codecs", "toy", "--dataset", str(small_clip), "--rate-points", "1", "--out", "out")
    finally:
        source.write_text(TOY_CODEC)
    assert done.returncode == 1
    (record,) = read(tmp_path / "out")
    assert record["status"] == "failed"
    assert "Two decodings of the bitstream differ" in record["error"]


@pytest.mark.parametrize("device", ["cuda", "cuda:0"])
def test_a_device_that_is_not_there_is_named(cli: Cli, small_clip: Path, device: str) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    done = cli("run", "--codecs", "nerv", "--dataset", str(small_clip), "--device", device, "--preset", "tiny",
               "--rate-points", "1", "--out", "out")  # fmt: skip
    assert done.returncode == 1
    assert "no GPU" in done.stdout
