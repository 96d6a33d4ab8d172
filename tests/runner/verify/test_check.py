"""Somebody else's folder: what is untouched holds, and everything that was changed is found and named."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Cli, make_y4m
from typer.testing import CliRunner

from rdbench.cli import app
from rdbench.clips import dataset
from rdbench.codec import Clip
from rdbench.errors import UsageError
from rdbench.registry import parse_specs
from rdbench.report.results import Record, read_record
from rdbench.runner.sweep import digest
from rdbench.runner.verify.check import Choice, Row, check_all, select
from rdbench.runner.verify.findings import Finding, NotAsRecorded, NotCheckable
from rdbench.runner.verify.rebuild import Places, check_tool, find_clip, find_tool, rebuild_job
from rdbench.runner.verify.record_checks import (
    check_bitstream,
    check_derived,
    check_frames_csv,
    check_identity,
    check_values,
)
from rdbench.runner.verify.redecode import DECIBELS, tolerance
from rdbench.runner.verify.refit import hold_against_seeds
from rdbench.runner.verify.session import VerifyOptions, verify_session

pytestmark = pytest.mark.xdist_group("verify")  # the folder is made once

Values = dict[str, Any]
X265 = "x265[preset=ultrafast]"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, toy_site: Path) -> Path:
    """What another person's machine has: a folder of records of NeRV and x265, and one of a clip that is a file."""
    place = tmp_path_factory.mktemp("theirs")
    make_y4m(place / "small.y4m", 64, 48, 6)
    common = ("--preset", "tiny", "--threads", "1")
    bunny = ("--codecs", f"{X265},nerv", "--dataset", "bunny@160x90", "--frames", "4", "--rate-points", "1")
    file = ("--codecs", X265, "--dataset", str(place / "small.y4m"), "--rate-points", "crf42,crf22")
    for name, arguments in (("bunny", bunny), ("file", file)):
        done = subprocess.run(
            [sys.executable, "-m", "rdbench.cli", "run", *arguments, *common, "--out", name],
            cwd=place, env={**os.environ, "PYTHONPATH": str(toy_site)}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
    return place


def folder_of(place: Path, codec: str, point: str = "") -> Path:
    """The folder of the record of this codec, at this rate point."""
    return next(p.parent for p in sorted(place.rglob("record.json"))
                if json.loads(p.read_text())["codec"] == codec and p.parent.name.startswith(point))  # fmt: skip


def copy(folder: Path, place: Path, change: Callable[[Values], object] = lambda values: None) -> Path:
    """A copy of a record's folder under `place`, of the same name, whose record is changed."""
    target = shutil.copytree(folder, place / folder.name)
    edit(target, change)
    return target


def edit(folder: Path, change: Callable[[Values], object]) -> None:
    values = json.loads((folder / "record.json").read_text())
    change(values)
    (folder / "record.json").write_text(json.dumps(values))


def rows_of(place: Path, places: Places | None = None, **choice: Any) -> dict[str, Row]:
    """The rows by the folder below `place` that contains the record's."""
    selection = select(Choice(place, **choice))
    rows = check_all(selection, places or Places(), lambda name: lambda done, total, text: None)
    return {row.record.split("/")[0]: row for row in rows}


def texts(findings: list[Finding]) -> str:
    return "; ".join(finding.text for finding in findings)


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


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda v: v["settings"].update(preset="veryslow"), "settings.preset: veryslow in the record, ultrafast"),
        (lambda v: v["settings"].pop("preset"), "settings.preset: nothing"),
        (lambda v: v["identity"]["settings"].update(preset="veryslow"), "is the hash of its identity"),
        (lambda v: v["identity"]["point"].update(crf=22), "settings.crf"),
        (lambda v: v.update(seed=3), "seed: 3"),
        (lambda v: v.update(clip_sha256="0" * 64), "clip: 0000"),
        (lambda v: v.update(frames=5), "frames: 5"),
        (lambda v: v.update(conditions="rgb709/00000000"), "conditions: rgb709"),
        (lambda v: v.update(device="cuda"), "device: cuda"),
        (lambda v: v["versions"].update(codec="libx265 9"), "version: libx265 9"),
        (lambda v: v.update(codec="x264[preset=ultrafast]"), "codec: x264"),
        (lambda v: v.update(id="0123456789ab"), "id: 0123456789ab"),
        (lambda v: v["identity"].pop("seed"), "identity: seed"),
        (lambda v: v["identity"].update(settings="none"), "no table"),
    ],
)
def test_a_changed_description_is_found(
    made: Path, tmp_path: Path, change: Callable[[Values], object], words: str
) -> None:
    folder = folder_of(made / "bunny", X265)
    assert list(check_identity(read_record(folder / "record.json"), folder.name)) == []
    changed = copy(folder, tmp_path, change)
    findings = list(check_identity(read_record(changed / "record.json"), changed.name))
    assert {finding.result for finding in findings} == {"does not hold"}
    assert words in texts(findings)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda v: v.update(bpp=v["bpp"] / 2), "bpp"),
        (lambda v: v.update(kbps=1.0), "kbps: 1.0"),
        (lambda v: v.update(encode_fps=v["encode_fps"] * 2), "encode_fps"),
        (lambda v: v.update(decode_fps=v["decode_fps"] * 2), "decode_fps"),
        (lambda v: v.update(decode_seconds=v["decode_seconds"] / 2, decode_fps=v["decode_fps"] * 2), "decode_seconds"),
        (lambda v: v.update(decode_samples=[0.001]), "decode_seconds"),
        (lambda v: v.update(ms_ssim=0.5), "ms_ssim_db"),
        (lambda v: v.update(energy_joules=3.0, energy_stages={"encode": 1.0, "decode": 1.0}), "energy_joules: 3.0"),
        (lambda v: v.update(ledger={"payload": 1}), "sum of the ledger: 1"),
    ],
)
def test_a_changed_number_that_follows_from_others_is_found(
    made: Path, tmp_path: Path, change: Callable[[Values], object], words: str
) -> None:
    folder = folder_of(made / "bunny", "nerv")
    assert list(check_derived(read_record(folder / "record.json"))) == []
    changed = copy(folder, tmp_path, change)
    findings = list(check_derived(read_record(changed / "record.json")))
    assert {finding.result for finding in findings} == {"does not hold"}
    assert words in texts(findings)


def test_the_values_of_the_frames_must_give_the_means(made: Path, tmp_path: Path) -> None:
    folder = folder_of(made / "bunny", X265)
    record, csv = read_record(folder / "record.json"), folder / "frames.csv"
    assert list(check_frames_csv(record, csv)) == []
    raised = record.model_copy(update={"psnr_rgb": 36.0})
    assert "psnr_rgb: 36.0 in the record" in texts(list(check_frames_csv(raised, csv)))
    lines = csv.read_text().splitlines()
    (tmp_path / "short.csv").write_text("\n".join(lines[:-1]))
    assert "frames: 4 in the record, 3 rows" in texts(list(check_frames_csv(record, tmp_path / "short.csv")))
    (tmp_path / "text.csv").write_text(lines[0] + "\n" + "x," * lines[0].count(",") + "x\n")
    assert [f.result for f in check_frames_csv(record, tmp_path / "text.csv")] == ["does not hold"]
    (tmp_path / "huge.csv").write_text("0" * 20_000)
    assert "no file of that many rows" in texts(list(check_frames_csv(record, tmp_path / "huge.csv")))


def test_impossible_values_and_missing_proofs_are_found(made: Path) -> None:
    record = read_record(folder_of(made / "bunny", X265) / "record.json")
    assert list(check_values(record)) == []
    for name, value in (("frames", 0), ("bits", None), ("decode_seconds", -1.0), ("threads", 0), ("bpp", None)):
        assert f"{name}: " in texts(list(check_values(record.model_copy(update={name: value}))))
    stripped = record.model_copy(update={"bitstream_sha256": None})
    assert [f.result for f in check_values(stripped)] == ["does not hold"]  # a record of schema 2 has one
    older = stripped.model_copy(update={"schema_number": 1})
    assert [f.result for f in check_values(older)] == [None]


def test_a_bitstream_that_is_not_the_recorded_one_is_found(made: Path, tmp_path: Path) -> None:
    folder = copy(folder_of(made / "bunny", X265), tmp_path)
    record, bitstream = read_record(folder / "record.json"), folder / "bitstream.bin"
    assert list(check_bitstream(record, bitstream)) == []
    whole = bitstream.read_bytes()
    bitstream.write_bytes(whole[:-5])
    (cut,) = check_bitstream(record, bitstream)
    assert cut == Finding("does not hold", f"bits: {record.bits} in the record, {record.bits - 40} in bitstream.bin")
    bitstream.write_bytes(bytes([whole[0] ^ 1]) + whole[1:])
    assert "bitstream_sha256" in texts(list(check_bitstream(record, bitstream)))
    bitstream.unlink()
    assert [f.result for f in check_bitstream(record, bitstream)] == ["cannot be checked"]
    bitstream.mkdir()
    assert "no regular file" in texts(list(check_bitstream(record, bitstream)))
    bitstream.rmdir()
    bitstream.symlink_to("/dev/zero")
    assert "no regular file" in texts(list(check_bitstream(record, bitstream)))


def forge(values: Values, **changes: Any) -> None:
    """Changes the settings everywhere and renews the id, as somebody would who knows how records are made."""
    values["settings"].update(changes)
    values["identity"]["settings"].update(changes)
    values["id"] = digest(values["identity"])


def test_a_setting_changed_everywhere_does_not_go_with_the_name(made: Path) -> None:
    folder = folder_of(made / "bunny", X265)
    values = json.loads((folder / "record.json").read_text())
    honest = Record.model_validate(values)
    tool = find_tool(honest, Places())
    job = rebuild_job(honest, tool, find_clip(honest, Places()), Places())
    assert digest(job.identity) == honest.id
    clip = Clip(job.video_format, 4)
    assert list(check_tool(honest, tool, clip)) == []
    forge(values, preset="veryslow")
    forged = Record.model_validate(values)
    assert list(check_identity(forged, f"crf42-{forged.id}")) == []
    findings = texts(list(check_tool(forged, find_tool(forged, Places()), clip)))
    assert "settings.preset: veryslow in the record, ultrafast by the name x265[preset=ultrafast]" in findings
    other_point = honest.model_copy(update={"rate_point": "crf17"})
    assert "rate point.crf: 42 in the record, 17 at crf17" in texts(list(check_tool(other_point, tool, clip)))
    other_threads = honest.model_copy(update={"identity": {**honest.identity, "threads": 7}})
    assert "threads: " in texts(list(check_tool(other_threads, tool, clip)))
    forge(values, preset="very slow")
    with pytest.raises(NotAsRecorded, match=r"settings\.preset"):
        find_tool(Record.model_validate(values), Places())


def test_nothing_that_a_record_names_is_executed(made: Path, tmp_path: Path) -> None:
    record = read_record(folder_of(made / "bunny", X265) / "record.json")
    declared = tmp_path / "evil.toml"
    declared.write_text('summary = "evil"\n')
    for name in (str(declared), "./evil.toml", "unheard-of"):
        with pytest.raises(NotCheckable, match="there is no codec"):
            find_tool(record.model_copy(update={"codec": name}), Places())
    identity = {**record.identity, "codec": "hm", "settings": {"path": str(tmp_path)}}
    with pytest.raises(NotAsRecorded, match=r"settings\.path"):
        find_tool(record.model_copy(update={"codec": "hm", "identity": identity}), Places())
    manifest = tmp_path / "mine.toml"
    manifest.write_text("")
    elsewhere = record.model_copy(update={"dataset": str(manifest), "command": ""})
    with pytest.raises(NotCheckable, match="--dataset"):
        find_clip(elsewhere, Places())


def test_a_codec_that_cannot_run_here_is_named_with_the_remedy(made: Path) -> None:
    record = read_record(folder_of(made / "bunny", X265) / "record.json")
    identity = {**record.identity, "codec": "dcvc-dc", "settings": {}}
    missing = record.model_copy(update={"codec": "dcvc-dc", "identity": identity})
    with pytest.raises(NotCheckable, match=r"dcvc-dc cannot run here: .*path"):
        find_tool(missing, Places())


def test_a_swapped_clip_is_found(made: Path, tmp_path: Path) -> None:
    record = read_record(folder_of(made / "file", X265) / "record.json")
    here = made / "small.y4m"
    assert find_clip(record, Places()).path == str(here)  # named by the record's command
    moved, other = tmp_path / "renamed.y4m", tmp_path / "other.y4m"
    shutil.copyfile(here, moved)
    other.write_bytes(here.read_bytes()[:-1] + b"\0")
    gone = record.model_copy(update={"command": record.command.replace(str(here), str(tmp_path / "none.y4m"))})
    with pytest.raises(NotCheckable, match="--dataset"):
        find_clip(gone, Places())
    found = find_clip(gone, Places(clips=tuple(dataset.resolve(str(moved)))))
    assert found.path == str(moved)
    with pytest.raises(NotAsRecorded, match="SHA-256"):
        find_clip(gone, Places(clips=tuple(dataset.resolve(str(other)))))
    swapped = shutil.copyfile(other, tmp_path / "small.y4m")
    in_place = record.model_copy(update={"command": f"rdbench run --dataset={swapped}"})
    with pytest.raises(NotAsRecorded, match="SHA-256"):
        find_clip(in_place, Places())


def test_the_clip_of_a_dataset_is_the_one_below_the_data_root(made: Path, tmp_path: Path) -> None:
    record = read_record(folder_of(made / "file", X265) / "record.json")
    path = Path(dataset.resolve("uvg:Jockey", tmp_path)[0].path)
    claimed = record.model_copy(update={"dataset": "uvg", "sequence": "Jockey", "command": ""})
    with pytest.raises(NotCheckable, match="data-root"):
        find_clip(claimed, Places(data_root=tmp_path))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"another clip under the same name")
    with pytest.raises(NotAsRecorded, match="Jockey"):
        find_clip(claimed, Places(data_root=tmp_path))
    bunny = read_record(folder_of(made / "bunny", X265) / "record.json")
    with pytest.raises(NotAsRecorded, match="bigbuckbunny"):  # the record claims other frames than the dataset has
        find_clip(bunny.model_copy(update={"clip_sha256": record.clip_sha256}), Places())


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


def test_refit_of_a_conventional_codec_must_give_the_same_bits(made: Path, tmp_path: Path) -> None:
    honest = folder_of(made / "file", X265, "crf42")
    copy(honest, tmp_path / "honest")
    # the better rate point's bitstream and quality, passed off as those of crf42
    claim = json.loads((honest / "record.json").read_text())
    names = ("id", "identity", "settings", "rate_point")
    forged = shutil.copytree(folder_of(made / "file", X265, "crf22"), tmp_path / "forged" / honest.name)
    edit(forged, lambda values: values.update({name: claim[name] for name in names}))
    rows = rows_of(tmp_path, refit=2)
    assert (rows["honest"].result, rows["honest"].notes) == ("holds", "refit: the same bitstream")
    assert rows["forged"].result == "does not hold"
    assert rows["forged"].notes.startswith("refit: another bitstream")


def test_refit_needs_the_same_version_of_the_codec(made: Path, tmp_path: Path) -> None:
    def other_version(values: Values) -> None:
        values["versions"]["codec"] = values["identity"]["version"] = "libx265 1.0 00000000"
        values["id"] = digest(values["identity"])

    folder = copy(folder_of(made / "file", X265), tmp_path / "other", other_version)
    name = f"crf42-{json.loads((folder / 'record.json').read_text())['id']}"
    folder.rename(folder.with_name(name))
    row = rows_of(tmp_path, refit=1)["other"]
    assert row.result == "cannot be checked"
    assert row.notes.startswith("refit: made by version libx265 1.0 00000000, here is libx265")


def test_refit_of_a_trained_codec_is_held_against_the_other_seeds(made: Path) -> None:
    record = read_record(folder_of(made / "bunny", "nerv") / "record.json")

    def seeded(seed: int, psnr: float, bits: int, **more: Any) -> Record:
        identity = {**record.identity, "seed": seed, **more}
        return record.model_copy(update={"seed": seed, "psnr_rgb": psnr, "bits": bits, "identity": identity})

    others = [seeded(seed, 30 + seed / 10, 8000 + seed) for seed in (1, 2, 3)]
    strangers = [seeded(seed, 50.0, 1, frames=99) for seed in (4, 5, 6)]  # another curve
    # mean 30.2, s 0.1, t(0.975, 2) = 4.3027, times sqrt(4/3): 29.703 to 30.697; bits: 7997.03 to 8006.97
    for psnr, bits, expected in ((30.69, 8006, {None}), (30.70, 8006, {None, "does not hold"}),
                                 (29.70, 8007, {"does not hold"})):  # fmt: skip
        again = {"psnr_rgb": psnr, "bits": bits}
        assert {f.result for f in hold_against_seeds(record, again, [record, *others, *strangers])} == expected
    few = list(hold_against_seeds(record, {"psnr_rgb": 30.0, "bits": 8000}, [record, others[0], *strangers]))
    assert {f.result for f in few} == {"cannot be checked"}
    assert "1 other seeds are too few" in few[0].text
