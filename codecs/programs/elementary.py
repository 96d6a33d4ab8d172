"""Bytes of an elementary stream by kind: NAL units of Annex B streams, OBUs of AV1."""

from collections import Counter
from collections.abc import Callable, Mapping
from types import MappingProxyType

from rdbench.errors import BitstreamError

from .nal_units import find_units

_OBU_NAMES = {1: "parameter_sets", 2: "delimiters", 3: "slices", 4: "slices", 5: "sei", 6: "slices", 7: "slices"}


def h264_ledger(stream: bytes) -> Mapping[str, int]:
    """Bytes of an H.264 stream by kind (types of ITU-T H.264, table 7-1). Raises BitstreamError."""
    names = {**dict.fromkeys(range(1, 6), "slices"), 6: "sei", 7: "parameter_sets", 8: "parameter_sets"}
    names |= {9: "delimiters", 13: "parameter_sets"}
    return _annex_b(stream, lambda unit: names.get(unit[0] & 31, "other"))


def hevc_ledger(stream: bytes) -> Mapping[str, int]:
    """Bytes of an H.265 stream by kind (types of ITU-T H.265, table 7-1). Raises BitstreamError."""
    names = {**dict.fromkeys(range(32), "slices"), **dict.fromkeys(range(32, 35), "parameter_sets")}
    names |= {35: "delimiters", 39: "sei", 40: "sei"}
    return _annex_b(stream, lambda unit: names.get(unit[0] >> 1 & 63, "other"))


def vvc_ledger(stream: bytes) -> Mapping[str, int]:
    """Bytes of an H.266 stream by kind (types of ITU-T H.266, table 5). Raises BitstreamError."""
    names = {**dict.fromkeys(range(12), "slices"), **dict.fromkeys(range(12, 19), "parameter_sets")}
    names |= {19: "slices", 20: "delimiters", 23: "sei", 24: "sei"}
    return _annex_b(stream, lambda unit: names.get(unit[1] >> 3, "other"))


def _annex_b(stream: bytes, name: Callable[[bytes], str]) -> Mapping[str, int]:
    """Bytes by the name of the unit; each start code counts with the unit that follows it."""
    units = find_units(stream, BitstreamError)
    if len(units[-1].data) < 2:
        raise BitstreamError("The stream does not consist of whole NAL units; encode it again.")
    sizes: Counter[str] = Counter()
    for unit in units:
        sizes[name(unit.data[:2])] += len(unit.start_code) + len(unit.data)
    return dict(sizes)


def av1_ledger(stream: bytes) -> Mapping[str, int]:
    """Bytes of a low-overhead AV1 stream by kind (OBU types of the AV1 specification, 6.2.2). Raises BitstreamError."""
    sizes: Counter[str] = Counter()
    position = 0
    while position < len(stream):
        header = stream[position]
        start = position + (2 if header & 4 else 1)
        length, start = _leb128(stream, start)
        if not header & 2 or start + length > len(stream):
            raise BitstreamError("The stream does not consist of whole OBUs; encode it again.")
        sizes[_OBU_NAMES.get(header >> 3 & 15, "other")] += start + length - position
        position = start + length
    return dict(sizes)


def _leb128(stream: bytes, position: int) -> tuple[int, int]:
    """The value at the position (at most 8 bytes, 7 bits each, lowest first), and the position after it."""
    value = 0
    for index, byte in enumerate(stream[position : position + 8]):
        value |= (byte & 127) << 7 * index
        if byte < 128:
            return value, position + index + 1
    raise BitstreamError("The stream does not consist of whole OBUs; encode it again.")


LEDGERS: Mapping[str, Callable[[bytes], Mapping[str, int]]] = MappingProxyType(
    {"h264": h264_ledger, "hevc": hevc_ledger, "vvc": vvc_ledger, "obu": av1_ledger}
)
"""Functions that count the bytes of a stream by kind, by ffmpeg's name of the stream format."""
