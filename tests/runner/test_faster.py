"""A second decoding in a faster number format: who has one, what a record says of it, what stays as it is."""

import io
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rdbench.codec import Workspace
from rdbench.errors import MediaError, UsageError
from rdbench.registry import load_codec
from rdbench.report.results import RECORD, Record, write_record
from rdbench.runner import faster, worker
from rdbench.runner.bench import bench
from rdbench.runner.decoder_process import running_decoder
from rdbench.runner.decoding import DecoderOptions
from rdbench.runner.events import Events
from rdbench.runner.faster import ComparedVideo
from rdbench.runner.files import BITSTREAM, LOG
from rdbench.runner.job import run_job
from rdbench.runner.options import ClipOptions, SweepOptions
from rdbench.runner.resume import finished_record, job_folder
from rdbench.runner.session import decode_clip, encode_clip, single_job
from rdbench.runner.sweep import Job, plan
from rdbench.video import Frames, VideoFormat
from rdbench.video.readers import MemoryVideo


def video(samples: np.ndarray, width: int = 4) -> MemoryVideo:
    return MemoryVideo(VideoFormat(width, 2, chroma="gray"), Frames((samples.reshape(-1, 2, width),)))


def test_the_largest_difference_of_all_frames_counts() -> None:
    ours = np.full((5, 2, 4), 100, np.uint8)
    theirs = ours.copy()
    theirs[1, 0, 2], theirs[4, 1, 3] = 103, 93
    compared = ComparedVideo(video(ours), video(theirs))
    assert [len(batch) for batch in compared.batches(2)] == [2, 2, 1]
    assert compared.largest == 7
    for other in (video(theirs[:4]), video(np.zeros((5, 2, 6), np.uint8), 6)):
        with pytest.raises(MediaError, match="differ in the size or the number"):
            list(ComparedVideo(video(ours), other).batches(2))


def jobs_of(codecs: str, precision: str | None) -> list[Job]:
    options = SweepOptions(
        codecs=codecs, dataset="bunny@160x90", frames=2, preset="tiny", rate_points="20K,crf27", threads=1,
        device="cpu", precision=precision, set=("nerv.epochs=2",) if "nerv" in codecs else None,
    )  # fmt: skip
    return plan(options.sweep(1), "rdbench run")


def test_it_decides_no_bits_and_a_program_has_none(capsys: pytest.CaptureFixture[str]) -> None:
    plain, fast = jobs_of("nerv,x264", None), jobs_of("nerv,x264", "bfloat16")
    assert {job.codec: job.rendering for job in plain} == {"nerv": "float32", "x264": "float32"}
    assert {job.codec: job.rendering for job in fast} == {"nerv": "bfloat16", "x264": "float32"}
    assert [job.id for job in plain] == [job.id for job in fast]
    assert capsys.readouterr().err.splitlines() == ["x264: no second decoding, --precision does not apply."]
    with pytest.raises(UsageError, match="--precision float16 is for codecs that render with a network"):
        jobs_of("x264", "float16")
    with pytest.raises(UsageError, match="--precision cannot be 'int8'; give float32, bfloat16 or float16"):
        SweepOptions(precision="int8")


def measured_by_hand(folder: Path, job: Job, precision: str) -> np.ndarray:
    workspace = Workspace(folder, precision=precision)
    decoded = load_codec(job.codec).decode(folder / BITSTREAM, workspace)
    return np.concatenate([np.stack(batch.planes, 1) for batch in decoded.batches()]).astype(np.int64)


@pytest.mark.slow
def test_a_finished_result_gets_it_without_another_encoding(tmp_path: Path) -> None:
    from rdbench.video.conditions import find_conditions
    from rdbench.video.readers import RgbVideo

    (plain,), (fast,) = (
        [job for job in jobs_of("nerv,x264", each) if job.codec == "nerv"] for each in (None, "bfloat16")
    )
    stop, silent = threading.Event(), lambda done, total, text: None
    first = run_job(plain, tmp_path, silent, stop)
    assert (first.status, first.fast_precision, first.fast_decode_seconds) == ("ok", None, None)
    assert finished_record(tmp_path, plain) == first
    assert finished_record(tmp_path, fast) is None
    second = run_job(fast, tmp_path, silent, stop)
    assert finished_record(tmp_path, fast) == second
    assert finished_record(tmp_path, replace(fast, rendering="float16")) is None
    assert finished_record(tmp_path, plain) == second
    changed = {name for name in Record.model_fields if getattr(first, name) != getattr(second, name)}
    assert {name for name in changed if not name.startswith("fast_")} == set()

    folder = job_folder(tmp_path, fast)
    exact, ours = (measured_by_hand(folder, fast, each) for each in ("float32", "bfloat16"))
    clip = RgbVideo(fast.clip.open(fast.ffmpeg, fast.frames), find_conditions("rgb601"))
    source = np.concatenate([np.stack(batch.planes, 1) for batch in clip.batches()]).astype(np.int64)
    psnr = [np.mean([10 * np.log10(255**2 / np.mean((a - b) ** 2)) for a, b in zip(each, source, strict=True)])
            for each in (ours, exact)]  # fmt: skip
    assert second.fast_precision == "bfloat16"
    assert second.fast_psnr_difference == pytest.approx(psnr[0] - psnr[1], abs=1e-9)
    assert second.fast_psnr_difference != 0
    assert second.fast_largest_difference == np.abs(ours - exact).max() > 0
    assert second.fast_decode_fps == pytest.approx(fast.frames / (second.fast_decode_seconds or 0))
    verbs = [line.split(":")[0] for line in (folder / LOG).read_text().splitlines() if line.startswith("== ")]
    assert verbs == ["== encode", "== decode", "== faster"]

    write_record(folder / RECORD, first.model_copy(update={"frames_sha256": "0" * 64}))
    third = run_job(fast, tmp_path, silent, stop)
    assert (third.status, third.fast_precision) == ("failed", None)
    assert "other frames" in (third.error or "")


@pytest.mark.slow
def test_a_result_that_lacks_nothing_else_is_decoded_once_in_each_format(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (job,) = (job for job in jobs_of("nerv,x264", "bfloat16") if job.codec == "nerv")
    encode_clip("nerv[epochs=2]", "bunny@160x90", tmp_path / BITSTREAM, "20K", ClipOptions("tiny", 2, 0, "cpu", 1))
    decoders: list[tuple[tuple[str, ...], str]] = []

    def counted(tasks: tuple[str, ...], job: Job, options: DecoderOptions, *paths: Path) -> Any:
        decoders.append((tasks, options.precision))
        return running_decoder(tasks, job, options, *paths)

    for module in (worker, faster):
        monkeypatch.setattr(module, "running_decoder", counted)
    events = Events(io.BytesIO())
    alone = worker.faster(job, tmp_path / BITSTREAM, tmp_path, events)
    assert decoders == [(("decode", "send"), "bfloat16"), (("send",), "float32")]
    whole = worker.measure(job, tmp_path / BITSTREAM, tmp_path, events)
    assert alone["frames_sha256"] == whole["frames_sha256"]
    difference = alone["psnr"] - whole["summary"]["psnr_rgb"]
    assert whole["faster"]["fast_psnr_difference"] == pytest.approx(difference, abs=1e-9)


def test_a_bitstream_is_rendered_in_the_format_that_was_asked_for(tmp_path: Path) -> None:
    clip, stream = "bunny@160x90", tmp_path / "a.bin"
    encode_clip("nerv[epochs=2]", clip, stream, "20K", ClipOptions("tiny", 2, 0, "cpu", 1))
    outputs = {name: tmp_path / f"{name}.y4m" for name in ("float32", "bfloat16", "default")}
    decode_clip(stream, outputs["default"], None, None, "cpu", 1, None)
    for name in ("float32", "bfloat16"):
        decode_clip(stream, outputs[name], None, None, "cpu", 1, None, name)
    assert outputs["float32"].read_bytes() == outputs["default"].read_bytes() != outputs["bfloat16"].read_bytes()
    encode_clip("x264", clip, tmp_path / "b.264", "crf27", ClipOptions(None, 2, 0, "cpu", 1))
    with pytest.raises(UsageError, match="x264 does not render in bfloat16; omit --precision"):
        decode_clip(tmp_path / "b.264", tmp_path / "b.y4m", "x264", None, "cpu", 1, None, "bfloat16")


def test_a_bench_decodes_in_it_and_trains_by_the_codecs_option() -> None:
    job = single_job("nerv", "bunny@160x90", "20K", ClipOptions("tiny", 2, 0, "cpu", 1, precision="bfloat16"))
    timings = {timing.name: timing.precision for timing in bench("decode", job, 1).timings}
    assert (timings["decode"], timings["render"], timings["entropy_decode"]) == ("bfloat16", "bfloat16", "float32")
    with pytest.raises(UsageError, match=r"a training's is nerv\[precision=bfloat16\]"):
        bench("fit", job, 1)


def test_a_decoder_gets_the_format_as_an_option(tmp_path: Path) -> None:
    options = DecoderOptions("cpu", 1, None, {})
    assert options.workspace(tmp_path, "cpu").precision == "float32"
    assert replace(options, precision="float16").workspace(tmp_path, "cpu").precision == "float16"
