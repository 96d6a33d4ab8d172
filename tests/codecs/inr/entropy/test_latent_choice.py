"""Latents under static models or adaptive contexts: the smaller one, tensor by tensor, and damaged sections."""

import numpy as np
import pytest

from rdbench.codecs.inr.entropy.latent_choice import (
    AdaptiveLatents,
    decode_latents,
    encode_latents,
    planes,
    read_section,
)
from rdbench.codecs.inr.entropy.tensor_models import Model, Values, choose_model, encode_under, single_value
from rdbench.errors import BitstreamError


def random(shape: tuple[int, ...], seed: int = 0) -> Values:
    return np.random.default_rng(seed).integers(-3, 4, shape).astype(np.int32)


def slow(shape: tuple[int, ...]) -> Values:
    """The same planes in every frame."""
    return np.broadcast_to(9 * random(shape[1:]), shape).astype(np.int32)


def models(tensors: list[Values]) -> list[Model]:
    return [choose_model(tensor.ravel())[1] for tensor in tensors]


CASES = [
    ([slow((12, 4, 5, 6))], (True,)),
    ([random((3, 1, 2, 2))], (False,)),
    ([slow((12, 4, 5, 6)), random((12, 4, 5, 6))], (True, False)),
    ([random((12, 4, 5, 6)), slow((9, 40))], (False, True)),
    ([np.zeros((6, 2, 3, 4), np.int32)], (False,)),
    ([], ()),
]


@pytest.mark.parametrize(("tensors", "expected"), CASES)
def test_each_tensor_is_coded_in_the_smaller_way(tensors: list[Values], expected: tuple[bool, ...]) -> None:
    static = encode_under([tensor.ravel() for tensor in tensors], models(tensors))
    section, choice = encode_latents(tensors, models(tensors))
    assert choice == expected
    assert tuple(map(bool, section[: len(tensors)])) == expected
    assert len(section) <= len(static) + len(tensors)
    found = decode_latents(section, [tensor.shape for tensor in tensors], models(tensors), 50)
    assert all(np.array_equal(a.ravel(), b.ravel()) for a, b in zip(found, tensors, strict=True))


def test_an_adaptive_tensor_needs_no_model() -> None:
    tensors = [slow((12, 4, 5, 6)), random((12, 4, 5, 6))]
    section, _ = encode_latents(tensors, models(tensors))
    found = decode_latents(section, [tensor.shape for tensor in tensors], [single_value(0), models(tensors)[1]], 50)
    assert np.array_equal(found[0].reshape(tensors[0].shape), tensors[0])


def test_all_ways_that_may_be_the_smallest_are_offered() -> None:
    latents = AdaptiveLatents([slow((12, 4, 5, 6)), random((12, 4, 5, 6))])
    assert latents.choices([1e9, 0.0]) == [(False, False), (True, False), (True, True)]
    assert latents.choices([0.0, 0.0]) == [(False, False), (True, True)]


def test_tensors_of_other_axes_are_one_plane_for_each_time_step() -> None:
    assert planes((5, 4, 2, 3)) == (5, 4, 2, 3)
    assert planes((5, 12)) == (5, 1, 1, 12)
    assert planes((5, 2000, 2, 3)) == (5, 1, 1, 12000)


def test_damaged_sections_are_refused_or_give_values_in_range() -> None:
    tensors = [slow((6, 3, 2, 3)), random((6, 3, 2, 3))]
    section, choice = encode_latents(tensors, models(tensors))
    assert choice == (True, False)
    shapes, refused = [tensor.shape for tensor in tensors], 0
    flipped = [section[:place] + bytes([section[place] ^ 0xA5]) + section[place + 1 :] for place in range(len(section))]
    for broken in [*flipped, *(section[:end] for end in range(len(section)))]:
        try:
            found = decode_latents(broken, shapes, models(tensors), 50)
        except BitstreamError:
            refused += 1
        else:
            assert all(np.abs(one).max() <= 50 for one in found)
    assert refused > len(section)
    with pytest.raises(BitstreamError):
        read_section(b"\x02" + section[1:], shapes, -50, 50)
