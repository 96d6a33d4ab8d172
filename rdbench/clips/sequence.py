"""A sequence: where a clip's file is and what is known of it; opens and checks the file."""

import hashlib
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

from ..errors import DatasetError, UsageError, did_you_mean
from ..video import BATCH, Chroma, Frames, Video, VideoFormat
from ..video.cache import cache_key, cached, find_cached
from ..video.ffmpeg import ffmpeg_version, find_ffmpeg
from ..video.readers import Cropped, FileVideo, RawVideo, Scaled, open_video, sha256_of


@dataclass(frozen=True)
class Sequence:
    """One clip that can be opened, JSON-serializable so that a worker process can rebuild it."""

    name: str
    dataset: str
    path: str
    kind: Literal["raw", "file"] = "file"
    variant: str | None = None
    width: int | None = None
    """Width of the file's frames, before the transforms; None where only the file contains it."""
    height: int | None = None
    chroma: Chroma = "420"
    bit_depth: int = 8
    frame_rate: str | None = None
    frames: int | None = None
    """Number of frames of the file."""
    span: tuple[int, int] | None = None
    """The first frame of the file in use, and the one after the last; None: all."""
    transforms: tuple[tuple[str, int, int], ...] = ()
    """(`crop` or `scale`, width, height), in the order they are applied; crops are centered."""
    sizes: tuple[int, ...] = ()
    bytes: int | None = None
    sha256: str | None = None
    frames_sha256: str | None = None
    remedy: str = ""
    """What to do when the file is missing or wrong."""

    @property
    def label(self) -> str:
        """The dataset with its variant, as the user writes it: `bunny@320x180`."""
        return f"{self.dataset}@{self.variant}" if self.variant else self.dataset

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; `from_dict` reads them."""
        return json.loads(json.dumps(asdict(self)))  # type: ignore[no-any-return]

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Sequence":
        """The sequence that `to_dict` described. Raises DatasetError."""
        known = {f.name for f in fields(cls)}
        if unknown := set(values) - known:
            raise DatasetError(f"A sequence has no field {min(unknown)!r}{did_you_mean(min(unknown), known)}")
        transforms = tuple((str(kind), int(w), int(h)) for kind, w, h in values.get("transforms", ()))
        first, end = values.get("span") or (0, 0)
        span = (int(first), int(end)) if values.get("span") else None
        return cls(**{**values, "span": span, "transforms": transforms, "sizes": tuple(values.get("sizes", ()))})

    def open(self, ffmpeg: str | None = None, frames: int | None = None) -> Video:
        """The first `frames` frames (all by default), transformed; what is behind them is never read.

        Where the number of frames is unknown until they are read, a video that is too short raises UsageError then.
        The checksums of a whole clip are verified, once for each state of the file. Those of a cut are only where they
        are known already: the cut has a hash of its own in a result's identity. Raises DatasetError, MediaError,
        UsageError.
        """
        check_file(self, self.needs_checksum(ffmpeg, frames))
        source = self.open_source(ffmpeg, frames)
        self._check_frames(source if self.is_whole(ffmpeg, frames) else None, ffmpeg)
        wanted = self.wanted(frames)
        return self.transformed(source if wanted is None else _Exactly(source, wanted, self.name))

    def wanted(self, frames: int | None) -> int | None:
        """The number of frames for `frames` of the user: that of the span where it is None; None: all of the file."""
        return self.span[1] - self.span[0] if frames is None and self.span is not None else frames

    def open_source(self, ffmpeg: str | None = None, frames: int | None = None) -> Video:
        """The frames in use before the transforms: all, or the first `frames`, or fewer where there are fewer.

        Verifies no checksum. Raises UsageError where the frames are known to be fewer, DatasetError and MediaError for
        a file that is missing or wrong.
        """
        if frames is not None and frames < 1:
            raise UsageError(f"{frames} frames of {self.name} leave nothing to do; give at least 1.")
        check_file(self, checksum=False)
        source = self._open_file(ffmpeg)
        if self.frames is not None and source.frames is not None and source.frames != self.frames:
            raise DatasetError(f"{self.path} has {source.frames} frames, not {self.frames}. {self.remedy}")
        available = self.known_count(ffmpeg) if self.span else source.frames or self.known_count(ffmpeg)
        frames = self.wanted(frames)
        if frames is not None and available is not None and frames > available:
            raise too_few(self.name, frames, available)
        if self.span is not None and frames is not None:
            first = self.span[0]
            part = source.first(first + frames)
            return part if first == 0 else _From(part, first)
        return source if frames is None or frames == available else source.first(frames)

    def is_whole(self, ffmpeg: str | None, frames: int | None) -> bool:
        """Whether this number of frames is known to be all that the file has; never for a span of it."""
        return self.span is None and (frames is None or frames == self.known_count(ffmpeg))

    def needs_checksum(self, ffmpeg: str | None, frames: int | None) -> bool:
        """Whether the file's checksum is verified for this number of frames.

        For a cut of raw frames it is not, since that would read all frames; a compressed file is small.
        """
        return self.kind == "file" or self.is_whole(ffmpeg, frames)

    def transformed(self, video: Video) -> Video:
        """The video of the file after the crop and the scaling. Raises DatasetError, MediaError."""
        for kind, width, height in self.transforms:
            left, top = (video.format.width - width) // 2, (video.format.height - height) // 2
            if kind == "crop" and min(left, top) < 0:
                raise DatasetError(f"{self.name} is too small to be cropped to {width}x{height}.")
            # Even corners keep luma and subsampled chroma together.
            crop = kind == "crop"
            video = Cropped(video, left & ~1, top & ~1, width, height) if crop else Scaled(video, width, height)
        return video

    def listed_video(self) -> RawVideo | None:
        """Raw frames of the size, rate and number that the manifest gives; None where it lacks one of them."""
        if self.width is None or self.height is None or self.frame_rate is None or self.frames is None:
            return None
        format = VideoFormat(self.width, self.height, self.chroma, self.bit_depth, Fraction(self.frame_rate))
        return RawVideo(Path(self.path), format, self.frames)

    def known_count(self, ffmpeg: str | None) -> int | None:
        """The number of frames in use, where the manifest gives it or they were counted before; None otherwise."""
        if self.span is not None:
            return self.span[1] - self.span[0]
        if self.frames is not None:
            return self.frames
        known = find_cached(self.fact_key("count", ffmpeg))
        return None if known is None else int(known)

    def fact_key(self, what: str, ffmpeg: str | None) -> str:
        """The key (see `cache_key`) of a fact about the file's present state, as this ffmpeg decodes it."""
        return cache_key(f"{what} {decoder_name(ffmpeg)}", Path(self.path))

    def check_frames_sha256(self, actual: str, ffmpeg: str | None) -> None:
        """Raises DatasetError where this is not the manifest's hash of all decoded frames."""
        if self.frames_sha256 is not None and actual != self.frames_sha256:
            raise DatasetError(
                f"The frames decoded from {self.path} are not those of the manifest (sha256 {actual[:12]}..., expected "
                f"{self.frames_sha256[:12]}...); the decoder was {decoder_name(ffmpeg)}: try another with --ffmpeg."
            )

    def _open_file(self, ffmpeg: str | None) -> FileVideo:
        if self.kind == "file":
            return open_video(Path(self.path), ffmpeg=ffmpeg)
        listed = self.listed_video()
        if listed is None:
            raise DatasetError(f"{self.path} holds raw frames; describe their size, rate and number in a manifest.")
        return listed

    def _check_frames(self, source: Video | None, ffmpeg: str | None) -> None:
        """Compares the hash of all frames with the manifest's; without a `source` only where it is known already."""
        if self.frames_sha256 is None:
            return
        key = self.fact_key("frames", ffmpeg)
        actual = find_cached(key) if source is None else cached(key, lambda: sha256_of(source))
        if actual is not None:
            self.check_frames_sha256(actual, ffmpeg)


class _From(Video):
    """The frames of a video from `first` on, unchanged."""

    def __init__(self, video: Video, first: int) -> None:
        self.format, self.frames = video.format, None if video.frames is None else max(0, video.frames - first)
        self._video, self._first = video, first

    def batches(self, size: int = BATCH) -> Iterator[Frames]:
        """The frames, in batches of up to `size`."""
        return self._video.span(self._first, sys.maxsize, size)


class _Exactly(Video):
    """A video that has to have this number of frames; raises UsageError at its end where it has fewer."""

    def __init__(self, video: Video, frames: int, name: str) -> None:
        self.format, self.frames = video.format, frames
        self._video, self._count, self._name = video, frames, name

    def batches(self, size: int = BATCH) -> Iterator[Frames]:
        """The video's own batches."""
        count = 0
        for batch in self._video.batches(size):
            count += len(batch)
            yield batch
        if count < self._count:
            raise too_few(self._name, self._count, count)


def too_few(name: str, frames: int, available: int) -> UsageError:
    """The error for a clip with fewer frames than the user asks for."""
    return UsageError(f"{name} has {available} frames, not {frames}; give at most {available}.")


def decoder_name(ffmpeg: str | None) -> str:
    """The ffmpeg that decodes: its version and path. Raises MediaError."""
    program = find_ffmpeg(ffmpeg)
    return f"ffmpeg {ffmpeg_version(program)} ({program})"


def check_file(sequence: Sequence, checksum: bool = True) -> None:
    """Raises DatasetError, with the remedy, for a file that is missing, incomplete or not the expected one."""
    path = Path(sequence.path)
    if not path.exists():
        raise DatasetError(f"{sequence.name} of {sequence.dataset} is not at {path}. {sequence.remedy}".strip())
    if sequence.bytes is not None and (size := path.stat().st_size) != sequence.bytes:
        raise DatasetError(f"{path} {_wrong_size(sequence, size)} {sequence.remedy}".strip())
    if checksum and sequence.sha256 is not None:
        actual = cached(cache_key("file", path), lambda: file_sha256(path))
        if actual != sequence.sha256:
            raise DatasetError(
                f"{path} is damaged or another file (sha256 {actual[:12]}..., expected {sequence.sha256[:12]}...). "
                f"{sequence.remedy}".strip()
            )


def _wrong_size(sequence: Sequence, size: int) -> str:
    expected = sequence.bytes or 0
    facts = f"has {size:,} bytes, expected {expected:,}"
    if sequence.kind == "raw" and sequence.bit_depth == 8 and size == 2 * expected:
        return f"holds 10-bit samples (two bytes each): it {facts} of 8 bit; use the 8-bit file."
    if size < expected:
        whole = f" ({size * (sequence.frames or 0) // expected} of {sequence.frames} frames)"
        return f"is truncated: it {facts}{whole if sequence.kind == 'raw' else ''}; get it again."
    return f"is another file or another format: it {facts}."


def file_sha256(path: Path) -> str:
    """The hex SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
