"""Somebody else's folder: what is untouched holds, and everything that was changed is found and named."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Cli
from record_folders import X265, Values, copy, edit, folder_of, rows_of
from typer.testing import CliRunner

from rdbench.cli import app
from rdbench.errors import UsageError
from rdbench.registry import parse_specs
from rdbench.report.results import read_record
from rdbench.runner.verify.check import Choice, Row, select
from rdbench.runner.verify.rebuild import Places, find_clip, find_tool, rebuild_job
from rdbench.runner.verify.redecode import DECIBELS, tolerance
from rdbench.runner.verify.session import VerifyOptions, verify_session

pytestmark = pytest.mark.xdist_group("verify")  # the folder is made once


def state(place: Path) -> dict[str, str]:
    files = (path for path in sorted(place.rglob("*")) if path.is_file())
    return {str(path): f"{hashlib.sha256(path.read_bytes()).hexdigest()} {path.stat().st_mtime_ns}" for path in files}


def test_an_untouched_folder_holds_elsewhere_and_stays_as_it_is(cli: Cli, made: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(made / "bunny", tmp_path / "somewhere" / "else")
    before = state(moved)
    done = cli("verify", "somewhere/else", "--format", "json", "--dataset", str(made / "small.y4m"))
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads(done.stdout)
    assert {(row["codec"], row["result"], row["notes"]) for row in rows} == {(X265, "holds", ""), ("nerv", "holds", "")}
    assert "holds: 2, does not hold: 0" in done.stderr
    assert "none for conventional codecs" in done.stderr
    assert state(moved) == before


def test_what_needs_a_decoding_is_found(made: Path, tmp_path: Path) -> None:
    x265 = folder_of(made / "bunny", X265)
    edited = copy(x265, tmp_path / "psnr", lambda values: values.update(psnr_rgb=36.0))
    (edited / "frames.csv").unlink()
    flipped = copy(x265, tmp_path / "flipped") / "bitstream.bin"
    data = bytearray(flipped.read_bytes())
    data[len(data) // 2] ^= 1
    flipped.write_bytes(data)
    renewed = hashlib.sha256(data).hexdigest()
    flipped.with_name("bitstream.bin.sha256").write_text(f"{renewed}  bitstream.bin\n")
    edit(flipped.parent, lambda values: values.update(bitstream_sha256=renewed))
    ledger = copy(x265, tmp_path / "ledger")
    edit(ledger, lambda values: values["ledger"].update(dict.fromkeys(values["ledger"], 0)))
    edit(ledger, lambda values: values["ledger"].update(payload=values["bits"] // 8))
    older = copy(x265, tmp_path / "older", make_schema_1)
    rows = rows_of(tmp_path)
    measured = read_record(x265 / "record.json").psnr_rgb
    assert rows["psnr"].result == "does not hold"
    assert f"psnr_rgb: 36.0 in the record, {measured}" in rows["psnr"].notes
    assert rows["flipped"].result == "does not hold"
    assert "frames_sha256" in rows["flipped"].notes or "decoding" in rows["flipped"].notes
    assert rows["ledger"].result == "does not hold"
    assert "ledger.payload" in rows["ledger"].notes
    assert rows["older"].result == "holds", rows["older"]
    assert "identity, clip_sha256, bitstream_sha256, frames_sha256" in rows["older"].notes
    assert older.exists()


def make_schema_1(values: Values) -> None:
    """The record as rdbench 0.1 wrote it: without what schema 2 added."""
    added = "schema identity clip_sha256 bitstream_sha256 frames_sha256 preset cpu cpu_cores gpu gpu_driver jobs load"
    for name in (*added.split(), "decode_samples", "decode_cold_seconds", "energy_stages", "seal"):
        values.pop(name, None)
    values["versions"] = {"codec": "libx265 4.1"}


def test_a_trained_codec_has_a_tolerance_only_on_another_device(made: Path) -> None:
    for codec in (X265, "nerv"):
        record = read_record(folder_of(made / "bunny", codec) / "record.json")
        tool = find_tool(record, Places())
        job = rebuild_job(record, tool, find_clip(record, Places()), Places())
        assert tolerance(record, tool, job).decibels == 0
        for change in ({"cpu": "another"}, {"versions": {**record.versions, "torch": "1.0"}}, {"device": "cuda"}):
            elsewhere = tolerance(record.model_copy(update=change), tool, job)
            assert elsewhere.decibels == (DECIBELS if codec == "nerv" else 0)
            assert elsewhere.same_frames == (codec != "nerv")


def test_records_that_are_none_do_not_end_the_check(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    x265 = folder_of(made / "bunny", X265)
    place = tmp_path / "mixed"
    copy(x265, place / "unknown", lambda v: v.update(codec="unheard-of"))
    copy(x265, place / "failed", lambda v: v.update(status="failed", error="the disk was full"))
    copy(x265, place / "newer", lambda v: v.update(schema=99, more=1))
    copy(x265, place / "extra", lambda v: v.update(more=1))
    copy(x265, place / "infinite", lambda v: v.update(bits=10**400))
    broken = copy(x265, place / "broken")
    (broken / "record.json").write_text("{")
    deep = copy(x265, place / "deep")
    (deep / "record.json").write_text("[" * 100_000)
    rows = rows_of(place)
    results = {name: row.result for name, row in rows.items()}
    assert results == {
        "unknown": "does not hold", "failed": "failed", "newer": "cannot be checked", "extra": "does not hold",
        "infinite": "does not hold", "broken": "does not hold", "deep": "does not hold",
    }  # fmt: skip
    assert "there is no codec unheard-of here" in rows["unknown"].notes
    assert "the disk was full" in rows["failed"].notes
    assert "schema 99" in rows["newer"].notes
    for name in ("unknown", "extra", "infinite", "broken", "deep"):
        shutil.rmtree(place / name)
    assert verify_session(VerifyOptions(place)) == 0
    assert "cannot be checked: 1). 1 failed, and do not count." in capsys.readouterr().out


def test_a_cut_bitstream_gives_exit_status_1(cli: Cli, made: Path, tmp_path: Path) -> None:
    bitstream = copy(folder_of(made / "bunny", X265), tmp_path / "cut") / "bitstream.bin"
    bitstream.write_bytes(bitstream.read_bytes()[:-1])
    done = cli("verify", "cut")
    assert done.returncode == 1, done.stderr
    assert "does not hold: 1" in done.stdout
    assert "bits: " in done.stdout


def test_a_stopped_check_prints_what_it_has(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_: object) -> Iterator[Row]:
        yield Row("a/b", "nerv", "bunny", "20K", "does not hold", "psnr_rgb: 36.0 in the record")
        raise KeyboardInterrupt

    monkeypatch.setattr("rdbench.runner.verify.session.check_all", stopped)
    done = CliRunner().invoke(app, ["verify", str(made)])
    assert done.exit_code == 130
    assert "psnr_rgb: 36.0 in the record" in done.output
    assert "Stopped; the rows above" in done.output


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"folder": Path("nothing")}, "There is no folder nothing"),
        ({"codecs": "x266"}, "did you mean x265"),
        ({"sample": 0}, "--sample 0"),
        ({"refit": -1}, "--refit -1"),
        ({"format": "xml"}, "xml"),
        ({"dataset": "none.y4m"}, "none.y4m"),
        ({"device": "cuda"}, "GPU"),
        ({"device": "abacus"}, "abacus"),
    ],
)
def test_wrong_options_are_named_before_anything_is_checked(
    made: Path, monkeypatch: pytest.MonkeyPatch, options: Values, words: str
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(UsageError, match=words):
        verify_session(VerifyOptions(**{"folder": made, **options}))


def test_a_folder_without_records_is_a_wrong_command_line(cli: Cli) -> None:
    done = cli("verify", ".")
    assert (done.returncode, done.stderr) == (2, "rdbench: There are no records in .; rdbench run writes them.\n")


def test_codecs_and_a_sample_choose_records(made: Path) -> None:
    whole = select(Choice(made))
    assert len(whole.chosen) == len(whole.finished) == 4
    assert whole.describe() == ""
    assert [f.record.codec for f in select(Choice(made, tuple(parse_specs("nerv")))).chosen] == ["nerv"]
    assert len(select(Choice(made, tuple(parse_specs("x265")))).chosen) == 3
    assert len(select(Choice(made, tuple(parse_specs(X265)))).chosen) == 3
    with pytest.raises(UsageError, match="medium"):
        select(Choice(made, tuple(parse_specs("x265[preset=medium]"))))
    sample = select(Choice(made, sample=2))
    assert len(sample.chosen) == 2
    assert sample.chosen == select(Choice(made, sample=2)).chosen
    assert "2 of 4 finished records" in sample.describe()
    assert "random.Random(0)" in sample.describe()
    assert len(select(Choice(made, refit=1)).again) == 1
