"""Which pairs of a page are shown, and that their crops are exactly what was decoded."""

import base64
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from report.page.sample import write_records

from rdbench.report.crops import Choice, Comparison, Shot, Side
from rdbench.report.page import ReportOptions, fails, report_data

EVIL = "</script><script>alert(1)</script>"


def noise(seed: int) -> "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]":
    return np.random.default_rng(seed).integers(0, 256, (90, 160, 3), dtype=np.uint8)


def comparison() -> Comparison:
    shot = Shot(Choice(5, (("a", 0),)), noise(0), (noise(1), noise(2)), (20.123, 21.456))
    sides = (Side(EVIL, "p1", 0.2, 30.0), Side("beta", "p2", 0.21, 31.0))
    return Comparison("set", "A", "PSNR RGB", "PSNR", sides, (shot,))


@pytest.fixture
def data(tmp_path: Path) -> dict[str, object]:
    write_records(tmp_path / "results", {"alpha": 1.0, "beta": 0.7, EVIL: 1.5})
    return report_data(ReportOptions((tmp_path / "results",), tmp_path / "r.html", anchor="beta"))


def test_the_anchor_meets_every_other_series_on_each_sequence_in_turn(data: dict[str, object]) -> None:
    labels = [one["label"] for one in data["series"]]  # type: ignore[attr-defined]
    found = fails.candidates(data)
    names = [(one.sequence, labels[one.series[0]], labels[one.series[1]]) for one in found]
    assert sorted(names[:2]) == [("A", "beta", EVIL), ("A", "beta", "alpha")]
    assert sorted(names[2:]) == [("B", "beta", EVIL), ("B", "beta", "alpha")]
    assert sorted(found[0].ids[0]) == [f"beta-A-0-{place}" for place in range(4)]


def test_crops_are_without_loss_and_lie_where_the_entry_says() -> None:
    candidate = fails.Candidate("set", "A", (0, 1), (("a",), ("b",)))
    entry = fails.entry(candidate, ["a", "b"], comparison(), "a note")
    shot = entry["shots"][0]
    left, top, width, height = shot["crops"][0]["place"]
    for uri, image in zip(shot["crops"][0]["images"], (noise(0), noise(1), noise(2)), strict=True):
        assert np.array_equal(pixels(uri), image[top : top + height, left : left + width])
    assert shot["size"] == [160, 90]
    assert pixels(shot["whole"]).shape == (90, 160, 3)
    assert shot["quality"] == [20.12, 21.46]
    assert json.loads(json.dumps(entry)) == entry


def pixels(uri: str) -> "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]":
    kind, _, text = uri.partition(",")
    assert kind == "data:image/webp;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))).convert("RGB"))


def test_a_large_frame_gets_a_small_picture() -> None:
    assert pixels(fails.small_picture(np.zeros((1080, 1920, 3), np.uint8))).shape == (270, 480, 3)


def test_images_have_the_room_that_the_data_leave(data: dict[str, object]) -> None:
    assert fails.image_room(data) == fails.IMAGE_BYTES
    large = {**data, "filler": "x" * 10_000_000}
    assert 4_000_000 < fails.image_room(large) < 5_000_000
    assert fails.image_room({**data, "filler": "x" * 15_000_000}) == 0
