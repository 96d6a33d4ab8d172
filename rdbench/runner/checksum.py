"""The checksum file of a bitstream: elementary streams contain no checksum, and video decoders conceal damage."""

from pathlib import Path

from ..clips.dataset import file_sha256
from ..errors import BitstreamError


def checksum_path(bitstream: Path) -> Path:
    """`clip.bin` -> `clip.bin.sha256`, in the format of sha256sum."""
    return bitstream.with_name(bitstream.name + ".sha256")


def write_checksum(bitstream: Path) -> None:
    """Writes the checksum file next to the bitstream."""
    checksum_path(bitstream).write_text(f"{file_sha256(bitstream)}  {bitstream.name}\n")


def verify_checksum(bitstream: Path) -> bool:
    """Whether the bitstream has a checksum file. Raises BitstreamError where it does not match it."""
    checksum = checksum_path(bitstream)
    if not checksum.exists():
        return False
    expected = checksum.read_text(errors="replace").split()
    if not expected or file_sha256(bitstream) != expected[0]:
        raise BitstreamError(
            f"{bitstream} is not the bitstream that was written (its SHA-256 is not that of {checksum.name}); "
            "copy it again, or encode the clip again."
        )
    return True
