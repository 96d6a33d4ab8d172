"""Vectors in 8 bits: levels by hand, ends that are kept, and damage."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdbench.codecs.inr.compression.vectors import decode_vectors, encode_vectors
from rdbench.errors import BitstreamError


def test_levels_lie_evenly_between_the_ends() -> None:
    vector = np.array([-1.0, 0.0, 1.0, 4.1], np.float32)  # steps of 5.1 / 255 = 0.02
    data = encode_vectors([vector])
    assert data[:4] == np.array([-1, 4.1015625], "<f2").tobytes()  # the upper end is rounded up
    assert list(data[4:]) == [0, 50, 100, 255]
    decoded = decode_vectors(data, [4])
    assert decoded == pytest.approx(vector, abs=0.01 + 1e-3)


def test_equal_values_are_kept() -> None:
    vectors = [np.full(3, 0.5, np.float32), np.zeros(2, np.float32), np.array([-2.0], np.float32)]
    assert decode_vectors(encode_vectors(vectors), [3, 2, 1]).tolist() == [0.5, 0.5, 0.5, 0, 0, -2]


@given(st.lists(st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=9), max_size=4))
def test_values_are_decoded_within_half_a_level(values: list[list[float]]) -> None:
    vectors = [np.array(vector, np.float32) for vector in values]
    sizes = [len(vector) for vector in vectors]
    data = encode_vectors(vectors)
    assert len(data) == sum(sizes) + 4 * len(sizes)
    parts = np.split(decode_vectors(data, sizes), np.cumsum(sizes)[:-1]) if sizes else []
    for part, vector in zip(parts, vectors, strict=True):
        step = (float(vector.max()) - float(vector.min())) / 255
        assert np.abs(part - vector).max() <= 0.51 * step + 1e-3 * np.abs(vector).max() + 1e-6


@pytest.mark.parametrize(
    ("data", "sizes"),
    [
        (b"", [1]),
        (bytes(6), [1]),
        (np.array([1, -1], "<f2").tobytes() + b"\0", [1]),  # the ends are exchanged
        (np.array([0, np.inf], "<f2").tobytes() + b"\0", [1]),
    ],
)
def test_damage_is_refused(data: bytes, sizes: list[int]) -> None:
    with pytest.raises(BitstreamError):
        decode_vectors(data, sizes)
