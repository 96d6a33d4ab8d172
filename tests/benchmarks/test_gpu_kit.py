"""The kit for a machine with a GPU, rehearsed at toy size on the CPU, and what it does with work that fails."""

import importlib.util
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest

from rdbench.codecs.inr.codec import InrCodec
from rdbench.codecs.inr.pieces.codec import PieceCodec
from rdbench.registry import find_card, find_codecs, load_codec

FOLDER = Path(__file__).with_name("gpu")
FAILING_WORKER = """
import json, os, sys, time
for case in json.load(sys.stdin):
    print(json.dumps({"kind": "begin"}), flush=True)
    if case["do"] == "crash":
        print("it broke here", file=sys.stderr)
        os.abort()
    if case["do"] == "wait":
        print(json.dumps({"kind": "progress", "values": {"epoch": 3}}), flush=True)
        time.sleep(60)
    good = {"values": {"x": 1}, "holds": case["do"] != "differ"}
    found = {"error": "ValueError: no"} if case["do"] == "error" else good
    print(json.dumps({"kind": "row", "name": "found", **found}), flush=True)
    print(json.dumps({"kind": "end"}), flush=True)
"""


@pytest.fixture
def kit(monkeypatch: pytest.MonkeyPatch) -> dict[str, ModuleType]:
    """The kit's modules, which import each other by their plain names."""
    monkeypatch.syspath_prepend(str(FOLDER))
    names = ("ledger", "environment", "processes", "parts")
    loaded = {}
    for name in names:
        spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        loaded[name] = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, loaded[name])
        spec.loader.exec_module(loaded[name])
    return loaded


def rows_of(folder: Path) -> list[tuple[str, str]]:
    return [(row["name"], row["status"]) for row in json.loads((folder / "gpu.json").read_text())["rows"]]


def run_failing(kit: dict[str, ModuleType], folder: Path, kinds: list[str], seconds: float) -> None:
    """Runs a case of each kind in the worker above, with a limit of two seconds each and `seconds` for all."""
    worker = folder / "worker.py"
    worker.write_text(FAILING_WORKER)
    kit["processes"].WORKER = worker  # of a module that only this test has
    ledger = kit["ledger"].Ledger(folder / "out", {})
    place = kit["processes"].Place(ledger, os.environ, folder, time.monotonic() + seconds, folder / "out" / "log.txt")
    cases = [kit["processes"].Case(f"{kind} {number}", kind, 2.0) for number, kind in enumerate(kinds)]
    kit["processes"].run_cases(place, "part", cases, seconds)


def test_a_case_that_fails_costs_one_row_and_the_next_one_follows(kit: dict[str, ModuleType], tmp_path: Path) -> None:
    run_failing(kit, tmp_path, ["fine", "error", "crash", "wait", "differ", "fine"], 30)
    assert rows_of(tmp_path / "out") == [
        ("fine 0 found", "ok"), ("error 1 found", "failed"), ("crash 2", "failed"), ("wait 3", "time limit"),
        ("differ 4 found", "differs"), ("fine 5 found", "ok"),
    ]  # fmt: skip
    rows = json.loads((tmp_path / "out" / "gpu.json").read_text())["rows"]
    assert "it broke here" in rows[2]["error"]
    assert rows[3]["values"] == {"epoch": 3}
    assert "| wait 3 | time limit |" in (tmp_path / "out" / "gpu.md").read_text()


def test_what_there_is_no_time_for_is_named(kit: dict[str, ModuleType], tmp_path: Path) -> None:
    run_failing(kit, tmp_path, ["wait", "wait", "wait", "fine"], 6)
    assert rows_of(tmp_path / "out")[0] == ("wait 0", "time limit")
    assert rows_of(tmp_path / "out")[-1] == ("fine 3", "no time left")


def test_a_command_ends_at_its_limit_with_all_that_it_started(
    kit: dict[str, ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kit["processes"], "LEAST_SECONDS", 0.0)
    place = kit["processes"].Place(None, os.environ, tmp_path, time.monotonic() + 60, tmp_path / "log.txt")
    done = kit["processes"].run_command(place, ["/bin/sh", "-c", "echo so far; sleep 50"], 1.0, tmp_path / "out.txt")
    assert (done.status, done.error) == ("time limit", "so far\n")
    failed = kit["processes"].run_command(place, ["/bin/sh", "-c", "echo why >&2; exit 3"], 30.0, tmp_path / "out.txt")
    assert failed.status == "failed"
    assert "exit status 3" in failed.error
    assert "why" in failed.error


def test_the_packages_need_no_installation(kit: dict[str, ModuleType], tmp_path: Path) -> None:
    kit["environment"].make_packages(tmp_path / "packages", None)
    code = (
        "import rdbench.codecs.ffmpeg as f, rdbench.datasets, importlib.metadata as m; print(f.__file__, "
        "*(p.name for p in m.distribution('rdbench').entry_points.select(group='rdbench.codecs')))"
    )
    variables = dict(kit["environment"].environment(tmp_path / "packages", 1))
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=variables, capture_output=True, text=True, check=True
    )
    place, *names = done.stdout.split()
    assert Path(place) == tmp_path / "packages" / "rdbench" / "codecs" / "ffmpeg.py"
    assert {"nerv", "nvrc", "x265"} <= set(names)
    with pytest.raises(RuntimeError, match="cannot be installed"):
        kit["environment"].make_packages(tmp_path / "packages", tmp_path)


def test_every_inr_codec_is_in_the_kit(kit: dict[str, ModuleType]) -> None:
    cards = [find_card(name) for name in find_codecs()]
    inside = [card.name for card in cards if card.kind == "INR" and card.load.startswith("rdbench.")]
    assert set(kit["parts"].CODECS) == {name for name in inside if issubclass(load_codec(name), InrCodec)}
    assert set(kit["parts"].BY_PIECES) == {name for name in inside if issubclass(load_codec(name), PieceCodec)}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_rehearsal_has_a_good_row_from_every_part(kit: dict[str, ModuleType], tmp_path: Path) -> None:
    command = [sys.executable, str(FOLDER / "kit.py"), "--out", str(tmp_path / "out"), "--device", "cpu", "--toy"]
    done = subprocess.run([*command, "--threads", "1"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    content = json.loads((tmp_path / "out" / "gpu.json").read_text())
    assert {row["status"] for row in content["rows"] if row["part"] != "originals"} == {"ok"}
    (beside,) = [row for row in content["rows"] if row["part"] == "originals"]  # `test_side_by_side.py` rehearses it
    assert (beside["status"], "--originals" in beside["error"]) == ("skipped", True)
    parts = {row["part"] for row in content["rows"]}
    assert parts == {"setup", *kit["parts"].PARTS} - {"entropy", "uvg"}
    (trained,) = [row["values"] for row in content["rows"] if row["part"] == "published"]
    assert 5 < trained["PSNR dB"] < 60
    assert 0 < trained["bpp"] < 24
    timed = [row["values"] for row in content["rows"] if row["part"] == "speed" and "steps/s" in row["values"]]
    assert len(timed) == 2 * len(kit["parts"].CHOICES) + 2  # one codec of two as graphs, one compiled
    assert all(values["steps/s"] > 0 and values["% of peak"] > 0 for values in timed)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "files_for_a_gpu.txt", "gpu.json", "gpu.md", "log.txt", "marked_cuda.txt",
    ]  # fmt: skip
