"""Damaged files of an earlier run are set aside, with a line that says so."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rdbench.report.results import SCHEMA
from rdbench.runner.checksum import write_checksum
from rdbench.runner.leftovers import heal_bitstream, heal_record, is_whole, kept_encoding

ENCODED = {
    "schema": SCHEMA, "seconds": 1.5, "parts": {"fit": 1.0}, "report": {"parameters": 5}, "device": "cpu",
    "peak_memory_mb": None, "energy": None, "jobs": 1, "threads": 2,
    "machine": {"cpu": "c", "cpu_cores": 2, "gpu": None, "gpu_driver": None, "host": "h", "load": 0.5},
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a job whose encoder is done."""
    (tmp_path / "bitstream.bin").write_bytes(b"content")
    write_checksum(tmp_path / "bitstream.bin")
    (tmp_path / "encode.json").write_text(json.dumps(ENCODED))
    return tmp_path


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


WHOLE = {"bitstream.bin", "bitstream.bin.sha256", "encode.json"}


def test_what_is_whole_is_kept_as_it_is(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert kept_encoding(folder) == ENCODED
    assert names(folder) == WHOLE
    assert capsys.readouterr().err == ""


def text(**changes: Any) -> str:
    return json.dumps({**ENCODED, **changes})


@pytest.mark.parametrize(
    "content",
    [
        "", "{", "[]", "null", "\x00" * 50, "[" * 100000, text(schema=SCHEMA - 1), text(schema=SCHEMA + 1),
        text(seconds="long"), text(seconds=float("nan")), text(seconds=0), text(machine={}), text(machine=None),
        text(parts={"fit": "x"}), text(report=[]), json.dumps({"schema": SCHEMA}),
    ],
)  # fmt: skip
def test_a_damaged_result_of_the_encoder_or_one_of_another_version_is_set_aside(
    folder: Path, content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "encode.json").write_text(content)
    assert kept_encoding(folder) is None
    assert names(folder) == {"bitstream.bin", "bitstream.bin.sha256", "encode.json.damaged", "log.txt"}
    assert (folder / "encode.json.damaged").read_text() == content
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "encode.json is damaged or of another version" in said
    assert said in (folder / "log.txt").read_text()


def replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "file").touch()


@pytest.mark.parametrize(
    "damage", [Path.unlink, replace_by_folder, lambda path: path.write_bytes(b"contenT"), lambda p: p.write_bytes(b"")]
)
def test_a_damaged_bitstream_is_set_aside(
    folder: Path, damage: Callable[[Path], Any], capsys: pytest.CaptureFixture[str]
) -> None:
    damage(folder / "bitstream.bin")
    for _ in range(2):  # the second time there is nothing left to say
        assert kept_encoding(folder) is None
    assert WHOLE.isdisjoint(names(folder))
    assert capsys.readouterr().err.count("set aside") == 1


def test_one_that_does_not_decode_is_set_aside_once(folder: Path) -> None:
    assert not heal_bitstream(folder, "decode took longer than --timeout 5 seconds and was ended.")
    assert not heal_bitstream(folder, "It ran out of memory (x); use a smaller size.")
    assert names(folder) == WHOLE
    assert heal_bitstream(folder, "ValueError: x")
    assert WHOLE.isdisjoint(names(folder))
    (folder / "bitstream.bin").write_bytes(b"other")
    assert not heal_bitstream(folder, "ValueError: x")
    assert (folder / "bitstream.bin").read_bytes() == b"other"


def test_a_bitstream_is_compared_with_what_is_known_of_it(folder: Path) -> None:
    path = folder / "bitstream.bin"
    assert is_whole(path)
    assert not is_whole(path, "0" * 64)
    assert not is_whole(folder)


def test_a_record_that_cannot_be_used_is_set_aside(tmp_path: Path) -> None:
    heal_record(tmp_path)
    assert names(tmp_path) == set()
    (tmp_path / "record.json").write_text('{"schema": 99}')  # of a later version: not to be written over
    heal_record(tmp_path)
    assert (tmp_path / "record.json.damaged").read_text() == '{"schema": 99}'
    (tmp_path / "record.json").mkdir()
    heal_record(tmp_path)
    assert names(tmp_path) == {"record.json.damaged", "log.txt"}
