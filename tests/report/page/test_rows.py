"""Columns of records: what comes back from them, what is left out, and links to folders."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from report.page.sample import write_records

from rdbench.report.page import rows
from rdbench.report.results import load


def unpacked(column: dict[str, Any]) -> list[Any]:
    return [column["values"][code] for code in column["codes"]] if "codes" in column else column["values"]


def test_columns_give_the_values_back_and_leave_out_empty_ones(tmp_path: Path) -> None:
    write_records(tmp_path, codecs={"a": 1.0}, sequences=("S",), seeds=(0,))
    frame = load([tmp_path])
    found, left_out = rows.columns(frame)
    assert left_out == []
    assert "vmaf" not in found
    assert unpacked(found["codec"]) == ["a"] * 4
    assert unpacked(found["bpp"]) == pytest.approx(list(frame["bpp"]), rel=1e-5)
    assert json.loads(unpacked(found["ledger"])[0]) == {"header": 10, "weights": 90}
    assert unpacked(found["encoder_command"]) == ["enc p0", "enc p1", "enc p2", "enc p3"]
    assert "encoder_command" not in unpacked(found["settings"])[0]


def test_details_that_are_equal_in_python_alone_stay_apart() -> None:
    settings = [{"a": 1}, {"a": True}, {"a": 1.0}, {"a": 1}, {}, {"a": "1"}]
    found = rows.columns(pd.DataFrame({"settings": settings}))[0]["settings"]
    assert unpacked(found) == ['{"a":1}', '{"a":true}', '{"a":1}', '{"a":1}', None, '{"a":"1"}']


def test_what_is_no_finite_number_is_missing() -> None:
    frame = pd.DataFrame({"bpp": [np.nan, np.inf, 0.123456789], "settings": [{}, {}, {}]})
    assert rows.columns(frame)[0]["bpp"]["values"] == [None, None, 0.123457]


def test_details_beyond_the_size_are_left_out_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "DETAIL_BYTES", 100)
    frame = pd.DataFrame({"command": ["short"], "settings": [{"a": "x" * 200}], "seal": [["files"]]})
    found, left_out = rows.columns(frame)
    assert left_out == ["settings"]
    assert {"command", "seal"} <= set(found)


def test_of_two_records_with_one_id_the_folder_of_the_finished_one_counts(tmp_path: Path) -> None:
    for folder, status, started in (("b", "ok", "2026-01-01"), ("c", "failed", "2026-02-02")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "record.json").write_text(json.dumps({"id": "x", "status": status, "started": started}))
    assert rows.locate([tmp_path]) == {"x": tmp_path / "b"}


def test_a_link_is_relative_to_the_page_and_escaped(tmp_path: Path) -> None:
    folder = tmp_path / "results" / 'javascript:"a b"'
    assert rows.links(["x", "y"], {"x": folder}, tmp_path / "pages" / "r.html") == [
        "../results/javascript%3A%22a%20b%22/", None,
    ]  # fmt: skip


def test_links_are_to_the_real_folders(tmp_path: Path) -> None:
    (tmp_path / "real" / "a").mkdir(parents=True)
    (tmp_path / "seen").symlink_to(tmp_path / "real")
    (tmp_path / "one").symlink_to(tmp_path / "real" / "a")
    folders = {"x": tmp_path / "seen" / "a", "y": tmp_path / "one", "z": tmp_path / "real" / "b"}
    assert rows.links(["x", "y", "z"], folders, tmp_path / "r.html") == ["real/a/", "real/a/", "real/b/"]
    assert rows.links(["x"], folders, tmp_path / "real" / "r.html") == ["a/"]
