"""Conditions: what they mean, and that they reach nothing but columns."""

import pandas as pd
import pytest

from rdbench.errors import UsageError
from rdbench.report.where import DEEPEST, MOST_LETTERS, where

FRAME = pd.DataFrame(
    {
        "sequence": ["Jockey", "Beauty", "Jockey", "Bosphorus"],
        "bpp": [0.1, 0.2, None, 0.4],
        "rate_point": ["27", "32", "37", "S"],
        "settings": [{"gop": 8}, {"gop": 16}, {}, None],
    }
)


@pytest.mark.parametrize(
    ("expression", "rows"),
    [
        ('sequence == "Jockey"', [0, 2]),
        ("sequence != 'Jockey'", [1, 3]),
        ("bpp < 0.2", [0]),
        ("bpp >= 2e-1", [1, 3]),
        ("bpp != 0.1", [1, 2, 3]),
        ("rate_point == 27", [0]),
        ('rate_point == "27"', [0]),
        ('sequence == "Jockey" and bpp < 1 or bpp > 0.3', [0, 3]),
        ('sequence == "Jockey" and (bpp < 1 or bpp > 0.3)', [0]),
        ('not sequence == "Jockey"', [1, 3]),
        ('sequence in ("Jockey", "Beauty")', [0, 1, 2]),
        ('sequence not in ["Jockey", "Beauty"]', [3]),
        ("settings.gop == 16", [1]),
        ('sequence < "Bp"', [1, 3]),
    ],
)
def test_a_condition_keeps_its_rows(expression: str, rows: list[int]) -> None:
    assert where(FRAME, expression).index.tolist() == rows


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("seqence == 'A'", "did you mean sequence"),
        ("bpp ==", "at the end"),
        ("bpp = 3", "cannot be read from '= 3'"),
        ("bpp == 0.1 0.2", "instead of 0.2"),
        ("(bpp == 0.1", "at the end"),
        ("0.1 == bpp", "name of a column"),
        ("bpp == bpp", "a number, or a text in quotes"),
        ("", "name of a column"),
        ("bpp == 9", "No result has bpp == 9"),
        ("not " * (DEEPEST + 1) + "bpp == 1", "levels"),
        ("(" * 1000 + "bpp == 1", "levels"),
        ("bpp == 1 or " * MOST_LETTERS, "letters"),
    ],
)
def test_a_wrong_condition_is_refused_with_its_reason(expression: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        where(FRAME, expression)


@pytest.mark.parametrize(
    "expression",
    [
        "@pd.io.common.os.system('touch x') == 0",
        "sequence.__class__ == 'x'",
        "__import__('os').system('true') == 0",
        "sequence.str.len() == 6",
        "bpp == 1; import os",
        "bpp == `x`",
        "bpp == lambda: 1",
    ],
)
def test_no_condition_reaches_python(expression: str) -> None:
    with pytest.raises(UsageError):
        where(FRAME, expression)
