"""Records on disk and as a table."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from rdbench.errors import RdbenchError
from rdbench.report.results import (
    COLUMNS,
    SCHEMA,
    Record,
    find_records,
    load,
    load_training_curves,
    read_record,
    to_frame,
    write_record,
)

DESIGN = """
codec dataset sequence rate_point preset settings conditions width height frames frame_rate bit_depth bits bpp kbps
psnr_rgb psnr_y psnr_u psnr_v psnr_yuv ms_ssim ms_ssim_db vmaf encode_seconds encode_fps decode_seconds decode_fps
render_fps parameters kmacs_per_pixel peak_memory_mb energy_joules seed device threads host cpu gpu started versions
command clip_sha256 bitstream_sha256 status error id
"""


def make(**changes: Any) -> Record:
    values: dict[str, Any] = {
        "codec": "x265", "dataset": "bunny", "sequence": "bunny", "rate_point": "crf28", "settings": {"crf": 28},
        "conditions": "rgb601/1a2b3c4d", "width": 160, "height": 90, "frames": 8, "frame_rate": 25.0, "bit_depth": 8,
        "bits": 8000, "bpp": 8000 / 115200, "psnr_rgb": 33.25, "status": "ok", "id": "aa", "ledger": {"payload": 1000},
        "parts": {"fit": 1.5}, "started": "2026-01-01T00:00:00+00:00",
    }  # fmt: skip
    return Record(**(values | changes))


def test_columns_are_the_designs_in_its_order() -> None:
    assert list(COLUMNS[: len(DESIGN.split())]) == DESIGN.split()
    assert {"ledger", "parts"} <= set(COLUMNS)


def test_record_survives_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "runs" / "a" / "record.json"
    record = make()
    write_record(path, record)
    assert read_record(path) == record
    assert [file.name for file in path.parent.iterdir()] == ["record.json"]


def test_a_record_without_a_schema_is_of_schema_1_and_a_newer_one_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    write_record(path, make(schema_number=SCHEMA))
    values = json.loads(path.read_text())
    assert values["schema"] == SCHEMA == 2
    new = {
        *("schema", "identity", "clip_sha256", "bitstream_sha256", "frames_sha256", "preset", "cpu", "cpu_cores"),
        *("gpu", "gpu_driver", "jobs", "load", "decode_samples", "decode_cold_seconds", "energy_stages", "seal"),
    }
    path.write_text(json.dumps({name: value for name, value in values.items() if name not in new}))
    old = read_record(path)
    assert (old.schema_number, old.psnr_rgb) == (1, 33.25)
    path.write_text(json.dumps({**values, "schema": SCHEMA + 1, "invented": "later"}))
    with pytest.raises(RdbenchError, match=r"has schema 3, and this rdbench reads up to 2; update rdbench"):
        read_record(path)


def test_interrupted_writing_leaves_the_old_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "record.json"
    write_record(path, make())

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_record(path, make(psnr_rgb=1.0))
    assert read_record(path).psnr_rgb == 33.25


@pytest.mark.parametrize("changes", [{"status": "maybe"}, {"psnr_rgb": float("nan")}, {"surprise": 1}, {"width": "x"}])
def test_wrong_fields_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        make(**changes)


@pytest.mark.parametrize("text", ["{", "[]", '{"codec": "x265"}'])
def test_damaged_record_names_its_file(tmp_path: Path, text: str) -> None:
    path = tmp_path / "record.json"
    path.write_text(text)
    with pytest.raises(RdbenchError, match=r"record\.json"):
        read_record(path)
    with pytest.raises(RdbenchError, match=r"record\.json"):
        load([tmp_path])


def test_load_merges_folders_and_keeps_one_of_each_id(tmp_path: Path) -> None:
    write_record(tmp_path / "a/runs/1/record.json", make(id="one", status="failed", error="no", started="2026-02"))
    write_record(tmp_path / "b/runs/1/record.json", make(id="one", started="2026-01"))
    write_record(tmp_path / "b/runs/2/record.json", make(id="two", rate_point="crf33"))
    frame = load([tmp_path / "a", tmp_path / "b"])
    assert tuple(frame.columns) == COLUMNS
    assert dict(zip(frame["id"], frame["status"], strict=True)) == {"one": "ok", "two": "ok"}


def test_nothing_to_load_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(RdbenchError, match="no records in"):
        load([tmp_path])
    with pytest.raises(RdbenchError, match="no folder"):
        load([tmp_path / "absent"])


def test_frame_keeps_values() -> None:
    frame = to_frame([make(), make(id="bb", psnr_rgb=None)])
    assert frame["psnr_rgb"].tolist()[0] == 33.25
    assert frame["psnr_rgb"].isna().tolist() == [False, True]
    assert frame["settings"].iloc[0] == {"crf": 28}


def test_training_curves_are_loaded_by_the_ids_of_their_records(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_record(tmp_path / name / "record.json", make(id=name))
    (tmp_path / "a" / "fit.csv").write_text("stage,epoch,seconds,psnr\nfit,1,0.5,20.0\nfit,2,1.0,21.5\n")
    curves = load_training_curves([tmp_path])
    assert list(curves) == ["a"]
    assert curves["a"]["psnr"].tolist() == [20.0, 21.5]
    (tmp_path / "b" / "fit.csv").write_text("stage,epoch\nfit,1\n")
    with pytest.raises(RdbenchError, match=r"b.fit\.csv is damaged"):
        load_training_curves([tmp_path])


def test_records_are_found_at_any_depth_in_order_of_their_paths(tmp_path: Path) -> None:
    places = ["b/record.json", "a-1/record.json", "a/z/record.json", "a/record.json", "a/b/c/record.json"]
    for place in places:
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_text("{}")
    (tmp_path / "a" / "other.json").write_text("{}")
    (tmp_path / "gone").mkdir()
    (tmp_path / "gone" / "record.json").symlink_to(tmp_path / "nothing")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    assert find_records(tmp_path) == sorted(tmp_path / place for place in places)
    assert find_records(tmp_path) == sorted(path for path in tmp_path.rglob("record.json") if "link" not in path.parts)
    assert find_records(tmp_path / "b" / "record.json") == []
