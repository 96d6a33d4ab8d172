"""Cutting a clip into intra periods, and joining the streams of the pieces."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdbench.codecs.programs.segments import Piece, Syntax, cut, escape, join, split_units, strip_hashes, unescape
from rdbench.errors import EncoderError


def bits(*codes: str) -> bytes:
    text = "".join(codes)
    return int(text.ljust(-(-len(text) // 8) * 8, "1"), 2).to_bytes(-(-len(text) // 8), "big")


def vvc(kind: int, *codes: str, tail: bytes = b"\x80") -> bytes:
    return b"\0\0\0\1" + escape(bytes([0, kind << 3 | 1]) + bits(*codes) + tail)


def vvc_slice(kind: int, poc: int, tail: bytes = b"\x80") -> bytes:
    """A slice with its picture header inside; IDR and CRA pictures (7 to 9) carry one flag more."""
    irap = kind in (7, 8, 9)
    inter = "0" if irap else "11"
    return vvc(kind, "1", "10" + "0" if irap else "00", inter, "1", format(poc, "08b"), tail=tail)


def hevc(kind: int, *codes: str, tail: bytes = b"\x80") -> bytes:
    return b"\0\0\1" + escape(bytes([kind << 1, 1]) + bits(*codes) + tail)


def hash_unit(syntax: Syntax, more: bytes = b"") -> bytes:
    header = bytes([0x50, 1]) if syntax == "hevc" else bytes([0, 24 << 3 | 1])
    return b"\0\0\1" + escape(header + bytes([132, 17, *range(17)]) + more + b"\x80")


def test_cut() -> None:
    assert cut(17, 32, 4) == [Piece(0, 17)]
    assert cut(33, 32, 4) == [Piece(0, 33)]
    assert cut(34, 32, 4) == [Piece(0, 33), Piece(32, 2)]
    assert cut(600, 128, 2) == [Piece(0, 257), Piece(256, 344)]
    assert cut(1, 32, 9) == [Piece(0, 1)]


@given(st.integers(1, 700), st.sampled_from([16, 32, 64, 128]), st.integers(1, 12))
def test_pieces_overlap_in_one_intra_picture(frames: int, period: int, pieces: int) -> None:
    found = cut(frames, period, pieces)
    assert 1 <= len(found) <= pieces
    assert all(piece.start % period == 0 and piece.frames > 0 for piece in found)
    assert sum(piece.frames for piece in found) - (len(found) - 1) == frames
    assert [p.start + p.frames - 1 for p in found] == [p.start for p in found[1:]] + [frames - 1]


@given(st.lists(st.sampled_from([0, 0, 0, 1, 2, 3, 4, 255]), min_size=1).map(bytes))
def test_escaping(payload: bytes) -> None:
    escaped = escape(payload + b"\x80")
    assert unescape(escaped) == payload + b"\x80"
    assert re.search(rb"\x00\x00[\x00-\x02]", escaped) is None


@pytest.mark.parametrize("poc", [1, 31, 200])
def test_vvc_pictures_are_numbered_on(poc: int) -> None:
    sets = vvc(15, "10101010") + vvc(16, "1") + vvc(17, "1")
    first = sets + vvc_slice(8, 0) + hash_unit("vvc") + vvc_slice(9, 32) + hash_unit("vvc")
    second = sets + vvc_slice(8, 0) + hash_unit("vvc") + vvc(17, "01") + vvc_slice(0, poc, b"\0\0\3\x80")
    joined = join([(Piece(0, 33), first), (Piece(32, 33), second)], "vvc")
    assert joined == first + vvc(17, "01") + vvc_slice(0, (poc + 32) % 256, b"\0\0\3\x80")


def test_vvc_picture_headers_of_their_own() -> None:
    header = vvc(19, "00", "11", "1", format(5, "08b"))
    body = vvc(0, "0", "1111")
    second = vvc_slice(8, 0) + header + body
    joined = join([(Piece(0, 33), vvc_slice(8, 0)), (Piece(64, 9), second)], "vvc")
    assert joined == vvc_slice(8, 0) + vvc(19, "00", "11", "1", format(69, "08b")) + body


def test_hevc_number_that_needs_escaping() -> None:
    """128 + 128 is 0 in eight bits, and zeros around it make a start code unless they are escaped."""
    first = hevc(19, "1", "1")
    slice_ = hevc(1, "1", "1", "1", format(128, "08b"), "00000", tail=b"\0\0\1\x80")
    joined = join([(Piece(0, 129), first), (Piece(128, 9), first + slice_)], "hevc")
    assert joined == first + hevc(1, "1", "1", "1", format(0, "08b"), "00000", tail=b"\0\0\1\x80")
    assert len(split_units(joined)) == 2


def test_what_cannot_be_joined() -> None:
    idr, cra = hevc(19, "1", "1"), hevc(21, "1", "0", "1", "011", "00100000")
    for second, words in (
        (idr, "does not begin with one IDR"),
        (cra + cra, "does not begin with one IDR"),
        (idr + idr, "does not begin with one IDR"),
        (idr + hevc(1, "0", "1", "1", "00000001"), "several slices"),
        (idr + hevc(1, "1", "0" * 20, tail=b"\0\0\0\0\x80"), "not understood"),
        (b"junk", "whole NAL units"),
        (b"\0\0\1\x26\0\0\1", "without a header"),
    ):
        with pytest.raises(EncoderError, match=words):
            join([(Piece(0, 33), idr), (Piece(32, 33), second)], "hevc")


@pytest.mark.parametrize("syntax", ["hevc", "vvc"])
def test_only_hashes_are_stripped(syntax: Syntax) -> None:
    unit = hevc if syntax == "hevc" else vvc
    other = b"\0\0\1" + escape(hash_unit(syntax)[3:5] + bytes([5, 2, 1, 1, 0x80]))
    two = hash_unit(syntax, bytes([5, 1, 1]))
    stream = unit(1, "1") + hash_unit(syntax) + unit(1, "11") + other + two + hash_unit(syntax)
    assert strip_hashes(stream, syntax) == (unit(1, "1") + unit(1, "11") + other + two, 2)
