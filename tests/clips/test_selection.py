"""Several datasets in one text: where a dataset ends and the next one begins."""

from pathlib import Path

import pytest

from rdbench.clips import dataset
from rdbench.clips.manifest import find_datasets
from rdbench.clips.selection import split_specs
from rdbench.errors import UsageError

OWN = """
title = "t"
homepage = "h"
license = "l"
get = "Ask me."
width = 32
height = 16
frame_rate = "25"
[[sequences]]
name = "bunny"
file = "a.yuv"
frames = 3
[[sequences]]
name = "plain"
file = "b.yuv"
frames = 3
"""


@pytest.mark.parametrize(
    ("text", "specs"),
    [
        ("uvg", ["uvg"]),
        ("uvg:Jockey,Bosphorus", ["uvg:Jockey,Bosphorus"]),
        ("uvg,mcl_jcv:videoSRC05", ["uvg", "mcl_jcv:videoSRC05"]),
        ("uvg:Jockey, Bosphorus ,mcl_jcv", ["uvg:Jockey,Bosphorus", "mcl_jcv"]),
        ("uvg:Jockey,Bosphorus@1920x960", ["uvg:Jockey,Bosphorus@1920x960"]),
        ("uvg@1920x960:Jockey,Beauty,bunny@320x180", ["uvg@1920x960:Jockey,Beauty", "bunny@320x180"]),
        ("bunny@320x180,carphone,./own.toml", ["bunny@320x180", "carphone", "./own.toml"]),
        ("uvg:Jockey,mine/clips,bunny", ["uvg:Jockey", "mine/clips", "bunny"]),
        ("uvg:Jockey,uvg:Beauty", ["uvg:Jockey", "uvg:Beauty"]),
        ("uvg,", ["uvg"]),
    ],
)
def test_parts(text: str, specs: list[str]) -> None:
    assert split_specs(text, find_datasets()) == specs


def test_a_file_here_named_like_a_sequence_stays_the_sequence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("Beauty", "other.y4m", "a,b.y4m"):
        Path(name).touch()
    known = find_datasets()
    assert split_specs("uvg:Jockey,Beauty", known) == ["uvg:Jockey,Beauty"]
    assert split_specs("uvg:Jockey,./Beauty", known) == ["uvg:Jockey", "./Beauty"]
    assert split_specs("uvg:Jockey,other.y4m", known) == ["uvg:Jockey", "other.y4m"]
    assert split_specs("a,b.y4m", known) == ["a,b.y4m"]


def test_a_sequence_named_like_a_dataset_is_an_error_that_says_how_to_write_it(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text(OWN)
    with pytest.raises(UsageError, match=r"own.toml:bunny for the sequence, or put the dataset bunny before"):
        dataset.resolve(f"{own}:plain,bunny")
    found = dataset.resolve(f"{own}:plain,{own}:bunny", tmp_path)
    assert [(one.dataset, one.name) for one in found] == [("own", "plain"), ("own", "bunny")]
    assert [one.dataset for one in dataset.resolve(f"bunny,{own}:plain", tmp_path)] == ["bunny", "own"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("uvg,Jockey", "a sequence is written uvg:Jockey"),
        ("bunny,carphome", "did you mean carphone"),
        ("bunny,uvg:Jocky", "did you mean Jockey"),
        ("bunny,carphone@big", "carphone has no variant 'big'"),
    ],
)
def test_wrong_parts_are_named(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        dataset.resolve(text)


def test_nothing_comes_twice() -> None:
    found = dataset.resolve("uvg:Jockey,bunny,uvg:Jockey,Beauty")
    assert [one.name for one in found] == ["Jockey", "bunny", "Beauty"]
