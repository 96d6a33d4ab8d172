"""The data of a page against `rdbench bdrate` and against values made by hand."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from report.page.sample import write_records
from typer.testing import CliRunner

from rdbench.cli import app
from rdbench.errors import RdbenchError, UsageError
from rdbench.report.bd_table import bd_table
from rdbench.report.page import ReportOptions, report_data
from rdbench.report.page import differences as compared
from rdbench.report.results import load


def data_of(folder: Path, **options: Any) -> dict[str, Any]:
    """The data of a page for a folder, as JSON gives it back."""
    found: dict[str, Any] = json.loads(json.dumps(report_data(ReportOptions((folder,), folder / "r.html", **options))))
    return found


def column(data: dict[str, Any], metric: str, anchor: str) -> dict[str, Any]:
    number = [one["label"] for one in data["series"]].index(anchor)
    found: dict[str, Any] = next(one for one in data["bd"] if (one["metric"], one["anchor"]) == (metric, number))
    return found


def test_the_matrix_has_the_numbers_of_the_table(tmp_path: Path) -> None:
    write_records(tmp_path, {"a": 1.0, "b": 0.7}, ("A", "B"), seeds=(0, 1, 2))
    write_records(tmp_path, {"c": 1.3}, ("A",))
    data = data_of(tmp_path)
    table = bd_table(load([tmp_path]), "a").set_index("codec")
    single = bd_table(load([tmp_path]), "a", per_sequence=True).set_index(["codec", "sequence"])
    cells = {data["series"][cell["series"]]["label"]: cell for cell in column(data, "psnr_rgb", "a")["cells"]}
    assert set(cells) == {"b", "c"}
    for name, cell in cells.items():
        assert [cell.get(key, math.nan) for key in ("bd_rate", "low", "high", "overlap")] == pytest.approx(
            [float(table.loc[name, key]) for key in ("bd_rate", "low", "high", "overlap")], rel=1e-5, nan_ok=True
        )
        assert ("low" in cell) == (name == "b")  # one seed on one sequence has no interval
        assert cell["sequences"] == ["A"]
        for sequence, own in cell["each"].items():
            assert own["bd_rate"] == pytest.approx(float(single.loc[(name, sequence), "bd_rate"]), rel=1e-5)


def test_every_pair_and_metric_is_compared_and_the_reverse_is_the_reciprocal(tmp_path: Path) -> None:
    write_records(tmp_path, {"a": 1.0, "b": 0.5}, ("A",))
    data = data_of(tmp_path)
    for metric in ("psnr_rgb", "ms_ssim_db"):
        assert column(data, metric, "a")["cells"][0]["bd_rate"] == pytest.approx(-50)
        assert column(data, metric, "b")["cells"][0]["bd_rate"] == pytest.approx(100)


def test_what_is_beyond_the_limit_of_work_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compared, "MOST_COMPARISONS", 1)
    write_records(tmp_path, {"a": 1.0, "b": 0.5}, ("A",))
    data = data_of(tmp_path, anchor="b")
    assert [(one["metric"], one["anchor"]) for one in data["bd"]] == [("psnr_rgb", 1)]
    assert "BD-rates by psnr_rgb against a were not computed; rdbench bdrate prints them." in data["notes"]


def test_curves_over_quality_integrate_to_the_bd_rate(tmp_path: Path) -> None:
    write_records(tmp_path, {"a": 1.0, "b": 0.7}, ("A",))
    first, second = data_of(tmp_path)["curves"]["psnr_rgb"]
    assert (first["first"], len(first["log_rate"])) == (120, 37)  # 30 to 39 dB in steps of 0.25
    ratios = [b - a for a, b in zip(first["log_rate"], second["log_rate"], strict=True)]
    assert 100 * (10 ** (sum(ratios) / len(ratios)) - 1) == pytest.approx(-30, abs=0.02)


def test_published_curves_are_marked_and_enter_no_comparison(tmp_path: Path) -> None:
    write_records(tmp_path / "r", {"a": 1.0, "b": 0.5}, ("A",))
    head = "codec,dataset,sequence,rate_point,conditions,bpp,psnr_rgb,source\n"
    rows = [f"a,set,A,p{i},rgb601/published,{0.1 * 2**i},{30 + 3 * i},a paper\n" for i in range(4)]
    (tmp_path / "p.csv").write_text(head + "".join(rows) + "a,set,A,x,yuv420/published,0.1,30,other conditions\n")
    data = data_of(tmp_path / "r", published=(tmp_path / "p.csv",))
    assert [(one["label"], one["published"]) for one in data["series"]] == [
        ("a", False), ("b", False), ("a (published)", True),
    ]  # fmt: skip
    assert {cell["series"] for one in data["bd"] for cell in one["cells"]} == {0, 1}
    assert data["count"] == 12


def test_results_that_are_published_curves_are_shown_as_they_are(tmp_path: Path) -> None:
    rows = "".join(f"a,set,A,p{i},rgb601/published,{0.1 * 2**i},{30 + 3 * i},a paper\n" for i in range(4))
    (tmp_path / "p.csv").write_text("codec,dataset,sequence,rate_point,conditions,bpp,psnr_rgb,source\n" + rows)
    data = report_data(ReportOptions((tmp_path / "p.csv",), tmp_path / "r.html"))
    assert [one["published"] for one in data["series"]] == [False]
    (caveat,) = data["caveats"]["set · rgb601"]
    assert caveat.startswith("All of these numbers are published ones; none was run here")


def test_the_anchor_is_the_named_one_or_the_one_with_most_curves(tmp_path: Path) -> None:
    write_records(tmp_path, {"a": 1.0}, ("A",))
    write_records(tmp_path, {"b": 1.0, "c": 1.0}, ("A", "B"))
    assert (data_of(tmp_path)["anchor"], data_of(tmp_path)["anchor_chosen"]) == (1, False)
    assert (data_of(tmp_path, anchor="c")["anchor"], data_of(tmp_path, anchor="c")["anchor_chosen"]) == (2, True)
    with pytest.raises(UsageError, match="no codec 'd'"):
        data_of(tmp_path, anchor="d")


def test_failed_records_are_in_the_table_and_in_no_curve(tmp_path: Path) -> None:
    write_records(tmp_path, {"a": 1.0}, ("A",))
    write_records(tmp_path, {"b": 1.0}, ("A",), status="failed", error="out of memory")
    data = data_of(tmp_path)
    statuses, used = data["columns"]["status"], data["columns"]["in_curve"]
    shown = [used["values"][code] for code in used["codes"]]
    assert shown == [int(statuses["values"][code] == "ok") for code in statuses["codes"]]
    assert sum(shown) == 4
    assert "4 rate points have failed and are in no curve; the table below says why." in data["caveats"]["set · rgb601"]


def test_the_command_writes_the_page_and_says_where(tmp_path: Path) -> None:
    write_records(tmp_path, {"a": 1.0, "b": 0.5}, ("A",))
    output = tmp_path / "page.html"
    result = CliRunner().invoke(app, [
        "report", str(tmp_path), "-o", str(output), "--anchor", "a", "--codecs", "a,b", "--frames", "0",
    ])  # fmt: skip
    assert result.exit_code == 0, result.output
    assert result.output == f"Wrote {output}\n"
    assert "b needs 50 % fewer" not in output.read_text()  # one sequence and one seed are no claim
    assert "b needed 50 % fewer bits than a at equal PSNR in one measurement" in output.read_text()


def test_results_that_all_failed_are_refused(tmp_path: Path) -> None:
    write_records(tmp_path, {"a": 1.0}, ("A",), status="failed")
    with pytest.raises(RdbenchError, match="All of these jobs failed"):
        data_of(tmp_path)
