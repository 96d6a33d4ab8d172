"""SIGINT, SIGTERM and SIGHUP end a command alike: as a KeyboardInterrupt, upon which its jobs end too."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_received: list[int] = []


class Stopped(Exception):
    """The user stopped the run."""


def requested() -> bool:
    """Whether such a signal has come, so that every stage of every job ends."""
    return bool(_received)


def exit_status() -> int:
    """128 and the number of the signal that came first, as shells have it; that of SIGINT where none came."""
    return 128 + (_received[0] if _received else signal.SIGINT)


@contextmanager
def heeded() -> Iterator[None]:
    """Within the block, the signals raise KeyboardInterrupt; those that are ignored (`nohup`) remain so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {sign: signal.getsignal(sign) for sign in SIGNALS}
    _received.clear()
    try:
        for sign, handler in before.items():
            if handler in (signal.SIG_DFL, signal.default_int_handler):
                signal.signal(sign, _interrupt)
        yield
    finally:
        for sign, handler in before.items():
            signal.signal(sign, handler)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Raises KeyboardInterrupt; of further signals only SIGINT counts, as everything is ending already."""
    repeated = bool(_received)
    _received.append(number)
    if number == signal.SIGHUP:
        _leave_terminal()
    if not repeated or number == signal.SIGINT:
        raise KeyboardInterrupt


def _leave_terminal() -> None:
    """Sends the output nowhere where the terminal is gone: writing to it would be an error."""
    for stream in (1, 2):
        try:
            os.write(stream, b"")
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
