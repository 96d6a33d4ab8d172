"""Static models of tensors: any integers return, at a size near their entropy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rdbench.codecs.inr.entropy.tensor_models import Model, decode_tensors, decode_under, encode_tensors, encode_under
from rdbench.errors import BitstreamError

Tensors = st.lists(st.lists(st.integers(-255, 255), max_size=40), max_size=5)


@settings(deadline=None)
@given(Tensors)
def test_any_integers_come_back(tensors: list[list[int]]) -> None:
    arrays = [np.array(values, np.int32) for values in tensors]
    models, payload = encode_tensors(arrays)
    decoded = decode_tensors(models, payload, [len(values) for values in tensors], 256)
    assert decoded.tolist() == [value for values in tensors for value in values]


@pytest.mark.parametrize("shape", ["gauss", "laplace", "pruned", "odd"])
@pytest.mark.parametrize("size", [200, 100_000])
def test_models_come_near_the_entropy(shape: str, size: int) -> None:
    random = np.random.default_rng(0)
    samples = random.laplace(0, 6, size) if shape == "laplace" else random.normal(0, 9, size)
    values = np.rint(samples).clip(-32, 31).astype(np.int32)
    if shape == "pruned":
        values[random.random(size) < 0.4] = 0
    if shape == "odd":
        values = values // 8 * 8
    shares = np.unique(values, return_counts=True)[1] / size
    entropy = float(-(shares * np.log2(shares)).sum()) * size / 8
    models, payload = encode_tensors([values])
    assert len(models) + len(payload) < 1.01 * entropy + (60 if size == 200 else 200)


def test_a_tensor_of_only_the_lowest_value_returns_from_an_empty_payload() -> None:
    model, values = Model(-2, np.array([5, 3, 1])), np.full(10, -2, np.int32)
    payload = encode_under([values], [model])
    assert payload == b""
    (restored,) = decode_under(payload, [(10, model)])
    assert np.array_equal(restored, values)


def test_an_empty_payload_of_tensors_with_two_values_is_refused() -> None:
    models, _ = encode_tensors([np.array([0, 1, 1], np.int32)])
    with pytest.raises(BitstreamError):
        decode_tensors(models, b"", [3], 256)
