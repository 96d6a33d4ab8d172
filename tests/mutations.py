"""Damage to INR bitstreams that their checksum does not show, because the damaged stream is signed again.

`tests/codecs/inr/test_mutations.py` tries some, `tests/benchmarks/stream_mutations.py` as many as one likes.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import golden
import numpy as np

from rdbench.codec import Workspace
from rdbench.codecs.inr import bitstream
from rdbench.codecs.inr.codec import InrCodec
from rdbench.codecs.inr.pieces.codec import PieceCodec
from rdbench.errors import BitstreamError
from rdbench.registry import load_codec, parse_specs

Sections = dict[str, bytes]
Random = np.random.Generator
LARGEST_RENDERED = 1 << 12
"""Pixels of the largest frame that is rendered; damage to a header may describe frames that take long."""
EDGES = (0, 7, 8, 10, 12, 15, 16, 20, 28, 31, 32, 62)
EXTREMES = (*((1 << bits) + change for bits in EDGES for change in (-1, 0)), bitstream.LARGEST_INTEGER)
"""Integers at the edges of what fields and machines hold."""


def codec_class(name: str) -> type[InrCodec | PieceCodec]:
    """The class of a golden stream's codec."""
    cls = load_codec(parse_specs(name)[0].name)
    assert issubclass(cls, InrCodec | PieceCodec)
    return cls


def golden_sections(name: str) -> Sections:
    """The sections of a golden stream."""
    return bitstream.read_stream(golden.file_of(name), codec_class(name).name)


def mutate(sections: Mapping[str, bytes], random: Random) -> Sections:
    """The sections with one to three of them damaged."""
    damaged = dict(sections)
    for _ in range(random.integers(1, 4)):
        name = str(random.choice(sorted(damaged))) if random.random() < 0.7 else "config"
        ways = WAYS if damaged[name] else (_insert,)
        damaged[name] = ways[random.integers(len(ways))](damaged[name], random)
    return damaged


def _flip(data: bytes, random: Random) -> bytes:
    at = random.integers(len(data))
    return data[:at] + bytes([data[at] ^ 1 << random.integers(8)]) + data[at + 1 :]


def _replace(data: bytes, random: Random) -> bytes:
    at, length = random.integers(len(data)), random.integers(1, 9)
    return data[:at] + random.bytes(length) + data[at + length :]


def _insert(data: bytes, random: Random) -> bytes:
    at = random.integers(len(data) + 1)
    return data[:at] + random.bytes(random.integers(1, 9)) + data[at:]


def _remove(data: bytes, random: Random) -> bytes:
    at = random.integers(len(data))
    return data[:at] + data[at + random.integers(1, 9) :]


def _cut(data: bytes, random: Random) -> bytes:
    return data[: random.integers(len(data))]


def _repeat(data: bytes, random: Random) -> bytes:
    return data * int(random.integers(2, 5))


def _fill(data: bytes, random: Random) -> bytes:
    at, end = sorted(random.integers(0, len(data) + 1, 2))
    return data[:at] + bytes([random.choice([0, 0x7F, 0x80, 0xFF])]) * (end - at) + data[end:]


def _change_integer(data: bytes, random: Random) -> bytes:
    """The section as integers, with some replaced, or one removed or repeated; bytes that are no integers: flipped."""
    try:
        numbers = bitstream.unpack_integers(data)
    except BitstreamError:
        return _flip(data, random)
    at, way, extreme = random.integers(len(numbers)), random.integers(5), int(random.choice(EXTREMES))
    near = max(0, numbers[at] + int(random.integers(-3, 4)))
    several = int(random.integers(2, 5))
    count, new = ((1, [extreme]), (1, [near]), (1, []), (1, [numbers[at]] * 2), (several, [extreme] * several))[way]
    return bitstream.pack_integers([*numbers[:at], *new, *numbers[at + count :]])


WAYS: tuple[Callable[[bytes, Random], bytes], ...] = (
    _flip, _replace, _insert, _remove, _cut, _repeat, _fill, _change_integer, _change_integer, _change_integer,
)  # fmt: skip


def outcome(cls: type[InrCodec | PieceCodec], sections: Mapping[str, bytes], folder: Path) -> str:
    """`refused` for a BitstreamError, `decoded` for frames; other exceptions pass.

    A codec that codes piece by piece may refuse a piece when its frames are asked for.
    """
    path = folder / "stream"
    bitstream.write_stream(path, cls.name, sections)
    try:
        video = cls.decode(path, Workspace(folder))
    except BitstreamError:
        return "refused"
    if video.format.width * video.format.height <= LARGEST_RENDERED:
        try:
            assert len(next(iter(video.batches(1)))) == 1
        except BitstreamError:
            assert issubclass(cls, PieceCodec)
            return "refused"
    return "decoded"
