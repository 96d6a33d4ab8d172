"""The checksum beside a bitstream: elementary streams carry none, and video decoders conceal damage."""

from pathlib import Path

from ..clips.dataset import file_sha256
from ..errors import BitstreamError


def checksum_path(bitstream: Path) -> Path:
    """`clip.bin` -> `clip.bin.sha256`, in the format of sha256sum."""
    return bitstream.with_name(bitstream.name + ".sha256")


def write_checksum(bitstream: Path) -> None:
    """Writes the checksum beside the bitstream."""
    checksum_path(bitstream).write_text(f"{file_sha256(bitstream)}  {bitstream.name}\n")


def verify_checksum(bitstream: Path) -> None:
    """Raises BitstreamError where a checksum lies beside the bitstream and does not fit."""
    beside = checksum_path(bitstream)
    if not beside.exists():
        return
    expected = beside.read_text(errors="replace").split()
    if not expected or file_sha256(bitstream) != expected[0]:
        raise BitstreamError(
            f"{bitstream} is not the bitstream that was written (its SHA-256 is not that of {beside.name}); "
            "get it again, or encode the clip again."
        )
