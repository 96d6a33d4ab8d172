"""Videos from files: formats, damage, and the transforms of the manifests."""

import hashlib
import subprocess
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from conftest import make_y4m
from PIL import Image

from rdbench.errors import MediaError
from rdbench.video import Frames, VideoFormat
from rdbench.video.elementary_stream import ElementaryStream
from rdbench.video.ffmpeg import find_ffmpeg, probe
from rdbench.video.readers import (
    ConvertedVideo,
    Cropped,
    Cut,
    MemoryVideo,
    RawVideo,
    Scaled,
    open_video,
    sha256_of,
    write_raw,
    write_y4m,
)


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "gray", "gbrp"])
def test_ffmpeg_files_keep_their_planes(tmp_path: Path, pix_fmt: str) -> None:
    raw = np.random.default_rng(0).integers(0, 256, 4 * 64 * 48 * 6, np.uint8).tobytes()
    if pix_fmt.endswith("10le"):
        raw = (np.frombuffer(raw, "<u2") & 1023).tobytes()
    per_frame = {"yuv420p": 4608, "yuvj420p": 4608, "yuv422p": 6144, "yuv444p": 9216, "gbrp": 9216, "gray": 3072}
    count = per_frame.get(pix_fmt, 9216) * 3
    target = tmp_path / "clip.mkv"
    subprocess.run(
        [find_ffmpeg(), "-v", "error", "-f", "rawvideo", "-pix_fmt", pix_fmt, "-s", "64x48", "-r", "30000/1001",
         "-i", "pipe:", "-c:v", "ffv1", str(target)], input=raw[:count], check=True,
    )  # fmt: skip
    video = open_video(target)
    assert (video.format.width, video.format.height) == (64, 48)
    assert video.format.frame_rate == Fraction(30000, 1001)
    assert video.format.full_range == (pix_fmt in ("gray", "gbrp"))
    batches = list(video.batches(2))
    assert [len(b) for b in batches] == [2, 1]
    order = (2, 0, 1) if pix_fmt == "gbrp" else range(len(batches[0].planes))
    first = b"".join(batches[0].planes[i][0].tobytes() for i in order)
    if pix_fmt == "gbrp":
        first = b"".join(batches[0].planes[i][0].tobytes() for i in (1, 2, 0))
    assert first == raw[: count // 3]


def test_raw_planes_and_more_bits(tmp_path: Path) -> None:
    fmt, deep = VideoFormat(6, 4), VideoFormat(6, 4, bit_depth=10)
    raw = bytes(range(2 * 36))
    (tmp_path / "in.yuv").write_bytes(raw)
    video = RawVideo(tmp_path / "in.yuv", fmt, 2)
    assert write_raw(tmp_path / "same.yuv", ConvertedVideo(video, fmt)) == 2
    assert (tmp_path / "same.yuv").read_bytes() == raw
    write_raw(tmp_path / "deep.yuv", ConvertedVideo(video, deep))
    assert np.fromfile(tmp_path / "deep.yuv", "<u2").tolist() == [4 * value for value in raw]


def test_odd_sizes_round_trip_through_y4m(tmp_path: Path) -> None:
    fmt = VideoFormat(7, 5, "420", 10, Fraction(50))
    rng = np.random.default_rng(1)
    frames = Frames(tuple(rng.integers(0, 1024, (3, *s)).astype("<u2") for s in fmt.plane_shapes))
    assert write_y4m(tmp_path / "a.y4m", MemoryVideo(fmt, frames)) == 3
    back = open_video(tmp_path / "a.y4m")
    assert (back.format, back.frames) == (fmt, 3)
    assert sha256_of(back) == sha256_of(MemoryVideo(fmt, frames))


@pytest.mark.parametrize("keep", [0, 20, 5000])
def test_cut_files_are_named(tmp_path: Path, keep: int) -> None:
    path = make_y4m(tmp_path / "clip.y4m", 64, 48, 4)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(MediaError, match=r"clip\.y4m"):
        list(open_video(path).batches())


def test_a_cut_mp4_and_a_text_are_named(tmp_path: Path, bunny: Path) -> None:
    for name, content in (("cut.mp4", bunny.read_bytes()[:500_000]), ("text.mp4", b"hello" * 99)):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(MediaError, match=name):
            list(open_video(tmp_path / name).batches())


def test_bunny_at_320x180_is_the_area_mean(bunny: Path) -> None:
    small = Cut(Scaled(open_video(bunny), 320, 180), 2)
    (batch,) = small.batches()
    (whole,) = Cut(open_video(bunny), 2).batches()
    box = whole.planes[0][1, 4:8, 8:12].astype(int)
    assert batch.planes[0][1, 1, 2] == (2 * box.sum() + 16) // 32
    with pytest.raises(MediaError, match="whole factors"):
        Scaled(open_video(bunny), 333, 180)


def test_crops_keep_chroma_with_luma(tmp_path: Path) -> None:
    video = open_video(make_y4m(tmp_path / "a.y4m", 64, 48, 1))
    (part,), (whole,) = Cropped(video, 8, 6, 20, 10).batches(), video.batches()
    assert (part.planes[0] == whole.planes[0][:, 6:16, 8:28]).all()
    assert (part.planes[2] == whole.planes[2][:, 3:8, 4:14]).all()
    with pytest.raises(MediaError, match="even"):
        Cropped(video, 1, 0, 8, 8)


def test_cut_asks_for_no_more_than_there_is(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="2 frames"):
        Cut(open_video(make_y4m(tmp_path / "a.y4m", 16, 16, 2)), 3)


def test_frames_have_a_stable_hash() -> None:
    fmt = VideoFormat(2, 1, "gray")
    video = MemoryVideo(fmt, Frames((np.array([[[1, 2]], [[3, 4]]], np.uint8),)))
    assert sha256_of(video) == hashlib.sha256(bytes([1, 2, 3, 4])).hexdigest()


def write_images(folder: Path, names: list[str]) -> list[int]:
    """Gray images of 8x6, each of one value; returns the values in the order of the names."""
    folder.mkdir()
    values = [10 * (index + 1) for index in range(len(names))]
    for name, value in zip(names, values, strict=True):
        Image.new("L", (8, 6), value).save(folder / name)
    return values


@pytest.mark.parametrize(
    "names",
    [
        [f"{number}.png" for number in range(1, 13)],
        ["shot1_9.png", "shot1_10.png", "shot2_1.png", "shot10_1.png"],
        ["001.png", "002.png", "010.png"],
    ],
)
def test_images_come_in_the_order_of_their_numbers(tmp_path: Path, names: list[str]) -> None:
    values = write_images(tmp_path / "images", names)
    read = [int(frame) for batch in open_video(tmp_path / "images").batches() for frame in batch.planes[0][:, 0, 0]]
    assert read == values


@pytest.mark.parametrize("names", [["1.png", "01.png"], ["1.png", "2.png", "2.bmp"]])
def test_names_that_tell_no_order_are_refused(tmp_path: Path, names: list[str]) -> None:
    write_images(tmp_path / "images", names)
    with pytest.raises(MediaError, match="do not say which is first"):
        open_video(tmp_path / "images")


@pytest.mark.parametrize("name", ["", "a%03d.png"])
def test_a_name_that_stands_for_other_images_is_refused(tmp_path: Path, name: str) -> None:
    write_images(tmp_path / "images", ["a001.png", "a%03d.png"])
    with pytest.raises(MediaError, match=r"a%03d\.png .*rename"):
        open_video(tmp_path / "images" / name)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_images_with_a_rotation_are_read_as_they_are_stored(tmp_path: Path, orientation: int) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    left_to_right = np.broadcast_to(np.arange(0, 240, 5, np.uint8), (32, 48))
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(left_to_right).save(folder / "1.jpg", quality=100, exif=exif)
    (batch,) = open_video(folder).batches()
    assert batch.planes[0].shape == (1, 32, 48)
    assert np.abs(batch.planes[0][0].astype(int) - left_to_right).max() <= 3


@pytest.mark.parametrize("rate", ["-25:1", "25:-1", "0:1", "1:0", "99999999:1", "1:4294967296", "x:1"])
def test_a_y4m_rate_that_no_video_has_is_refused(tmp_path: Path, rate: str) -> None:
    path = make_y4m(tmp_path / "a.y4m", 16, 16, 1)
    path.write_bytes(path.read_bytes().replace(b" F25:1 ", f" F{rate} ".encode(), 1))
    with pytest.raises(MediaError, match=r"a\.y4m.*(rate|header)"):
        open_video(path)


@pytest.mark.parametrize(("rate", "value"), [("0:0", 25), ("30000:1001", Fraction(30000, 1001)), ("1:3600", None)])
def test_y4m_rates(tmp_path: Path, rate: str, value: Fraction | None) -> None:
    path = make_y4m(tmp_path / "a.y4m", 16, 16, 1)
    path.write_bytes(path.read_bytes().replace(b" F25:1 ", f" F{rate} ".encode(), 1))
    assert open_video(path).format.frame_rate == (value or Fraction(rate.replace(":", "/")))


@pytest.mark.parametrize("name", ["a:b.mkv", "-i.mkv", "http:x.mkv", "a'b c.mkv"])
def test_file_names_that_ffmpeg_would_take_for_something_else(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write = [find_ffmpeg(), "-v", "error", "-f", "lavfi", "-i", "testsrc=size=64x48:rate=25", "-frames:v", "2",
             "-pix_fmt", "yuv420p", "-c:v"]  # fmt: skip
    subprocess.run([*write, "ffv1", f"file:{name}"], check=True)
    assert sum(len(batch) for batch in open_video(Path(name)).batches()) == 2
    bare = name.replace(".mkv", ".h264")
    subprocess.run([*write, "libx264", f"file:{bare}"], check=True)
    stream = ElementaryStream(Path(bare), "h264")
    assert (stream.format.width, sum(len(batch) for batch in stream.batches())) == (64, 2)


def test_images_with_such_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    values = write_images(Path("in:1"), ["-1.png", "-2.png"])
    (batch,) = open_video(Path("in:1")).batches()
    assert batch.planes[0][:, 0, 0].tolist() == values


@pytest.mark.parametrize(
    ("pix_fmt", "alpha"), [("yuva420p", True), ("yuv420p", False), ("bgra", True), ("bgr0", False), ("gbrap", True)]
)
def test_an_alpha_plane_is_known(tmp_path: Path, pix_fmt: str, alpha: bool) -> None:
    command = [find_ffmpeg(), "-v", "error", "-f", "lavfi", "-i", "testsrc=size=64x48:rate=25", "-frames:v", "1",
               "-pix_fmt", pix_fmt, "-c:v", "ffv1", str(tmp_path / "a.mkv")]  # fmt: skip
    subprocess.run(command, check=True)
    assert probe(tmp_path / "a.mkv").alpha == alpha
