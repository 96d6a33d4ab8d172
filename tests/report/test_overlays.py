"""Published curves by name, and which stand beside records."""

from pathlib import Path

import pandas as pd
import pytest
from report.synthetic import frames, new, old

from rdbench.errors import UsageError
from rdbench.report.curves import labeled
from rdbench.report.overlays import caption, chosen, comparable, joined, load_overlay


def published(codec: str, sequence: str = "A", conditions: str = "rgb601/published") -> pd.DataFrame:
    return old(codec, sequence, conditions=conditions).assign(source="A repository; more")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    parts = frames(published("vtm-17.0-ra"), published("vtm-15.0-ld"), published("c3"))
    columns = ["codec", "dataset", "sequence", "rate_point", "conditions", "bpp", "psnr_rgb", "source"]
    parts[columns].to_csv(tmp_path / "curves.csv", index=False)
    return tmp_path


def test_names_mean_a_codec_or_a_family(folder: Path) -> None:
    assert set(load_overlay(["vtm"], folder)["codec"]) == {"vtm-17.0-ra", "vtm-15.0-ld"}
    assert set(load_overlay(["vtm-15.0-ld,c3"], folder)["codec"]) == {"vtm-15.0-ld", "c3"}
    assert set(load_overlay([str(folder), "c3"])["codec"]) == {"c3"}
    assert set(load_overlay([str(folder / "curves.csv")])["codec"]) == {"vtm-17.0-ra", "vtm-15.0-ld", "c3"}
    with pytest.raises(UsageError, match="did you mean vtm"):
        load_overlay(["vmt"], folder)
    with pytest.raises(UsageError, match=r"There is no c3\.csv"):
        load_overlay(["vtm,c3.csv"], folder)


@pytest.mark.parametrize(
    ("overlay", "reason"),
    [
        (published("c3", conditions="yuv420-6:1:1/published"), r"conditions \(rgb601; published: yuv420-6:1:1\)"),
        (published("c3").assign(dataset="hevc_b"), "is on uvg"),
        (published("c3").assign(psnr_rgb=None), "has psnr_rgb"),
        (published("c3", "C"), "other sequences"),
        (published("c3", "Average"), "other sequences"),
    ],
)
def test_what_does_not_compare_is_left_out_with_a_note(overlay: pd.DataFrame, reason: str) -> None:
    kept, note = comparable(new("x265"), overlay, "psnr_rgb")
    assert kept.empty
    assert pd.Series([note]).str.contains(reason).all()


def test_an_average_stands_beside_means_only() -> None:
    both = frames(new("x265"), new("x265", "B"))
    kept, note = comparable(
        both, frames(published("c3", "Average"), published("vtm"), published("vtm", "C")), "psnr_rgb"
    )
    assert (set(kept["sequence"]), note) == ({"A", "Average"}, "")
    kept, _ = comparable(both, frames(published("c3", "Average"), published("c3")), "psnr_rgb")
    assert set(kept["sequence"]) == {"A"}


def test_named_curves_stay_whatever_else_is_chosen() -> None:
    overlay = published("c3").assign(named=True)
    data = joined(labeled(frames(new("x265"), new("nerv"))), overlay)
    assert set(chosen(data, "nerv")["label"]) == {"nerv", "c3 (published)"}
    assert set(chosen(data.drop(columns="named"), "nerv")["label"]) == {"nerv"}


def test_a_caption_names_each_source_once() -> None:
    lines = caption([("a (published)", "X; 1"), ("b", "X; 2"), ("a (published)", "X; 1"), ("c", "Y")])
    assert lines == ["Published, not run here: a, b (X); c (Y)."]
    assert caption([]) == []
