"""Labels beside a panel stand apart from each other, near the ends of their curves."""

import itertools

import pytest

from rdbench.report.end_labels import spread


@pytest.mark.parametrize(
    "wanted", [[0.2, 0.5, 0.9], [0.5, 0.5, 0.5], [0.99, 0.995, 1.0], [0.0, 0.01, 0.02], [0.1] * 30]
)
def test_labels_are_apart_in_order_and_inside(wanted: list[float]) -> None:
    gap = min(0.05, 1 / len(wanted))
    found = spread(wanted, 0.05)
    assert all(high - low >= gap - 1e-9 for low, high in itertools.pairwise(found))
    assert -1e-9 <= found[0] <= found[-1] <= 1 + 1e-9


def test_labels_with_room_stay_at_their_ends() -> None:
    assert spread([0.2, 0.5, 0.9], 0.05) == [0.2, 0.5, 0.9]
    assert spread([], 0.05) == []
