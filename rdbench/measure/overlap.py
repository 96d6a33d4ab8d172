"""Reading and measuring at the same time, with a bound on what is held: videos read ahead, and work done in order."""

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from ..video import Frames, Video

AHEAD = 2
"""Batches of a video that wait to be used, at least 2 (our choice); one more may be on its way."""
PATIENCE = 2.0
"""Seconds that an unfinished reader is waited for (our choice). One that hangs in a read ends when that does."""

Result = TypeVar("Result")


class _End:
    """The last thing that a reader puts in its queue: why it ended, where that is an error."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


_Queue = queue.Queue[Frames | _End]


@contextmanager
def read_ahead(video: Video, size: int) -> Iterator[Iterator[Frames]]:
    """The video's batches, read by a thread of its own; what reading raises is raised where the batch is asked for.

    When the block is left, reading ends, and the video's generator with it.
    """
    waiting: _Queue = queue.Queue(AHEAD)
    closed = threading.Event()
    thread = threading.Thread(target=_read, args=(video, size, waiting, closed), daemon=True)
    thread.start()
    try:
        yield _batches(waiting)
    finally:
        closed.set()
        while not waiting.empty():  # wakes a reader that waits for room; there is some now for all that it may put
            waiting.get_nowait()
        thread.join(PATIENCE)


def _read(video: Video, size: int, waiting: _Queue, closed: threading.Event) -> None:
    error: BaseException | None = None
    try:
        for batch in video.batches(size):
            if closed.is_set():
                break
            waiting.put(batch)
            if closed.is_set():
                break
    except BaseException as raised:  # the thread that asks for batches has to know
        error = raised
    waiting.put(_End(error))


def _batches(waiting: _Queue) -> Iterator[Frames]:
    while not isinstance(item := waiting.get(), _End):
        yield item
    if item.error is not None:
        raise item.error


def in_order(
    work: Callable[[Frames, Frames], Result], pairs: Iterable[tuple[Frames, Frames]], threads: int
) -> Iterator[Result]:
    """The results of the work on all pairs, in order, by some threads; no more than twice as many pairs are begun."""
    with ThreadPoolExecutor(threads) as pool:
        begun: deque[Future[Result]] = deque()
        try:
            for pair in pairs:
                begun.append(pool.submit(work, *pair))
                if len(begun) == 2 * threads:
                    yield begun.popleft().result()
            while begun:
                yield begun.popleft().result()
        finally:
            for future in begun:
                future.cancel()
