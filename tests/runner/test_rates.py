"""Measured rates: kept, replaced, found by frame size; stated peaks."""

import json
from dataclasses import replace
from pathlib import Path

import platformdirs
import pytest

from rdbench.errors import UsageError
from rdbench.runner.rates import Rate, device_name, find_rate, keep_rate, rates_path, read_rates, stated_rate

RATE = Rate("CPU, 1 thread", "nerv", 320, 180, 1e9)


def test_a_rate_replaces_the_earlier_one_of_the_same_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda name: tmp_path / name)
    assert read_rates() == []
    keep_rate(RATE)
    keep_rate(replace(RATE, codec="hinerv"))
    assert keep_rate(replace(RATE, macs_per_second=2e9)) == rates_path()
    assert read_rates() == [replace(RATE, codec="hinerv"), replace(RATE, macs_per_second=2e9)]
    assert {path.name for path in rates_path().parent.iterdir()} <= {"rates.json", "rates.json.lock"}


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"rates": [{}]}', '{"rates": [1]}', "\xff"])
def test_a_damaged_file_is_a_sentence(tmp_path: Path, text: str) -> None:
    path = tmp_path / "rates.json"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(UsageError, match="delete the file"):
        read_rates(path)


@pytest.mark.parametrize("value", [0, -1.0, float("nan"), "fast", None])
def test_a_rate_that_is_none_is_refused(tmp_path: Path, value: object) -> None:
    path = tmp_path / "rates.json"
    path.write_text(json.dumps({"rates": [{**RATE.__dict__, "macs_per_second": value}]}))
    with pytest.raises(UsageError, match="delete the file"):
        read_rates(path)


def test_the_nearest_frame_size_counts_and_far_ones_do_not() -> None:
    small, large = RATE, replace(RATE, width=1920, height=1080)
    rates = [small, large, replace(RATE, codec="hinerv"), replace(RATE, device="other")]
    assert find_rate(rates, "CPU, 1 thread", "nerv", 640 * 360) is small
    assert find_rate(rates, "CPU, 1 thread", "nerv", 1280 * 720) is large
    assert find_rate(rates, "CPU, 1 thread", "nerv", 100 * 50) is None
    assert find_rate(rates, "CPU, 2 threads", "nerv", 320 * 180) is None


def test_networks_of_another_order_of_size_do_not_count() -> None:
    small, large = replace(RATE, size=20_000), replace(RATE, size=1_000_000)
    assert find_rate([small, large], "CPU, 1 thread", "nerv", 320 * 180, 50_000) is small
    assert find_rate([small, large], "CPU, 1 thread", "nerv", 320 * 180, 3_000_000) is large
    assert find_rate([small], "CPU, 1 thread", "nerv", 320 * 180, 3_000_000) is None


def test_peaks_are_found_by_model() -> None:
    assert stated_rate("NVIDIA H100 80GB HBM3") == stated_rate("H100") == pytest.approx(989e12 * 0.01 / 2)
    assert stated_rate("NVIDIA A100-SXM4-80GB") == pytest.approx(312e12 * 0.01 / 2)
    assert stated_rate("NVIDIA A10") != stated_rate("NVIDIA A100")
    assert stated_rate("NVIDIA L40S") != stated_rate("NVIDIA L4")
    assert stated_rate("Some GPU") is None


def test_the_cpu_counts_with_its_threads() -> None:
    assert device_name("cpu", 1).endswith(", 1 thread")
    assert device_name("cpu", 4).endswith(", 4 threads")
