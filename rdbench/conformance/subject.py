"""The codec under test: its settings, its clip, its rate point, and what it encoded."""

import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ..clips import dataset
from ..codec import Clip, Codec, Host, Progress, RatePoint, Source, Workspace
from ..errors import RdbenchError, UsageError
from ..registry import CodecSpec, create, load_codec, parse_specs, plugin_errors
from ..runner.decoder_process import sealed_decoder
from ..runner.decoding import DecoderOptions, locate_ffmpeg
from ..runner.preparation import prepare
from ..video import Video, VideoFormat
from ..video.conditions import find_conditions
from ..video.hashing import hash_frames
from ..video.pipe import PipedVideo
from ..video.readers import Cut, RgbVideo, open_video

CLIP = "bunny@160x90"
FRAMES = 4
PRESET = "tiny"
"""What is coded where nothing else is asked for (our choice); a codec without the preset uses its defaults."""
BITSTREAM = "bitstream"


class ContractError(AssertionError):
    """The codec does not do what the contract asks; the message says what it did."""


@dataclass(frozen=True)
class Coded:
    """The outcome of one encoding."""

    bitstream: bytes
    workspace: Workspace
    calls: tuple[tuple[float, float, str], ...]
    """What the codec reported as progress."""


class Subject:
    """One codec with its options on one clip; what is costly is done once and kept.

    `codec` is as on the command line: a name, a TOML file, either with options. Its bitstreams are made in folders
    below `folder`. Raises UsageError for a name that is no codec or a clip that is not there, when they are needed.
    """

    def __init__(
        self, codec: str, folder: Path, clip: str = CLIP, frames: int = FRAMES, preset: str | None = PRESET,
        rate_point: str | None = None,
    ) -> None:  # fmt: skip
        self.name, self.folder = codec, folder
        self._clip, self._frames, self._preset, self._label = clip, frames, preset, rate_point

    @cached_property
    def spec(self) -> CodecSpec:
        """The codec's name and options."""
        specs = parse_specs(self.name)
        if len(specs) != 1:
            raise UsageError(f"{self.name} is {len(specs)} codecs; name one.")
        return specs[0]

    @cached_property
    def cls(self) -> type[Codec]:
        """Its class."""
        return load_codec(self.spec.name)

    @cached_property
    def codec(self) -> Codec:
        """The codec with its settings."""
        return create(self.spec, self._preset)

    @cached_property
    def host(self) -> Host:
        """The programs that it may use."""
        return Host(locate_ffmpeg(None), self.codec.programs)

    @cached_property
    def video(self) -> Video:
        """The clip's frames in their own planes."""
        path = Path(self._clip)
        if path.suffix == ".y4m" and path.exists():
            return Cut(open_video(path), self._frames)
        sequences = dataset.resolve(self._clip)
        if len(sequences) != 1:
            raise UsageError(f"{self._clip} is {len(sequences)} sequences; name one.")
        return Cut(sequences[0].open(None), self._frames)

    def open(self) -> None:
        """Finds the codec and the clip. Raises RdbenchError where one is not there or cannot be used."""
        with plugin_errors(self.name):
            _ = self.codec, self.video

    @property
    def frames(self) -> int:
        """Number of frames that are coded."""
        return self._frames

    @cached_property
    def clip(self) -> Clip:
        """What the codec learns of the clip before it encodes, with the sizes that its manifest suggests."""
        sizes = () if Path(self._clip).exists() else dataset.resolve(self._clip)[0].sizes
        return Clip(self.video.format, self._frames, tuple(sizes))

    @cached_property
    def point(self) -> RatePoint:
        """The rate point that is coded: the one that was asked for, else the one with the fewest bits."""
        if self._label is not None:
            return self.codec.rate_point(self._label, self.clip)
        return list(self.codec.rate_points(self.clip))[0]  # noqa: RUF015 - an error of its own where there is none

    def encode(
        self, name: str, video: Video | None = None, *, threads: int = 1, seed: int = 0, watch: Progress | None = None
    ) -> Coded:
        """Encodes in the folder `name`; what an earlier call left there is found by the codec.

        `watch` sees each report of progress, and may raise.
        """
        folder = self.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        calls: list[tuple[float, float, str]] = []

        def progress(done: float, total: float, text: str) -> None:
            calls.append((done, total, text))
            if watch is not None:
                watch(done, total, text)

        video = video or self.video
        device = prepare(self.cls.kind, "cpu", threads)
        workspace = Workspace(folder, device, threads, seed, self.host, progress)
        source = Source(video, RgbVideo(video, find_conditions("rgb601")))
        self.codec.encode(source, self.point, folder / BITSTREAM, workspace)
        path = folder / BITSTREAM
        if not path.is_file() or path.is_symlink() or path.stat().st_size == 0:
            raise ContractError("encode ended without an error and wrote no bitstream where it was asked to.")
        return Coded(path.read_bytes(), workspace, tuple(calls))

    @cached_property
    def coded(self) -> Coded:
        """The clip, encoded once; its folder stays."""
        return self.encode("first")

    @property
    def options(self) -> DecoderOptions:
        """What the decoder gets besides the bitstream."""
        return DecoderOptions("cpu", 1, self.host.ffmpeg, dict(self.host.programs))

    @contextmanager
    def bitstream(self) -> Iterator[Path]:
        """The bitstream alone in an empty folder."""
        with tempfile.TemporaryDirectory(dir=self.folder) as scratch:
            path = Path(scratch) / BITSTREAM
            path.write_bytes(self.coded.bitstream)
            yield path

    @contextmanager
    def decoded(self) -> Iterator[Video]:
        """The video that this process decodes."""
        with self.bitstream() as path:
            prepare(self.cls.kind, "cpu", 1)
            yield self.cls.decode(path, self.options.workspace(path.parent, "cpu"))

    def decode_sealed(self) -> tuple[VideoFormat, list[str]]:
        """Format and hashes of the frames that a fresh, sealed process decodes. Raises ContractError.

        While it runs, the folder of the encoder has another name, so that nothing in it is found by its path.
        """
        hidden = self.folder / "hidden"
        with self.bitstream() as path, tempfile.TemporaryDirectory() as outside:
            copy = Path(outside) / BITSTREAM
            copy.write_bytes(path.read_bytes())
            (self.folder / "first").rename(hidden)
            try:
                with sealed_decoder(("send",), self.spec.name, self.options, copy, [self.folder]) as decoder:
                    return _read_frames(decoder.command, decoder.folder)
            finally:
                hidden.rename(self.folder / "first")

    @cached_property
    def shown(self) -> tuple[VideoFormat, list[str]]:
        """`decode_sealed`, done once."""
        return self.decode_sealed()


def _read_frames(command: Sequence[str], folder: Path) -> tuple[VideoFormat, list[str]]:
    with tempfile.TemporaryFile() as log:
        with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=log) as process:
            assert process.stdout is not None
            try:
                hashed = hash_frames(PipedVideo(process.stdout))
            except RdbenchError as error:
                raise ContractError(f"The process that decodes failed: {error}") from error
        if process.returncode != 0:
            raise ContractError(f"The process that decodes ended with exit status {process.returncode}.")
    return hashed.format, hashed.frame_hashes
