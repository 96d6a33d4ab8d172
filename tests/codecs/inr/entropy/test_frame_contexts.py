"""Adaptive coding of latents along time: what is predicted, the same values again, fewer bits, damaged streams."""

import hashlib

import numpy as np
import pytest

from rdbench.codecs.inr.entropy.frame_contexts import FrameContexts, Start, code, pack, unpack
from rdbench.codecs.inr.entropy.laplace import LARGEST
from rdbench.codecs.inr.entropy.tensor_models import Values
from rdbench.errors import BitstreamError, RdbenchError


def walking(frames: int, channels: int, rows: int, columns: int, seed: int = 0) -> Values:
    """Planes that change little from frame to frame, in integers that are the same on any machine."""
    random = np.random.Generator(np.random.PCG64(seed))
    steps = random.integers(-1, 2, (frames, channels, rows, columns))
    steps[0] *= 20
    return np.cumsum(steps, axis=0).astype(np.int32)


def test_predictions_are_those_of_a_calculation_by_hand() -> None:
    values = np.array([5, 7, 7], np.int32).reshape(3, 1, 1, 1)
    start = Start.of(values)
    assert (start.center, start.magnitude) == (6, 16)  # the mean magnitude around 6 is 1
    model, found = FrameContexts(values.shape, start), []
    for place in model.places:
        location, scale = model.predict(place)
        found += [(float(location[0]), float(scale[0]))]
        model.put(place, np.array([float(values[place, 0, 0, 0])]))
    # 1. nothing is known. 2. the weight begins at 1: 6 + (5 - 6), and no error in a later frame is known.
    # 3. the weight is (1 - 1) / (1 + 1); the only error, 2 in another context, beside the start's 1 with weight 4.
    assert found == [(6.0, 1.0), (5.0, 1.0), (6.0, pytest.approx((2 + 4) / 5))]
    assert np.array_equal(model.decoded(), values)


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (1, 5, 2, 3), (6, 1, 2, 3), (3, 7, 1, 4), (9, 4, 3, 5)])
def test_tensors_come_back(shape: tuple[int, int, int, int]) -> None:
    values, other = walking(*shape), walking(*shape, seed=1)[:1]
    data = pack([code(values), code(other)])
    found = unpack(data, [values.shape, other.shape], -LARGEST, LARGEST)
    assert all(np.array_equal(a, b) for a, b in zip(found, (values, other), strict=True))


def test_the_largest_values_come_back_and_larger_ones_are_refused() -> None:
    values = np.array([LARGEST, -LARGEST, 0, 1] * 6, np.int32).reshape(3, 2, 2, 2)
    assert np.array_equal(unpack(pack([code(values)]), [values.shape], -LARGEST, LARGEST)[0], values)
    with pytest.raises(RdbenchError, match="beyond all bounds"):
        code(values + 1)


def test_planes_that_change_slowly_take_fewer_bits_than_their_entropy() -> None:
    values = walking(16, 4, 9, 16)
    counts = np.bincount((values - values.min()).ravel())
    shares = counts[counts > 0] / values.size
    entropy = -float((shares * np.log2(shares)).sum()) * values.size
    coded = code(values)
    assert coded.bits < 0.5 * entropy  # of 4.6 bits a value log2(3) = 1.58 are new
    assert coded.bits >= 1.58 * values[1:].size
    assert 8 * len(pack([coded])) == pytest.approx(coded.bits, abs=64)


def test_the_bytes_are_the_same_on_any_machine() -> None:
    digest = hashlib.sha256(pack([code(walking(12, 3, 4, 5))])).hexdigest()
    assert digest[:16] == "f717cf8e3f4ee687"


def test_damaged_bytes_are_refused_or_give_values_in_range() -> None:
    values = walking(8, 3, 4, 5)
    data, refused = pack([code(values)]), 0
    flipped = [data[:place] + bytes([data[place] ^ 0x55]) + data[place + 1 :] for place in range(len(data))]
    for broken in [*flipped, *(data[:end] for end in range(len(data)))]:
        try:
            (found,) = unpack(broken, [values.shape], -30, 30)
        except BitstreamError:
            refused += 1
        else:
            assert found.shape == values.shape
            assert np.abs(found).max() <= 30
    assert refused > len(data)


def test_a_value_out_of_range_is_refused() -> None:
    values = walking(4, 1, 2, 2)
    data = pack([code(values)])
    with pytest.raises(BitstreamError, match="encode the clip again"):
        unpack(data, [values.shape], int(values.min()), int(values.max()) - 1)
