"""The description of a codec, for lists: it needs neither the codec's class nor numpy or pydantic."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

Kind = Literal["INR", "conventional", "learned"]


@dataclass(frozen=True)
class Host:
    """What a codec may use of this machine: the ffmpeg program, and the paths from `Codec.programs` by their names."""

    ffmpeg: str | None = None
    programs: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True)
class CodecCard:
    """The description of a codec whose class is not loaded: the entry point of a codec whose imports are heavy."""

    name: str
    kind: Kind
    summary: str
    reference: str
    rate_points: str
    load: str
    """`module:Class`, imported only when the codec is used."""
    signatures: tuple[bytes, ...] = ()
    """The first bytes of its bitstreams, for `rdbench decode`."""
    missing: Callable[[Host], str | None] = lambda host: None
    """`Codec.missing`, without loading the codec."""
    found: Callable[[Host], str] = lambda host: ""
    """Version and path of programs that rdbench does not install, for `rdbench codecs`."""
