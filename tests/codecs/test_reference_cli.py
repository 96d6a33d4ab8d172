"""HM through the command line, with its stand-in: from `rdbench codecs` to a record."""

import json
from pathlib import Path

import pytest
from conftest import Cli
from stand_in import make_hm


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No binaries of this machine, no configuration file."""
    for name in ("RDBENCH_HM", "RDBENCH_VTM", "STAND_IN_FAIL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


def test_codecs_prints_the_version_or_the_remedy(cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    words = " ".join(cli("codecs").stdout.split())
    for name, title, variable in (("hm", "HM", "RDBENCH_HM"), ("vtm", "VTM", "RDBENCH_VTM")):
        assert f" {name} conventional missing: There is no {title} (" in words
        assert f"{name}[path=DIR], {variable}=DIR" in words
    programs = make_hm(tmp_path / "hm")
    monkeypatch.setenv("RDBENCH_HM", str(programs))
    listed = " ".join(cli("codecs").stdout.split())
    assert "ready: HM 18.0 (cfg " in listed
    assert str(programs / "TAppEncoderStatic") in listed.replace(" ", "")  # a long path is wrapped
    assert "ready: kvazaar " in listed


def test_run_encode_decode(cli: Cli, small_clip: Path, tmp_path: Path) -> None:
    make_hm(tmp_path / "hm")
    ran = cli("run", "--codecs", "hm[path=hm/bin]", "--dataset", str(small_clip), "--conditions", "yuv420",
              "--rate-points", "qp27", "--out", "out")  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    record = json.loads(next((tmp_path / "out").rglob("record.json")).read_text())
    assert (record["codec"], record["rate_point"], record["psnr_yuv"]) == ("hm", "qp27", 100)
    assert record["versions"]["codec"].startswith("HM 18.0 (cfg ")
    assert "path" not in record["settings"]
    assert record["settings"]["intra_period"] is None
    stream = next((tmp_path / "out").rglob("bitstream.bin"))
    assert record["bits"] == 8 * stream.stat().st_size
    decoded = cli("decode", str(stream), "-o", "back.y4m", "--codec", "hm[path=hm]")
    assert decoded.returncode == 0, decoded.stderr
    assert "6 frames of 64x48, decoded by hm" in decoded.stdout
    assert (tmp_path / "back.y4m").read_bytes().split(b"FRAME")[1:] == small_clip.read_bytes().split(b"FRAME")[1:]


def test_a_mismatch_fails_the_job(cli: Cli, small_clip: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    make_hm(tmp_path / "hm")
    monkeypatch.setenv("STAND_IN_FAIL", "md5")
    ran = cli("run", "--codecs", "hm[path=hm]", "--dataset", str(small_clip),
              "--rate-points", "qp27", "--out", "out")  # fmt: skip
    assert ran.returncode == 1
    assert "1 of 6 pictures that HM decoded differ from their MD5" in ran.stdout
    assert json.loads(next((tmp_path / "out").rglob("record.json")).read_text())["status"] == "failed"


def test_plan_refuses_what_cannot_run(cli: Cli, small_clip: Path) -> None:
    done = cli("plan", "--codecs", "hm[path=nowhere]", "--dataset", str(small_clip))
    assert done.returncode == 2
    assert "hm cannot run here: There is no TAppEncoderStatic in" in done.stderr
    done = cli("plan", "--codecs", "vtm[profile=main]", "--dataset", str(small_clip))
    assert "vtm has no option 'profile'" in done.stderr
