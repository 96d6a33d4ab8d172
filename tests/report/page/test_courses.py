"""Curves by frame and by time of training: values, thinning, and the budget."""

from pathlib import Path

import pytest
from report.page.sample import write_records

from rdbench.errors import RdbenchError
from rdbench.report import curves
from rdbench.report.page import courses, rows
from rdbench.report.results import load


def test_curves_have_the_values_of_the_files(tmp_path: Path) -> None:
    write_records(tmp_path, {"a": 1.0}, ("S",), files=True)
    frame, folders = curves.labeled(load([tmp_path])), rows.locate([tmp_path])
    assert courses.frame_curves(frame, folders) == {
        "rows": {str(row): {"metric": "psnr_rgb", "values": [30.12, 32.5]} for row in range(4)}, "left_out": 0,
    }  # fmt: skip
    training = courses.training_curves(frame, folders)
    assert training["rows"]["2"] == {"seconds": [1, 3.5], "psnr": [20.5, 25.25]}


def test_within_a_budget_first_seeds_come_first_and_the_others_are_counted(tmp_path: Path) -> None:
    write_records(tmp_path, {"a": 1.0}, ("S",), seeds=(1, 0), files=True)
    frame, folders = curves.labeled(load([tmp_path])), rows.locate([tmp_path])
    found = courses.frame_curves(frame, folders, budget=100)
    assert [int(frame["seed"].iloc[int(row)]) for row in found["rows"]] == [0, 0, 0]
    assert found["left_out"] == 5
    assert courses.left_out_notes(found, {"left_out": 0}) == [
        "The quality by frame of 5 records was left out to keep the page small; their folders have it."
    ]


def test_a_thinned_curve_keeps_its_ends() -> None:
    assert list(courses.thinned(3, 120)) == [0, 1, 2]
    assert courses.thinned(1000, 3) == [0, 500, 999]


def test_a_damaged_curve_is_named(tmp_path: Path) -> None:
    write_records(tmp_path, {"a": 1.0}, ("S",), files=True)
    path = next(tmp_path.rglob("frames.csv"))
    path.write_text("frame,psnr_rgb\n0,much\n")
    with pytest.raises(RdbenchError, match=r"frames\.csv is damaged .*run its job again"):
        courses.frame_curves(curves.labeled(load([tmp_path])), rows.locate([tmp_path]))
