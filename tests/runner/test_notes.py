"""The note on a clip whose tag disagrees with the test conditions, through the command line."""

import subprocess
from pathlib import Path

import pytest
from conftest import Cli
from PIL import Image

from rdbench.video.ffmpeg import find_ffmpeg, probe


def tagged(path: Path, matrix: str | None) -> Path:
    """Two frames of 64x48 as H.264 in MP4, with this tag."""
    tag = ["-colorspace", matrix] if matrix else []
    command = [find_ffmpeg(), "-v", "error", "-f", "lavfi", "-i", "color=red:size=64x48:rate=25", "-frames:v", "2",
               "-pix_fmt", "yuv420p", *tag, "-c:v", "libx264", str(path)]  # fmt: skip
    subprocess.run(command, check=True)
    return path


@pytest.mark.parametrize(
    ("matrix", "conditions", "note"),
    [
        ("bt709", "rgb601", "is tagged BT.709; rgb601 converts it by BT.601 all the same"),
        ("smpte170m", "rgb709", "is tagged BT.601; rgb709 converts it by BT.709 all the same"),
        ("bt470bg", "rgb601", None),
        ("smpte170m", "rgb601", None),
        ("bt709", "rgb709", None),
        ("bt709", "yuv420", None),
        (None, "rgb601", None),
    ],
)
def test_a_tag_that_disagrees_with_the_conditions_is_noted(
    cli: Cli, tmp_path: Path, matrix: str | None, conditions: str, note: str | None
) -> None:
    clip = tagged(tmp_path / "clip.mp4", matrix)
    assert probe(clip).matrix == matrix
    done = cli("plan", "--codecs", "toy", "--dataset", str(clip), "--conditions", conditions)
    assert done.returncode == 0, done.stderr
    assert ("tagged" in done.stdout) == (note is not None)
    if note:
        assert note in done.stdout


def test_run_prints_the_note(cli: Cli, tmp_path: Path) -> None:
    clip = tagged(tmp_path / "clip.mp4", "bt709")
    done = cli("run", "--codecs", "toy", "--dataset", str(clip), "--rate-points", "1", "--out", "out")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("is tagged BT.709") == 1


@pytest.mark.parametrize(("pix_fmt", "noted"), [("yuva420p", 1), ("yuv420p", 0)])
def test_alpha_that_is_left_out_is_noted(cli: Cli, tmp_path: Path, pix_fmt: str, noted: int) -> None:
    command = [find_ffmpeg(), "-v", "error", "-f", "lavfi", "-i", "color=red:size=64x48:rate=25", "-frames:v", "2",
               "-pix_fmt", pix_fmt, "-c:v", "ffv1", str(tmp_path / "clip.mkv")]  # fmt: skip
    subprocess.run(command, check=True)
    done = cli("plan", "--codecs", "toy", "--dataset", "clip.mkv")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("the alpha plane of files:clip is left out") == noted


def test_alpha_of_images_is_noted(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for number in (1, 2):
        Image.new("RGBA", (64, 48), (10, 20, 30, 128)).save(tmp_path / "images" / f"{number}.png")
    done = cli("plan", "--codecs", "toy", "--dataset", "images")
    assert done.returncode == 0, done.stderr
    assert "the alpha plane of files:images is left out" in done.stdout
