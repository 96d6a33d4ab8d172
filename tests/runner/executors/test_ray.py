"""A sweep on a Ray cluster of this machine; skipped where Ray is not installed (the `ray` extra)."""

import json
from pathlib import Path

import pytest
from conftest import Cli

pytest.importorskip("ray")


@pytest.mark.slow
def test_a_sweep_on_ray_gives_the_records_of_a_local_one(cli: Cli, small_clip: Path, tmp_path: Path) -> None:
    codecs = "x264[preset=ultrafast],toy,toy[crash]"
    common = ("run", "--codecs", codecs, "--dataset", str(small_clip), "--rate-points", "1", "--threads", "1")
    for executor in ("local", "ray"):
        done = cli(*common, "--executor", executor, "--out", executor, timeout=300)
        assert done.returncode == 1, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
    outcomes: list[dict[str, tuple[object, ...]]] = []
    for executor in ("local", "ray"):
        records = [json.loads(path.read_text()) for path in (tmp_path / executor).rglob("record.json")]
        outcomes.append({r["codec"]: (r["status"], r["bits"], r["psnr_rgb"], r["error"], r["id"]) for r in records})
        assert len(list((tmp_path / executor).rglob("bitstream.bin"))) == 2
    assert outcomes[0] == outcomes[1]
    assert outcomes[1]["toy"][0] == "ok"
    assert "the toy broke" in str(outcomes[1]["toy[crash=true]"][3])
