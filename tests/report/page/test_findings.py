"""Sentences: a claim where an interval carries it, and none elsewhere."""

from typing import Any

import pandas as pd
import pytest

from rdbench.report.page.differences import Column
from rdbench.report.page.findings import caveats, findings

LABELS = ("anchor", "test", "other")


def cell(series: int = 1, **values: Any) -> dict[str, Any]:
    return {"series": series, "seeds": "3", "sequences": ["A", "B"], "each": {}, **values}


def sentences(*cells: dict[str, Any], metric: str = "psnr_rgb") -> list[tuple[str, bool]]:
    found = findings(Column("set", metric, 0, list(cells)), LABELS)
    return [(one.text, one.claim) for one in found]


def test_a_difference_with_an_interval_is_a_claim() -> None:
    text = "test needs 32 % fewer bits than anchor at equal PSNR (95 % interval −38 to −25 %), on 2 sequences, 3 seeds."
    assert sentences(cell(bd_rate=-32.1, low=-38.2, high=-25.4)) == [(text, True)]


def test_an_interval_over_zero_is_no_difference() -> None:
    ((text, claim),) = sentences(cell(bd_rate=-3.2, low=-8.0, high=1.5), metric="vmaf")
    assert not claim
    assert text.startswith("No difference in bits between test and anchor at equal VMAF is shown: −3.2 % (95 % int")


def test_a_difference_that_rounds_to_nothing_has_no_sign() -> None:
    ((text, _),) = sentences(cell(bd_rate=-0.01, low=-12.0, high=0.2))
    assert "is shown: 0.0 % (95 % interval −12 to +0.2 %)" in text


def test_one_measurement_is_called_one_measurement() -> None:
    ((text, claim),) = sentences(cell(bd_rate=12.3, seeds="1", sequences=["A"]))
    assert not claim
    assert (
        text
        == "test needed 12 % more bits than anchor at equal PSNR in one measurement (1 sequence, 1 seed; no interval)."
    )


@pytest.mark.parametrize("notes", [
    "Not reportable: the quality ranges overlap by 5 % only, less than 10 %; choose rate points that meet.",
    "The test has only 2 points; 4 or more are usual. Not comparable: The curves do not overlap; choose others. More.",
])  # fmt: skip
def test_without_a_bd_rate_there_is_the_reason_alone(notes: str) -> None:
    ((text, claim),) = sentences(cell(sequences=[], each={"A": {"notes": notes}}))
    assert not claim
    assert text in (
        "No number for test against anchor: the quality ranges overlap by 5 % only, less than 10 %; choose rate points "
        "that meet.",
        "No number for test against anchor: The curves do not overlap; choose others.",
    )


def test_claims_come_first_and_the_largest_saving_before_the_others() -> None:
    cells = (cell(0, bd_rate=1.0, low=-1.0, high=3.0), cell(1, bd_rate=5.0, low=4.0, high=6.0),
             cell(2, bd_rate=-9.0, low=-12.0, high=-6.0))  # fmt: skip
    assert [text.split(" ")[0] for text, _ in sentences(*cells)] == ["other", "test", "No"]


def rows(**changes: Any) -> pd.DataFrame:
    usual: dict[str, Any] = {
        "dataset": "set", "sequence": "A", "frames": 300, "frame_rate": 25.0, "parts": {"fit": 1.0}, "preset": "paper",
        "label": "net", "seed": 0, "cpu": "c", "gpu": None, "threads": 1, "jobs": 1, "status": "ok",
    }  # fmt: skip
    table = [usual | {"sequence": name, "seed": seed} | changes for name in "ABCDE" for seed in (0, 1)]
    return pd.DataFrame(table)


def test_a_whole_measurement_has_no_caveat() -> None:
    assert caveats(rows(), []) == []


@pytest.mark.parametrize(("changes", "words"), [
    ({"sequence": "A"}, "Only 1 sequence of set"),
    ({"frames": 16}, "as short as 16 frames (0.64 s)"),
    ({"preset": "tiny"}, "net: trained with the preset tiny, far from converged"),
    ({"seed": 0}, "net: one seed, so the chance in training is not measured."),
    ({"jobs": 3}, "measured beside 2 other jobs"),
])  # fmt: skip
def test_each_weakness_is_said(changes: dict[str, Any], words: str) -> None:
    (text,) = caveats(rows(**changes), [])
    assert words in text


def test_a_codec_that_is_not_trained_has_no_caveat_on_seeds_or_presets() -> None:
    assert caveats(rows(parts={}, preset="tiny", seed=0), []) == []


def test_doubtful_bd_rates_are_counted() -> None:
    cells = [cell(bd_rate=-5.0, overlap=0.4, spread=0.2), cell(bd_rate=-5.0, overlap=0.9, spread=2.0), cell()]
    (text,) = caveats(rows(), [Column("set", "psnr_rgb", 0, cells)])
    assert text == (
        "Of 2 BD-rates, 1 compare curves whose qualities overlap by less than 75 % and 1 change by more than 1 point "
        "with the method of interpolation; the matrix marks them."
    )
