"""What all INR codecs answer alike: their kind, signature and version, and that nothing is missing."""

from importlib import metadata
from typing import ClassVar

from rdbench.codec import Codec, Host, Kind

from .bitstream import signature


class TrainedCodec(Codec):
    """A codec of networks that torch trains, whose bitstreams are our container."""

    name: ClassVar[str]
    kind: ClassVar[Kind] = "INR"
    revision: ClassVar[int]
    """Raised whenever the same settings give other bits."""

    @classmethod
    def signatures(cls) -> tuple[bytes, ...]:
        """The container's magic with the codec's name."""
        return (signature(cls.name),)

    @classmethod
    def missing(cls, host: Host) -> str | None:
        """None: torch is installed with rdbench."""
        return None

    @classmethod
    def version(cls, host: Host) -> str:
        """Name, revision and torch, whose kernels decide the bits of a training, as `nerv-4 torch 2.13.0`."""
        torch_version, _, _ = metadata.version("torch").partition("+")  # without the build, as +cpu
        return f"{cls.name}-{cls.revision} torch {torch_version}"
