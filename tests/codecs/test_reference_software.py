"""HM and VTM: command lines, progress, checks and refusals, with a stand-in for the programs."""

import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stand_in import HEIGHT, WIDTH, make_hm, waves, write_program

from rdbench.codec import Clip, Host, Source, Value, Workspace
from rdbench.codecs.programs.reference_programs import HM, VTM, found, lacks
from rdbench.codecs.programs.segments import Piece, split_units
from rdbench.codecs.reference_software import HmCodec, ReferenceCodec, VtmCodec, ctc_intra_period, read_cfg
from rdbench.errors import BitstreamError, EncoderError, RdbenchError, UsageError
from rdbench.video import VideoFormat

FORMAT = VideoFormat(WIDTH, HEIGHT)


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No binaries of this machine, no configuration file."""
    for name in ("RDBENCH_HM", "RDBENCH_VTM", "STAND_IN_FAIL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


def make(cls: type[ReferenceCodec], **settings: Value) -> ReferenceCodec:
    return cls(cls.Settings(**settings))


def code(codec: ReferenceCodec, folder: Path, programs: Path, frames: int = 5, threads: int = 1) -> Workspace:
    folder.mkdir(exist_ok=True)
    video = waves(FORMAT, frames)
    workspace = Workspace(folder, threads=threads, host=Host(programs={"hm": str(programs)}))
    codec.encode(Source(video, video), codec.rate_point("qp32", Clip(FORMAT, frames)), folder / "out.bin", workspace)
    return workspace


def decode(path: Path, workspace: Workspace) -> list[np.ndarray[Any, Any]]:
    video = HmCodec.decode(path, workspace)
    assert video.format == FORMAT
    return [np.concatenate(planes) for planes in zip(*(b.planes for b in video.batches()), strict=True)]


@pytest.mark.parametrize("keep", [False, True])
def test_round_trip(keep: bool, tmp_path: Path) -> None:
    shown: list[tuple[float, float, str]] = []
    codec, programs = make(HmCodec, keep_md5=keep), make_hm(tmp_path / "hm")
    workspace = Workspace(tmp_path, host=Host(programs={"hm": str(programs)}))
    workspace.progress = lambda done, total, text: shown.append((done, total, text))
    video = waves(FORMAT, 5)
    codec.encode(Source(video, video), codec.rate_point("qp32", Clip(FORMAT, 5)), tmp_path / "out.bin", workspace)
    assert shown[-1] == (5, 5, "5 of 5 frames coded, 0 s left")
    assert workspace.report["md5_checked"] == 5
    assert workspace.report["encoder_seconds"] == pytest.approx(0.669)
    assert "--QP=32" in workspace.report["command"]
    assert "verify" in workspace.stopwatch.seconds
    ledger = HmCodec.ledger(tmp_path / "out.bin")
    assert ("sei" in ledger) == keep
    assert sum(ledger.values()) == (tmp_path / "out.bin").stat().st_size
    decoded = decode(tmp_path / "out.bin", workspace)
    assert all(np.array_equal(a, b) for a, b in zip(decoded, next(iter(video.batches(5))).planes, strict=True))


@pytest.mark.parametrize(("frames", "pieces"), [(33, 1), (65, 2), (70, 3), (300, 4)])
def test_pieces_join_to_the_stream_of_the_whole(frames: int, pieces: int, tmp_path: Path) -> None:
    programs = make_hm(tmp_path / "hm")
    whole = code(make(HmCodec), tmp_path / "whole", programs, frames)
    cut = code(make(HmCodec, segments=9), tmp_path / "cut", programs, frames, threads=3)
    commands = cut.report["command"].splitlines()
    assert len(commands) == min(9, -(-(frames - 1) // 32)) >= pieces
    assert cut.report["md5_checked"] == frames
    assert (tmp_path / "cut" / "out.bin").read_bytes() == (tmp_path / "whole" / "out.bin").read_bytes()
    planes = decode(tmp_path / "cut" / "out.bin", whole)
    assert np.array_equal(planes[0], next(iter(waves(FORMAT, frames).batches(frames))).planes[0])


@pytest.mark.parametrize(
    ("fail", "words"),
    [
        ("kill", "HM 18.0 was ended by signal SIGKILL after 2 of 5 frames"),
        ("crash", "HM 18.0 failed with exit status 1 after 0 of 5 frames.*the stand-in broke"),
        ("log", "unknown format or incomplete: it tells of 0 pictures where 5"),
        ("md5", "1 of 5 pictures that HM decoded differ from their MD5"),
        ("recon", "What HM decodes is not what its encoder reconstructed"),
    ],
)
def test_a_bad_encoder_fails_with_one_sentence(
    fail: str, words: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    programs = make_hm(tmp_path / "hm")
    monkeypatch.setenv("STAND_IN_FAIL", fail)
    with pytest.raises(RdbenchError, match=words):
        code(make(HmCodec), tmp_path / "work", programs)
    assert not (tmp_path / "work" / "out.bin").exists()


def test_damaged_streams(tmp_path: Path) -> None:
    programs = make_hm(tmp_path / "hm")
    workspace = code(make(HmCodec, keep_md5=True), tmp_path, programs)
    path, data = tmp_path / "out.bin", (tmp_path / "out.bin").read_bytes()
    for damaged in (b"", b"junk" * 90, data[:90]):
        path.write_bytes(damaged)
        with pytest.raises(BitstreamError, match="encode it again"):
            decode(path, workspace)
    path.write_bytes(data[:-3000])
    with pytest.raises(BitstreamError, match=r"HM 18.0 cannot decode .*; it is cut short or damaged"):
        decode(path, workspace)
    path.write_bytes(data[:-2000] + b"\x55" + data[-1999:])
    with pytest.raises(BitstreamError, match="1 of 5 pictures that HM decoded differ from their MD5"):
        decode(path, workspace)
    units = split_units(data)
    path.write_bytes(b"".join(unit.start_code + unit.data for unit in units[:-4]))
    assert len(decode(path, workspace)[0]) == 3  # whole pictures are missing: the job notices by their number


def test_where_the_programs_are_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    reason = lacks(HM, Host())
    assert reason is not None
    for way in ("hm[path=DIR]", "RDBENCH_HM", "config.toml", "PATH", "TAppEncoderStatic"):
        assert way in reason
    on_path = make_hm(tmp_path / "a", "16.1")
    monkeypatch.setenv("PATH", str(on_path))
    assert found(HM, Host()).startswith("HM 16.1 (cfg ")
    make_hm(tmp_path / "b", "16.2")
    (tmp_path / "config" / "rdbench").mkdir(parents=True)
    (tmp_path / "config" / "rdbench" / "config.toml").write_text(f'hm = "{tmp_path / "b"}"\n')
    assert found(HM, Host()).startswith("HM 16.2 ")
    monkeypatch.setenv("RDBENCH_HM", str(make_hm(tmp_path / "c", "16.3")))
    assert found(HM, Host()).startswith("HM 16.3 ")
    host = Host(programs=make(HmCodec, path=str(make_hm(tmp_path / "d", "16.4"))).programs)
    assert found(HM, host).startswith("HM 16.4 ")
    assert HmCodec.missing(host) is None
    monkeypatch.setenv("RDBENCH_HM", "builds/hm")
    assert "RDBENCH_HM names builds/hm, but jobs run in folders of their own" in (lacks(HM, Host()) or "")
    (tmp_path / "config" / "rdbench" / "config.toml").write_text("hm = 3\n")
    monkeypatch.delenv("RDBENCH_HM")
    assert 'write hm = "/path"' in (lacks(HM, Host()) or "")


def test_wrong_programs(tmp_path: Path) -> None:
    def reason(folder: Path, **more: str) -> str:
        return lacks(HM, Host(programs={"hm": str(folder), **more})) or ""

    assert "There is no TAppEncoderStatic in" in reason(tmp_path)
    assert "is HM 10.0; build HM 16.0 or newer" in reason(make_hm(tmp_path / "old", "10.0"))
    assert "is HM 18.0 but" in reason(make_hm(tmp_path / "two", "18.0", "17.0"))
    swapped = make_hm(tmp_path / "swapped")
    (swapped / "TAppDecoderStatic").rename(swapped / "TAppEncoderStatic")
    assert "is the decoder of HM 18.0, not the encoder of HM" in reason(swapped)
    vtm = tmp_path / "vtm"
    vtm.mkdir()
    write_program(vtm / "TAppEncoderStatic", "#!/bin/sh\necho 'VVCSoftware: VTM Encoder Version 20.0 [Linux]'\n")
    assert "is the encoder of VTM 20.0, not the encoder of HM" in reason(vtm)
    write_program(vtm / "TAppEncoderStatic", "#!/bin/sh\necho hello\n")
    assert "does not say that it is HM" in reason(vtm)
    (vtm / "TAppEncoderStatic").write_bytes(b"\x7fELF junk")
    assert "cannot be run" in reason(vtm)
    bare = make_hm(tmp_path / "bare")
    for file in (tmp_path / "bare" / "cfg").iterdir():
        file.unlink()
    assert "hm[cfg=DIR]" in reason(bare)
    assert reason(bare, **{"hm.cfg": str(tmp_path / "old" / "cfg")}) == ""
    assert f"in {tmp_path}" in reason(bare, **{"hm.cfg": str(tmp_path)})


def test_another_build_of_one_version_is_another_version(tmp_path: Path) -> None:
    """Another decoder is none: the encoder alone decides the bits."""
    programs = make_hm(tmp_path / "hm")
    host = Host(programs={"hm": str(programs)})
    before = HmCodec.version(host)
    for name, other in (("TAppDecoderStatic", False), ("TAppEncoderStatic", True)):
        with (programs / name).open("a") as program:
            program.write("# another build\n")
        assert (HmCodec.version(host) != before) == other


@pytest.mark.parametrize("cls", [HmCodec, VtmCodec])
def test_what_the_software_says_of_itself(cls: type[ReferenceCodec]) -> None:
    assert (cls.threads_decide_bits, cls.uses_seed, cls.runs_outside) == (False, False, True)


def test_threads_do_not_decide_the_bytes(tmp_path: Path) -> None:
    programs = make_hm(tmp_path / "hm")
    for threads in (1, 3):
        code(make(HmCodec, segments=3, intra_period=16), tmp_path / str(threads), programs, 49, threads)
    streams = [(tmp_path / str(threads) / "out.bin").read_bytes() for threads in (1, 3)]
    assert streams[0] == streams[1]


def test_a_cfg_file_that_is_missing_or_changed(tmp_path: Path) -> None:
    programs = make_hm(tmp_path / "hm")
    host = Host(programs={"hm": str(programs)})
    before = HmCodec.version(host)
    cfg = tmp_path / "hm" / "cfg"
    (cfg / "encoder_randomaccess_main.cfg").write_text("GOPSize: 8\n")
    assert HmCodec.version(host) != before
    assert re.fullmatch(r"HM 18\.0 \(cfg [0-9a-f]{8}, encoder [0-9a-f]{8}\)", before)
    (cfg / "encoder_randomaccess_main.cfg").unlink()
    with pytest.raises(UsageError, match=r"encoder_randomaccess_main.cfg cannot be read .*cfg=DIR"):
        code(make(HmCodec), tmp_path / "work", programs)


def test_intra_period() -> None:
    rates = {24: 32, 25: 32, 30: 32, 50: 64, 60: 64, 100: 96, 120: 128, 1: 32}
    assert {rate: ctc_intra_period(Fraction(rate), 16) for rate in rates} == rates
    assert ctc_intra_period(Fraction(60000, 1001), 32) == 64
    assert ctc_intra_period(Fraction(50), 24) == 48
    assert make(HmCodec, configuration="ldb").intra_period(Fraction(30), {"GOPSize": "8"}) is None
    assert make(HmCodec, intra_period=48).intra_period(Fraction(30), {"GOPSize": "16"}) == 48
    for wanted in (40, 0):
        with pytest.raises(UsageError, match="no multiple of the GOP of 16"):
            make(HmCodec, intra_period=wanted).intra_period(Fraction(30), {"GOPSize": "16"})


def command(codec: ReferenceCodec, fmt: VideoFormat, tmp_path: Path) -> tuple[list[str], dict[str, str]]:
    for name in codec.cfg_files(fmt):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("GOPSize : 16 # of pictures\n")
    point = codec.rate_point("qp27", Clip(fmt, 9))
    words = codec.arguments(Path("enc"), tmp_path, fmt, point, Piece(64, 33), Path("in.yuv"), Path("piece1"))
    files = [words[i + 1].removeprefix(f"{tmp_path}/") for i, word in enumerate(words) if word == "-c"]
    return files, dict(word[2:].split("=", 1) for word in words if word.startswith("--"))


def test_command_lines(tmp_path: Path) -> None:
    files, options = command(make(HmCodec), VideoFormat(1920, 1080, frame_rate=Fraction(60000, 1001)), tmp_path)
    assert files == ["encoder_randomaccess_main.cfg"]
    assert options.items() >= {
        "InputFile": "in.yuv", "SourceWidth": "1920", "SourceHeight": "1080", "FrameRate": "60", "FrameSkip": "64",
        "FramesToBeEncoded": "33", "QP": "27", "IntraPeriod": "64", "InputBitDepth": "8", "OutputBitDepth": "8",
        "OutputBitDepthC": "8", "InputChromaFormat": "420", "ChromaFormatIDC": "420", "ConformanceWindowMode": "1",
        "SEIDecodedPictureHash": "1", "BitstreamFile": "piece1.bin", "ReconFile": "piece1.yuv",
    }.items()  # fmt: skip
    assert "VideoFullRange" not in options
    full = VideoFormat(426, 238, "444", 8, full_range=True)
    files, options = command(make(HmCodec, extra="Level=5:SAO=0"), full, tmp_path)
    assert files == ["encoder_randomaccess_main_rext.cfg"]
    assert options.items() >= {
        "InternalBitDepth": "8", "ChromaFormatIDC": "444", "VideoFullRange": "1", "VideoSignalTypePresent": "1",
        "VuiParametersPresent": "1", "Level": "5", "SAO": "0",
    }.items()  # fmt: skip
    files, options = command(make(HmCodec, configuration="ldp"), VideoFormat(64, 64, bit_depth=10), tmp_path)
    assert files == ["encoder_lowdelay_P_main10.cfg"]
    assert (options["InputBitDepth"], options["OutputBitDepth"], "IntraPeriod" in options) == ("10", "10", False)
    files, options = command(make(HmCodec, profile="main10", configuration="ai"), FORMAT, tmp_path)
    assert files == ["encoder_intra_main10.cfg"]
    assert (options["InputBitDepth"], options["OutputBitDepthC"]) == ("8", "10")
    files, options = command(make(VtmCodec, configuration="ldb"), full, tmp_path)
    assert files == ["encoder_lowdelay_vtm.cfg", "444/yuv444.cfg"]
    assert options.items() >= {
        "OutputBitDepth": "10", "VuiParametersPresent": "1", "ColourDescriptionPresent": "1", "VideoFullRange": "1",
        "TemporalSubsampleRatio": "1",
    }.items()  # fmt: skip
    assert "VideoSignalTypePresent" not in options


def test_rate_points() -> None:
    clip = Clip(FORMAT, 5)
    for cls, highest in ((HmCodec, 51), (VtmCodec, 63)):
        assert [p.label for p in make(cls).rate_points(clip)] == ["qp37", "qp32", "qp27", "qp22"]
        papers = [p.settings["qp"] for p in make(cls, qps="papers").rate_points(clip)]
        assert papers == [36, 32, 28, 24, 20, 16]
        assert make(cls).rate_point(f"qp{highest}", clip).settings["qp"] == highest
        for label in (f"qp{highest + 1}", "qp-1", "qp07", "crf20", "32", "qp", "qp3.5"):
            with pytest.raises(UsageError, match=f"has qp0 to qp{highest}"):
                make(cls).rate_point(label, clip)


def test_what_is_not_coded_is_refused() -> None:
    codec = make(HmCodec)
    for fmt, words in (
        (VideoFormat(64, 48, "422"), "not 422; set chroma"),
        (VideoFormat(64, 48, "gray"), "not gray; set chroma"),
        (VideoFormat(64, 48, bit_depth=12), "8 and 10 bit here, not 12"),
        (VideoFormat(63, 48), "not 63x48; crop"),
    ):
        with pytest.raises(UsageError, match=words):
            codec.target(fmt)
    assert codec.target(VideoFormat(63, 47, "444")).chroma == "444"
    assert codec.target(VideoFormat(64, 48, "rgb", full_range=True)) == VideoFormat(64, 48, "420")
    assert make(HmCodec, chroma="444").target(VideoFormat(63, 47, "rgb")).chroma == "444"
    with pytest.raises(UsageError, match="low delay P in 4:4:4"):
        make(HmCodec, configuration="ldp").cfg_files(VideoFormat(64, 48, "444"))
    for wrong in ({"extra": "no-value"}, {"configuration": "fast"}, {"segments": 0}, {"chroma": "422"}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            make(HmCodec, **wrong)  # type: ignore[arg-type]


def test_only_random_access_is_cut(tmp_path: Path) -> None:
    programs = make_hm(tmp_path / "hm")
    for settings in ({"configuration": "ldb"}, {"intra_period": -1}):
        with pytest.raises(UsageError, match="Only random access with an intra period can be cut"):
            code(make(HmCodec, segments=2, **settings), tmp_path / "work", programs)  # type: ignore[arg-type]


def test_cfg_files_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.cfg"
    path.write_text("#==== x: y ====\nGOPSize                       : 16           # GOP Size\n\nname:\nrubbish\n")
    assert read_cfg(path) == {"GOPSize": "16", "name": ""}


def test_another_vtm_is_named(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match=r"vtm\[path=DIR\], RDBENCH_VTM"):
        VtmCodec.version(Host())
    assert VTM.variable == "RDBENCH_VTM"
