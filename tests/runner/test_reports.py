"""What a codec says of itself: plain values, or an error that names the wrong one."""

from typing import Any

import numpy as np
import pytest
import torch

from rdbench.errors import RdbenchError
from rdbench.runner.reports import check_ledger, check_parts, check_report

NAN, INF = float("nan"), float("inf")


def test_numbers_of_numpy_and_torch_become_plain_ones() -> None:
    report = {"parameters": np.int64(5), "render_fps": torch.tensor(2.5), "kmacs_per_pixel": np.float32(0.5)}
    checked = check_report({**report, "command": "x -y", "more": object(), (1, 2): 3})
    assert checked == {"parameters": 5, "render_fps": 2.5, "kmacs_per_pixel": 0.5, "command": "x -y"}
    assert {type(value) for value in checked.values()} == {int, float, str}
    assert check_report({"render_fps": None}) == {}


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("render_fps", NAN, "finite"), ("render_fps", -1.0, "not negative"), ("render_fps", INF, "finite"),
        ("kmacs_per_pixel", "7", "finite number"), ("kmacs_per_pixel", [1.0], "a number"),
        ("kmacs_per_pixel", torch.ones(2), "a number"), ("parameters", 1.5, "whole number"),
        ("parameters", True, "whole number"), ("parameters", -3, "not negative"), ("parameters", "3", "whole number"),
        ("command", ["x", "-y"], "text"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_named(name: str, value: Any, words: str) -> None:
    with pytest.raises(RdbenchError, match=words) as error:
        check_report({name: value})
    assert name in str(error.value)


@pytest.mark.parametrize("value", [NAN, INF, -0.5, "1", None])
def test_a_part_is_a_number_of_seconds(value: Any) -> None:
    with pytest.raises(RdbenchError, match="'fit'"):
        check_parts({"fit": value})
    assert check_parts({"fit": np.float64(0.5)}) == {"fit": 0.5}


@pytest.mark.parametrize(
    ("ledger", "words"),
    [
        ({"a": 4.0, "b": 6}, "'a'"), ({"a": "10"}, "'10'"), ({"a": -2, "b": 12}, "not negative"), ({"a": 9}, "9 bytes"),
        ({}, "0 bytes, and the bitstream has 10"), ([("a", 10)], "list"), (None, "NoneType"), ({"a": NAN}, "nan"),
    ],
)  # fmt: skip
def test_a_ledger_accounts_for_every_byte_in_whole_numbers(ledger: Any, words: str) -> None:
    with pytest.raises(RdbenchError, match=words):
        check_ledger(ledger, 10)
    assert check_ledger({"a": np.int32(4), 1: 6}, 10) == {"a": 4, "1": 6}
