"""x264, x265, SVT-AV1, libaom and VVenC through ffmpeg: raw planes in, a bare elementary stream out.

The encoder always gets the source's frame rate (CRF weights frames by their duration), the SEI message with the
encoder's options is removed, and there is no container. Same version, settings and number of threads: same bytes.

Another number of threads may give other bytes. Measured on Bunny at 320x180 and 640x360: those of x264 and libaom
change from 2 threads on; those of x265 at 4, even with one frame thread; those of VVenC at 8, where it codes dependent
frames in parallel (IFP). SVT-AV1's were equal for 1 to 24 threads, but nothing that we know promises it.
"""

import re
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar, Literal

import ffmpeg as ffmpeg_python
from pydantic import Field

from rdbench.codec import Clip, Codec, Host, RatePoint, Settings, Source, Value, Workspace
from rdbench.errors import BitstreamError, EncoderError, UsageError, did_you_mean
from rdbench.video import Chroma, Video, VideoFormat
from rdbench.video.elementary_stream import ElementaryStream
from rdbench.video.ffmpeg_program import ffmpeg_version, find_ffmpeg
from rdbench.video.readers import ConvertedVideo

from .programs.availability import lacks_encoder
from .programs.elementary import LEDGERS
from .programs.encoder_process import read_reason, run_encoder, run_encoder_on_file, show_progress
from .programs.program_digest import program_digest

Options = Mapping[str, Value]
Speed = Literal[
    "ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow", "placebo"
]  # fmt: skip

_PIXELS = re.compile(r"(?:yuv(420|422|444)p|gray)(?:(10|12)le)?")
_YUV_8 = ("yuv420p", "yuv422p", "yuv444p")
_YUV_10 = ("yuv420p10le", "yuv422p10le", "yuv444p10le")
_YUV_12 = ("yuv420p12le", "yuv422p12le", "yuv444p12le")


class FfmpegSettings(Settings):
    """Settings of all encoders."""

    rate_control: Literal["crf", "qp"] = "crf"
    """What a rate point sets: a constant rate factor (crf) or a constant quantizer (qp)."""
    keyint: int | None = Field(None, ge=1)
    """Longest distance between intra frames; None: the encoder's default."""
    pix_fmt: str | None = None
    """Pixel format to encode, as `yuv444p10le`; None: the source's, or the nearest that the encoder has."""
    matrix: Literal["bt601", "bt709"] = "bt601"
    """Conversion matrix for RGB sources; unused for YUV sources."""
    extra: str = Field("", pattern=r"^([\w-]+=[^:=]+(:[\w-]+=[^:=]+)*)?$")
    """More parameters for the encoder, `key=value:key=value`; they come last and override others."""


class X264Settings(FfmpegSettings):
    """x264's settings; with `bframes` None the preset decides the number."""

    preset: Speed = "veryslow"
    """Speed of the encoder: a slower one needs fewer bits."""
    tune: Literal[
        "psnr", "ssim", "film", "animation", "grain", "stillimage", "fastdecode", "zerolatency", "none"
    ] = "psnr"  # fmt: skip
    """What the encoder's decisions favor; psnr is what is measured here."""
    bframes: int | None = Field(None, ge=0, le=16)
    """Most B-frames in a row; None: what the preset says."""


class X265Settings(FfmpegSettings):
    """x265's settings; `bframes=0` is T-NeRV's variant."""

    preset: Speed = "veryslow"
    """Speed of the encoder: a slower one needs fewer bits."""
    tune: Literal["psnr", "ssim", "grain", "animation", "fastdecode", "zerolatency", "none"] = "psnr"
    """What the encoder's decisions favor; psnr is what is measured here."""
    bframes: int | None = Field(None, ge=0, le=16)
    """Most B-frames in a row; None: what the preset says."""


class SvtAv1Settings(FfmpegSettings):
    """SVT-AV1's settings."""

    preset: int = Field(4, ge=-1, le=13)
    """Speed; 4 is the slowest that is practical at 1080p (our choice)."""
    tune: Literal["vq", "psnr", "ssim"] = "psnr"
    """What the encoder's decisions favor; psnr is what is measured here."""


class LibaomSettings(FfmpegSettings):
    """libaom's settings."""

    rate_control: Literal["crf"] = "crf"
    """What a rate point sets: a constant rate factor (crf) or a constant quantizer (qp)."""
    preset: int = Field(4, ge=0, le=8)
    """Value of `cpu-used` in `good` mode; 4 is our choice."""
    tune: Literal["psnr", "ssim"] = "psnr"
    """What the encoder's decisions favor; psnr is what is measured here."""


class VvencSettings(FfmpegSettings):
    """VVenC's settings."""

    rate_control: Literal["qp"] = "qp"
    """What a rate point sets: a constant rate factor (crf) or a constant quantizer (qp)."""
    preset: Literal["faster", "fast", "medium", "slow", "slower"] = "medium"
    """Speed of the encoder: a slower one needs fewer bits."""
    qpa: bool = False
    """Perceptual optimization, which lowers PSNR."""


class FfmpegCodec(Codec):
    """An encoder of ffmpeg and the elementary stream that it writes."""

    uses_seed = False
    runs_outside = True
    encoder: ClassVar[str]
    stream: ClassVar[str]
    """ffmpeg's name of the muxer and demuxer of the elementary stream."""
    pix_fmts: ClassVar[tuple[str, ...]]
    """Pixel formats that the encoder accepts; the bit depths of one chroma format ascend."""
    quantizers: ClassVar[Mapping[str, tuple[int, int]]]
    """Range of the quantizer of each rate control."""
    points: ClassVar[tuple[int, ...]]
    """Default quantizers, from few bits to many."""
    reads_file: ClassVar[bool] = False
    """Whether the encoder reads the frames from a file, which has to be written first, instead of a pipe."""
    any_size: ClassVar[bool] = False
    """Whether the encoder accepts odd sizes with subsampled chroma."""
    banner: ClassVar[bytes]
    """Regular expression that finds the library's version in the log or in the stream."""
    pixels_per_second: ClassVar[float]
    """Approximate encoding speed of the default preset on one thread."""

    @classmethod
    def missing(cls, host: Host) -> str | None:
        """None, or that ffmpeg or its encoder is missing, and the remedy."""
        return lacks_encoder(host, cls.encoder)

    @classmethod
    def version(cls, host: Host) -> str:
        """Encoder, versions and a hash of the program, as `libx265 4.1 via ffmpeg 9.0.2 (1f2e3d4c)`.

        Raises MediaError without an ffmpeg.
        """
        program = find_ffmpeg(host.ffmpeg)
        library = _library_version(program, cls.encoder, cls.stream, cls.banner)
        words = (cls.encoder, library, "via ffmpeg", ffmpeg_version(program), f"({program_digest([program])})")
        return " ".join(word for word in words if word)

    def rate_points(self, clip: Clip) -> Sequence[RatePoint]:
        """The default quantizers under the rate control of the settings."""
        control = self.settings.rate_control
        return [RatePoint(f"{control}{value}", MappingProxyType({control: value})) for value in self.points]

    def rate_point(self, label: str, clip: Clip) -> RatePoint:
        """Any `crf28` or `qp32` that the encoder has. Raises UsageError."""
        match = re.fullmatch(r"(crf|qp)(0|[1-9]\d?)", label)
        if match and match[1] in self.quantizers:
            least, most = self.quantizers[match[1]]
            if least <= int(match[2]) <= most:
                return RatePoint(label, MappingProxyType({match[1]: int(match[2])}))
        known = " and ".join(f"{name}{least} to {name}{most}" for name, (least, most) in self.quantizers.items())
        raise UsageError(f"There is no rate point {label!r}; {self.encoder} has {known}.")

    def estimate_seconds(self, clip: Clip, point: RatePoint, device: str) -> float | None:
        """An estimate from the number of pixels, for the default preset on one thread."""
        if self.settings.preset != self.Settings.model_fields["preset"].default:
            return None
        return clip.frames * clip.format.width * clip.format.height / self.pixels_per_second

    def target(self, fmt: VideoFormat) -> VideoFormat:
        """The format to encode for a source of this format. Raises UsageError for what the encoder cannot code."""
        name = self.settings.pix_fmt or self._nearest(fmt)
        if name not in self.pix_fmts:
            raise UsageError(f"{self.encoder} does not code {name!r}{did_you_mean(name, self.pix_fmts)}")
        chroma, depth = _parse_pixels(name)
        target = fmt.with_planes(chroma, depth)
        if target.cuts_chroma and not self.any_size:
            raise UsageError(
                f"{self.encoder} codes {name} of even sizes only, not {fmt.width}x{fmt.height}; crop the clip to an "
                "even size, set pix_fmt=yuv444p where source and encoder have it, or use svtav1 or libaom."
            )
        return target

    def _nearest(self, fmt: VideoFormat) -> str:
        kinds = {name: _parse_pixels(name) for name in self.pix_fmts}
        chroma = fmt.chroma if any(fmt.chroma == kind[0] for kind in kinds.values()) else "420"
        if fmt.chroma == "gray" and chroma != "gray":
            raise UsageError(f"{self.encoder} does not code gray video; use x265 or libaom.")
        same = [name for name, kind in kinds.items() if kind[0] == chroma]
        return next((name for name in same if kinds[name][1] >= fmt.bit_depth), same[-1])

    def options(self, fmt: VideoFormat, threads: int) -> Options:
        """The encoder's own options for ffmpeg: preset, tune and threads."""
        raise NotImplementedError

    def arguments(
        self, fmt: VideoFormat, point: RatePoint, bitstream: Path, progress: Path, threads: int,
        program: str = "ffmpeg", source: str = "pipe:0",
    ) -> list[str]:  # fmt: skip
        """The command line that codes raw frames of the target format `fmt` from `source`."""
        pixels = _pixels_name(fmt)
        colors = {"color_range": "pc"} if fmt.full_range else {}
        keyint = {} if self.settings.keyint is None else {"g": self.settings.keyint}
        frames = ffmpeg_python.input(
            source, format="rawvideo", video_size=(fmt.width, fmt.height), pixel_format=pixels,
            framerate=str(fmt.frame_rate), **colors,
        )  # fmt: skip
        output = frames.output(
            f"file:{bitstream}",
            **{"format": self.stream, "pix_fmt": pixels, "c:v": self.encoder, "fps_mode": "passthrough"},
            **{"fflags": "+bitexact"}, **colors, **keyint, **point.settings, **self.options(fmt, threads),
        )  # fmt: skip
        quiet = ("-hide_banner", "-nostdin", "-nostats", "-v", "warning")
        output = output.global_args(*quiet, "-progress", f"file:{progress}")
        command: list[str] = output.overwrite_output().compile(cmd=program)
        return command

    def encode(self, source: Source, point: RatePoint, bitstream: Path, workspace: Workspace) -> None:
        """Writes the elementary stream of `source.video`. Raises UsageError, EncoderError."""
        video = source.video
        target = self.target(video.format)
        progress, log = workspace.folder / "encode.progress", workspace.folder / "encode.log"
        progress.unlink(missing_ok=True)
        program = find_ffmpeg(workspace.host.ffmpeg)
        raw = workspace.folder / "source.yuv"
        origin = {"source": f"file:{raw}"} if self.reads_file else {}
        command = self.arguments(target, point, bitstream, progress, workspace.threads, program, **origin)
        workspace.report |= {"command": shlex.join(command), "pix_fmt": _pixels_name(target)}
        frames = ConvertedVideo(video, target, self.settings.matrix).batches()

        def show() -> None:
            show_progress(progress, video.frames, workspace)

        if self.reads_file:
            status: int | None = run_encoder_on_file(command, frames, raw, log, show)
        else:
            status = run_encoder(command, frames, log, show)
        if status != 0 or not bitstream.exists() or bitstream.stat().st_size == 0:
            reason = read_reason(log) or f"exit status {status}"
            raise EncoderError(f"{self.encoder} failed; its whole log is {log}: {reason}")

    @classmethod
    def decode(cls, bitstream: Path, workspace: Workspace) -> Video:
        """The decoded frames, by `workspace.threads` threads. Raises BitstreamError while they are read.

        These streams contain no checksum: some damage goes unnoticed by the decoder and only changes the frames.
        """
        return ElementaryStream(bitstream, cls.stream, workspace.host.ffmpeg, workspace.threads, BitstreamError)

    @classmethod
    def ledger(cls, bitstream: Path) -> Mapping[str, int]:
        """Bytes of parameter sets, slices and the rest. Raises BitstreamError."""
        return LEDGERS[cls.stream](bitstream.read_bytes())

    def _joined(self, *parameters: str) -> str:
        return ":".join(word for word in (*parameters, self.settings.extra) if word)

    def _tune(self) -> Options:
        return {} if self.settings.tune == "none" else {"tune": self.settings.tune}


class X264Codec(FfmpegCodec):
    """H.264 by x264."""

    reference = "ITU-T H.264 | ISO/IEC 14496-10"
    Settings = X264Settings
    encoder, stream = "libx264", "h264"
    pix_fmts = (*_YUV_8, *_YUV_10)  # its gray streams decode as 4:2:0
    quantizers: ClassVar = {"crf": (0, 51), "qp": (0, 51)}
    points = (42, 37, 32, 27, 22, 17)
    banner = rb"x264 - core (\d+(?: r\d+(?: [0-9a-f]+)?)?)"
    pixels_per_second = 8e6

    def options(self, fmt: VideoFormat, threads: int) -> Options:
        """Preset, tune and threads, and a filter that removes the SEI message with the encoder's options."""
        bframes = {} if self.settings.bframes is None else {"bf": self.settings.bframes}
        extra = {"x264-params": self.settings.extra} if self.settings.extra else {}
        fixed = {"preset": self.settings.preset, "threads": threads, "bsf:v": "filter_units=remove_types=6"}
        return {**fixed, **self._tune(), **bframes, **extra}


class X265Codec(FfmpegCodec):
    """H.265 by x265."""

    reference = "ITU-T H.265 | ISO/IEC 23008-2"
    Settings = X265Settings
    encoder, stream = "libx265", "hevc"
    pix_fmts = (*_YUV_8, *_YUV_10, *_YUV_12, "gray", "gray10le", "gray12le")
    quantizers: ClassVar = {"crf": (0, 51), "qp": (0, 51)}
    points = (42, 37, 32, 27, 22, 17)
    banner = rb"HEVC encoder version (\S+)"
    pixels_per_second = 1.5e6

    def options(self, fmt: VideoFormat, threads: int) -> Options:
        """Preset, tune and threads; one frame thread, since several make the prediction worse."""
        bframes = "" if self.settings.bframes is None else f"bframes={self.settings.bframes}"
        parameters = self._joined("info=0", "log-level=1", f"pools={threads}", "frame-threads=1", bframes)
        return {"preset": self.settings.preset, "x265-params": parameters, **self._tune()}


class SvtAv1Codec(FfmpegCodec):
    """AV1 by SVT-AV1."""

    reference = "AV1 Bitstream & Decoding Process Specification, AOMedia 2019"
    Settings = SvtAv1Settings
    encoder, stream = "libsvtav1", "obu"
    pix_fmts = ("yuv420p", "yuv420p10le")
    quantizers: ClassVar = {"crf": (1, 63), "qp": (1, 63)}  # ffmpeg takes 0 for "not given"
    points = (60, 52, 44, 36, 28, 20)
    any_size = True
    banner = rb"SVT-AV1 Encoder Lib v(\S+)"
    pixels_per_second = 4e6

    def options(self, fmt: VideoFormat, threads: int) -> Options:
        """Preset, tune (by number) and `lp`, the level of parallelism."""
        tune = {"vq": 0, "psnr": 1, "ssim": 2}[self.settings.tune]
        return {"preset": self.settings.preset, "svtav1-params": self._joined(f"tune={tune}", f"lp={threads}")}


class LibaomCodec(FfmpegCodec):
    """AV1 by libaom."""

    reference = "AV1 Bitstream & Decoding Process Specification, AOMedia 2019"
    Settings = LibaomSettings
    encoder, stream = "libaom-av1", "obu"
    pix_fmts = (*_YUV_8, *_YUV_10, *_YUV_12, "gray", "gray10le", "gray12le")
    quantizers: ClassVar = {"crf": (0, 63)}
    points = (60, 52, 44, 36, 28, 20)
    any_size = True
    banner = rb"libaom-av1 @ \w+\] v?(\d\S+)"
    pixels_per_second = 1.5e6

    def options(self, fmt: VideoFormat, threads: int) -> Options:
        """Speed, tune and threads; a bit rate of 0 makes `crf` a constant quality instead of a limit."""
        extra = {"aom-params": self.settings.extra} if self.settings.extra else {}
        fixed = {"usage": "good", "cpu-used": self.settings.preset, "b:v": 0, "threads": threads}
        return {**fixed, **self._tune(), **extra}


class VvencCodec(FfmpegCodec):
    """H.266 by VVenC.

    It reads the frames from a file: with several threads, and frames that come more slowly than it codes them, ffmpeg's
    VVenC loses all frames at the end of a short clip (3 of 5 times with 2 threads and 48 frames of 320x180).
    """

    reference = "ITU-T H.266 | ISO/IEC 23090-3"
    Settings = VvencSettings
    encoder, stream = "libvvenc", "vvc"
    reads_file = True
    pix_fmts = ("yuv420p10le",)
    quantizers: ClassVar = {"qp": (0, 63)}
    points = (47, 42, 37, 32, 27, 22)
    banner = rb"libvvenc version: (\S+)"
    pixels_per_second = 0.8e6

    def options(self, fmt: VideoFormat, threads: int) -> Options:
        """Preset and threads, without access unit delimiters: 7 bytes per frame that no decoder needs."""
        parameters = self._joined("accessunitdelimiter=0", "range=full" if fmt.full_range else "")
        fixed = {"preset": self.settings.preset, "qpa": int(self.settings.qpa)}
        return {**fixed, "threads": threads, "vvenc-params": parameters}


def _parse_pixels(name: str) -> tuple[Chroma, int]:
    match = _PIXELS.fullmatch(name)
    assert match is not None, name
    chromas: dict[str | None, Chroma] = {None: "gray", "420": "420", "422": "422", "444": "444"}
    return chromas[match[1]], int(match[2] or 8)


def _pixels_name(fmt: VideoFormat) -> str:
    tail = "" if fmt.bit_depth == 8 else f"{fmt.bit_depth}le"
    return ("gray" if fmt.chroma == "gray" else f"yuv{fmt.chroma}p") + tail


@lru_cache(maxsize=32)
def _library_version(program: str, encoder: str, stream: str, banner: bytes) -> str:
    """The version that the library prints when it codes one black 64x64 frame; empty where it prints none."""
    pixels = "yuv420p10le" if encoder == "libvvenc" else "yuv420p"
    depth = 2 if pixels.endswith("10le") else 1
    source = ffmpeg_python.input("pipe:0", format="rawvideo", video_size=(64, 64), pixel_format=pixels, framerate=25)
    output = source.output("pipe:1", **{"format": stream, "pix_fmt": pixels, "c:v": encoder})
    command = output.global_args("-nostdin", "-nostats", "-v", "info").compile(cmd=program)
    done = subprocess.run(command, input=bytes(64 * 96 * depth), capture_output=True, timeout=60, check=False)
    match = re.search(banner, done.stderr + done.stdout)
    return match[1].decode(errors="replace") if match else ""
