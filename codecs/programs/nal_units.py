"""NAL units of an Annex B stream (H.264, H.265, H.266)."""

import re
from dataclasses import dataclass

from rdbench.errors import RdbenchError

_START_CODE = re.compile(rb"\x00?\x00\x00\x01")


@dataclass(frozen=True)
class Unit:
    """A NAL unit: its start code, and its bytes from the header on."""

    start_code: bytes
    data: bytes


def find_units(stream: bytes, error: type[RdbenchError]) -> list[Unit]:
    """The NAL units of a stream, at least one. Raises `error` where the stream does not begin with a start code."""
    starts = list(_START_CODE.finditer(stream))
    if not starts or starts[0].start() != 0:
        raise error("The stream does not consist of whole NAL units; encode it again.")
    ends = [match.start() for match in starts[1:]] + [len(stream)]
    return [Unit(match[0], stream[match.end() : end]) for match, end in zip(starts, ends, strict=True)]
