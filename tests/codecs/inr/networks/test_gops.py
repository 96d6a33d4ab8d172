"""Groups of pictures: algorithm 1 and its special cases on hand-made scores, and groups by length alone."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rdbench.codecs.inr.networks.gops import divergence, equal_parts, fixed_parts, group_of, partition


def scores(length: int, **peaks: float) -> list[float]:
    """Zero except where given: `f7=0.5` means that frame 7 differs from frame 6 by 0.5."""
    values = [0.0] * (length - 1)
    for name, value in peaks.items():
        values[int(name[1:]) - 1] = value
    return values


def test_divergence_is_one_minus_the_cosine() -> None:
    features = torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 3.0], [0.0, -1.0], [1.0, -1.0]])
    assert divergence(features) == pytest.approx([0, 1, 2, 1 - 0.5**0.5])
    assert divergence(features[:1]) == []


def test_the_largest_scores_begin_groups() -> None:
    assert partition(scores(40, f30=0.9, f11=0.5, f20=0.7, f5=0.1), 4, 5) == (11, 20, 30)


def test_the_lower_scored_boundary_of_a_short_group_is_replaced_by_the_next_candidate() -> None:
    """20 and 22 are too close; 22 has the smaller score, and 8 comes next."""
    assert partition(scores(40, f20=0.9, f22=0.8, f8=0.3), 3, 5) == (8, 20)
    assert partition(scores(40, f20=0.8, f22=0.9, f8=0.3), 3, 5) == (8, 22)


def test_boundaries_near_the_ends_are_replaced() -> None:
    assert partition(scores(40, f2=0.9, f38=0.8, f20=0.3, f10=0.2), 3, 5) == (10, 20)


def test_short_groups_are_handled_from_left_to_right() -> None:
    """First 9 and 12: 25 replaces 12; then 25 and 28: 18 replaces 25."""
    assert partition(scores(40, f9=0.9, f12=0.8, f28=0.85, f25=0.4, f18=0.3), 4, 5) == (9, 18, 28)


def test_a_candidate_that_would_be_too_close_is_skipped() -> None:
    assert partition(scores(40, f20=0.9, f22=0.8, f17=0.5, f23=0.4, f30=0.3), 3, 5) == (20, 30)


def test_of_equal_scores_the_earlier_frame_is_first() -> None:
    assert partition([0.5] * 19, 3, 1) == (1, 2)
    assert partition([0.5] * 19, 3, 4) == (6, 10)  # 6, the first allowed beside 2, replaces 1; 10 replaces 2
    assert partition(scores(20, f8=0.5, f10=0.5), 3, 4) == (
        4,
        8,
    )  # 8 stays, the earlier; 4 is the first of the zeros


def test_more_groups_than_fit_become_fewer() -> None:
    boundaries = partition([float(i % 7) for i in range(1, 40)], 10, 9)
    assert 1 <= len(boundaries) <= 3
    assert partition(scores(40, f20=1.0), 100, 20) == (20,)
    assert partition([0.1, 0.2, 0.3], 99, 1) == (1, 2, 3)


@pytest.mark.parametrize("length", [1, 2, 3, 7])
def test_very_short_clips_are_one_group(length: int) -> None:
    assert partition([1.0] * (length - 1), 5, 4) == ()
    assert partition([1.0] * (length - 1), 1, 1) == ()


@given(st.lists(st.floats(0, 2), max_size=60), st.integers(1, 9), st.integers(1, 20))
def test_partition_terminates_with_groups_that_are_long_enough(values: list[float], count: int, shortest: int) -> None:
    boundaries = partition(values, count, shortest)
    edges = [0, *boundaries, len(values) + 1]
    assert len(boundaries) < count
    assert len(edges) == 2 or all(b - a >= shortest for a, b in pairwise(edges))


def test_groups_by_length_alone() -> None:
    assert equal_parts(32, 5) == (6, 12, 19, 25)
    assert equal_parts(3, 5) == (1, 2)
    assert fixed_parts(32, 10) == (10, 20, 30)
    assert fixed_parts(30, 10) == (10, 20)
    assert fixed_parts(8, 10) == ()


def test_the_frame_at_a_boundary_begins_a_group() -> None:
    assert group_of(torch.arange(6), (2, 5)).tolist() == [0, 0, 1, 1, 1, 2]
    assert group_of(torch.arange(3), ()).tolist() == [0, 0, 0]
