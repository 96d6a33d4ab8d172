"""Groups of pictures by content (TeNeRV, section III-B, equation 4 and algorithm 1), and by count or length alone.

A boundary is the index of the frame that begins a new group, 1 to T - 1.
"""

from bisect import bisect_left, insort
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional


def divergence(features: Tensor) -> list[float]:
    """1 - cosine similarity of each frame's features `[T, n]` with those of the frame before, for frames 1 to T - 1."""
    return [float(score) for score in 1 - functional.cosine_similarity(features[1:].double(), features[:-1].double())]


def partition(scores: Sequence[float], count: int, shortest: int) -> tuple[int, ...]:
    """The boundaries of up to `count` groups of at least `shortest` frames, where the scores of frames 1 on are large.

    Our guards: of equal scores the earlier frame is first, groups too short are met from left to right, a candidate
    that would make one is passed over, and when candidates run out there are fewer groups; one, in the end.
    """
    length = len(scores) + 1
    ranked = sorted(range(1, length), key=lambda frame: (-scores[frame - 1], frame))
    rank = {frame: place for place, frame in enumerate(ranked)}
    chosen, unused = sorted(ranked[: count - 1]), iter(ranked[count - 1 :])
    while (pair := _too_close([0, *chosen, length], shortest)) is not None:
        inner = [frame for frame in pair if 0 < frame < length]
        if not inner:
            break
        chosen.remove(max(inner, key=lambda frame: rank[frame]))
        fitting = (frame for frame in unused if _fits(frame, [0, *chosen, length], shortest))
        if (candidate := next(fitting, None)) is not None:
            insort(chosen, candidate)
    return tuple(chosen)


def _too_close(marks: Sequence[int], shortest: int) -> tuple[int, int] | None:
    """The first neighbors with fewer than `shortest` frames between them."""
    return next(((a, b) for a, b in pairwise(marks) if b - a < shortest), None)


def _fits(frame: int, marks: Sequence[int], shortest: int) -> bool:
    after = bisect_left(marks, frame)
    return marks[after] - frame >= shortest and frame - marks[after - 1] >= shortest


def equal_parts(length: int, count: int) -> tuple[int, ...]:
    """The boundaries of `count` groups as equal as can be (the paper's variant V5: only the length counts)."""
    return tuple(sorted({length * part // count for part in range(1, count)} - {0}))


def fixed_parts(length: int, frames: int) -> tuple[int, ...]:
    """The boundaries of groups of so many frames each (V4)."""
    return tuple(range(frames, length, frames))


def group_of(frames: Tensor, boundaries: Sequence[int]) -> Tensor:
    """The group of each frame, from 0."""
    return torch.bucketize(frames, torch.tensor(boundaries, dtype=torch.long, device=frames.device), right=True)
