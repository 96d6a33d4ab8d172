"""A third party's package whose codec raises in one chosen place."""

from pathlib import Path

UNUSED_BY_SWEEPS = ("card", "signatures")
"""Places that a sweep does not look at."""
PLACES = ("import", "missing", "version", "constructor", "rate_points", *UNUSED_BY_SWEEPS)
"""Places in which `rdbench codecs` finds the error; `module` and `heavy` are others: cards that name a module
that is gone, and one that raises."""

_CODE = '''
import sys
from rdbench.codec import Codec, CodecCard, RatePoint

PLACE = {place!r}


def fail(place):
    if PLACE == place:
        raise {raised}


fail("import")


class Mine(Codec):
    """My codec."""

    def __init__(self, settings):
        super().__init__(settings)
        fail("constructor")

    @classmethod
    def signatures(cls):
        fail("signatures")
        return (b"MINE",)

    @classmethod
    def missing(cls, host):
        fail("missing")
        return None

    @classmethod
    def version(cls, host):
        fail("version")
        return "mine-1"

    def rate_points(self, clip):
        fail("rate_points")
        return [] if PLACE == "none" else [RatePoint("all", {{}})]

    def estimate_seconds(self, clip, point, device):
        fail("estimate")

    def encode(self, source, point, bitstream, workspace):
        raise AssertionError("no test encodes")

    @classmethod
    def decode(cls, bitstream, workspace):
        raise AssertionError("no test decodes")


card = CodecCard("mine", "conventional", "My codec.", "none", "one",
                 {{"card": "brokencodec:Mine", "heavy": "brokencodec_heavy:Mine"}}.get(PLACE, "brokencodec_gone:Mine"),
                 (b"MINE",),
                 lambda host: fail("card"))
'''


def install_broken(folder: Path, place: str, raised: str = 'KeyError("my reason")') -> None:
    """Installs the package into a folder that is to be put on the path; its codec is `mine`."""
    (folder / "brokencodec.py").write_text(_CODE.format(place=place, raised=raised))
    info = folder / "brokencodec-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: brokencodec\nVersion: 1\n")
    (folder / "brokencodec_heavy.py").write_text(f"raise {raised}\n")
    entry = "card" if place in ("card", "module", "heavy") else "Mine"
    (info / "entry_points.txt").write_text(f"[rdbench.codecs]\nmine = brokencodec:{entry}\n")
