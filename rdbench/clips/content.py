"""The content of a clip: its hash, its number of frames, and what a job says of it."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import DatasetError
from ..video import BATCH, Frames, Video, VideoFormat
from ..video.cache import cache_key, cached, find_cached, write_cached
from ..video.readers import sha256_of
from .sequence import Sequence, check_file, decoder_name, file_sha256, too_few


@dataclass(frozen=True)
class ClipFacts:
    """What a job says of its clip, after the transforms and the cut."""

    format: VideoFormat
    frames: int
    sha256: str | None
    """The hash of the planar frames; None where it is not known yet."""


def read_facts(sequence: Sequence, frames: int | None = None, ffmpeg: str | None = None) -> ClipFacts:
    """The facts for a run; the frames in use are read once for each state of the file. Raises RdbenchError."""
    digest = content_sha256(sequence, frames, ffmpeg)
    format = sequence.transformed(sequence.open_source(ffmpeg, frames)).format
    return ClipFacts(format, count_frames(sequence, frames, ffmpeg), digest)


def known_facts(sequence: Sequence, frames: int | None = None, ffmpeg: str | None = None) -> ClipFacts:
    """The facts for a plan: hashes nothing, and decodes frames only to count them where nothing says their number.

    A missing file is no error where the manifest gives size, rate and number of frames. Raises RdbenchError.
    """
    listed, total = sequence.listed_video(), sequence.frames
    if listed is None or total is None or Path(sequence.path).exists():
        format = sequence.transformed(sequence.open_source(ffmpeg, frames)).format
        return ClipFacts(format, count_frames(sequence, frames, ffmpeg), known_sha256(sequence, frames, ffmpeg))
    wanted, available = sequence.wanted(frames) or total, sequence.known_count(ffmpeg) or total
    if wanted > available:
        raise too_few(sequence.name, wanted, available)
    return ClipFacts(sequence.transformed(listed).format, wanted, None)


def content_sha256(sequence: Sequence, frames: int | None = None, ffmpeg: str | None = None) -> str:
    """The SHA-256 of the planar frames in use, after the transforms and the cut; cached. Raises RdbenchError."""
    check_file(sequence, sequence.needs_checksum(ffmpeg, frames))
    key = _content_key(sequence, frames, ffmpeg)
    if _is_its_file(sequence, frames, ffmpeg):
        return cached(key, lambda: file_sha256(Path(sequence.path)))
    return cached(key, lambda: _hash(sequence, frames, ffmpeg))


def known_sha256(sequence: Sequence, frames: int | None = None, ffmpeg: str | None = None) -> str | None:
    """What `content_sha256` returns, where it is cached; None otherwise, or where there is no file."""
    return find_cached(_content_key(sequence, frames, ffmpeg)) if Path(sequence.path).exists() else None


def count_frames(sequence: Sequence, frames: int | None = None, ffmpeg: str | None = None) -> int:
    """The number of frames in use; decoded, at most `frames` of them, where nothing else says it; cached.

    Raises UsageError for fewer frames than `frames`, DatasetError and MediaError for a wrong file.
    """
    source, frames = sequence.open_source(ffmpeg, frames), sequence.wanted(frames)
    known = source.frames or sequence.known_count(ffmpeg)
    if frames is not None and (known is not None or known_sha256(sequence, frames, ffmpeg) is not None):
        return frames  # `open_source` compared it with the known number
    if known is not None:
        return known
    key, whole = sequence.fact_key(f"first {frames}", ffmpeg), sequence.fact_key("count", ffmpeg)
    count = int(cached(key, lambda: str(sum(len(batch) for batch in source.batches()))))
    if frames is None or count < frames:
        write_cached(whole, str(count))
    if frames is not None and count < frames:
        raise too_few(sequence.name, frames, count)
    return count


def _content_key(sequence: Sequence, frames: int | None, ffmpeg: str | None) -> str:
    if _is_its_file(sequence, frames, ffmpeg):
        return cache_key("file", Path(sequence.path))
    names = ("name", "dataset", "variant", "sizes", "remedy", *(("span",) if sequence.span is None else ()))
    facts = {key: value for key, value in sequence.to_dict().items() if key not in names}
    cut = None if sequence.is_whole(ffmpeg, frames) else frames
    return cache_key(json.dumps([facts, cut, decoder_name(ffmpeg)], sort_keys=True), Path(sequence.path))


def _is_its_file(sequence: Sequence, frames: int | None, ffmpeg: str | None) -> bool:
    """Whether the frames in use are the file, byte by byte, so that one hash serves for both."""
    listed = sequence.listed_video() if sequence.kind == "raw" and not sequence.transforms else None
    if listed is None or sequence.frames is None or not sequence.is_whole(ffmpeg, frames):
        return False
    return Path(sequence.path).stat().st_size == sequence.frames * listed.format.frame_bytes


def _hash(sequence: Sequence, frames: int | None, ffmpeg: str | None) -> str:
    """Reads the frames in use once, for their hash, and for the hash and the number of all frames of a whole clip."""
    frames_key, count_key = (sequence.fact_key(what, ffmpeg) for what in ("frames", "count"))
    source, frames = _Tally(sequence.open_source(ffmpeg, frames)), sequence.wanted(frames)
    digest = sha256_of(sequence.transformed(source))
    if sequence.span is None and (frames is None or source.count < frames):
        write_cached(count_key, str(source.count))
    if frames is not None and source.count < frames:
        raise too_few(sequence.name, frames, source.count)
    if sequence.is_whole(ffmpeg, frames):
        if sequence.frames not in (None, source.count):
            raise DatasetError(f"{sequence.path} has {source.count} frames, not {sequence.frames}. {sequence.remedy}")
        write_cached(frames_key, source.sha256)
        sequence.check_frames_sha256(source.sha256, ffmpeg)
    return digest


class _Tally(Video):
    """A video whose frames are counted and hashed while they are read."""

    def __init__(self, video: Video) -> None:
        self.format, self.frames = video.format, video.frames
        self._video = video
        self.count = 0
        self._digest = hashlib.sha256()

    def batches(self, size: int = BATCH) -> Iterator[Frames]:
        """The video's own batches; to be read once."""
        for batch in self._video.batches(size):
            self.count += len(batch)
            for index in range(len(batch)):
                for plane in batch.planes:
                    self._digest.update(np.ascontiguousarray(plane[index]).data)
            yield batch

    @property
    def sha256(self) -> str:
        """The hash of what was read, as `sha256_of` computes it."""
        return self._digest.hexdigest()
