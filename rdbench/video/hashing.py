"""Hashes of decoded frames, to tell whether two decodings gave the same ones."""

import hashlib
import json
from collections.abc import Iterator

import numpy as np

from .video import BATCH, Frames, Video, VideoFormat

SHORT = 16
"""Hexadecimal digits of a frame's hash that are kept."""


class HashedVideo(Video):
    """A video whose frames are hashed while they are read; the hashes are those of the last complete reading."""

    def __init__(self, video: Video) -> None:
        self.format, self.frames = video.format, video.frames
        self._video = video
        self._digests: list[bytes] = []

    def batches(self, size: int = BATCH) -> Iterator[Frames]:
        """The video's own batches."""
        self._digests = []
        for batch in self._video.batches(size):
            self._digests += [_digest(batch, index) for index in range(len(batch))]
            yield batch

    @property
    def sha256(self) -> str:
        """The hex SHA-256 of the frames' format, as a line of JSON, and of the SHA-256 of every frame in turn."""
        return hashlib.sha256(_describe(self.format) + b"".join(self._digests)).hexdigest()

    @property
    def frame_hashes(self) -> list[str]:
        """The first SHORT hex digits of the SHA-256 of each frame, all its planes one after the other."""
        return [digest.hex()[:SHORT] for digest in self._digests]


def _digest(batch: Frames, index: int) -> bytes:
    digest = hashlib.sha256()
    for plane in batch.planes:
        digest.update(np.ascontiguousarray(plane[index]).data)
    return digest.digest()


def _describe(fmt: VideoFormat) -> bytes:
    """What the samples mean; the frame rate does not belong to it."""
    names = ("width", "height", "chroma", "bit_depth", "full_range")
    return json.dumps({name: getattr(fmt, name) for name in names}).encode() + b"\n"


def hash_frames(video: Video) -> HashedVideo:
    """The video after it was read once, for its hashes."""
    hashed = HashedVideo(video)
    for _ in hashed.batches():
        pass
    return hashed


def first_difference(first: list[str], second: list[str]) -> int | None:
    """The number of the first frame (from 0) whose hashes differ, or that only one has; None where all are alike."""
    pairs = zip(first, second, strict=False)
    unlike = next((index for index, (a, b) in enumerate(pairs) if a != b), None)
    if unlike is None and len(first) != len(second):
        return min(len(first), len(second))
    return unlike
