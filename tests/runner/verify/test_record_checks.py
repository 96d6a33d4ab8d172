"""What a record's own files contradict is found and named."""

from collections.abc import Callable
from pathlib import Path

import pytest
from record_folders import X265, Values, copy, folder_of, texts

from rdbench.report.results import read_record
from rdbench.runner.verify.findings import Finding
from rdbench.runner.verify.record_checks import (
    check_bitstream,
    check_derived,
    check_frames_csv,
    check_identity,
    check_values,
)

pytestmark = pytest.mark.xdist_group("verify")  # the folder is made once


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
