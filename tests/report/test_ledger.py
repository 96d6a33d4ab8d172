"""The bars of ledgers: their labels, their order, and what has none."""

from pathlib import Path

import pandas as pd
import pytest
from report.test_plots import make, texts

from rdbench.errors import RdbenchError
from rdbench.report.figures import FigureOptions
from rdbench.report.ledger import ledger_plot


def test_ledger(tmp_path: Path) -> None:
    ledger_plot(make("nerv"), tmp_path / "ledger.svg")
    found = texts(tmp_path / "ledger.svg")
    for word in ("weights", "header", "nerv A p3"):
        assert word in found
    ledger_plot(pd.concat([make("nerv"), make("nerv", seed=1)]), tmp_path / "ledger.svg")
    assert "nerv A p3 seed 1" in texts(tmp_path / "ledger.svg")


def test_bars_stand_in_the_order_of_the_records_where_these_are_sorted(tmp_path: Path) -> None:
    frame = make("nerv").iloc[::-1]
    ledger_plot(frame, tmp_path / "l.svg", FigureOptions(title="Where the bytes go"), in_order=True)
    found = texts(tmp_path / "l.svg")
    assert found.index("nerv A p3") < found.index("nerv A p0")
    assert "Where the bytes go" in found
    ledger_plot(frame, tmp_path / "l.svg")
    found = texts(tmp_path / "l.svg")
    assert found.index("nerv A p0") < found.index("nerv A p3")


def test_records_without_a_ledger_have_no_bars(tmp_path: Path) -> None:
    with pytest.raises(RdbenchError, match="ledger"):
        ledger_plot(make("x265").assign(ledger=None), tmp_path / "l.png")
