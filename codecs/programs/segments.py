"""Cuts long sequences into pieces of whole intra periods that are encoded in parallel, and joins their streams.

Each piece ends with the intra picture that the next one begins with. Joining drops the next piece's copy of it and
continues the picture numbers, as HM's and VTM's own tools for the common test conditions do.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from rdbench.errors import EncoderError

from .nal_units import Unit, find_units

Syntax = Literal["hevc", "vvc"]

POC_BITS = 8
"""Bits of the picture order count in a slice header of HM and VTM; a wrong number would fail the MD5 check."""
_HASH = 132
"""SEI payload type of the decoded picture hash (ITU-T H.265, D.2.1; ITU-T H.274, 8.1)."""


@dataclass(frozen=True)
class Piece:
    """A piece of a sequence: frames `start` to `start + frames - 1`."""

    start: int
    frames: int


def cut(frames: int, period: int, pieces: int) -> list[Piece]:
    """At most `pieces` pieces of about equally many intra periods, each ending with the first frame of the next."""
    periods = max(1, -(-(frames - 1) // period))
    pieces = min(pieces, periods)
    edges = [period * (index * periods // pieces) for index in range(pieces)] + [frames - 1]
    return [Piece(first, last - first + 1) for first, last in pairwise(edges)]


def split_units(stream: bytes) -> list[Unit]:
    """The NAL units of an encoder's stream, each with its two bytes of header. Raises EncoderError."""
    units = find_units(stream, EncoderError)
    if any(len(unit.data) < 2 for unit in units):
        raise EncoderError("The encoder's stream has a NAL unit without a header; run it again.")
    return units


def join(streams: Sequence[tuple[Piece, bytes]], syntax: Syntax) -> bytes:
    """One stream from those of the pieces, in their order. Raises EncoderError for unexpected syntax."""
    parts = []
    for piece, stream in streams:
        units = split_units(stream)
        if piece.start > 0:
            units = [_renumbered(unit, piece.start, syntax) for unit in _without_first_picture(units, syntax)]
        parts += [unit.start_code + unit.data for unit in units]
    return b"".join(parts)


def strip_hashes(stream: bytes, syntax: Syntax) -> tuple[bytes, int]:
    """The stream without its MD5 SEI units, which no decoder needs, and how many there were."""
    units = split_units(stream)
    kept = [unit for unit in units if not _is_hash(unit, syntax)]
    return b"".join(unit.start_code + unit.data for unit in kept), len(units) - len(kept)


def _kind(unit: Unit, syntax: Syntax) -> int:
    """The type of the unit (tables 7-1 of ITU-T H.265, 5 of ITU-T H.266)."""
    return unit.data[0] >> 1 & 63 if syntax == "hevc" else unit.data[1] >> 3


def _is_slice(kind: int, syntax: Syntax) -> bool:
    return kind < (32 if syntax == "hevc" else 12)


def _is_hash(unit: Unit, syntax: Syntax) -> bool:
    """A suffix SEI unit that holds one message, a picture hash, and nothing else."""
    if _kind(unit, syntax) != (40 if syntax == "hevc" else 24) or unit.data[2:3] != bytes([_HASH]):
        return False
    return len(unescape(unit.data)) == 2 + 2 + unit.data[3] + 1


def _without_first_picture(units: list[Unit], syntax: Syntax) -> list[Unit]:
    """The units after the first picture (and its SEI), which must be an IDR picture of one slice."""
    idr, suffix_sei = ((19, 20), 40) if syntax == "hevc" else ((7, 8), 24)
    slices = [index for index, unit in enumerate(units) if _is_slice(_kind(unit, syntax), syntax)]
    if len(slices) < 2 or _kind(units[slices[0]], syntax) not in idr or _kind(units[slices[1]], syntax) in idr:
        raise EncoderError("A piece of the stream does not begin with one IDR picture; encode with segments=1.")
    rest = units[slices[0] + 1 :]
    while rest and _kind(rest[0], syntax) == suffix_sei:
        rest = rest[1:]
    return rest


def _renumbered(unit: Unit, offset: int, syntax: Syntax) -> Unit:
    """The unit with `offset` added to its picture order count, where it has one."""
    kind = _kind(unit, syntax)
    find = _hevc_poc if syntax == "hevc" else _vvc_poc
    if not (_is_slice(kind, syntax) or (syntax == "vvc" and kind == 19)):
        return unit
    payload = unescape(unit.data)
    position = find(payload, kind)
    if position is None:
        return unit
    first, shift = position // 8, 32 - POC_BITS - position % 8
    word = int.from_bytes(payload[first : first + 4].ljust(4, b"\0"), "big")
    mask = (1 << POC_BITS) - 1
    number = ((word >> shift & mask) + offset) & mask
    changed = (word & ~(mask << shift) | number << shift).to_bytes(4, "big")[: len(payload) - first]
    return Unit(unit.start_code, escape(payload[:first] + changed + payload[first + 4 :]))


def unescape(data: bytes) -> bytes:
    """The payload without emulation prevention bytes."""
    return data.replace(b"\0\0\3", b"\0\0")


def escape(payload: bytes) -> bytes:
    """The payload with emulation prevention bytes; a unit never ends with a zero byte."""
    escaped = re.sub(rb"\x00\x00(?=[\x00-\x03])", b"\0\0\3", payload)
    return escaped + b"\3" if escaped.endswith(b"\0") else escaped


class _Bits:
    """Reads bits of a payload, highest first, after the unit's header."""

    def __init__(self, payload: bytes) -> None:
        self._value = int.from_bytes(payload[:64].ljust(64, b"\0"), "big")
        self.position = 16

    def flag(self) -> int:
        self.position += 1
        return self._value >> (512 - self.position) & 1

    def exp_golomb(self) -> int:
        """The value of a ue(v) code. Raises EncoderError for more leading zeros than a valid header has."""
        zeros = 0
        while not self.flag():
            zeros += 1
            if zeros > 16:
                raise EncoderError("A slice header of the encoder's stream is not understood; encode with segments=1.")
        value = 1
        for _ in range(zeros):
            value = value << 1 | self.flag()
        return value - 1


def _hevc_poc(payload: bytes, kind: int) -> int | None:
    """Bit position of slice_pic_order_cnt_lsb (ITU-T H.265, 7.3.6.1), for slice headers that HM's cfg files produce."""
    bits = _Bits(payload)
    first_slice = bits.flag()
    if not first_slice or kind in (19, 20):
        raise EncoderError("A piece of the stream has several slices or IDR pictures; encode with segments=1.")
    if 16 <= kind <= 23:
        bits.flag()
    bits.exp_golomb()
    bits.exp_golomb()
    return bits.position


def _vvc_poc(payload: bytes, kind: int) -> int | None:
    """Bit position of ph_pic_order_cnt_lsb (ITU-T H.266, 7.3.2.8); None for a slice without a picture header."""
    bits = _Bits(payload)
    if kind != 19 and not bits.flag():
        return None
    gdr_or_irap = bits.flag()
    bits.flag()
    if gdr_or_irap:
        bits.flag()
    if bits.flag():
        bits.flag()
    bits.exp_golomb()
    return bits.position
