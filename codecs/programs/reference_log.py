"""Parsers of the output of HM and VTM: a line for each picture, a summary, the decoder's check of each MD5."""

import re
from dataclasses import dataclass

from rdbench.errors import BitstreamError

_PICTURE = re.compile(r"^POC\s+(\d+) .*?\s(\d+) bits\b", re.MULTILINE)
_SUMMARY = re.compile(r"^\s*(\d+)\s+a\s+([\d.]+)\s+([\d.]+)\s+([\d.]+)\s+([\d.]+)\s+([\d.]+)", re.MULTILINE)
_TIME = re.compile(r"Total Time:\s+([\d.]+)\s*sec")
_DECODED = re.compile(r"^POC\s+\d+ .*\[(?:MD5|CRC|Checksum)?:[0-9a-f,]*\((OK|unk|\*\*\*ERROR\*\*\*)\)\]", re.MULTILINE)


@dataclass(frozen=True)
class Summary:
    """The summary at the end of an encoder's log: kbit/s, PSNR in dB as the software defines it, CPU seconds."""

    frames: int
    kbps: float
    psnr_y: float
    psnr_u: float
    psnr_v: float
    seconds: float


def count_pictures(log: str) -> int:
    """The number of pictures that the encoder has finished."""
    return len(_PICTURE.findall(log))


def read_summary(log: str) -> Summary | None:
    """The encoder's summary; None where there is none in the known format."""
    row, time = _SUMMARY.search(log), _TIME.search(log)
    if row is None or time is None:
        return None
    return Summary(int(row[1]), float(row[2]), float(row[3]), float(row[4]), float(row[5]), float(time[1]))


def read_verdicts(log: str) -> list[str]:
    """The decoder's result for each picture's MD5: `OK`, `unk` (the stream has none) or `***ERROR***`."""
    return _DECODED.findall(log)


def check_verdicts(log: str, title: str) -> int:
    """The number of pictures whose MD5 was right. Raises BitstreamError for a wrong one."""
    verdicts = read_verdicts(log)
    if wrong := verdicts.count("***ERROR***"):
        raise BitstreamError(
            f"{wrong} of {len(verdicts)} pictures that {title} decoded differ from their MD5 in the stream; "
            "the stream is damaged, or encoder and decoder do not match: encode it again."
        )
    return verdicts.count("OK")


def describe_time(seconds: float) -> str:
    """A duration in words: `40 s`, `12 min` or `3.5 h`."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
