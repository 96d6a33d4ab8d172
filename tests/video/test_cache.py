"""Facts on disk: kept for a state of a file, and never believed when damaged."""

from pathlib import Path

import platformdirs
import pytest

from rdbench.video.cache import cache_key, cached, find_cached, write_cached


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache folder."""
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda name: tmp_path / "cache")
    return tmp_path / "cache"


def test_a_fact_is_computed_once(tmp_path: Path) -> None:
    key = cache_key("count", tmp_path)
    assert find_cached(key) is None
    values = iter("12")
    assert [cached(key, lambda: next(values)) for _ in range(3)] == ["1", "1", "1"]


def test_a_key_belongs_to_a_purpose_and_a_state(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_text("one")
    keys = {cache_key("count", file), cache_key("hash", file), cache_key("count", file, tmp_path)}
    file.write_text("three")
    assert len(keys | {cache_key("count", file)}) == 4
    with pytest.raises(OSError, match="missing"):
        cache_key("count", tmp_path / "missing")


def test_a_folder_changes_with_its_files(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    before = cache_key("count", tmp_path / "images")
    (tmp_path / "images" / "1.png").write_text("x")
    assert cache_key("count", tmp_path / "images") != before


@pytest.mark.parametrize("damage", [b"", b"13", b"\xff\x00", b"132\n", b"13\n" + 64 * b"0"])
def test_what_is_damaged_is_computed_again(tmp_path: Path, place: Path, damage: bytes) -> None:
    key = cache_key("count", tmp_path)
    write_cached(key, "132")
    (file,) = (path for path in place.rglob("*") if path.is_file())
    file.write_bytes(damage)
    assert cached(key, lambda: "7") == "7" == find_cached(key)


def test_a_fact_of_another_key_is_not_believed(tmp_path: Path, place: Path) -> None:
    write_cached("a", "1")
    write_cached("b", "2")
    one, two = sorted(path for path in place.rglob("*") if path.is_file())
    two.write_bytes(one.read_bytes())
    assert (find_cached("a"), find_cached("b")) == ("1", None)


def test_a_cache_that_cannot_be_written_costs_time_only(place: Path) -> None:
    place.write_text("a file where the folder belongs")
    assert cached("key", lambda: "value") == "value"
    assert find_cached("key") is None
