"""HM (H.265) and VTM (H.266), the standards' reference software, from binaries that the user built.

The configuration is the software's cfg files plus the options in `arguments`. The encoder writes the MD5 of every
picture into the stream. The decoder, run alone on it, must confirm each MD5 and output the encoder's reconstruction to
the bit; then the MD5s are removed, so that they do not count as rate (`keep_md5` leaves them in).
"""

import shlex
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar, Literal

from pydantic import Field

from rdbench.codec import Clip, Codec, Host, RatePoint, Settings, Source, Workspace
from rdbench.errors import BitstreamError, MediaError, UsageError
from rdbench.video import Video, VideoFormat
from rdbench.video.ffmpeg import probe
from rdbench.video.ffmpeg_program import find_ffmpeg
from rdbench.video.readers import ConvertedVideo, RawVideo, write_raw

from .programs.elementary import LEDGERS
from .programs.reference_log import check_verdicts
from .programs.reference_programs import (
    HM,
    VTM,
    Software,
    describe,
    find_cfg,
    find_decoder,
    find_encoder,
    lacks,
    named_elsewhere,
)
from .programs.reference_run import check_reconstruction, decode_alone, encode_pieces
from .programs.segments import Piece, Syntax, cut, join, strip_hashes

CTC_PERIOD = 32
"""The intra period is the multiple of this nearest to one second: `IntraPeriod: -32` of HM's cfg files after 18.0."""


class ReferenceSettings(Settings):
    """Settings of HM and VTM."""

    path: str | None = Field(None, exclude=True)
    """The folder with the programs (or the one above their `bin`)."""
    cfg: str | None = Field(None, exclude=True)
    """The software's cfg folder, where it is not above the programs."""
    configuration: Literal["ra", "ldb", "ldp", "ai"] = "ra"
    """Coding configuration: random access, low delay B, low delay P, or all intra."""
    qps: Literal["ctc", "papers"] = "ctc"
    """QPs: 22, 27, 32, 37 of the common test conditions (CTC), or the INR papers' 16 to 36 in steps of 4."""
    intra_period: int | None = Field(None, ge=-1)
    """Distance of intra frames; None: for random access by the frame rate, else the value of the cfg file."""
    chroma: Literal["420", "444"] | None = None
    """Chroma format to encode; None: the source's, 4:2:0 for RGB."""
    matrix: Literal["bt601", "bt709"] = "bt601"
    """Conversion matrix for RGB sources; unused for YUV sources."""
    segments: int = Field(1, ge=1)
    """Number of pieces of whole intra periods for random access; up to `--threads` pieces are coded in parallel."""
    keep_md5: bool = False
    """Leave the MD5 of each picture in the bitstream: 57 bytes per picture for HM, checked at every decoding."""
    extra: str = Field("", pattern=r"^([A-Za-z]\w*=[^:=]+(:[A-Za-z]\w*=[^:=]+)*)?$")
    """More options of the encoder, `Name=value:Name=value`; they come last and override others."""


class HmSettings(ReferenceSettings):
    """HM's settings."""

    profile: Literal["main", "main10"] | None = None
    """Profile of 8 (`main`) or 10 bit; None: 8 for 8-bit sources, else 10 (our choice)."""


class ReferenceCodec(Codec):
    """An encoder and a decoder of the reference software, and the elementary stream between them."""

    threads_decide_bits = False  # threads only run the pieces side by side; the settings say how many there are
    uses_seed = False
    runs_outside = True
    software: ClassVar[Software]
    syntax: ClassVar[Syntax]
    highest_qp: ClassVar[int]

    @property
    def programs(self) -> Mapping[str, str]:
        """The folders in the settings, absolute because each job runs in its own folder, or those named elsewhere."""
        named = {self.software.name: self.settings.path, f"{self.software.name}.cfg": self.settings.cfg}
        given = {name: str(Path(path).expanduser().absolute()) for name, path in named.items() if path}
        return given if self.settings.path else {**named_elsewhere(self.software), **given}

    @classmethod
    def missing(cls, host: Host) -> str | None:
        """None, or the program or folder that is missing, and how to specify it."""
        return lacks(cls.software, host)

    @classmethod
    def version(cls, host: Host) -> str:
        """Version and hashes of cfg files and encoder, as `VTM 20.0 (cfg 1f2e3d4c, encoder 5a6b7c8d)`.

        Raises EncoderError.
        """
        return describe(cls.software, host)

    def rate_points(self, clip: Clip) -> Sequence[RatePoint]:
        """The QPs of the setting `qps`, from few bits to many."""
        values = (37, 32, 27, 22) if self.settings.qps == "ctc" else range(36, 15, -4)
        return [RatePoint(f"qp{value}", MappingProxyType({"qp": value})) for value in values]

    def rate_point(self, label: str, clip: Clip) -> RatePoint:
        """The rate point `qp<number>` for any QP of the standard. Raises UsageError."""
        digits = label.removeprefix("qp")
        if label != digits and digits.isdecimal() and str(int(digits)) == digits and int(digits) <= self.highest_qp:
            return RatePoint(label, MappingProxyType({"qp": int(digits)}))
        raise UsageError(f"There is no rate point {label!r}; {self.software.title} has qp0 to qp{self.highest_qp}.")

    def target(self, fmt: VideoFormat) -> VideoFormat:
        """The format of the encoder's input file. Raises UsageError for what is not coded."""
        title = self.software.title
        chroma = self.settings.chroma or ("420" if fmt.chroma == "rgb" else fmt.chroma)
        if chroma not in ("420", "444"):
            raise UsageError(f"{title} codes 4:2:0 and 4:4:4 here, not {fmt.chroma}; set chroma=420 or chroma=444.")
        if fmt.bit_depth not in (8, 10):
            raise UsageError(f"{title} codes 8 and 10 bit here, not {fmt.bit_depth}; convert the clip to 10 bit.")
        target = fmt.with_planes(chroma, fmt.bit_depth)
        if target.cuts_chroma:
            raise UsageError(
                f"{title} codes 4:2:0 of even sizes only, not {fmt.width}x{fmt.height}; crop the clip to an even size."
            )
        return target

    @abstractmethod
    def cfg_files(self, fmt: VideoFormat) -> tuple[str, ...]:
        """The names of the cfg files for this input, inside the software's cfg folder. Raises UsageError."""

    @abstractmethod
    def internal_depth(self, fmt: VideoFormat) -> int:
        """The bit depth inside the codec, at which the decoder writes."""

    @abstractmethod
    def own_options(self, fmt: VideoFormat) -> Mapping[str, object]:
        """The options that only this software needs."""

    def intra_period(self, rate: Fraction, cfg: Mapping[str, str]) -> int | None:
        """The intra period in frames; None: as in the cfg file. Raises UsageError for no multiple of the GOP size."""
        gop = int(cfg.get("GOPSize", "1"))
        wanted: int | None = self.settings.intra_period
        if wanted is None:
            return ctc_intra_period(rate, gop) if self.settings.configuration == "ra" else None
        if wanted == 0 or (wanted > 0 and wanted % gop):
            raise UsageError(
                f"The intra period {wanted} is no multiple of the GOP of {gop} frames; set another, or -1."
            )
        return wanted

    def arguments(
        self, encoder: Path, cfg: Path, fmt: VideoFormat, point: RatePoint, piece: Piece, source: Path, output: Path
    ) -> list[str]:
        """The command line that codes one piece of the raw file `source` to `output`.bin, reconstruction in .yuv."""
        files = [cfg / name for name in self.cfg_files(fmt)]
        period = self.intra_period(fmt.frame_rate, read_cfg(files[0]))
        depth = self.internal_depth(fmt)
        options: dict[str, object] = {
            "InputFile": source, "SourceWidth": fmt.width, "SourceHeight": fmt.height,
            "FrameRate": fmt.whole_frame_rate, "FrameSkip": piece.start, "FramesToBeEncoded": piece.frames,
            "InputBitDepth": fmt.bit_depth, "InputChromaFormat": fmt.chroma, "ChromaFormatIDC": fmt.chroma,
            "QP": point.settings["qp"], **({} if period is None else {"IntraPeriod": period}),
            "OutputBitDepth": depth, "OutputBitDepthC": depth, "ConformanceWindowMode": 1, "Level": "6.2",
            "SEIDecodedPictureHash": 1, **self.own_options(fmt),
            "BitstreamFile": output.with_suffix(".bin"), "ReconFile": output.with_suffix(".yuv"),
        }  # fmt: skip
        extra = [f"--{word}" for word in self.settings.extra.split(":") if word]
        chosen = [word for file in files for word in ("-c", str(file))]
        return [str(encoder), *chosen, *(f"--{name}={value}" for name, value in options.items()), *extra]

    def pieces(self, frames: int, fmt: VideoFormat, cfg: Path) -> list[Piece]:
        """The pieces of the clip. Raises UsageError where it cannot be cut."""
        if self.settings.segments == 1:
            return [Piece(0, frames)]
        period = self.intra_period(fmt.frame_rate, read_cfg(cfg / self.cfg_files(fmt)[0]))
        if self.settings.configuration != "ra" or not period or period < 0:
            raise UsageError("Only random access with an intra period can be cut; set segments=1 or configuration=ra.")
        return cut(frames, period, self.settings.segments)

    def encode(self, source: Source, point: RatePoint, bitstream: Path, workspace: Workspace) -> None:
        """Writes the stream of `source.video` after checking it with the decoder. Raises RdbenchError."""
        target = self.target(source.video.format)
        encoder = find_encoder(self.software, workspace.host)
        cfg = find_cfg(self.software, workspace.host, encoder)
        raw = workspace.folder.absolute() / "source.yuv"
        count = write_raw(raw, ConvertedVideo(source.video, target, self.settings.matrix))
        pieces = self.pieces(count, target, cfg)
        outputs = [raw.with_name(f"piece{index}") for index in range(len(pieces))]
        commands = [
            self.arguments(encoder.path, cfg, target, point, piece, raw, output)
            for piece, output in zip(pieces, outputs, strict=True)
        ]
        workspace.report["command"] = "\n".join(shlex.join(command) for command in commands)
        encode_pieces(self.software, encoder, commands, pieces, outputs, workspace)
        parts = [output.with_suffix(".bin").read_bytes() for output in outputs]
        whole = raw.with_name("whole.bin")
        whole.write_bytes(join(list(zip(pieces, parts, strict=True)), self.syntax))
        coded = replace(target, bit_depth=self.internal_depth(target))
        with workspace.stopwatch.part("verify"):
            decoder = find_decoder(self.software, workspace.host)
            check_reconstruction(self.software, decoder, whole, list(zip(pieces, outputs, strict=True)), coded)
        stripped, count = strip_hashes(whole.read_bytes(), self.syntax)
        workspace.report["md5_checked"] = count
        bitstream.write_bytes(whole.read_bytes() if self.settings.keep_md5 else stripped)

    @classmethod
    def decode(cls, bitstream: Path, workspace: Workspace) -> Video:
        """The frames at the depth they were coded in; an MD5 in the stream is checked. Raises BitstreamError.

        Size and depth come from the headers, read by ffmpeg, since the decoder's raw output does not contain them.
        """
        decoder = find_decoder(cls.software, workspace.host)
        try:
            fmt = probe(bitstream, workspace.host.ffmpeg, arguments=("-f", cls.syntax)).format
        except MediaError as error:
            find_ffmpeg(workspace.host.ffmpeg)
            raise BitstreamError(
                f"{bitstream} is no stream of {cls.software.title} ({error}); encode it again."
            ) from error
        output = workspace.folder.absolute() / "decoded.yuv"
        log = decode_alone(cls.software, decoder, bitstream.absolute(), output)
        check_verdicts(log, cls.software.title)
        frames, rest = divmod(output.stat().st_size, fmt.frame_bytes)
        if rest or not frames:
            raise BitstreamError(
                f"{bitstream} decodes to {frames} frames and a part of one; it is cut short or damaged."
            )
        return RawVideo(output, fmt, frames)

    @classmethod
    def ledger(cls, bitstream: Path) -> Mapping[str, int]:
        """Bytes of parameter sets, slices and the rest. Raises BitstreamError."""
        return LEDGERS[cls.syntax](bitstream.read_bytes())


CFG_NAMES = {"ra": "randomaccess", "ldb": "lowdelay", "ldp": "lowdelay_P", "ai": "intra"}
"""Names of the configurations in the file names of HM's and VTM's cfg files."""


class HmCodec(ReferenceCodec):
    """H.265 by HM."""

    reference = "ITU-T H.265 | ISO/IEC 23008-2"
    Settings = HmSettings
    software, syntax, highest_qp = HM, "hevc", 51

    def cfg_files(self, fmt: VideoFormat) -> tuple[str, ...]:
        """The cfg file of HM; it has none for low delay P in 4:4:4."""
        name = CFG_NAMES[self.settings.configuration]
        if fmt.chroma == "420":
            return (f"encoder_{name}_{self._profile(fmt)}.cfg",)
        if self.settings.configuration == "ldp":
            raise UsageError("HM has no configuration for low delay P in 4:4:4; set configuration=ldb.")
        return (f"encoder_{name}_main_rext.cfg",)

    def internal_depth(self, fmt: VideoFormat) -> int:
        """The depth of the profile: 8 in main, 10 in main10."""
        return 8 if self._profile(fmt) == "main" else 10

    def own_options(self, fmt: VideoFormat) -> Mapping[str, object]:
        """The bit depth for 4:4:4, whose cfg files are always 10 bit, and the three switches that full range needs."""
        depth = {} if fmt.chroma == "420" else {"InternalBitDepth": self.internal_depth(fmt)}
        switches = ("VuiParametersPresent", "VideoSignalTypePresent", "VideoFullRange") if fmt.full_range else ()
        return {**depth, **dict.fromkeys(switches, 1)}

    def _profile(self, fmt: VideoFormat) -> str:
        return self.settings.profile or ("main" if fmt.bit_depth == 8 else "main10")


class VtmCodec(ReferenceCodec):
    """H.266 by VTM."""

    reference = "ITU-T H.266 | ISO/IEC 23090-3"
    Settings = ReferenceSettings
    software, syntax, highest_qp = VTM, "vvc", 63

    def cfg_files(self, fmt: VideoFormat) -> tuple[str, ...]:
        """The cfg file of VTM, and for 4:4:4 a second one that changes it."""
        name = CFG_NAMES[self.settings.configuration]
        return (f"encoder_{name}_vtm.cfg", *(("444/yuv444.cfg",) if fmt.chroma == "444" else ()))

    def internal_depth(self, fmt: VideoFormat) -> int:
        """The depth of VTM's cfg files, which are all main10: 10."""
        return 10

    def own_options(self, fmt: VideoFormat) -> Mapping[str, object]:
        """No temporal subsampling (VTM's all-intra file codes one frame in 8), and three switches for full range."""
        switches = ("VuiParametersPresent", "ColourDescriptionPresent", "VideoFullRange") if fmt.full_range else ()
        return {"TemporalSubsampleRatio": 1, **dict.fromkeys(switches, 1)}


def ctc_intra_period(rate: Fraction, gop: int) -> int:
    """About one second: 32 frames at 24 to 30 frames/s, 64 at 50 and 60, 96 at 100, 128 at 120.

    Source: the meaning of `IntraPeriod: -32` in HM after 18.0, and the table of the CTC. A GOP size that does not
    divide 32 replaces it (our choice).
    """
    base = gop if CTC_PERIOD % gop else CTC_PERIOD
    return max(int((rate + Fraction(base, 2)) // base), 1) * base


def read_cfg(path: Path) -> dict[str, str]:
    """The values of a cfg file by name, comments left out. Raises UsageError."""
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError as error:
        raise UsageError(
            f"The configuration {path} cannot be read ({error.strerror}); give the whole cfg folder as cfg=DIR."
        ) from error
    pairs = (line.partition("#")[0].partition(":") for line in lines)
    return {name.strip(): value.strip() for name, colon, value in pairs if colon and name.strip()}
