"""Latents of a group come back under each of the four modes, the cheapest is chosen, and damage is refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rdbench.codecs.inr.bitstream import unpack_integers
from rdbench.codecs.inr.entropy.tensor_models import Values
from rdbench.codecs.inr.nirvana.residuals import (
    DIFFERENCE,
    HISTOGRAM,
    LARGEST_LATENT,
    LEARNED,
    LEARNED_DIFFERENCE,
    Stages,
    decode_layers,
    encode_layers,
    learned_model,
)
from rdbench.errors import BitstreamError, RdbenchError

LOGISTIC = np.array([[0.7, 0.2, 0.0]], np.float16)


def test_the_learned_model_is_the_original_distribution() -> None:
    """Released code: sigmoid(softplus(h) x + b), and its four stages, at h, b and a of a formula."""
    logistic = np.array([[np.log1p(np.exp(0.7)), 0.2, 0.0]], np.float16)
    expected = {-3: 0.042715, -0.5: 0.412996, 0.5: 0.679526, 2: 0.917312}
    model = learned_model(logistic, 0, 0)
    assert len(model.counts) == 1
    assert model.counts[0] / 2**20 == pytest.approx(expected[0.5] - expected[-0.5], abs=1e-3)
    h, b, a = [-0.2, 0.1, 0.4, 0.7], [-0.1, 0.0, 0.1, 0.2], [0.5, 0.1, -0.3, 0.0]
    chain = np.stack([np.log1p(np.exp(h)), b, np.tanh(a)], axis=1).astype(np.float16)
    model = learned_model(chain, 0, 0)
    assert model.counts[0] / 2**20 == pytest.approx(0.610778 - 0.485193, abs=1e-3)


def mode_of(values: Values, before: Values | None, learned: Stages) -> int:
    reference = None if before is None else [before]
    tables, payload = encode_layers([values], reference, [learned])
    (restored,) = decode_layers(tables, payload, [len(values)], reference, len(learned))
    assert (restored == values).all()
    return unpack_integers(tables)[0]


def test_each_mode_is_chosen_where_it_is_cheapest() -> None:
    random = np.random.default_rng(3)
    logistic = np.rint(random.logistic(-0.2 / 0.7, 1 / 0.7, 200)).astype(np.int32)
    two = random.choice(np.array([-900, 900], np.int32), 4000)
    assert mode_of(logistic, None, LOGISTIC) == LEARNED
    assert mode_of(two, None, LOGISTIC) == HISTOGRAM
    assert mode_of(two + logistic.repeat(20), two, LOGISTIC) in (DIFFERENCE, LEARNED_DIFFERENCE)
    assert mode_of(two + np.int32(5), two, LOGISTIC) == DIFFERENCE
    assert mode_of(two[:200] + logistic, two[:200], LOGISTIC) == LEARNED_DIFFERENCE


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_damaged_layers_are_refused_or_decoded(data: st.DataObject) -> None:
    random = np.random.default_rng(0)
    before = [random.integers(-9, 9, size).astype(np.int32) for size in (40, 7)]
    latents = [layer + random.integers(-1, 2, len(layer)).astype(np.int32) for layer in before]
    tables, payload = encode_layers(latents, before, [LOGISTIC, LOGISTIC])
    raw = bytearray(tables)
    at = data.draw(st.integers(0, len(raw)))
    raw[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    try:
        decoded = decode_layers(bytes(raw), payload, [40, 7], before, 1)
    except BitstreamError:
        return
    assert [len(layer) for layer in decoded] == [40, 7]


def test_differences_without_a_reference_and_latents_beyond_bounds_are_refused() -> None:
    before = [np.arange(50, dtype=np.int32)]
    tables, payload = encode_layers(before, before, [LOGISTIC])
    with pytest.raises(BitstreamError):
        decode_layers(tables, payload, [50], None, 1)
    with pytest.raises(RdbenchError, match="beyond all bounds"):
        encode_layers([np.array([LARGEST_LATENT], np.int32)], None, [LOGISTIC])
