"""Manifests that are wrong: one sentence that names the file and the field."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rdbench.clips import fetch, manifest
from rdbench.errors import DatasetError

HEAD = {
    "title": '"t"', "homepage": '"h"', "license": '"l"', "get": '"Ask me."', "width": "32", "height": "16",
    "frame_rate": '"25"',
}  # fmt: skip
ENTRY = {"name": '"one"', "file": '"one.yuv"', "frames": "3"}


def write(folder: Path, head: dict[str, str], entry: dict[str, str]) -> Path:
    lines = [f"{key} = {value}" for key, value in {**HEAD, **head}.items()]
    lines += ["[[sequences]]", *(f"{key} = {value}" for key, value in {**ENTRY, **entry}.items())]
    path = folder / "own.toml"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def refusal(folder: Path, head: dict[str, str], entry: dict[str, str]) -> str:
    with pytest.raises(DatasetError) as refused:
        manifest.load_manifest(write(folder, head, entry))
    message = str(refused.value)
    assert "own.toml" in message
    assert "\n" not in message
    return message


def test_the_unchanged_manifest_is_right(tmp_path: Path) -> None:
    assert manifest.load_manifest(write(tmp_path, {}, {})).sequences[0].frames == 3


@pytest.mark.parametrize(
    "url",
    [
        "http://[half",
        "http://[::1",
        "http://host:port/a.yuv",
        "http://host:99999999/a.yuv",
        "http:///a.yuv",
        "http://",
        "https://host/a b.yuv",
        "https://host/a.yuv\\n",
        "https://host/a\\u0000.yuv",
        "https://host/%00.7z",
        "https://host/\\u00fc.yuv",
        "file:///etc/passwd",
        "ftp://host/a.yuv",
        "a.yuv",
        "",
    ],
)
def test_an_address_that_no_server_has(tmp_path: Path, url: str) -> None:
    message = refusal(tmp_path, {}, {"url": f'"{url}"'})
    assert "sequences.0.url" in message


@pytest.mark.parametrize("url", ["http://127.0.0.1:8000/a.yuv", "https://[::1]/a.7z", "HTTPS://host/a%20b.yuv?x=1#y"])
def test_addresses_that_a_server_may_have(tmp_path: Path, url: str) -> None:
    assert manifest.load_manifest(write(tmp_path, {}, {"url": f'"{url}"'})).sequences[0].url == url


@pytest.mark.parametrize("file", [".", "./", "./.", "", "/", "/a.yuv", "..", "../a.yuv", "a/..", "a\\\\b", "a\\u0000b"])
def test_a_file_that_is_none_or_leaves_its_folder(tmp_path: Path, file: str) -> None:
    assert "sequences.0.file" in refusal(tmp_path, {}, {"file": f'"{file}"'})


@pytest.mark.parametrize(
    ("part", "field", "value"),
    [
        ("entry", "frames", "-3"),
        ("entry", "frames", "0"),
        ("entry", "frames", "true"),
        ("entry", "frames", "1.5"),
        ("entry", "bytes", "-1"),
        ("entry", "bytes", "1000000000000000000000000000000"),
        ("entry", "frame_rate", '"1/0"'),
        ("entry", "frame_rate", "-25"),
        ("entry", "name", '".."'),
        ("entry", "name", '"a\\u0000"'),
        ("entry", "distribution", '"a\\u0000"'),
        ("entry", "distribution", '"../a"'),
        ("entry", "aliases", '["a\\u0000"]'),
        ("head", "width", "-32"),
        ("head", "height", "0"),
        ("head", "width", "4294967296"),
        ("head", "frame_rate", '"-25"'),
        ("head", "frame_rate", '"0/5"'),
        ("head", "frame_rate", '"1/0"'),
        ("head", "frame_rate", "nan"),
        ("head", "frame_rate", "inf"),
        ("head", "frame_rate", '"1e400"'),
        ("head", "frame_rate", "[25, 1]"),
        ("head", "frame_rate", "true"),
        ("head", "sizes", "[-1]"),
        ("head", "title", '"a\\u0000"'),
        ("head", "get", '"a\\u0000"'),
        ("head", "variants", "{small = {scale = [-16, 8]}}"),
        ("head", "variants", "{small = {crop = [1000000000, 8]}}"),
    ],
)
def test_values_that_no_clip_has(tmp_path: Path, part: str, field: str, value: str) -> None:
    head, entry = ({field: value}, {}) if part == "head" else ({}, {field: value})
    assert field in refusal(tmp_path, head, entry)


@pytest.mark.parametrize("value", ['"25"', "25", "23.976", '"30000/1001"', '"29.97"'])
def test_frame_rates(tmp_path: Path, value: str) -> None:
    assert 23 < manifest.load_manifest(write(tmp_path, {"frame_rate": value}, {})).frame_rate <= 30


@pytest.mark.parametrize("text", ["title = " + "[" * 100_000, f"width = {'9' * 5000}", "title = \x00"])
def test_a_file_that_no_parser_reads(tmp_path: Path, text: str) -> None:
    (tmp_path / "own.toml").write_text(text)
    with pytest.raises(DatasetError, match=r"own\.toml cannot be read"):
        manifest.load_manifest(tmp_path / "own.toml")


values = st.one_of(
    st.integers(-(10**30), 10**30).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.sampled_from(
        ["nan", "-inf", "true", "[]", "{}", "[[1]]", "1979-05-27", "07:32:00", '"²"', '"\\u0000"', "[-1, 2]"]
    ),
    st.text(st.characters(codec="utf-8", exclude_characters='"\\', exclude_categories=("Cc",)), max_size=9).map(
        lambda text: f'"{text}"'
    ),
)
HEAD_KEYS = sorted({*manifest.Manifest.model_fields} - {"sequences"})
ENTRY_KEYS = sorted(manifest.Entry.model_fields)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    head=st.dictionaries(st.sampled_from(HEAD_KEYS), values, max_size=1),
    entry=st.dictionaries(st.sampled_from(ENTRY_KEYS), values, max_size=2),
)
def test_any_value_is_accepted_or_refused(tmp_path: Path, head: dict[str, Any], entry: dict[str, Any]) -> None:
    path, problem = write(tmp_path, head, entry), ""
    try:
        loaded = manifest.load_manifest(path)
        manifest.places_of(loaded.sequences[0], path, tmp_path)
    except DatasetError as refused:
        problem = str(refused)
    assert "\n" not in problem


def test_a_host_name_that_is_too_long(tmp_path: Path) -> None:
    path = write(tmp_path, {}, {"url": f'"http://{"a" * 70}.org/one.yuv"'})
    with pytest.raises(DatasetError, match="impossible address"):
        fetch.fetch(str(path), tmp_path / "root")


@pytest.mark.parametrize(
    ("text", "number"), [("12", 12), ("", None), ("-5", None), ("²", None), ("9" * 5000, None), ("1e3", None)]
)
def test_lengths_from_a_server(text: str, number: int | None) -> None:
    assert fetch._number(text) == number
