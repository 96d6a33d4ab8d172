"""x264, x265, SVT-AV1, libaom and VVenC: arguments, streams, round trips and refusals."""

import subprocess
import sys
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rdbench.codec import Clip, CodecCard, Host, RatePoint, Source, Value, Workspace
from rdbench.codecs import menu
from rdbench.codecs.ffmpeg import FfmpegCodec, LibaomCodec, SvtAv1Codec, VvencCodec, X264Codec, X265Codec
from rdbench.conformance.check import NotApplicable
from rdbench.conformance.checks import BY_NAME
from rdbench.conformance.subject import Subject
from rdbench.errors import BitstreamError, EncoderError, UsageError
from rdbench.runner.decoding import DecoderOptions, decode_once
from rdbench.video import BATCH, Frames, Video, VideoFormat
from rdbench.video.ffmpeg import find_ffmpeg
from rdbench.video.readers import Cut, Scaled, open_video

torch.set_num_threads(1)

CARDS = {X264Codec: menu.X264, X265Codec: menu.X265, SvtAv1Codec: menu.SVTAV1, LibaomCodec: menu.LIBAOM,
         VvencCodec: menu.VVENC}  # fmt: skip
POINTS = {X264Codec: "crf20", X265Codec: "qp20", SvtAv1Codec: "crf20", LibaomCodec: "crf20", VvencCodec: "qp22"}
CODECS = tuple(CARDS)


class Waves(Video):
    """Smooth waves that move; the same samples every time."""

    def __init__(self, fmt: VideoFormat, frames: int = 5) -> None:
        self.format, self.frames = fmt, frames
        self.planes = tuple(self._plane(h, w, k) for k, (h, w) in enumerate(fmt.plane_shapes))

    def _plane(self, h: int, w: int, k: int) -> Any:
        t, y, x = np.mgrid[: self.frames, :h, :w]
        wave = 0.5 + 0.45 * np.sin((x + 3 * t) / (7 + 3 * k)) * np.cos((y + t) / 9)
        return np.rint(wave * self.format.peak).astype(self.format.dtype)

    def batches(self, size: int = BATCH) -> Iterator[Frames]:
        for start in range(0, self.frames or 0, size):
            yield Frames(tuple(plane[start : start + size] for plane in self.planes))


def make(cls: type[FfmpegCodec], **settings: Value) -> FfmpegCodec:
    return cls(cls.Settings(**settings))


def code(codec: FfmpegCodec, video: Video, folder: Path, label: str, name: str = "out.bin", threads: int = 1) -> Path:
    folder.mkdir(exist_ok=True)
    workspace = Workspace(folder, threads=threads)
    point = codec.rate_point(label, Clip(video.format, video.frames or 0))
    codec.encode(Source(video, video), point, folder / name, workspace)
    return folder / name


def psnr(video: Waves, decoded: Frames, depth: int) -> float:
    """PSNR over all planes together, at 8 bit."""
    first = np.concatenate([p.ravel() / video.format.peak for p in video.planes])
    second = np.concatenate([p.ravel() / (1 << depth) * 256 / 255 for p in decoded.planes])
    return float(-10 * np.log10(np.mean((first - second) ** 2)))


def decode(cls: type[FfmpegCodec], path: Path) -> tuple[VideoFormat, Frames]:
    video = cls.decode(path, Workspace(path.parent))
    batches = list(video.batches())
    planes = zip(*(batch.planes for batch in batches), strict=True)
    return video.format, Frames(tuple(np.concatenate(plane) for plane in planes))


@pytest.mark.parametrize("cls", CODECS)
@pytest.mark.parametrize("full_range", [False, True])
def test_round_trip(cls: type[FfmpegCodec], full_range: bool, tmp_path: Path) -> None:
    video = Waves(VideoFormat(96, 64, full_range=full_range))
    shown: list[float] = []
    workspace = Workspace(tmp_path, progress=lambda done, total, text: shown.append(done / total))
    codec = make(cls)
    point = codec.rate_point(POINTS[cls], Clip(video.format, 5))
    codec.encode(Source(video, video), point, tmp_path / "out.bin", workspace)
    data = (tmp_path / "out.bin").read_bytes()
    card = CARDS[cls]
    assert not card.signatures or data.startswith(card.signatures)
    assert not any(text in data for text in (b"x265 (build", b"x264 - core", b"VVenC", b"Lavc"))
    fmt, decoded = decode(cls, tmp_path / "out.bin")
    assert (fmt.width, fmt.height, fmt.chroma, fmt.full_range) == (96, 64, "420", full_range)
    assert fmt.bit_depth == (10 if cls is VvencCodec else 8)
    assert len(decoded) == 5
    assert psnr(video, decoded, fmt.bit_depth) > 30
    assert shown[-1] == 1
    assert cls.encoder in workspace.report["command"]
    ledger = cls.ledger(tmp_path / "out.bin")
    assert sum(ledger.values()) == len(data)
    assert ledger["slices"] > ledger["parameter_sets"] > 0
    assert "sei" not in ledger
    assert "other" not in ledger


@pytest.mark.parametrize("cls", CODECS)
def test_the_contract_of_all_codecs_holds(cls: type[FfmpegCodec], small_clip: Path, tmp_path: Path) -> None:
    subject = Subject(CARDS[cls].name, tmp_path, str(small_clip), rate_point=POINTS[cls])
    for check in ("encode", "same_bitstream_again", "seed", "signatures", "frames_as_described"):
        try:
            BY_NAME[check].run(subject)
        except NotApplicable:
            assert (check, CARDS[cls].signatures) == ("signatures", ())


@pytest.mark.parametrize(
    ("cls", "threads", "label", "preset"),
    [(X264Codec, 3, "crf27", "medium"), (X265Codec, 4, "crf27", "medium"), (LibaomCodec, 2, "crf44", 8)],
)
def test_threads_decide_the_bytes(
    cls: type[FfmpegCodec], threads: int, label: str, preset: Value, bunny: Path, tmp_path: Path
) -> None:
    """So that results of other numbers of threads do not share an id, even of x265 with its one frame thread."""
    video = Scaled(Cut(open_video(bunny), 48), 320, 180)
    codec = make(cls, preset=preset)
    streams = {code(codec, video, tmp_path / str(n), label, threads=n).read_bytes() for n in (1, threads)}
    assert len(streams) == 2


@pytest.mark.parametrize("cls", CODECS)
def test_what_an_encoder_says_of_itself(cls: type[FfmpegCodec]) -> None:
    assert (cls.threads_decide_bits, cls.uses_seed, cls.runs_outside) == (True, False, True)
    assert make(cls).precision("cuda") == "float32"


def test_fewer_bits_at_a_higher_quantizer_and_settings_matter(tmp_path: Path) -> None:
    video = Waves(VideoFormat(64, 48), 12)
    codec = make(X265Codec)
    labels = [point.label for point in codec.rate_points(Clip(video.format, 12))]
    sizes = [code(codec, video, tmp_path / label, label).stat().st_size for label in labels]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[-1]
    plain = code(codec, video, tmp_path / "plain", "crf22").read_bytes()
    assert code(make(X265Codec, bframes=0), video, tmp_path / "b0", "crf22").read_bytes() != plain
    assert code(make(X265Codec, keyint=4), video, tmp_path / "k4", "crf22").stat().st_size > len(plain)
    slow = Waves(VideoFormat(64, 48, frame_rate=Fraction(120)), 12)
    assert code(codec, slow, tmp_path / "fps", "crf22").read_bytes() != plain


@pytest.mark.parametrize("cls", CODECS)
@pytest.mark.parametrize(("chroma", "depth"), [("420", 10), ("422", 8), ("444", 8), ("rgb", 8), ("gray", 8)])
def test_other_sources(cls: type[FfmpegCodec], chroma: Any, depth: int, tmp_path: Path) -> None:
    codec = make(cls, preset={X264Codec: "fast", X265Codec: "fast", VvencCodec: "faster"}.get(cls, 8))
    video = Waves(VideoFormat(64, 64, chroma, depth), 2)
    if chroma == "gray" and cls not in (X265Codec, LibaomCodec):
        with pytest.raises(UsageError, match="gray"):
            codec.target(video.format)
        return
    target = codec.target(video.format)
    native = cls not in (SvtAv1Codec, VvencCodec) and chroma != "rgb"
    assert target.chroma == (chroma if native else "420")
    fmt, decoded = decode(cls, code(codec, video, tmp_path, POINTS[cls]))
    assert (fmt.chroma, fmt.bit_depth, len(decoded)) == (target.chroma, target.bit_depth, 2)
    if native or chroma == "420":
        assert psnr(video, decoded, fmt.bit_depth) > 25


@pytest.mark.parametrize("cls", [SvtAv1Codec, LibaomCodec])
def test_odd_sizes_where_the_encoder_has_them(cls: type[FfmpegCodec], tmp_path: Path) -> None:
    video = Waves(VideoFormat(161, 91), 3)
    fmt, decoded = decode(cls, code(make(cls, preset=8), video, tmp_path, "crf20"))
    assert (fmt.width, fmt.height, len(decoded)) == (161, 91, 3)
    assert psnr(video, decoded, 8) > 25


def test_odd_sizes_elsewhere_are_refused_with_a_remedy(tmp_path: Path) -> None:
    odd = VideoFormat(161, 91)
    for cls in (X264Codec, X265Codec, VvencCodec):
        with pytest.raises(UsageError, match="161x91; crop"):
            make(cls).target(odd)
    rgb = Waves(VideoFormat(161, 91, "rgb"), 2)
    fmt, decoded = decode(X265Codec, code(make(X265Codec, preset="fast", pix_fmt="yuv444p"), rgb, tmp_path, "crf20"))
    assert (fmt.width, fmt.height, fmt.chroma, len(decoded)) == (161, 91, "444", 2)


@pytest.mark.parametrize("cls", CODECS)
def test_damage_is_found(cls: type[FfmpegCodec], tmp_path: Path) -> None:
    path = code(make(cls), Waves(VideoFormat(64, 64)), tmp_path, POINTS[cls])
    data = path.read_bytes()
    for damaged in (b"", b"\x00" * 300, data[:20]):
        path.write_bytes(damaged)
        with pytest.raises(BitstreamError):
            decode(cls, path)
    path.write_bytes(data[: len(data) // 2])
    if cls is X265Codec:  # the decoder conceals the cut slice: only the number of frames shows it
        assert len(decode(cls, path)[1]) < 5
    else:
        with pytest.raises(BitstreamError):
            decode(cls, path)


def test_a_decoding_is_one_ffmpeg_with_the_given_threads(tmp_path: Path) -> None:
    """Counted by a stand-in that writes down its arguments; the format needs no program of its own afterwards."""
    video = Waves(VideoFormat(64, 48, "422", 10, Fraction(30000, 1001), full_range=True))
    path = code(make(X264Codec, preset="fast"), video, tmp_path, "crf20")
    calls, program = tmp_path / "calls", tmp_path / "ffmpeg"
    program.write_text(f'#!/bin/sh\necho "$@" >> {calls}\nexec {find_ffmpeg()} "$@"\n')
    program.chmod(0o755)
    decoded = X264Codec.decode(path, Workspace(tmp_path, threads=3, host=Host(ffmpeg=str(program))))
    assert not calls.exists()
    assert sum(len(batch) for batch in decoded.batches()) == 5
    assert decoded.format == video.format
    (call,) = calls.read_text().splitlines()
    assert "-threads 3" in call.partition(" -i ")[0]
    again = X264Codec.decode(path, Workspace(tmp_path))
    assert again.format == video.format  # also before the frames are read


def test_the_clock_holds_one_start_of_ffmpeg(tmp_path: Path) -> None:
    """Whatever the harness asks of the video in a timed decoding, no second ffmpeg is started for it."""
    path = code(make(X264Codec, preset="fast"), Waves(VideoFormat(64, 48)), tmp_path, "crf20")
    calls, program = tmp_path / "calls", tmp_path / "ffmpeg"
    program.write_text(f'#!/bin/sh\necho "$@" >> {calls}\nexec {find_ffmpeg()} "$@"\n')
    program.chmod(0o755)
    assert decode_once(X264Codec, path, DecoderOptions("cpu", 1, str(program), {}), "cpu").frames == 5
    assert len(calls.read_text().splitlines()) == 1


def test_arguments_need_no_binary() -> None:
    fmt = VideoFormat(1920, 1080, frame_rate=Fraction(30000, 1001), full_range=True)
    codec = make(X265Codec, bframes=0, keyint=32, extra="aq-mode=1")
    command = codec.arguments(fmt, RatePoint("qp30", {"qp": 30}), Path("out.bin"), Path("progress"), 3)
    pairs = dict(pairwise(command))
    assert command[0] == "ffmpeg"
    assert pairs["-framerate"] == "30000/1001"
    assert pairs["-video_size"] == "1920x1080"
    assert pairs["-x265-params"] == "info=0:log-level=1:pools=3:frame-threads=1:bframes=0:aq-mode=1"
    wanted = {"-qp": "30", "-g": "32", "-preset": "veryslow", "-tune": "psnr", "-color_range": "pc"}
    assert wanted.items() <= pairs.items()
    assert "-crf" not in command


@pytest.mark.parametrize("cls", CODECS)
def test_rate_points(cls: type[FfmpegCodec]) -> None:
    clip = Clip(VideoFormat(64, 48), 5)
    codec = make(cls)
    points = codec.rate_points(clip)
    assert len({p.label for p in points}) >= 5
    assert all(codec.rate_point(p.label, clip) == p for p in points)
    for label in ("crf64", "qp99", "crf", "28", "crf-1", "crf07", "qp3.5"):
        with pytest.raises(UsageError, match="no rate point"):
            codec.rate_point(label, clip)
    assert (codec.estimate_seconds(clip, points[0], "cpu") or 0) > 0


def test_what_an_encoder_lacks_is_refused() -> None:
    with pytest.raises(UsageError, match="did you mean"):
        make(X264Codec, pix_fmt="yuv42p").target(VideoFormat(64, 48))
    with pytest.raises(UsageError, match="libvvenc has qp0 to qp63"):
        make(VvencCodec).rate_point("crf28", Clip(VideoFormat(64, 48), 5))
    wrong: list[tuple[type[FfmpegCodec], str, Value]] = [
        (VvencCodec, "bframes", 0), (X265Codec, "preset", "quick"), (X264Codec, "extra", "no-value")
    ]  # fmt: skip
    for cls, name, value in wrong:
        with pytest.raises(ValueError, match=name):
            make(cls, **{name: value})


def test_a_failing_encoder_says_why(tmp_path: Path) -> None:
    broken = make(X264Codec, extra="level=nonsense")
    with pytest.raises(EncoderError, match=r"libx264 failed.*nonsense"):
        code(broken, Waves(VideoFormat(64, 48), 400), tmp_path, "crf30")


@pytest.mark.parametrize("cls", CODECS)
def test_versions_and_missing(cls: type[FfmpegCodec], tmp_path: Path) -> None:
    host = Host()
    assert cls.missing(host) is None
    assert CARDS[cls].missing(host) is None
    words = cls.version(host).split()
    assert words[0] == cls.encoder
    assert words[1][0].isdigit()
    assert words[-3] == "ffmpeg"
    assert "--ffmpeg" in (cls.missing(Host(ffmpeg=str(tmp_path / "none"))) or "")
    lean = tmp_path / "ffmpeg"
    lean.write_text("#!/bin/sh\necho ' V....D mpeg4   MPEG-4'\n")
    lean.chmod(0o755)
    assert cls.encoder in (cls.missing(Host(ffmpeg=str(lean))) or "")


def test_another_build_of_one_version_is_another_version(tmp_path: Path) -> None:
    """Two programs that print the same and behave the same, and are not the same."""
    versions = []
    for name in ("one", "other"):
        program = tmp_path / name / "ffmpeg"
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\n# build {name}\nexec "{find_ffmpeg()}" "$@"\n')
        program.chmod(0o755)
        versions.append(X264Codec.version(Host(ffmpeg=str(program))))
    assert versions[0] != versions[1]
    assert versions[0].rpartition(" ")[0] == versions[1].rpartition(" ")[0]
    again = X264Codec.version(Host(ffmpeg=str(tmp_path / "one" / "ffmpeg")))
    assert again == versions[0]
    (tmp_path / "one" / "ffmpeg").write_text((tmp_path / "other" / "ffmpeg").read_text())
    assert X264Codec.version(Host(ffmpeg=str(tmp_path / "one" / "ffmpeg"))) == versions[1]


def test_the_menu_is_light_and_true() -> None:
    program = "import sys, rdbench.codecs.menu; sys.exit(bool({'torch', 'numpy', 'pydantic'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
    for cls, card in CARDS.items():
        assert isinstance(card, CodecCard)
        assert card.load == f"{cls.__module__}:{cls.__qualname__}"
        assert card.reference == cls.reference
        assert all(p.label.removeprefix("crf").removeprefix("qp") in card.rate_points
                   for p in make(cls).rate_points(Clip(VideoFormat(64, 48), 5)))  # fmt: skip
