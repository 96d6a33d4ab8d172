"""The parts one by one, as a user calls them: encode, decode, measure, plot, results."""

import csv
import json
import os
import resource
import subprocess
import sys
from collections.abc import Collection
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from conftest import Cli, make_y4m

from rdbench.runner import session
from rdbench.runner.launch import StartWorker
from rdbench.runner.options import SweepOptions
from rdbench.runner.workers import Expected, prepared_workers


@pytest.fixture
def coded(cli: Cli, small_clip: Path, tmp_path: Path) -> Path:
    """The small clip, coded by x265."""
    done = cli("encode", "x265[preset=ultrafast]", str(small_clip), "-o", "clip.bin", "--rate-point", "crf22")
    assert done.returncode == 0, done.stderr
    assert "6 frames" in done.stdout
    return tmp_path / "clip.bin"


def test_encode_decode_measure_agree_with_a_run(cli: Cli, coded: Path, small_clip: Path, tmp_path: Path) -> None:
    decoded = cli("decode", "clip.bin", "-o", "clip.y4m")
    assert decoded.returncode == 0, decoded.stderr
    assert "6 frames of 64x48, decoded by x265" in decoded.stdout
    measured = cli("measure", str(small_clip), "clip.y4m", "--format", "json", "--frames-csv", "frames.csv")
    assert measured.returncode == 0, measured.stderr
    (row,) = json.loads(measured.stdout)
    ran = cli("run", "--codecs", "x265[preset=ultrafast]", "--dataset", str(small_clip), "--rate-points", "crf22",
              "--out", "out")  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    record = json.loads(next((tmp_path / "out").rglob("record.json")).read_text())
    for name in ("psnr_rgb", "psnr_y", "psnr_u", "psnr_v", "psnr_yuv"):
        assert row[name] == pytest.approx(record[name], abs=1e-9)
    assert record["bits"] == 8 * coded.stat().st_size
    with (tmp_path / "frames.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 6


def test_decode_takes_a_span_and_refuses_a_wrong_one(cli: Cli, coded: Path, tmp_path: Path) -> None:
    assert cli("decode", "clip.bin", "-o", "part.y4m", "--frames", "2:4").returncode == 0
    assert (tmp_path / "part.y4m").read_bytes().count(b"FRAME\n") == 2
    for span, words in (("4:2", "first below end"), ("x", "first:end"), ("9:12", "there are 6")):
        done = cli("decode", "clip.bin", "-o", "none.y4m", "--frames", span)
        assert done.returncode == 2
        assert words in done.stderr
        assert not (tmp_path / "none.y4m").exists()


def test_a_span_of_frames_is_measured(cli: Cli, coded: Path, small_clip: Path, tmp_path: Path) -> None:
    """The same three frames as a span of the whole clip and as a decoded part, and their values in the whole."""
    assert cli("decode", "clip.bin", "-o", "whole.y4m").returncode == 0
    assert cli("decode", "clip.bin", "-o", "part.y4m", "--frames", "2:5").returncode == 0
    measure = ("measure", str(small_clip))
    assert cli(*measure, "whole.y4m", "--frames-csv", "whole.csv").returncode == 0
    with (tmp_path / "whole.csv").open() as file:
        frames = [float(row["psnr_rgb"]) for row in csv.DictReader(file)][2:5]
    for test in ("whole.y4m", "part.y4m"):
        done = cli(*measure, test, "--frames", "2:5", "--format", "json", "--frames-csv", f"{test}.csv")
        assert done.returncode == 0, done.stderr
        (row,) = json.loads(done.stdout)
        assert row["frames"] == 3
        assert row["psnr_rgb"] == pytest.approx(sum(frames) / 3, abs=1e-9)
        with (tmp_path / f"{test}.csv").open() as file:
            assert [float(row["psnr_rgb"]) for row in csv.DictReader(file)] == frames


def test_a_span_longer_than_a_batch_and_across_batches(cli: Cli, tmp_path: Path) -> None:
    clip = make_y4m(tmp_path / "long.y4m", 32, 16, 21)
    data = clip.read_bytes()
    start, size = data.index(b"FRAME"), (len(data) - data.index(b"FRAME")) // 21
    (tmp_path / "part.y4m").write_bytes(data[:start] + data[start + 5 * size : start + 17 * size])
    for test in ("part.y4m", "long.y4m"):
        done = cli("measure", "long.y4m", test, "--frames", "5:17", "--format", "json", "--metrics", "psnr")
        assert done.returncode == 0, done.stderr
        (row,) = json.loads(done.stdout)
        assert (row["frames"], row["lossless_frames"], row["psnr_rgb"]) == (12, 12, 100)


@pytest.mark.parametrize(
    ("test", "span", "words"),
    [
        ("small.y4m", "x", "first:end"),
        ("small.y4m", "3", "first:end"),
        ("small.y4m", "4:2", "first below end"),
        ("small.y4m", "4:8", "beyond the last frame of small.y4m, which has 6"),
        ("small.y4m", "6:8", "beyond the last frame of small.y4m, which has 6"),
        ("short.y4m", "2:5", "beyond the last frame of short.y4m, which has 4"),
        ("short.y4m", "4:8", "beyond the last frame of small.y4m, which has 6"),
    ],
)
def test_a_span_that_is_not_there_is_refused(
    cli: Cli, small_clip: Path, tmp_path: Path, test: str, span: str, words: str
) -> None:
    make_y4m(tmp_path / "short.y4m", 64, 48, 4)
    done = cli("measure", small_clip.name, test, "--frames", span)
    assert done.returncode == 2, done.stdout
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


def test_vmaf_on_request(cli: Cli, tmp_path: Path) -> None:
    make_y4m(tmp_path / "a.y4m", 192, 176, 2)
    done = cli("measure", "a.y4m", "a.y4m", "--metrics", "psnr,vmaf", "--format", "json")
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)
    assert row["psnr_rgb"] == 100
    assert 90 < row["vmaf"] <= 100


@pytest.mark.parametrize("at", [0, 5, 60, -1])
def test_a_flipped_byte_is_found_beside_the_checksum(cli: Cli, coded: Path, at: int) -> None:
    data = bytearray(coded.read_bytes())
    data[at] ^= 4
    coded.write_bytes(bytes(data))
    done = cli("decode", "clip.bin", "-o", "clip.y4m")
    assert done.returncode == 1
    assert "clip.bin" in done.stderr
    assert "Traceback" not in done.stderr


def test_decoding_without_the_checksum_is_noted(cli: Cli, coded: Path) -> None:
    with_checksum = cli("decode", "clip.bin", "-o", "clip.y4m")
    assert (with_checksum.returncode, with_checksum.stderr) == (0, "")
    coded.with_name("clip.bin.sha256").unlink()
    without = cli("decode", "clip.bin", "-o", "clip.y4m")
    assert without.returncode == 0
    assert "no clip.bin.sha256 next to clip.bin" in without.stderr
    assert "damage that the stream does not show may go unnoticed" in without.stderr


def test_a_damaged_bitstream_is_encoded_again_not_measured(cli: Cli, small_clip: Path, tmp_path: Path) -> None:
    common = ("run", "--codecs", "toy", "--dataset", str(small_clip), "--rate-points", "all", "--out", "out")
    assert cli(*common).returncode == 0
    record = next((tmp_path / "out").rglob("record.json"))
    bitstream = record.with_name("bitstream.bin")
    good = bitstream.read_bytes()
    bitstream.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    record.unlink()
    assert cli(*common).returncode == 0
    assert bitstream.read_bytes() == good
    assert json.loads(record.read_text())["psnr_rgb"] == 100


def test_what_no_codec_recognizes_is_refused(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "noise.bin").write_bytes(b"noise" * 50)
    for arguments, status in ((("noise.bin",), 2), (("missing.bin",), 2), (("noise.bin", "--codec", "nerv"), 1)):
        done = cli("decode", *arguments, "-o", "x.y4m")
        assert done.returncode == status, done.stderr
        assert "Traceback" not in done.stderr
        assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("place", ["/proc/none/out", "small.y4m/out"])
def test_a_place_that_cannot_be_written_is_named(cli: Cli, coded: Path, small_clip: Path, place: str) -> None:
    run = ("run", "--codecs", "toy", "--dataset", str(small_clip), "--rate-points", "1")
    assert cli(*run, "--out", "good").returncode == 0
    for command in (
        ("decode", "clip.bin", "-o", place),
        ("encode", "x264", str(small_clip), "-o", place),
        (*run, "--out", place),
        ("plot", "good", "-o", place + ".png"),
    ):
        done = cli(*command)
        assert done.returncode in (1, 2), done.stdout
        assert place.split("/")[-2] in done.stderr, (command, done.stderr)
        assert "Traceback" not in done.stderr, done.stderr


def test_a_full_disk_fails_the_job_and_keeps_what_is_done(
    small_clip: Path, tmp_path: Path, toy_site: Path, cli: Cli
) -> None:
    """A limit on the size of files stands for the full disk: the toy's bitstream is larger than x264's."""

    def little_space() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    command = [sys.executable, "-m", "rdbench.cli", "run", "--codecs", "x264[preset=ultrafast],toy",
               "--dataset", str(small_clip), "--rate-points", "1", "--out", "out"]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(toy_site), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, preexec_fn=little_space, check=False
    )  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr
    records = {r["codec"]: r for r in map(json.loads, (p.read_text() for p in (tmp_path / "out").rglob("record.json")))}
    assert records["x264[preset=ultrafast]"]["status"] == "ok"
    assert records["toy"]["status"] == "failed"
    assert "File too large" in records["toy"]["error"]
    again = cli(*command[3:])
    assert again.returncode == 0, again.stdout
    assert "was there" in again.stdout


def test_plot_draws_files_of_each_kind(cli: Cli, small_clip: Path, tmp_path: Path) -> None:
    assert cli("run", "--codecs", "x264[preset=ultrafast],x265[preset=ultrafast]", "--dataset", str(small_clip),
               "--rate-points", "2", "--out", "out").returncode == 0  # fmt: skip
    for name, magic in (("rd.png", b"\x89PNG"), ("rd.pdf", b"%PDF"), ("rd.svg", b"<?xml")):
        done = cli("plot", "out", "-o", name)
        assert done.returncode == 0, done.stderr
        assert (tmp_path / name).read_bytes().startswith(magic)
    assert cli("plot", "out", "-o", "ledger.png", "--ledger").returncode == 0
    assert cli("plot", "out", "-o", "psnr_y.png", "--metric", "psnr_y").returncode == 0
    wrong = cli("plot", "out", "-o", "rd.xyz")
    assert wrong.returncode == 2, wrong.stderr
    table = cli("bdrate", "out", "--anchor", "x265[preset=ultrafast]", "--format", "csv")
    assert table.returncode == 0, table.stderr
    assert "x264" in table.stdout


def test_a_finished_sweep_prepares_no_workers(
    small_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared: list[list[Expected]] = []

    def noted(expected: Collection[Expected]) -> AbstractContextManager[StartWorker]:
        prepared.append(list(expected))
        return prepared_workers(expected)

    monkeypatch.setattr(session, "prepared_workers", noted)
    options = SweepOptions(codecs="x264", dataset=str(small_clip), rate_points="crf30", threads=1, out=tmp_path / "out")
    for _ in range(2):
        assert session.run_session(options) == 0
    assert prepared == [[Expected(False, 1)], []]
