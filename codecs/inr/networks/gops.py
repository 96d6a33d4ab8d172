"""Groups of pictures by content (TeNeRV, section III-B, equation 4 and algorithm 1), by number, or by length alone.

A boundary is the index of the first frame of a new group, from 1 to T - 1 for a clip of T frames.
"""

from bisect import bisect_left, insort
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional

GROUPS = 5
"""K, the number of groups in a long clip (our choice)."""
MEAN_GROUP_FRAMES = 48
"""Fewest frames of a group on average: those of the paper's shortest clips, 240, in five groups."""
MIN_GROUP_FRAMES = 16
"""L_min, the fewest frames of any group in a long clip (our choice)."""


def group_count(frames: int) -> int:
    """The number of groups: GROUPS, or fewer where they would have less than MEAN_GROUP_FRAMES each (our choice)."""
    return max(1, min(GROUPS, frames // MEAN_GROUP_FRAMES))


def fewest_group_frames(frames: int, groups: int) -> int:
    """The fewest frames of a group: half of an equal share, at most MIN_GROUP_FRAMES (our choice)."""
    return max(1, min(MIN_GROUP_FRAMES, frames // (2 * groups)))


def divergence(features: Tensor) -> list[float]:
    """1 - cosine similarity of each frame's features `[T, n]` with those of the frame before, for frames 1 to T - 1."""
    return [float(score) for score in 1 - functional.cosine_similarity(features[1:].double(), features[:-1].double())]


def partition(scores: Sequence[float], count: int, shortest: int) -> tuple[int, ...]:
    """Boundaries of up to `count` groups of at least `shortest` frames, at large `scores` (of frames 1 to T - 1).

    Algorithm 1: while a group is too short, its boundary of lower score is replaced by the next candidate. Our choice:
    of equal scores the earlier frame is first, short groups are handled from left to right, a candidate that would make
    a group too short is skipped, and when candidates run out there are fewer groups, down to one.
    """
    length = len(scores) + 1
    ranked = sorted(range(1, length), key=lambda frame: (-scores[frame - 1], frame))
    rank = {frame: position for position, frame in enumerate(ranked)}
    chosen, unused = sorted(ranked[: count - 1]), iter(ranked[count - 1 :])
    while (pair := _too_close([0, *chosen, length], shortest)) is not None:
        inner = [frame for frame in pair if 0 < frame < length]
        if not inner:
            break
        chosen.remove(max(inner, key=lambda frame: rank[frame]))
        allowed = (frame for frame in unused if _leaves_long_groups(frame, [0, *chosen, length], shortest))
        if (candidate := next(allowed, None)) is not None:
            insort(chosen, candidate)
    return tuple(chosen)


def _too_close(edges: Sequence[int], shortest: int) -> tuple[int, int] | None:
    """The first neighboring edges with fewer than `shortest` frames between them; None without any."""
    return next(((a, b) for a, b in pairwise(edges) if b - a < shortest), None)


def _leaves_long_groups(frame: int, edges: Sequence[int], shortest: int) -> bool:
    """Whether a boundary at this frame leaves at least `shortest` frames on either side."""
    after = bisect_left(edges, frame)
    return edges[after] - frame >= shortest and frame - edges[after - 1] >= shortest


def equal_parts(length: int, count: int) -> tuple[int, ...]:
    """Boundaries of `count` groups of equal length, up to one frame (variant V5: by the clip's length alone)."""
    return tuple(sorted({length * part // count for part in range(1, count)} - {0}))


def fixed_parts(length: int, frames: int) -> tuple[int, ...]:
    """Boundaries of groups of `frames` frames each; the last may be shorter (variant V4)."""
    return tuple(range(frames, length, frames))


def group_of(frames: Tensor, boundaries: Sequence[int]) -> Tensor:
    """The group of each frame `[B]`, from 0."""
    # not `bucketize`, for which a GPU would wait until the boundaries are copied to it
    later = [frames >= boundary for boundary in boundaries]
    return torch.stack(later).sum(0) if later else torch.zeros_like(frames)
