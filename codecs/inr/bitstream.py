"""The container of the INR codecs: magic, codec name, version, named sections, checksum. Untrusted when read.

    RDBS | name | version u8 | number of sections u8 | (name, length u32) each | sections | sha256, first 8 bytes

A name is a length byte and ASCII letters. Integers are little-endian.
"""

import hashlib
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

from rdbench.errors import BitstreamError

CONTAINER_MAGIC = b"RDBS"
VERSION = 2
CHECKSUM_BYTES = 8
LARGEST_FILE = 1 << 31
LARGEST_INTEGER = (1 << 63) - 1
_AGAIN = "encode the clip again, or get the file again"


def signature(codec: str) -> bytes:
    """How the bitstreams of a codec begin, for its card on the menu."""
    return CONTAINER_MAGIC + _name(codec)


def write_stream(path: Path, codec: str, sections: Mapping[str, bytes]) -> None:
    """Writes the container."""
    head = signature(codec) + bytes([VERSION, len(sections)])
    head += b"".join(_name(name) + struct.pack("<I", len(data)) for name, data in sections.items())
    body = head + b"".join(sections.values())
    path.write_bytes(body + _checksum(body))


def read_stream(path: Path, codec: str) -> dict[str, bytes]:
    """The sections by name. Raises BitstreamError for a file that is damaged, or of another version or codec."""
    if path.stat().st_size > LARGEST_FILE:
        raise BitstreamError(f"The bitstream is larger than {LARGEST_FILE} bytes, which none of ours is; {_AGAIN}.")
    data = path.read_bytes()
    if not data.startswith(CONTAINER_MAGIC):
        raise BitstreamError(f"This is no bitstream of {codec}: it does not begin with {CONTAINER_MAGIC.decode()}.")
    if len(data) <= len(CONTAINER_MAGIC) + CHECKSUM_BYTES:
        raise BitstreamError(f"The bitstream is cut short; {_AGAIN}.")
    try:
        name, at = _read_name(data, len(CONTAINER_MAGIC))
        if name == codec and data[at] != VERSION:
            raise BitstreamError(f"The bitstream has version {data[at]}, this rdbench reads {VERSION}; {_AGAIN}.")
        if _checksum(data[:-CHECKSUM_BYTES]) != data[-CHECKSUM_BYTES:]:
            raise BitstreamError(f"The bitstream is damaged (its checksum does not fit); {_AGAIN}.")
        if name != codec:
            raise BitstreamError(f"This is a bitstream of {name!r}, not of {codec!r}; decode it with --codec {name}.")
        return _sections(data[:-CHECKSUM_BYTES], at + 1)
    except (IndexError, struct.error, UnicodeDecodeError) as error:
        raise BitstreamError(f"The bitstream's header is damaged; {_AGAIN}.") from error


def section_bytes(path: Path, codec: str) -> dict[str, int]:
    """Bytes of each section, and of the container around them; they add up to the size of the file."""
    sizes = {name: len(data) for name, data in read_stream(path, codec).items()}
    return {**sizes, "container": path.stat().st_size - sum(sizes.values())}


def _sections(data: bytes, at: int) -> dict[str, bytes]:
    count, at = data[at], at + 1
    lengths: dict[str, int] = {}
    for _ in range(count):
        section, at = _read_name(data, at)
        (lengths[section],) = struct.unpack_from("<I", data, at)
        at += 4
    if len(lengths) != count or at + sum(lengths.values()) != len(data):
        raise BitstreamError(f"The bitstream's sections do not fit its size; {_AGAIN}.")
    sections = {}
    for section, length in lengths.items():
        sections[section] = data[at : at + length]
        at += length
    return sections


def _name(text: str) -> bytes:
    raw = text.encode("ascii")
    return bytes([len(raw)]) + raw


def _read_name(data: bytes, at: int) -> tuple[str, int]:
    end = at + 1 + data[at]
    return data[at + 1 : end].decode("ascii"), end


def _checksum(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()[:CHECKSUM_BYTES]


def pack_integers(values: Sequence[int]) -> bytes:
    """Non-negative integers, seven bits a byte (LEB128), low bits first."""
    out = bytearray()
    for value in values:
        while value >= 0x80:
            out.append(value & 0x7F | 0x80)
            value >>= 7
        out.append(value)
    return bytes(out)


def unpack_integers(data: bytes) -> list[int]:
    """What `pack_integers` wrote. Raises BitstreamError."""
    values, value, shift = [], 0, 0
    for byte in data:
        value |= (byte & 0x7F) << shift
        shift += 7
        if value > LARGEST_INTEGER or shift > 70:
            raise BitstreamError(f"The bitstream holds a number beyond all bounds; {_AGAIN}.")
        if byte < 0x80:
            values.append(value)
            value, shift = 0, 0
    if shift:
        raise BitstreamError(f"The bitstream ends inside a number; {_AGAIN}.")
    return values
