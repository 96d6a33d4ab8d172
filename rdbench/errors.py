"""Errors that are shown to people: one sentence that names the thing and the remedy."""

import difflib
from collections.abc import Iterable


class RdbenchError(Exception):
    """Something a person can act on; the command line prints it without a traceback."""


class UsageError(RdbenchError):
    """The command line, an option or a name is wrong (exit status 2)."""


class MediaError(RdbenchError):
    """A video file cannot be read or written, or is not as described."""


class DatasetError(RdbenchError):
    """A dataset, its manifest or its files are missing or wrong."""


class BitstreamError(RdbenchError):
    """A bitstream is cut, damaged, of another version or of another codec."""


class EncoderError(RdbenchError):
    """An encoder or decoder program failed; the message ends with the last lines of its log."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A suggestion to append to an error sentence: `; did you mean x265?`, or the known names, or nothing."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if close:
        return f"; did you mean {close[0]}?"
    return f"; known: {', '.join(names)}." if names else "."
