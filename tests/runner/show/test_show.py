"""`rdbench show` on real bitstreams: the figure, what is printed, and a sentence for whatever cannot be shown."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from rdbench.cli import app
from rdbench.errors import RdbenchError
from rdbench.report.crops import Comparison
from rdbench.runner.show.compare import compare_points, frame_values
from rdbench.runner.show.decoded import decoded_frames, make_job
from rdbench.runner.show.points import Wanted, find_pair, read_point
from rdbench.runner.verify.rebuild import Places

pytestmark = pytest.mark.xdist_group("show")  # the folder is made once
PLACES = Places(device="cpu")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Records of two codecs at three rate points each, on four small frames of Bunny."""
    place = tmp_path_factory.mktemp("show")
    command = [
        sys.executable, "-m", "rdbench.cli", "run", "--codecs", "x265[preset=ultrafast],x264[preset=ultrafast]",
        "--dataset", "bunny@160x90", "--frames", "4", "--rate-points", "crf27,crf42", "--threads", "1",
        "--metrics", "psnr", "--out", "results",
    ]  # fmt: skip
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return place / "results"


def folder(results: Path, codec: str, point: str) -> Path:
    return next(path.parent for path in results.rglob("record.json")
                if codec in path.parts[-5] and path.parent.name.startswith(f"{point}-"))  # fmt: skip


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    """A folder of records to be changed."""
    return Path(shutil.copytree(made, tmp_path / "results"))


def compared(results: Path, choices: list[int] | int) -> Comparison:
    pair = find_pair(Wanted("x265", "x264", results))
    return compare_points(*pair, choices, PLACES)


def test_the_command_writes_the_figure_and_says_what_it_shows(made: Path, tmp_path: Path) -> None:
    output = tmp_path / "figure.png"
    a, b = folder(made, "x265", "crf27"), folder(made, "x264", "crf42")
    looks = ["--frame", "2", "--width", "3.5in", "--label", "x264=H.264 (a=b)"]
    done = CliRunner().invoke(app, ["show", str(a), str(b), "-o", str(output), *looks])
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    values = [json.loads((one / "record.json").read_text()) for one in (a, b)]
    rate, quality = f"{values[0]['bpp']:.4f} bpp", f"PSNR RGB {values[0]['psnr_rgb']:.2f} dB"
    assert lines[0] == f"x265[preset=ultrafast] crf27: {rate}, {quality}"
    assert lines[2].startswith("These are the nearest rate points: H.264 (a=b) crf42 has ")
    assert lines[3].startswith("frame 2: ")
    assert "crop 32x32+" in lines[3]
    with Image.open(output) as image:
        assert image.size[0] == 1050


def test_names_choose_the_nearest_bits_and_quality_is_what_the_records_measured(made: Path) -> None:
    rates = {(codec, point): json.loads((folder(made, codec, point) / "record.json").read_text())["bpp"]
             for codec in ("x265", "x264") for point in ("crf27", "crf42")}  # fmt: skip
    pairs = [(a, b) for a in ("crf27", "crf42") for b in ("crf27", "crf42")]
    nearest = min(pairs, key=lambda pair: abs(np.log(rates["x265", pair[0]] / rates["x264", pair[1]])))
    found = compared(made, 2)
    assert tuple(side.rate_point for side in found.sides) == nearest
    assert [side.bpp for side in found.sides] == [rates["x265", nearest[0]], rates["x264", nearest[1]]]
    points = [read_point(folder(made, codec, point)) for codec, point in zip(("x265", "x264"), nearest, strict=True)]
    recorded = [frame_values(point, "psnr_rgb") for point in points]
    assert len(found.shots) == 2
    assert found.shots[0].choice.frame == int(np.argmin(recorded[0]))
    for shot in found.shots:
        assert shot.quality == pytest.approx([values[shot.choice.frame] for values in recorded], abs=1e-9)
        errors = (shot.reference.astype(float) - shot.decoded[0]) ** 2
        assert 10 * np.log10(255**2 / errors.mean()) == pytest.approx(shot.quality[0], abs=1e-6)


def test_a_damaged_bitstream_and_missing_values_are_one_sentence(copy: Path) -> None:
    for path in copy.rglob("bitstream.bin"):
        path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(RdbenchError, match="cannot be shown: bitstream_sha256: "):
        compared(copy, [0])
    for path in copy.rglob("bitstream.bin"):
        path.unlink()
    with pytest.raises(RdbenchError, match=r"cannot be shown: bitstream: bitstream\.bin is not beside the record"):
        compared(copy, [0])


def test_a_bitstream_that_does_not_decode_is_one_sentence(copy: Path) -> None:
    point = read_point(folder(copy, "x265", "crf42"))
    job = make_job(point, PLACES)
    (point.folder / "bitstream.bin").write_bytes(b"nothing at all")
    with pytest.raises(RdbenchError, match=r"x265\[preset=ultrafast\] crf42 does not decode: .+"):
        decoded_frames(point, job, [0, 3], 60)


def test_frames_beyond_the_bitstream_and_a_time_limit_are_one_sentence(made: Path) -> None:
    point = read_point(folder(made, "x265", "crf42"))
    job = make_job(point, PLACES)
    with pytest.raises(RdbenchError, match="it has 1 of the 2 frames that were asked for"):
        decoded_frames(point, job, [1, 4], 60)
    with pytest.raises(RdbenchError, match=r"it took longer than 0\.01 seconds"):
        decoded_frames(point, job, [1], 0.01)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("x265", "x266"), "There is no codec 'x266'"),
        (("x265", "x264", "--sequence", "Jockey"), "no records of both codecs on the sequence Jockey"),
        (("x265", "x264", "--frame", "4"), "There is no frame 4; bunny has frames 0 to 3 here."),
        (("x265", "x264", "--worst", "0"), "A figure has 1 to 20 frames"),
        (("x265", "x264", "--metric", "vmaf"), "There is no metric 'vmaf' to choose frames by"),
        (("x265", "x264", "--metric", "ms_ssim"), "it has no ms_ssim for each of 4 frames); name frames with --frame."),
        (("x265", "x264", "--crop", "middle"), "There is no crop 'middle'"),
        (("x265", "x264", "--frame", "0", "--label", "vp9=VP9"), "names none of x265[preset=ultrafast] and x264["),
        (("x265", "x264", "--width", "wide"), "--width cannot be 'wide'"),
        (("x265", "x264", "--results", "nowhere"), "no folder nowhere"),
    ],
)
def test_what_the_command_line_gets_wrong(
    made: Path, arguments: tuple[str, ...], reason: str, tmp_path: Path
) -> None:  # fmt: skip
    given = arguments if "--results" in arguments else (*arguments, "--results", str(made))
    done = CliRunner().invoke(app, ["show", *given, "-o", str(tmp_path / "f.png")])
    assert done.exit_code != 0
    assert reason in str(done.exception)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"clip_sha256": "0" * 64, "sequence": "other"}, r"other clips \(other and bunny"),
        ({"clip_sha256": "0" * 64, "frames": 3}, "3 and 4 frames of bunny"),
        ({"conditions": "yuv420/12345678"}, r"other test conditions \(yuv420/12345678 and rgb601/"),
    ],
)
def test_records_that_cannot_be_compared_say_why(copy: Path, changes: dict[str, object], reason: str) -> None:
    a, b = folder(copy, "x265", "crf27"), folder(copy, "x264", "crf27")
    values = json.loads((a / "record.json").read_text())
    (a / "record.json").write_text(json.dumps({**values, **changes}))
    with pytest.raises(RdbenchError, match=f"cannot be compared: {reason}"):
        find_pair(Wanted(str(a), str(b / "record.json"), copy))
