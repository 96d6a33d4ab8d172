"""The description of a codec, for lists: it needs neither the codec's class nor numpy or pydantic."""

import re
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
class Paper:
    """The publication of a codec."""

    authors: str
    """As `Chen et al.`"""
    title: str
    venue: str
    """Conference or journal without the year; empty for a preprint."""
    year: int
    arxiv: str = ""
    """The number of the preprint, as `2110.13903`; empty where there is none, or none is known to us."""

    def __str__(self) -> str:
        """One line, as references are given in records and lists."""
        return f"{self.authors}, {self.title}, {f'{self.venue} {self.year}' if self.venue else f'arXiv {self.arxiv}'}"


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
    """What `rdbench codecs` adds: version and path of programs that rdbench does not install, or a remark."""
    paper: Paper | None = None
    """The paper in parts; None where `reference` is all that is known, as for a standard."""

    @property
    def year(self) -> int | None:
        """The year of the paper, else the last one in the reference; None where there is none."""
        if self.paper is not None:
            return self.paper.year
        years = re.findall(r"\b(?:19|20)\d\d\b", self.reference)
        return int(years[-1]) if years else None
