"""Real HM and VTM binaries, wherever RDBENCH_HM and RDBENCH_VTM name some: `pytest -m reference_software`."""

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stand_in import waves

from rdbench.codec import Clip, Host, Source, Value, Workspace
from rdbench.codecs.ffmpeg import FfmpegCodec, VvencCodec, X265Codec
from rdbench.codecs.reference_software import HmCodec, ReferenceCodec, VtmCodec
from rdbench.errors import RdbenchError
from rdbench.video import Video, VideoFormat

pytestmark = [pytest.mark.reference_software, pytest.mark.timeout(1200)]


@pytest.fixture(params=[HmCodec, VtmCodec], ids=["hm", "vtm"])
def cls(request: pytest.FixtureRequest) -> type[ReferenceCodec]:
    found: type[ReferenceCodec] = request.param
    if reason := found.missing(Host()):
        pytest.skip(reason)
    return found


def code(
    cls: type[ReferenceCodec], video: Video, folder: Path, label: str, **settings: Value
) -> tuple[Path, Workspace]:
    folder.mkdir(exist_ok=True)
    codec, workspace = cls(cls.Settings(**settings)), Workspace(folder, threads=2)
    point = codec.rate_point(label, Clip(video.format, video.frames or 0))
    codec.encode(Source(video, video), point, folder / "out.bin", workspace)
    return folder / "out.bin", workspace


def planes(video: Video) -> list[np.ndarray[Any, Any]]:
    return [np.concatenate(p) for p in zip(*(batch.planes for batch in video.batches()), strict=True)]


def psnr(video: Video, decoded: list[np.ndarray[Any, Any]], depth: int) -> float:
    """PSNR of luma, at 8 bit."""
    scale = 1 << (depth - 8)
    reference = planes(video)[0] / (1 << (video.format.bit_depth - 8))
    return float(10 * np.log10(255**2 / np.mean((reference - decoded[0] / scale) ** 2)))


@pytest.mark.parametrize(
    ("fmt", "settings"),
    [
        (VideoFormat(96, 64), {}),
        (VideoFormat(70, 50, full_range=True), {"configuration": "ldb"}),
        (VideoFormat(70, 50, bit_depth=10), {"configuration": "ldp"}),
        (VideoFormat(71, 51, "444"), {"configuration": "ai"}),
        (VideoFormat(71, 51, "444", 10), {}),
        (VideoFormat(64, 64, "rgb", full_range=True), {"keep_md5": True}),
    ],
)
def test_round_trip(cls: type[ReferenceCodec], fmt: VideoFormat, settings: dict[str, Value], tmp_path: Path) -> None:
    video = waves(fmt, 3)
    path, workspace = code(cls, video, tmp_path, "qp22", **settings)
    decoded = cls.decode(path, workspace)
    depth = 10 if cls is VtmCodec or fmt.bit_depth == 10 else 8
    chroma = "420" if fmt.chroma == "rgb" else fmt.chroma
    assert decoded.format == VideoFormat(
        fmt.width, fmt.height, chroma, depth, full_range=fmt.full_range and chroma == fmt.chroma
    )
    assert decoded.frames == 3
    assert workspace.report["md5_checked"] == 3
    if fmt.chroma != "rgb":
        assert psnr(video, planes(decoded), depth) > 40
    ledger = cls.ledger(path)
    assert ("sei" in ledger) == bool(settings.get("keep_md5"))
    other: type[FfmpegCodec] = X265Codec if cls is HmCodec else VvencCodec
    again = planes(other.decode(path, workspace))
    assert all(np.array_equal(a, b) for a, b in zip(planes(decoded), again, strict=True))


def test_pieces_decode_as_the_whole_does(cls: type[ReferenceCodec], tmp_path: Path) -> None:
    video = waves(VideoFormat(64, 64), 68)
    whole, first = code(cls, video, tmp_path / "whole", "qp40")
    cut, second = code(cls, video, tmp_path / "cut", "qp40", segments=3)
    assert len(second.report["command"].splitlines()) == 3
    one, other = planes(cls.decode(whole, first)), planes(cls.decode(cut, second))
    assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
    assert cut.stat().st_size == whole.stat().st_size
    if cls is HmCodec:
        assert cut.read_bytes() == whole.read_bytes()


def outcome(cls: type[ReferenceCodec], path: Path, workspace: Workspace) -> int | str:
    """The number of frames, or `refused` with a sentence: a stream cut between two pictures decodes, but lacks some."""
    try:
        return len(planes(cls.decode(path, workspace))[0])
    except RdbenchError as error:
        return "refused" if re.search("encode it again|cut short", str(error)) else str(error)


def test_damage_is_found(cls: type[ReferenceCodec], tmp_path: Path) -> None:
    path, workspace = code(cls, waves(VideoFormat(64, 64), 5), tmp_path, "qp22", keep_md5=True)
    data = path.read_bytes()
    for damaged in (b"", b"junk" * 100, data[:40], data[: len(data) // 2], data[:-60]):
        path.write_bytes(damaged)
        assert outcome(cls, path, workspace) in ("refused", *range(5))
    flipped = bytearray(data)
    flipped[len(data) // 2] ^= 0x10
    path.write_bytes(flipped)
    with pytest.raises(RdbenchError):
        planes(cls.decode(path, workspace))


def test_binaries_without_their_cfg_folder(cls: type[ReferenceCodec], tmp_path: Path) -> None:
    from rdbench.codecs.programs.reference_programs import find_decoder, find_encoder

    for program in (find_encoder(cls.software, Host()), find_decoder(cls.software, Host())):
        shutil.copy(program.path, tmp_path / program.path.name)
    host = Host(programs={cls.software.name: str(tmp_path)})
    assert f"{cls.software.name}[cfg=DIR]" in (cls.missing(host) or "")
    other = VtmCodec if cls is HmCodec else HmCodec
    assert f"There is no {other.software.encoders[0]} in" in (
        other.missing(Host(programs={other.software.name: str(tmp_path)})) or ""
    )
