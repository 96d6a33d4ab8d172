"""Published curves: reading CSV files, and the ones that come with the repository."""

import re
from pathlib import Path

import pytest

from rdbench.errors import RdbenchError
from rdbench.report.overlays import load_overlay
from rdbench.report.published import AVERAGE, load_any, load_published, shipped_folder
from rdbench.report.results import COLUMNS, Record, write_record
from rdbench.report.tables import bd_table, only

FOLDER = Path(__file__).parents[2] / "results" / "published"
HEAD = "codec,dataset,sequence,rate_point,conditions,bpp,psnr_rgb,ms_ssim,source\n"


def write(path: Path, *rows: str) -> Path:
    path.write_text(HEAD + "\n".join(rows) + "\n")
    return path


def test_values_and_columns(tmp_path: Path) -> None:
    frame = load_published([write(tmp_path / "a.csv", "c3,uvg,Beauty,0,rgb601/p,0.01,33.5,0.9,paper")])
    assert list(frame.columns) == [*COLUMNS, "source"]
    row = frame.iloc[0]
    assert (row["codec"], row["rate_point"], row["bpp"], row["psnr_rgb"]) == ("c3", "0", 0.01, 33.5)
    assert row["ms_ssim_db"] == pytest.approx(10.0)
    assert (row["status"], row["source"]) == ("ok", "paper")


def test_a_point_in_two_files_counts_once(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", "c3,uvg,Beauty,0,rgb601/p,0.01,33.5,,paper")
    write(tmp_path / "b.csv", "c3,uvg,Beauty,p0,rgb601/p,0.01,33.5,,repository", "c3,uvg,Beauty,p1,rgb601/p,0.02,35,,r")
    assert load_published([tmp_path])["bpp"].tolist() == [0.01, 0.02]


@pytest.mark.parametrize(
    ("row", "word"),
    [
        ("c3,uvg,Beauty,0,,0.01,33.5,,paper", "conditions"),
        ("c3,uvg,Beauty,0,rgb601/p,-1,33.5,,paper", "bpp"),
        ("c3,uvg,Beauty,0,rgb601/p,many,33.5,,paper", "bpp"),
        ("c3,uvg,Beauty,0,rgb601/p,0.01,good,,paper", "psnr_rgb"),
        ("c3,uvg,Beauty,0,rgb601/p,0.01,33.5,,", "source"),
    ],
)
def test_wrong_files_are_named(tmp_path: Path, row: str, word: str) -> None:
    with pytest.raises(RdbenchError, match=rf"a\.csv.*{word}"):
        load_published([write(tmp_path / "a.csv", row)])


def test_absent_and_empty_places(tmp_path: Path) -> None:
    with pytest.raises(RdbenchError, match="no CSV files"):
        load_published([tmp_path])
    with pytest.raises(RdbenchError, match=r"x\.csv"):
        load_published([tmp_path / "x.csv"])
    with pytest.raises(RdbenchError, match="There is no"):
        load_any([tmp_path / "absent"])


def test_records_and_curves_together(tmp_path: Path) -> None:
    record = Record(
        codec="x265", dataset="uvg", sequence="Beauty", rate_point="crf28", conditions="rgb601/1a2b3c4d", width=1920,
        height=1080, frames=600, frame_rate=120, bit_depth=8, bpp=0.02, psnr_rgb=33.0, status="ok", id="a",
    )  # fmt: skip
    write_record(tmp_path / "out" / "runs" / "a" / "record.json", record)
    curve = write(tmp_path / "a.csv", "c3,uvg,Beauty,0,rgb601/p,0.01,33.5,,paper")
    frame = load_any([tmp_path / "out", curve])
    assert frame["codec"].tolist() == ["x265", "c3"]
    assert frame["source"].isna().tolist() == [True, False]


def test_the_repositorys_own_curves() -> None:
    frame = load_published([FOLDER])
    assert len(frame) > 1700
    assert all(re.fullmatch(r"[a-z0-9.+-]+", name) for name in set(frame["codec"]))
    assert frame["conditions"].str.endswith("/published").all()
    uvg = set(frame[frame["dataset"] == "uvg"]["sequence"])
    seven = {"Beauty", "Bosphorus", "HoneyBee", "Jockey", "ReadySteadyGo", "ShakeNDry", "YachtRide"}
    assert uvg == seven | {AVERAGE}
    point = frame[(frame["codec"] == "hinerv-original") & (frame["sequence"] == "Beauty")].iloc[0]
    assert (point["bpp"], point["psnr_rgb"], point["ms_ssim"]) == (0.013, 33.8697, 0.9041)
    assert not frame.duplicated(["codec", "dataset", "sequence", "conditions", "rate_point"]).any()


def test_no_curve_has_two_names() -> None:
    """A curve that a repository repeats in later releases is here once; C3's copy of HiNeRV's has another source."""
    frame = load_published([FOLDER])
    curves: dict[object, set[str]] = {}
    for key, points in frame.groupby(["codec", "dataset", "sequence", "conditions"]):
        codec, *place = key
        quality = points["psnr_rgb"].fillna(points["psnr_yuv"]).fillna(points["psnr_y"]).round(3)
        curves.setdefault((*place, *sorted(zip(points["bpp"].round(5), quality, strict=True))), set()).add(str(codec))
    assert {tuple(sorted(names)) for names in curves.values() if len(names) > 1} <= {("hinerv", "hinerv-original")}
    assert {codec for codec in frame["codec"] if codec.startswith("cool-chic-v4")} == {
        "cool-chic-v4.0-ra", "cool-chic-v4.1-ra",
    }  # fmt: skip


def test_bd_rates_of_published_curves() -> None:
    """The question of the first look: HiNeRV, C3 and HEVC against VTM on UVG, sequence by sequence."""
    table = bd_table(only(load_published([FOLDER]), "uvg"), "vtm-17.0-ra", per_sequence=True)
    for codec in ("hinerv", "c3", "hevc-medium"):
        mine = table[(table["codec"] == codec) & (table["sequence"] != AVERAGE)]
        assert len(mine) == 7
        missing = set(mine[mine["bd_rate"].isna()]["sequence"])
        assert missing == ({"HoneyBee"} if codec == "hinerv" else set())
    honey_bee = table[(table["codec"] == "hinerv") & (table["sequence"] == "HoneyBee")].iloc[0]
    assert honey_bee["notes"].startswith("Not reportable: the quality ranges overlap by 5.4 % only")
    vct = table[table["codec"] == "vct"]
    assert vct["bd_rate"].isna().all()
    assert vct["notes"].str.startswith("Conditions differ").all()


def test_the_shipped_curves_are_found_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert sorted(path.name for path in shipped_folder().glob("*.csv")) == sorted(p.name for p in FOLDER.glob("*.csv"))
    assert len(load_any([Path("published")])) == len(load_published([FOLDER]))
    assert set(load_overlay(["vtm"])["codec"]) >= {"vtm-17.0-ra"}
    assert len(load_overlay(["published"])) == len(load_published([FOLDER]))
    with pytest.raises(RdbenchError, match=r"There is no results/published; .* or published for the curves of papers"):
        load_any([Path("results/published")])


def test_a_folder_of_that_name_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "published").mkdir()
    write(tmp_path / "published" / "a.csv", "c3,uvg,Beauty,0,rgb601/p,0.01,33.5,,paper")
    assert len(load_any([Path("published")])) == 1
    (tmp_path / "published").rename(tmp_path / "results")
    (tmp_path / "results" / "published").mkdir()
    (tmp_path / "results" / "a.csv").rename(tmp_path / "results" / "published" / "a.csv")
    assert len(load_overlay(["c3"])) == 1
